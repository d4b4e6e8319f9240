//! What tshark sees in each TCP stream with a ServerHello in clear, against the record of that connection.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::connection::{Connection, chain_in_short, ends};
use crate::folder::Folder;
use crate::ledger::{Comparison, Ledger};
use crate::replay::Replays;

/// Its name in the table of decided differences.
pub const WITNESS: &str = "tshark";

/// One line of `dev.truth.jsonl`.
#[derive(Debug, Deserialize)]
struct Stream {
    file: String,
    /// `tcp.stream`.
    stream: u32,
    client: SocketAddr,
    server: SocketAddr,
    /// `1.2`, or the number where it has no name.
    version: String,
    cipher_suite: String,
    server_name: Option<String>,
    server_certificates: Vec<String>,
    client_certificates: Vec<String>,
    certificate_request: bool,
    client_certificate_empty: bool,
}

/// Compares all streams of all captures.
pub fn compare(folder: &Folder, replays: &Replays, ledger: &mut Ledger) -> Result<()> {
    let mut streams: HashMap<String, Vec<Stream>> = HashMap::new();
    for line in folder.text("dev.truth.jsonl")?.lines() {
        let stream: Stream = serde_json::from_str(line).with_context(|| line.to_owned())?;
        streams.entry(stream.file.clone()).or_default().push(stream);
    }
    for (file, replay) in replays.iter() {
        let mut ours: Vec<Connection<'_>> = replay.connections().collect();
        for stream in streams.remove(file).unwrap_or_default() {
            let found = stream.find(&ours).map(|place| ours.swap_remove(place));
            let comparison = match found {
                Some(connection) => stream.against(connection),
                None => presence("present", "absent"),
            };
            ledger.enter(WITNESS, file, &stream.stream.to_string(), &comparison);
        }
        for extra in ours.into_iter().filter(|connection| connection.is_answered_tls()) {
            ledger.enter(WITNESS, file, &extra.stream(), &presence("absent", "present"));
        }
    }
    let unknown: Vec<&String> = streams.keys().collect();
    anyhow::ensure!(unknown.is_empty(), "the truth speaks of captures that are not there: {unknown:?}");
    Ok(())
}

impl Stream {
    /// The connection it speaks of: with the same ends, else (inside a tunnel, where the truth took the outer
    /// addresses) the only one with the same ports; of several, the one that is most like it.
    fn find(&self, ours: &[Connection<'_>]) -> Option<usize> {
        let answered = || ours.iter().enumerate().filter(|(_, connection)| connection.is_answered_tls());
        let same_ends = answered().filter(|(_, ours)| ours.ends() == Some(ends(self.client, self.server)));
        let best = same_ends.min_by_key(|(_, connection)| self.against(**connection).differences());
        let ports = |client: SocketAddr, server: SocketAddr| {
            (client.port().min(server.port()), client.port().max(server.port()))
        };
        let mut same_ports = answered().filter(|(_, connection)| {
            connection.ends().is_some_and(|(one, other)| ports(one, other) == ports(self.client, self.server))
        });
        let only = same_ports.next().filter(|_| same_ports.next().is_none());
        best.or(only).map(|(place, _)| place)
    }

    fn against(&self, connection: Connection<'_>) -> Comparison {
        let mut comparison = presence("present", "present");
        let ours = |end: Option<SocketAddr>| end.map(|end| end.to_string()).unwrap_or_default();
        comparison.field("client", self.client.to_string(), ours(connection.client()));
        comparison.field("server", self.server.to_string(), ours(connection.server()));
        comparison.field("version", version_name(&self.version), connection.text("/tls/version"));
        comparison.field("cipher_suite", &self.cipher_suite, connection.text("/tls/cipher_suite_id"));
        let server_name = self.server_name.as_deref().unwrap_or_default();
        comparison.field("server_name", server_name, connection.text("/tls/server_name"));
        let chains = [("server", &self.server_certificates), ("client", &self.client_certificates)];
        for ((side, theirs), field) in chains.into_iter().zip(["server_chain", "client_chain"]) {
            comparison.field(field, chain_in_short(theirs), chain_in_short(&connection.shown_chain(side)));
        }
        self.compare_request(connection, &mut comparison);
        comparison
    }

    /// In TLS 1.3 the request and its answer are encrypted: what the replay infers, tshark cannot judge.
    fn compare_request(&self, connection: Connection<'_>, comparison: &mut Comparison) {
        if !matches!(self.version.as_str(), "SSLv3" | "1.0" | "1.1" | "1.2") {
            return;
        }
        let (requested, empty) = match connection.text("/tls/client_authentication") {
            "not_requested" => ("false", "false"),
            "requested_none_sent" => ("true", "true"),
            "presented" => ("true", "false"),
            // Not seen is all that tshark means by false.
            _ if !self.certificate_request => ("false", "false"),
            // The client left before it answered.
            _ if !self.client_certificate_empty && self.client_certificates.is_empty() => ("true", "false"),
            _ => ("unknown", "unknown"),
        };
        comparison.field("certificate_request", self.certificate_request.to_string(), requested);
        comparison.field("client_certificate_empty", self.client_certificate_empty.to_string(), empty);
    }
}

fn presence(theirs: &str, ours: &str) -> Comparison {
    let mut comparison = Comparison::default();
    comparison.field("stream", theirs, ours);
    comparison
}

/// As the record names it: what was before TLS 1.3 by its number (0x7f00 and the draft; Google's 0x7e00;
/// Facebook's 0xfb00).
pub fn version_name(theirs: &str) -> String {
    let number = theirs.strip_prefix("0x").and_then(|digits| u16::from_str_radix(digits, 16).ok());
    match number.map(u16::to_be_bytes) {
        Some([0x7f, draft]) => format!("1.3-draft-{draft}"),
        Some([0x7e, number]) => format!("1.3-experiment-{number}"),
        Some([0xfb, draft]) => format!("1.3-fb-{draft}"),
        _ => theirs.to_owned(),
    }
}
