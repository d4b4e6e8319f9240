//! What the agent must say of a conversation in clear, and what it must never show.

use std::path::Path;

use anyhow::{Result, ensure};
use countersign_tests::{Agent, Expectation, at, findings_are, text};
use serde_json::Value;

/// Who logs in.
pub const USER: &str = "alice";
/// With which password.
pub const PASSWORD: &str = "correct-horse-battery";

/// The connections to a port, oldest first, once whatever ended before was reported; none of them shows the password.
///
/// # Panics
/// When the password is seen anywhere.
pub fn connections(port: u16) -> Result<Vec<Value>> {
    let agent = Agent::shared();
    agent.fence()?;
    let records = agent.records.closed_to(port, 1)?;
    let findings = agent.records.others("finding");
    for record in records.iter().chain(&findings) {
        assert!(!shows_password(record.to_string().as_bytes()), "the record shows the password: {record}");
    }
    assert!(!shows_password(agent.log().as_bytes()), "the log shows the password:\n{}", agent.log());
    assert_not_written(&agent.folder)?;
    // A finding is about all connections of its kind, and names one of them.
    let is_named = records.iter().any(|record| !at(record, "/credential_in_clear").is_null());
    let is_found = findings.iter().any(|finding| {
        text(finding, "/code") == "credential_in_clear"
            && records.iter().any(|record| at(finding, "/connection") == at(record, "/id"))
    });
    assert_eq!(is_found, is_named, "the finding for {records:#?}\namong {findings:#?}");
    Ok(records)
}

/// The connections to a port are these, each with the credential that crossed in it.
///
/// # Panics
/// When they are others.
pub fn assert_conversations(port: u16, protocol: &str, credentials: &[Option<&str>]) -> Result<()> {
    let records = connections(port)?;
    ensure!(records.len() == credentials.len(), "{} connections: {records:#?}", records.len());
    for (record, credential) in records.iter().zip(credentials) {
        assert_said(record, protocol, *credential);
    }
    Ok(())
}

/// One connection in clear between hosts.
///
/// # Panics
/// When the record says something else.
#[track_caller]
pub fn assert_said(record: &Value, protocol: &str, credential: Option<&str>) {
    let findings: &[&str] = match credential {
        Some(_) => &["unauthenticated_east_west", "credential_in_clear"],
        None => &["unauthenticated_east_west"],
    };
    Expectation::default()
        .is("/protocol", protocol)
        .is("/credential_in_clear", credential)
        .is("/encryption", "none")
        .is("/authentication", "none")
        .is("/upgraded_from", Value::Null)
        .is("/capture_complete", true)
        .with("/findings", findings_are(findings))
        .assert(record);
}

/// The agent keeps its history below `folder`.
fn assert_not_written(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            assert_not_written(&entry.path())?;
        } else if kind.is_file() {
            let content = std::fs::read(entry.path())?;
            assert!(!shows_password(&content), "{} shows the password", entry.path().display());
        }
    }
    Ok(())
}

/// As it is, or anywhere in Base64, as mail and HTTP carry it.
fn shows_password(bytes: &[u8]) -> bool {
    let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    contains(PASSWORD.as_bytes()) || (0..3).any(|before| contains(&in_base64(before)))
}

/// Those symbols of Base64 that stand for bits of the password alone, behind so many other bytes (RFC 4648 section 4).
fn in_base64(before: usize) -> Vec<u8> {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> =
        PASSWORD.bytes().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    // So many of its bits share a symbol with what comes before.
    let shared = (6 - before * 8 % 6) % 6;
    let symbols = bits[shared..].chunks_exact(6);
    symbols.map(|bits| SYMBOLS[bits.iter().fold(0, |value, bit| value << 1 | usize::from(*bit))]).collect()
}

#[test]
fn a_password_in_base64_would_be_noticed() {
    assert!(!shows_password(b"correct-horse"));
    // ":PASSWORD", "u:PASSWORD" and "\0alice\0PASSWORD".
    for shown in [
        &b"OmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ=="[..],
        b"dTpjb3JyZWN0LWhvcnNlLWJhdHRlcnk=",
        b"AGFsaWNlAGNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==",
        b"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5",
    ] {
        assert!(shows_password(shown), "{}", String::from_utf8_lossy(shown));
    }
}
