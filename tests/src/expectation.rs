//! What a record must say, and where it says something else.

use std::fmt;

use serde_json::{Value, json};

use crate::{Case, Mode, ServerKind, Testbed, Version, at};

/// What one field must be.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// Exactly this.
    Is(Value),
    /// One of these.
    OneOf(Vec<Value>),
    /// Anything but null and the empty string.
    Present,
    /// A string that begins so.
    Begins(&'static str),
    /// An array with these in any order.
    Set(Vec<Value>),
    /// An array that contains this.
    Contains(Value),
}

impl Matcher {
    fn holds(&self, seen: &Value) -> bool {
        match self {
            Self::Is(value) => seen == value,
            Self::OneOf(values) => values.contains(seen),
            Self::Present => !seen.is_null() && seen != "",
            Self::Begins(start) => seen.as_str().is_some_and(|text| text.starts_with(start)),
            Self::Set(values) => seen.as_array().is_some_and(|seen| {
                seen.len() == values.len() && values.iter().all(|value| seen.contains(value))
            }),
            Self::Contains(value) => seen.as_array().is_some_and(|seen| seen.contains(value)),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(value) => write!(f, "{value}"),
            Self::OneOf(values) => write!(f, "one of {}", json!(values)),
            Self::Present => f.write_str("something"),
            Self::Begins(start) => write!(f, "{start}…"),
            Self::Set(values) => write!(f, "{} in any order", json!(values)),
            Self::Contains(value) => write!(f, "… {value} …"),
        }
    }
}

/// Fields by JSON pointer.
#[derive(Debug, Clone, Default)]
pub struct Expectation(Vec<(&'static str, Matcher)>);

impl Expectation {
    /// Adds a field, or replaces what was expected of it.
    #[must_use]
    pub fn with(mut self, pointer: &'static str, matcher: Matcher) -> Self {
        self.0.retain(|(known, _)| *known != pointer);
        self.0.push((pointer, matcher));
        self
    }

    /// Adds a field with its exact value.
    #[must_use]
    pub fn is(self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.with(pointer, Matcher::Is(value.into()))
    }

    /// Where a record says something else.
    #[must_use]
    pub fn mismatches(&self, record: &Value) -> Vec<String> {
        self.0
            .iter()
            .filter(|(pointer, matcher)| !matcher.holds(at(record, pointer)))
            .map(|(pointer, matcher)| format!("{pointer} is {}, not {matcher}", at(record, pointer)))
            .collect()
    }

    /// Fails with every mismatch and the whole record.
    ///
    /// # Panics
    /// When there is a mismatch.
    #[track_caller]
    pub fn assert(&self, record: &Value) {
        let mismatches = self.mismatches(record);
        assert!(mismatches.is_empty(), "{}\nin {record:#}", mismatches.join("\n"));
    }

    /// The expected value of a field, for the printed table.
    #[must_use]
    pub fn of(&self, pointer: &str) -> String {
        let found = self.0.iter().find(|(known, _)| *known == pointer);
        found.map_or_else(String::new, |(_, matcher)| matcher.to_string())
    }
}

/// The finding codes in any order.
#[must_use]
pub fn findings_are(codes: &[&str]) -> Matcher {
    Matcher::Set(codes.iter().map(|code| json!(code)).collect())
}

/// What the agent looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The wire alone: `[libraries] enabled = false`.
    Wire,
    /// TLS libraries, too.
    Libraries,
}

/// What the peers of one connection did.
#[derive(Debug, Clone)]
pub struct Outcome<'a> {
    /// Of the server and its children.
    pub server_pids: &'a [u32],
    /// Of the client.
    pub client_pid: u32,
    /// Listening port.
    pub port: u16,
    /// Suite that the client reported.
    pub cipher_suite: Option<&'a str>,
    /// Record id of the connection whose session this one resumed.
    pub resumes: Option<&'a str>,
    /// What the agent looks at.
    pub sight: Sight,
}

/// What the record of a connection of the matrix must say.
#[must_use]
pub fn expected(case: &Case, testbed: &Testbed, outcome: &Outcome<'_>) -> Expectation {
    let both = Matcher::Set(vec![json!("client"), json!("server")]);
    let server_pids = outcome.server_pids.iter().map(|pid| json!(pid)).collect();
    let common = Expectation::default()
        .is("/schema", "countersign.connection/1")
        .is("/source", "live")
        .is("/final", true)
        .is("/scope", "east_west")
        .with("/observed_from", both)
        .is("/client/address", Testbed::CLIENT.to_string())
        .is("/server/address", Testbed::SERVER.to_string())
        .is("/server/port", outcome.port)
        .is("/server/dialled_address", Value::Null)
        .is("/client/process/pid", outcome.client_pid)
        .with("/client/process/executable", Matcher::Present)
        .is("/client/owner_source", "connect")
        .with("/server/process/pid", Matcher::OneOf(server_pids))
        .with("/server/process/executable", Matcher::Present)
        .is("/capture_complete", true)
        .with("/opened", Matcher::Present)
        .with("/closed", Matcher::Present)
        .with("/bytes/client_to_server", Matcher::Present);
    match (case.version, outcome.sight) {
        (None, _) => plaintext(common),
        (Some(version), Sight::Wire) => tls(common, case, version, testbed, outcome),
        (Some(version), Sight::Libraries) => {
            verification(tls(common, case, version, testbed, outcome), case, outcome)
        }
    }
}

/// What each end did about its peer's certificate: every client of the matrix verifies.
fn verification(expectation: Expectation, case: &Case, outcome: &Outcome<'_>) -> Expectation {
    let is = |client: Option<&str>, server: Option<&str>| {
        expectation.clone().is("/client/verification", client).is("/server/verification", server)
    };
    let verified = Some("verified");
    match case.mode {
        Mode::Plaintext | Mode::ServerOnly | Mode::RequestedNoneSent => is(verified, None),
        // No certificate was shown again, but Go before 1.21, as Debian has it, hands that of the session to the same function.
        Mode::Resumed if outcome.resumes.is_some() => {
            is(None, (case.server == ServerKind::Go).then_some("unknown"))
        }
        Mode::Mutual | Mode::Resumed => is(verified, verified),
        Mode::Rejected if !case.server.rejects_in_handshake() => is(verified, Some("failed_overridden"))
            .with("/findings", findings_are(&["verification_failed_overridden"])),
        Mode::Rejected if case.server.rejects_with_alert() => is(None, None),
        // Whether the handshake failed is not told.
        Mode::Rejected => expectation,
    }
}

fn plaintext(common: Expectation) -> Expectation {
    common
        .is("/protocol", "http/1")
        .is("/encryption", "none")
        .is("/authentication", "none")
        .is("/evidence/client", "none")
        .is("/evidence/server", "none")
        .is("/tls", Value::Null)
        .with("/findings", findings_are(&["unauthenticated_east_west"]))
}

fn tls(
    common: Expectation,
    case: &Case,
    version: Version,
    testbed: &Testbed,
    outcome: &Outcome<'_>,
) -> Expectation {
    let clear = version == Version::V1_2;
    let library = !clear && outcome.sight == Sight::Libraries;
    let chain = |fingerprints: &[String]| match (clear, library) {
        (false, false) => json!([]),
        _ => json!(fingerprints),
    };
    let suite = outcome.cipher_suite.filter(|suite| suite.starts_with("TLS_"));
    let common = common
        .is("/protocol", "tls")
        .is("/encryption", "tls")
        .is("/tls/version", version.as_str())
        .is("/tls/version_offered", version.as_str())
        .with("/tls/cipher_suite", suite.map_or(Matcher::Begins("TLS_"), |suite| Matcher::Is(suite.into())))
        .with("/tls/cipher_suite_id", Matcher::Begins("0x"))
        .is("/tls/server_name", crate::SERVER_NAME)
        .with("/tls/alpn_offered", Matcher::Contains("http/1.1".into()))
        // TLS 1.3 encrypts the choice.
        .is("/tls/alpn", if clear { json!("http/1.1") } else { Value::Null })
        .with("/session_id", Matcher::Present)
        .is("/tls/handshake", "complete")
        .is("/tls/resumed", "no")
        .is("/evidence/disagreement", Value::Null)
        .is("/server/certificates", chain(&case.server.shows(testbed, &testbed.pki.server)));
    let shown = match (clear, library) {
        (true, _) => "certificate",
        (false, true) => "library",
        (false, false) => "inferred",
    };
    let absent = if clear { "handshake" } else { "inferred" };
    let server_only = |expectation: Expectation| {
        expectation
            .is("/authentication", "server_only")
            .is("/evidence/client", absent)
            .is("/client/certificates", json!([]))
    };
    let presented = |fingerprints: &[String], outcome: &str| {
        common
            .clone()
            .is("/tls/client_authentication", "presented")
            .is("/tls/client_authentication_outcome", outcome)
            .is("/evidence/client", shown)
            .is("/client/certificates", chain(fingerprints))
            .with("/findings", findings_are(&[]))
    };
    match case.mode {
        Mode::Plaintext | Mode::ServerOnly => server_only(common)
            .is("/tls/client_authentication", "not_requested")
            .with("/findings", findings_are(&["server_only_tls_east_west"])),
        Mode::RequestedNoneSent => {
            server_only(common).is("/tls/client_authentication", "requested_none_sent").with(
                "/findings",
                findings_are(&["client_certificate_requested_not_sent", "server_only_tls_east_west"]),
            )
        }
        Mode::Mutual => {
            presented(&testbed.pki.client.fingerprints, "accepted").is("/authentication", "mutual")
        }
        Mode::Rejected => {
            let fingerprints = &testbed.pki.client_untrusted.fingerprints;
            if !case.server.rejects_in_handshake() {
                // It verified the certificate, found it wanting, and went on.
                let found = if library { ["verification_failed_overridden"].as_slice() } else { &[] };
                return presented(fingerprints, "accepted")
                    .is("/authentication", "mutual")
                    .with("/findings", findings_are(found));
            }
            let rejected = presented(fingerprints, "rejected")
                .is("/authentication", "not_established")
                .is("/tls/handshake", "failed");
            if case.server.rejects_with_alert() {
                return rejected;
            }
            // No data and no alert: no acceptance may be told that was never seen.
            let (authentication, outcome) =
                (["not_established", "unknown"].as_slice(), ["unknown", "rejected"].as_slice());
            let any = |names: &[&str]| Matcher::OneOf(names.iter().map(|name| json!(name)).collect());
            rejected
                .with("/authentication", any(authentication))
                .with("/tls/client_authentication_outcome", any(outcome))
                .with("/tls/handshake", any(&["complete", "failed", "incomplete"]))
        }
        Mode::Resumed if outcome.resumes.is_none() => {
            presented(&testbed.pki.client.fingerprints, "accepted").is("/authentication", "mutual")
        }
        Mode::Resumed if clear => common
            .with("/tls/resumed", Matcher::OneOf(vec![json!("ticket"), json!("session_id")]))
            .is("/authentication", "mutual")
            .is("/evidence/client", "inherited")
            .is("/evidence/server", "inherited")
            .is("/client/certificates", json!(testbed.pki.client.fingerprints))
            .is("/client/inherited_from", json!(outcome.resumes))
            .is("/server/inherited_from", json!(outcome.resumes))
            .with("/findings", findings_are(&[])),
        Mode::Resumed => common
            .is("/tls/resumed", "psk")
            .is("/authentication", "unknown")
            .is("/evidence/client", "unknown")
            .is("/evidence/reason", "resumption_origin_not_visible")
            // Nobody shows one, and which session is resumed is encrypted.
            .is("/client/certificates", json!([]))
            .is("/server/certificates", json!([]))
            .with("/findings", findings_are(&[])),
    }
}
