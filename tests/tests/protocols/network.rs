//! Names and routes.

use std::net::IpAddr;
use std::process::Command;

use anyhow::Result;
use countersign_tests::{Process, Testbed, ready};

use crate::conversation::assert_conversations;
use crate::peers::{ask_script, configured, serve};

#[test]
fn dns_by_dnsmasq_and_dnspython() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
    ]);
    command.args(["--bind-interfaces", "--pid-file", "--address=/greeting.test/192.0.2.1"]);
    command.args([format!("--listen-address={}", Testbed::SERVER), format!("--port={port}")]);
    let _server = serve("dnsmasq", command, port)?;
    ask_script("dns", port, None)?;
    assert_conversations(port, "dns", &[None])
}

/// A speaker of BGP with one neighbour.
fn bird(address: IpAddr, port: u16, number: u16, neighbour: &str, manner: &str) -> Result<Process> {
    let (folder, configuration) = configured(
        "bird",
        &format!(
            "router id {address};\nlog stderr all;\nprotocol device {{}}\n\
             protocol bgp {{\n  debug all;\n  local {address} port {port} as {number};\n  neighbor {neighbour};\n  \
             {manner};\n  ipv4 {{ import all; export none; }};\n}}\n"
        ),
    )?;
    let mut command = Command::new("bird");
    command.arg("-f").arg("-c").arg(configuration).arg("-s").arg(folder.join("control"));
    if address == Testbed::SERVER {
        return serve("bird", command, port);
    }
    Process::spawn("bird", Some(&Testbed::shared().client_side), command)
}

#[test]
fn bgp_by_bird_on_both_sides() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (client_port, port) = (Testbed::shared().port(), Testbed::shared().port());
    let neighbour = format!("{} as 65001", Testbed::CLIENT);
    let server = bird(Testbed::SERVER, port, 65002, &neighbour, "passive on")?;
    let neighbour = format!("{} port {port} as 65002", Testbed::SERVER);
    let client = bird(Testbed::CLIENT, client_port, 65001, &neighbour, "connect delay time 1")?;
    for side in [&server, &client] {
        side.wait_for_output("BGP session established")?;
    }
    // The one that would connect anew ends first.
    drop(client);
    drop(server);
    assert_conversations(port, "bgp", &[None])
}
