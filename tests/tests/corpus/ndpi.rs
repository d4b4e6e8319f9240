//! nDPI's expected output for its own captures: one line per flow.

use std::net::SocketAddr;

use anyhow::Result;

use crate::folder::Folder;

/// What nDPI says about one TCP flow.
#[derive(Debug)]
pub struct Flow {
    /// Who sent the first packet that nDPI saw.
    pub client: SocketAddr,
    /// The other.
    pub server: SocketAddr,
    /// The protocol on the wire: `HTTP` of `HTTP.Google`.
    pub protocol: String,
    /// It looked into the payload, and did not go by port or address.
    pub inspected: bool,
}

/// The TCP flows of a capture; none where upstream has no output for it.
pub fn flows(folder: &Folder, capture: &str) -> Result<Vec<Flow>> {
    let Some((before, name)) = capture.split_once("/pcap/") else { return Ok(Vec::new()) };
    let output = format!("dev/{before}/result/{name}.out");
    if !capture.starts_with("ntop+nDPI/") || !folder.path(&output).is_file() {
        return Ok(Vec::new());
    }
    Ok(folder.text(output)?.lines().filter_map(flow).collect())
}

/// `1 TCP 10.0.0.1:5000 <-> 10.0.0.2:80 [proto: 7.126/HTTP.Google]…[Confidence: DPI]…`, with tabs around the number.
fn flow(line: &str) -> Option<Flow> {
    let (_, rest) = line.split_once("\tTCP ")?;
    let mut words = rest.split(' ');
    let client = words.next()?.parse().ok()?;
    words.next().filter(|arrow| matches!(*arrow, "<->" | "->"))?;
    let server = words.next()?.parse().ok()?;
    let bracket = |name: &str| {
        let (_, value) = line.split_once(&format!("[{name}: "))?;
        Some(value.split_once(']')?.0)
    };
    // The number of each protocol, a slash, their names; inside a tunnel its name stands first.
    let (_, names) = bracket("proto")?.split_once('/')?;
    let protocol = names.split('.').next()?.to_owned();
    let inspected = bracket("Confidence").is_some_and(|confidence| confidence.starts_with("DPI"));
    Some(Flow { client, server, protocol, inspected })
}

#[test]
fn a_flow_is_read_with_its_wire_protocol() {
    let line = "\t3\tTCP [2001:db8::1]:443 -> 10.0.0.1:80 [VLAN: 5][proto: VXLAN:91.119/TLS.Facebook][Confidence: DPI]";
    let seen = flow(line).unwrap();
    assert_eq!((seen.protocol.as_str(), seen.inspected), ("TLS", true));
    assert_eq!(seen.client.to_string(), "[2001:db8::1]:443");
    let guessed = "\t1\tTCP 10.0.0.2:5 <-> 10.0.0.1:80 [proto: 7/HTTP][Confidence: Match by port]";
    assert!(!flow(guessed).unwrap().inspected);
}
