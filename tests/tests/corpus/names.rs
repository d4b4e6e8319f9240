//! What other tools call the protocol of each connection, against what the replay calls it.
//!
//! Three witnesses: nDPI names each flow of its captures, Zeek's `conn.log` the service of each connection,
//! and tshark (in the inventory) the applications of each capture, without saying which connection.
//! Only a *wrong* name is a difference: `unknown` is an honest answer. What a witness says for a reason
//! other than the bytes (a port, an address) is not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anyhow::Result;

use crate::connection::{Connection, ends};
use crate::folder::{Capture, Folder};
use crate::ledger::{Comparison, Ledger};
use crate::ndpi;
use crate::replay::{Replay, Replays};
use crate::zeek;

/// Its name in the table of decided differences.
pub const WITNESS: &str = "names";

/// How often a witness's name met one of ours.
#[derive(Debug, Default)]
struct Confusion(BTreeMap<(&'static str, String, String, &'static str), usize>);

impl Confusion {
    fn count(&mut self, witness: &'static str, theirs: &str, ours: &str, verdict: &'static str) {
        *self.0.entry((witness, theirs.to_owned(), ours.to_owned(), verdict)).or_default() += 1;
    }

    fn print(&self) {
        println!("{:<8} {:<24} {:<14} {:>6}", "witness", "their name", "ours", "count");
        for ((witness, theirs, ours, verdict), count) in &self.0 {
            println!("{witness:<8} {theirs:<24} {ours:<14} {count:>6}  {verdict}");
        }
    }
}

/// Compares all names of all witnesses and prints the table of confusions.
pub fn compare(folder: &Folder, replays: &Replays, ledger: &mut Ledger) -> Result<()> {
    let mut confusion = Confusion::default();
    for capture in folder.captures()? {
        let Some(replay) = replays.get(&capture.file) else { continue };
        let flows = ndpi::flows(folder, &capture.file)?;
        for flow in &flows {
            if flow.inspected {
                let at_most = by_ends(replay, flow.client, flow.server);
                judge(&mut confusion, ledger, "ndpi", &capture.file, &flow.protocol, &at_most);
            }
        }
        in_inventory(&mut confusion, ledger, &capture, replay);
    }
    services(folder, replays, ledger, &mut confusion)?;
    confusion.print();
    Ok(())
}

fn by_ends(replay: &Replay, client: SocketAddr, server: SocketAddr) -> Vec<Connection<'_>> {
    let wanted = ends(client, server);
    replay.connections().filter(|connection| connection.ends() == Some(wanted)).collect()
}

/// Judges the connections of a flow: a witness that joins several into one flow has named the first.
fn judge(
    confusion: &mut Confusion,
    ledger: &mut Ledger,
    witness: &'static str,
    file: &str,
    theirs: &str,
    ours: &[Connection<'_>],
) {
    let Some(connection) = ours.first() else {
        confusion.count(witness, theirs, "(no record)", "");
        return;
    };
    let protocol = connection.text("/protocol");
    let Some(accepted) = accepted(theirs) else {
        confusion.count(witness, theirs, protocol, "not compared");
        return;
    };
    let agrees = |connection: &Connection<'_>| {
        let (protocol, before) = (connection.text("/protocol"), connection.text("/upgraded_from"));
        accepted.contains(&protocol) || accepted.contains(&before)
    };
    let mut comparison = Comparison::default();
    let field = match witness {
        "ndpi" => "name (ndpi)",
        _ => "name (zeek)",
    };
    if ours.iter().any(agrees) {
        confusion.count(witness, theirs, protocol, "right");
        comparison.field(field, "right or unknown", "right or unknown");
    } else if matches!(protocol, "unknown" | "silent") {
        confusion.count(witness, theirs, protocol, "unknown");
        comparison.field(field, "right or unknown", "right or unknown");
    } else {
        confusion.count(witness, theirs, protocol, "differs");
        comparison.field(field, theirs, protocol);
    }
    ledger.enter(WITNESS, file, &connection.stream(), &comparison);
}

/// Zeek's `conn.log`: a comma-separated list of what it confirmed in the connection.
fn services(
    folder: &Folder,
    replays: &Replays,
    ledger: &mut Ledger,
    confusion: &mut Confusion,
) -> Result<()> {
    let captures = zeek::Captures::read(folder)?;
    let mut seen = BTreeSet::new();
    for (test, path) in zeek::logs(folder, &["conn."])? {
        for row in zeek::rows(&path)? {
            let service = zeek::column(&row, "service");
            let Some((client, server)) = zeek::row_ends(&row) else { continue };
            if zeek::column(&row, "proto") != "tcp" || service.is_empty() {
                continue;
            }
            let found = captures.find(replays, &test, ends(client, server));
            let Some((file, _)) = found.first().cloned() else { continue };
            let ours: Vec<Connection<'_>> = found.into_iter().map(|(_, connection)| connection).collect();
            if !seen.insert((file.clone(), client, server)) {
                continue;
            }
            // Of several services the one that we name, else the first.
            let named = |service: &&str| {
                accepted(service).is_some_and(|accepted| {
                    ours.iter().any(|connection| accepted.contains(&connection.text("/protocol")))
                })
            };
            let first = service.split(',').find(named).or_else(|| service.split(',').next());
            judge(confusion, ledger, "zeek", &file, first.unwrap_or_default(), &ours);
        }
    }
    Ok(())
}

/// The inventory tells what tshark dissected in a capture, not where: each of our names has to be among it,
/// or in the capture's own name, which is what its maker says it is.
fn in_inventory(confusion: &mut Confusion, ledger: &mut Ledger, capture: &Capture, replay: &Replay) {
    let applications = capture.applications.split_whitespace().filter_map(|text| text.split(':').next());
    let dissected: Vec<&str> = applications.chain(capture.upgrade.split_whitespace()).collect();
    let known: Vec<&str> = dissected.iter().filter_map(|name| accepted(name)).flatten().copied().collect();
    for connection in replay.connections() {
        let ours = connection.text("/protocol");
        // Whether a connection is TLS is compared stream by stream elsewhere.
        if matches!(ours, "unknown" | "silent" | "tls") {
            continue;
        }
        let file = capture.file.to_lowercase();
        let in_name = words_of(ours).iter().any(|word| file.contains(word));
        let mut comparison = Comparison::default();
        let theirs = dissected.join(",");
        if known.contains(&ours) {
            confusion.count("tshark", "(in this capture)", ours, "right");
            comparison.field("name (tshark)", "right or unknown", "right or unknown");
        } else if in_name {
            confusion.count("tshark", "(in the file's name)", ours, "right");
            comparison.field("name (tshark)", "right or unknown", "right or unknown");
        } else {
            confusion.count("tshark", &theirs, ours, "differs");
            comparison.field("name (tshark)", theirs, ours);
        }
        ledger.enter(WITNESS, &capture.file, &connection.stream(), &comparison);
    }
}

/// Our names for what a witness names, lower-case; empty if it is something that we have no name for, `None` if
/// the witness names an application (who runs it) rather than a protocol (what is spoken).
fn accepted(theirs: &str) -> Option<&'static [&'static str]> {
    Some(match theirs.to_lowercase().as_str() {
        "http" | "http_proxy" => &["http/1", "http/2", "grpc", "http_connect"],
        "http2" => &["http/2", "grpc"],
        "http_connect" => &["http/1", "http_connect"],
        "tls" | "ssl" | "smtps" | "pops" | "imaps" | "ftps" => &["tls"],
        "smtp" => &["smtp"],
        "pop3" | "pop" => &["pop3"],
        "imap" => &["imap"],
        "ftp" | "ftp_control" => &["ftp"],
        "socks" => &["socks"],
        "ssh" => &["ssh"],
        "telnet" => &["telnet"],
        "amqp" => &["amqp"],
        "cassandra" | "cql" => &["cassandra"],
        "mysql" => &["mysql"],
        "postgres" | "postgresql" | "pgsql" => &["postgresql"],
        "memcached" | "memcache" => &["memcached"],
        "oracle" | "tns" => &["oracle"],
        "redis" | "resp" => &["redis"],
        "mongodb" | "mongo" => &["mongodb"],
        "kafka" => &["kafka"],
        "mqtt" => &["mqtt"],
        "ldap" | "ldap_tcp" => &["ldap"],
        "irc" => &["irc"],
        "xmpp" | "jabber" => &["xmpp"],
        "smb" | "smb2" | "smbv1" | "smbv23" => &["smb"],
        "rdp" => &["rdp"],
        "vnc" | "rfb" => &["vnc"],
        "sip" => &["sip"],
        "tds" | "mssql" => &["tds"],
        "dns" => &["dns"],
        "bgp" => &["bgp"],
        "rtsp" => &["rtsp"],
        // Spoken, and without a name of ours.
        "openvpn" | "stun" | "ftp_data" | "ftp-data" | "gridftp-data" | "whois-das" | "nomachine"
        | "haproxy" => &[],
        _ => return None,
    })
}

/// Words by which makers of captures call a protocol in the names of files and folders.
fn words_of(ours: &str) -> &'static [&'static str] {
    match ours {
        "http/1" => &["http", "socks", "gre-", "tunnel", "vlan", "pppoe", "80211"],
        "http/2" | "grpc" => &["http2", "h2c", "grpc"],
        "postgresql" => &["postgres", "pgsql", "psql"],
        "mysql" => &["mysql", "mariadb"],
        "tds" => &["tds", "mssql"],
        "oracle" => &["oracle", "tns"],
        "redis" => &["redis"],
        "memcached" => &["memcache"],
        "mongodb" => &["mongo"],
        "cassandra" => &["cassandra", "cql"],
        "kafka" => &["kafka"],
        "amqp" => &["amqp"],
        "mqtt" => &["mqtt"],
        "ldap" => &["ldap"],
        "smtp" => &["smtp", "mime"],
        "imap" => &["imap"],
        "pop3" => &["pop3"],
        "ftp" => &["ftp"],
        "irc" => &["irc"],
        "xmpp" => &["xmpp", "jabber"],
        "ssh" => &["ssh"],
        "telnet" => &["telnet"],
        "dns" => &["dns"],
        "smb" => &["smb"],
        "rdp" => &["rdp"],
        "vnc" => &["vnc", "rfb"],
        "sip" => &["sip"],
        "socks" => &["socks"],
        "rtsp" => &["rtsp"],
        "bgp" => &["bgp"],
        _ => &[],
    }
}
