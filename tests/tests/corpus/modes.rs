//! A capture of every way to authenticate, the mode of each connection told by its server port.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::connection::Connection;
use crate::folder::Folder;
use crate::replay::Replay;

/// One line of `modes.truth.tsv`.
#[derive(Debug)]
struct Mode {
    port: u16,
    version: String,
    /// Fingerprints of the chains, where they cross in clear.
    server_chain: Vec<String>,
    client_chain: Vec<String>,
    requested: bool,
    sent: bool,
    connections: usize,
    resumed: usize,
}

/// Compares every connection, and the number of connections.
pub fn compare(folder: &Folder) -> Result<()> {
    let replay = Replay::of(&folder.path("generated/modes.pcap"))?;
    if let Some(fault) = replay.fault() {
        anyhow::bail!("{fault}\n{}", replay.errors);
    }
    let mut by_port: BTreeMap<u16, Vec<Connection<'_>>> = BTreeMap::new();
    for connection in replay.connections() {
        let port = connection.server().context("a server without an address")?.port();
        by_port.entry(port).or_default().push(connection);
    }
    let mut faults = Vec::new();
    for line in folder.text("generated/modes.truth.tsv")?.lines().skip(1) {
        let mode = Mode::read(folder, line).with_context(|| line.to_owned())?;
        let ours = by_port.remove(&mode.port).unwrap_or_default();
        faults.extend(mode.faults(&ours));
        println!("{:>5} {:>3} connections: {line}", mode.port, ours.len());
    }
    for (port, extra) in by_port {
        faults.push(format!("{port}: {} connections that were never made", extra.len()));
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

impl Mode {
    fn read(folder: &Folder, line: &str) -> Result<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [port, version, server, requested, client, _, connections, resumed] = fields[..] else {
            anyhow::bail!("eight columns are needed");
        };
        let in_clear = version == "1.2";
        let chain = |name: &str| match name {
            "-" => Ok(Vec::new()),
            _ if !in_clear => Ok(Vec::new()),
            _ => fingerprints(&folder.path(format!("generated/{name}.pem"))),
        };
        Ok(Self {
            port: port.parse()?,
            version: version.to_owned(),
            server_chain: chain(server)?,
            client_chain: chain(client)?,
            requested: requested != "0",
            sent: client != "-",
            connections: connections.parse()?,
            resumed: resumed.parse()?,
        })
    }

    fn is_tls(&self) -> bool {
        self.version.starts_with("1.")
    }

    fn faults(&self, ours: &[Connection<'_>]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut unequal = |what: &str, ours: String, expected: String| {
            if ours != expected {
                faults.push(format!("{}: {what} is {ours}, not {expected}", self.port));
            }
        };
        unequal("the number of connections", ours.len().to_string(), self.connections.to_string());
        let resumed = |connection: &&Connection<'_>| {
            matches!(connection.text("/tls/resumed"), "session_id" | "ticket" | "psk")
        };
        unequal("resumed", ours.iter().filter(resumed).count().to_string(), self.resumed.to_string());
        for connection in ours {
            for (pointer, expected) in self.expected(resumed(&connection)) {
                unequal(pointer, connection.text(pointer).to_owned(), expected.to_owned());
            }
            let full = self.is_tls() && !resumed(&connection);
            for (side, chain) in [("server", &self.server_chain), ("client", &self.client_chain)] {
                if full {
                    unequal(side, connection.chain(side).join(" "), chain.join(" "));
                }
            }
        }
        faults
    }

    fn expected(&self, resumed: bool) -> Vec<(&'static str, &'static str)> {
        if !self.is_tls() {
            return vec![("/protocol", "http/1"), ("/encryption", "none"), ("/authentication", "none")];
        }
        let modern = self.version == "1.3";
        let mut expected = vec![
            ("/protocol", "tls"),
            ("/tls/version", if modern { "1.3" } else { "1.2" }),
            ("/tls/handshake", "complete"),
        ];
        if resumed && modern {
            // The ticket was encrypted when it was issued: no observer can link it to its origin, nor tell it
            // from an external key. This is the only unknown that the inference allows here.
            expected.push(("/authentication", "unknown"));
            expected.push(("/evidence/reason", "resumption_origin_not_visible"));
            return expected;
        }
        let (authentication, client) = match (self.requested, self.sent) {
            (_, true) => ("mutual", "presented"),
            (true, false) => ("server_only", "requested_none_sent"),
            (false, false) => ("server_only", "not_requested"),
        };
        expected.push(("/authentication", authentication));
        if !resumed {
            expected.push(("/tls/client_authentication", client));
        }
        expected
    }
}

fn fingerprints(path: &Path) -> Result<Vec<String>> {
    CertificateDer::pem_file_iter(path)?
        .map(|certificate| {
            let digest = Sha256::digest(certificate?);
            Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
        })
        .collect()
}
