//! Whether the replay found what the capture holds: the port of a client says what its connection did.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::capture::Capture;
use super::identities::server_name;
use super::mix::{self, Client, Version};
use super::segments::number_of;
use crate::bench::Verdict;

const CONNECTION: &str = "countersign.connection/1";

/// What the records say, counted.
#[derive(Default)]
pub struct Answers {
    connections: u64,
    handshakes: u64,
    /// How the client authenticated itself: said rightly, or said to be unknown.
    right: u64,
    unknown: u64,
    /// By what was said and what was so.
    wrong: BTreeMap<String, u64>,
}

/// The part of a record (RECORD.md) that is looked at.
#[derive(Deserialize)]
struct Record {
    schema: String,
    #[serde(rename = "final", default)]
    last: bool,
    client: Option<Endpoint>,
    protocol: Option<String>,
    tls: Option<Tls>,
}

#[derive(Deserialize)]
struct Endpoint {
    address: Ipv4Addr,
    port: u16,
}

#[derive(Deserialize)]
struct Tls {
    version: Option<String>,
    server_name: Option<String>,
    client_authentication: Option<String>,
    handshake: Option<String>,
}

/// Replays once and looks at every record.
pub fn count(agent: &Path, file: &Path) -> Result<Answers> {
    let mut child = Command::new(agent)
        .args(["replay", "--json"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", agent.display()))?;
    let mut answers = Answers::default();
    for line in BufReader::new(child.stdout.take().context("no standard output")?).lines() {
        let line = line?;
        // Certificates and findings have other fields of the same names.
        if line.contains(CONNECTION) {
            answers.add(serde_json::from_str(&line).with_context(|| format!("in the record {line}"))?);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the replay of {} ended with {status}", file.display());
    }
    Ok(answers)
}

impl Answers {
    fn add(&mut self, record: Record) {
        if !record.last || record.schema != CONNECTION {
            return;
        }
        self.connections += 1;
        let client = record.client.map(|client| SocketAddrV4::new(client.address, client.port));
        let Some(number) = client.and_then(number_of) else {
            return self.wrong("a connection that is not in the capture".to_owned());
        };
        let (handshake, tls) = match (mix::exchange(number).tls, record.tls) {
            (Some(handshake), Some(tls)) => (handshake, tls),
            (None, None) if record.protocol.as_deref() == Some("http/1") => return,
            (expected, found) => {
                let tls = (found.is_some(), expected.is_some());
                return self.wrong(format!("TLS {} for {}, protocol {:?}", tls.0, tls.1, record.protocol));
            }
        };
        self.handshakes += 1;
        let version = match handshake.version {
            Version::Tls12 => "1.2",
            Version::Tls13 => "1.3",
        };
        let authentication = match handshake.client {
            Client::NotRequested => "not_requested",
            Client::NoneSent => "requested_none_sent",
            Client::Presents(_) => "presented",
        };
        for (name, expected, found) in [
            ("version", version, tls.version),
            ("server name", &server_name(handshake.server), tls.server_name),
            ("handshake", "complete", tls.handshake),
        ] {
            if found.as_deref() != Some(expected) {
                self.wrong(format!("{name} {found:?}"));
            }
        }
        match tls.client_authentication.as_deref() {
            Some("unknown") => self.unknown += 1,
            Some(found) if found == authentication => self.right += 1,
            found => self.wrong(format!("client authentication {found:?} for {authentication} in {version}")),
        }
    }

    fn wrong(&mut self, what: String) {
        *self.wrong.entry(what).or_default() += 1;
    }

    /// All connections found, and nothing said that is not so.
    pub fn verdict(&self, capture: &Capture) -> Verdict {
        let made = &capture.made;
        let complete = self.connections == made.connections && self.handshakes == made.handshakes;
        let within = complete && self.wrong.is_empty();
        let mut text = format!(
            "replay: {} of {} connections, {} of {} handshakes ({}); client authentication right {}, unknown {}",
            self.connections,
            made.connections,
            self.handshakes,
            made.handshakes,
            if within { "right" } else { "WRONG" },
            self.right,
            self.unknown,
        );
        for (what, count) in &self.wrong {
            text.push_str(&format!("\n  {what}: {count} times"));
        }
        Verdict { text, within }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::super::capture::Made;
    use super::super::segments::addresses;
    use super::*;

    /// What a faultless replay says of this connection.
    fn record(number: u64) -> serde_json::Value {
        let handshake = mix::exchange(number).tls.unwrap();
        let (client, _) = addresses(number, 0, true);
        json!({
            "schema": CONNECTION, "final": true, "protocol": "tls",
            "client": {"address": client.ip(), "port": client.port()},
            "tls": {
                "version": if handshake.version == Version::Tls12 { "1.2" } else { "1.3" },
                "server_name": server_name(handshake.server),
                "handshake": "complete",
                "client_authentication": match handshake.client {
                    Client::NotRequested => "not_requested",
                    Client::NoneSent => "requested_none_sent",
                    Client::Presents(_) => "presented",
                },
            },
        })
    }

    fn verdict(records: &[serde_json::Value]) -> Verdict {
        let mut answers = Answers::default();
        for record in records {
            answers.add(serde_json::from_value(record.clone()).unwrap());
        }
        let made = Made { connections: 2, handshakes: 2, ..Made::default() };
        answers.verdict(&Capture { file: PathBuf::new(), made })
    }

    #[test]
    fn a_missing_connection_and_a_wrong_answer_are_noticed() {
        assert!(verdict(&[record(0), record(1)]).within);
        assert!(!verdict(&[record(0)]).within);
        let mut unknown = record(1);
        unknown["tls"]["client_authentication"] = "unknown".into();
        assert!(verdict(&[record(0), unknown.clone()]).within);
        for (field, value) in [
            ("client_authentication", "else"),
            ("version", "1.1"),
            ("server_name", "x"),
            ("handshake", "failed"),
        ] {
            let mut wrong = record(1);
            wrong["tls"][field] = value.into();
            assert!(!verdict(&[record(0), wrong]).within, "{field}");
        }
    }
}
