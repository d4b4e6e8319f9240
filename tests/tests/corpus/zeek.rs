//! Zeek's expected logs for its own captures, against the records of the same captures.
//!
//! A baseline belongs to a test, and a test may read several captures; the inventory names the tests of each
//! capture. A row is looked up by its addresses and ports among the captures of its test (or, where
//! no test is named, among all of Zeek's), and if several connections fit, the one most like it is meant.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use countersign_tests::at;
use serde_json::Value;

use crate::connection::{Connection, Ends, chain_in_short, ends};
use crate::folder::Folder;
use crate::ledger::{Comparison, Ledger};
use crate::replay::Replays;
use crate::tshark;

/// Its name in the table of decided differences.
pub const WITNESS: &str = "zeek";

const BASELINES: &str = "dev/zeek+zeek/testing/btest/Baseline";

/// One line of a log, by the names of its columns.
pub type Row = HashMap<String, String>;

/// The logs whose names begin with one of these, each with the name of its test.
pub fn logs(folder: &Folder, names: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut logs = Vec::new();
    for test in fs::read_dir(folder.path(BASELINES))? {
        let test = test?;
        for log in fs::read_dir(test.path())? {
            let log = log?;
            let name = log.file_name().to_string_lossy().into_owned();
            if name.ends_with(".log") && names.iter().any(|wanted| name.starts_with(wanted)) {
                logs.push((test.file_name().to_string_lossy().into_owned(), log.path()));
            }
        }
    }
    logs.sort_unstable();
    Ok(logs)
}

/// The rows of a log; one file may hold several logs, each with its own header.
pub fn rows(path: &PathBuf) -> Result<Vec<Row>> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut columns: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(names) = line.strip_prefix("#fields\t") {
            columns = names.split('\t').map(str::to_owned).collect();
        } else if !line.starts_with('#') && !columns.is_empty() {
            rows.push(columns.iter().cloned().zip(line.split('\t').map(str::to_owned)).collect());
        }
    }
    Ok(rows)
}

/// A column; empty where Zeek prints that it is unset or empty.
pub fn column<'a>(row: &'a Row, name: &str) -> &'a str {
    match row.get(name).map_or("", String::as_str) {
        "-" | "(empty)" => "",
        text => text,
    }
}

/// Who spoke with whom in a row.
pub fn row_ends(row: &Row) -> Option<(SocketAddr, SocketAddr)> {
    let end = |address: &str, port: &str| {
        let address: IpAddr = column(row, address).parse().ok()?;
        Some(SocketAddr::new(address, column(row, port).parse().ok()?))
    };
    Some((end("id.orig_h", "id.orig_p")?, end("id.resp_h", "id.resp_p")?))
}

/// The captures that a test of Zeek reads; all of Zeek's where the inventory does not say.
pub struct Captures {
    by_test: HashMap<String, Vec<String>>,
    all: Vec<String>,
}

impl Captures {
    /// From the inventory.
    pub fn read(folder: &Folder) -> Result<Self> {
        let mut captures = Self { by_test: HashMap::new(), all: Vec::new() };
        for capture in folder.captures()?.into_iter().filter(|capture| capture.file.starts_with("zeek+zeek/"))
        {
            for test in capture.ground_truth.split_whitespace() {
                captures.by_test.entry(test.to_owned()).or_default().push(capture.file.clone());
            }
            captures.all.push(capture.file);
        }
        Ok(captures)
    }

    /// Connections with these ends in the captures of a test.
    pub fn find<'a>(&self, replays: &'a Replays, test: &str, wanted: Ends) -> Vec<(String, Connection<'a>)> {
        let files = self.by_test.get(test).unwrap_or(&self.all);
        let connections = files.iter().filter_map(|file| Some((file, replays.get(file)?)));
        connections
            .flat_map(|(file, replay)| replay.connections().map(move |connection| (file.clone(), connection)))
            .filter(|(_, connection)| connection.ends() == Some(wanted))
            .collect()
    }
}

/// Compares all rows of all `ssl.log` and `x509.log`.
pub fn compare(folder: &Folder, replays: &Replays, ledger: &mut Ledger) -> Result<()> {
    let captures = Captures::read(folder)?;
    let (mut compared, mut elsewhere) = (0, 0);
    let mut seen = std::collections::HashSet::new();
    for (test, path) in logs(folder, &["ssl"])? {
        for row in rows(&path)? {
            let Some((client, server)) = row_ends(&row) else { continue };
            // DTLS and QUIC are counted by the replay, not decoded: their flows are no connections.
            if column(&row, "version").starts_with("DTLS") || test.contains(".quic.") {
                continue;
            }
            let found = captures.find(replays, &test, ends(client, server));
            let compared_with =
                found.into_iter().map(|(file, connection)| (session(&row, connection), file, connection));
            let Some((comparison, file, _)) =
                compared_with.min_by_key(|(comparison, ..)| comparison.differences())
            else {
                elsewhere += 1;
                println!("not in the corpus: {test} {client}>{server}");
                continue;
            };
            compared += 1;
            // Several tests of Zeek read the same capture: one difference, one row.
            let stream = format!("{client}>{server}");
            if seen.insert((file.clone(), stream.clone(), format!("{comparison:?}"))) {
                ledger.enter(WITNESS, &file, &stream, &comparison);
            }
        }
    }
    println!("ssl.log: {compared} rows compared, {elsewhere} of captures that are not in the corpus");
    certificates(folder, replays, ledger)
}

fn session(row: &Row, connection: Connection<'_>) -> Comparison {
    let mut comparison = Comparison::default();
    comparison.field("version", version_name(column(row, "version")), connection.text("/tls/version"));
    comparison.field("cipher", column(row, "cipher"), connection.text("/tls/cipher_suite"));
    let group = connection.text("/tls/group");
    comparison.field("curve", column(row, "curve").to_lowercase(), group.to_lowercase());
    comparison.field("server_name", column(row, "server_name"), connection.text("/tls/server_name"));
    let resumed = match connection.text("/tls/resumed") {
        "no" => "F",
        "session_id" | "ticket" | "psk" => "T",
        other => other,
    };
    // Without a ServerHello Zeek prints what it begins with.
    if !column(row, "version").is_empty() {
        comparison.field("resumed", column(row, "resumed"), resumed);
    }
    comparison.field("alpn", column(row, "next_protocol"), connection.text("/tls/alpn"));
    for (name, side) in [("cert_chain_fps", "server"), ("client_cert_chain_fps", "client")] {
        if row.contains_key(name) {
            let theirs: Vec<&str> = column(row, name).split(',').filter(|text| !text.is_empty()).collect();
            comparison.field(name, chain_in_short(&theirs), chain_in_short(&connection.shown_chain(side)));
        }
    }
    comparison
}

/// As the record names it: `TLSv12` is `1.2`, `TLSv13-draft23` is `1.3-draft-23`, a number stays one.
fn version_name(theirs: &str) -> String {
    if let Some(number) = theirs.strip_prefix("unknown-").and_then(|number| number.parse::<u16>().ok()) {
        return tshark::version_name(&format!("0x{number:04x}"));
    }
    let Some(version) = theirs.strip_prefix("TLSv") else { return theirs.to_owned() };
    let (digits, variant) = version.split_once('-').unwrap_or((version, ""));
    let (major, minor) = digits.split_at(digits.len().min(1));
    match variant.strip_prefix("draft") {
        Some(draft) => format!("{major}.{minor}-draft-{draft}"),
        None if variant.is_empty() => format!("{major}.{minor}"),
        None => format!("{major}.{minor}-{}", variant.to_lowercase()),
    }
}

/// Compares what was read from certificates, wherever the replay met the same one.
fn certificates(folder: &Folder, replays: &Replays, ledger: &mut Ledger) -> Result<()> {
    let mut ours: BTreeMap<&str, (&str, &Value)> = BTreeMap::new();
    for (file, replay) in replays.iter() {
        for (fingerprint, certificate) in &replay.certificates {
            ours.entry(fingerprint).or_insert((file, certificate));
        }
    }
    let mut compared = std::collections::BTreeSet::new();
    let mut elsewhere = 0;
    for (_, path) in logs(folder, &["x509"])? {
        for row in rows(&path)? {
            let fingerprint = column(&row, "fingerprint");
            match ours.get(fingerprint) {
                Some((file, certificate)) => {
                    if compared.insert(fingerprint.to_owned()) {
                        let stream = chain_in_short(&[fingerprint]);
                        ledger.enter(WITNESS, file, &stream, &certificate_fields(&row, certificate));
                    }
                }
                None => elsewhere += 1,
            }
        }
    }
    println!("x509.log: {} certificates compared, {elsewhere} rows not met in TLS over TCP", compared.len());
    Ok(())
}

fn certificate_fields(row: &Row, certificate: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    let text = |pointer: &str| at(certificate, pointer).as_str().unwrap_or_default();
    let digits = |serial: &str| serial.trim_start_matches('0').to_lowercase();
    comparison.field("serial", digits(column(row, "certificate.serial")), digits(text("/serial")));
    for (name, pointer) in
        [("certificate.not_valid_before", "/not_before"), ("certificate.not_valid_after", "/not_after")]
    {
        let theirs = column(row, name).split('.').next().unwrap_or_default();
        let name = if pointer == "/not_before" { "not_before" } else { "not_after" };
        comparison.field(
            name,
            theirs,
            seconds(text(pointer)).map(|time| time.to_string()).unwrap_or_default(),
        );
    }
    let bits = at(certificate, "/key_bits").as_u64().map(|bits| bits.to_string()).unwrap_or_default();
    comparison.field("key_length", column(row, "certificate.key_length"), bits);
    let ours: Vec<&str> =
        at(certificate, "/san/dns").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    comparison.field("san_dns", column(row, "san.dns"), ours.join(","));
    let is_ca = match at(certificate, "/is_ca") {
        Value::Bool(true) => "T",
        _ => "F",
    };
    let theirs = if column(row, "basic_constraints.ca") == "T" { "T" } else { "F" };
    comparison.field("is_ca", theirs, is_ca);
    comparison
}

/// Seconds since the epoch of `2013-10-17T20:10:19…Z` (days from civil, Hinnant).
fn seconds(time: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year_of_era = shifted.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[test]
fn versions_and_times_are_read_as_zeek_means_them() {
    assert_eq!(version_name("TLSv12"), "1.2");
    assert_eq!(version_name("TLSv13-draft23"), "1.3-draft-23");
    assert_eq!(version_name("unknown-32257"), "1.3-experiment-1");
    assert_eq!(version_name("SSLv3"), "SSLv3");
    assert_eq!(seconds("2013-10-17T20:10:19.000000000Z"), Some(1_382_040_619));
    assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
}
