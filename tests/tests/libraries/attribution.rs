//! What a record shows of the certificates of its connection, and what it may not.

use countersign_tests::{Expectation, Identity, Matcher, Testbed, Version, at};
use serde_json::{Value, json};

/// How much of a chain a library shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// All that was sent.
    Whole,
    /// Nothing of it.
    Nothing,
}

impl Seen {
    fn of(self, identity: &Identity) -> Value {
        match self {
            Self::Whole => json!(identity.fingerprints),
            Self::Nothing => json!([]),
        }
    }

    fn evidence(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Nothing, _) => "inferred",
            (Self::Whole, Version::V1_3) => "library",
            // The wire shows it, and the library agrees.
            (Self::Whole, _) => "certificate",
        }
    }
}

/// What must be in the record of a mutual connection of TLS 1.3.
pub fn mutual(client: (&Identity, Seen), server: (&Identity, Seen)) -> Expectation {
    mutual_of(Version::V1_3, client, server)
}

/// The same of another version.
pub fn mutual_of(version: Version, client: (&Identity, Seen), server: (&Identity, Seen)) -> Expectation {
    let expectation = Expectation::default()
        .is("/client/address", Testbed::CLIENT.to_string())
        .is("/server/address", Testbed::SERVER.to_string())
        .is("/protocol", "tls")
        .is("/tls/version", version.as_str())
        .is("/tls/handshake", "complete")
        .is("/tls/client_authentication", "presented")
        .is("/authentication", "mutual")
        .is("/evidence/client", client.1.evidence(version))
        .is("/evidence/disagreement", Value::Null)
        .is("/client/certificates", client.1.of(client.0))
        .is("/server/certificates", server.1.of(server.0));
    match server.1 {
        Seen::Nothing => expectation,
        Seen::Whole => expectation.is("/evidence/server", server.1.evidence(version)),
    }
}

/// An endpoint about whose verification nothing can be said.
pub fn not_known() -> Matcher {
    Matcher::OneOf(vec![Value::Null, json!("unknown")])
}

/// Certificates in a record that were not shown on its connection.
pub fn wrong(record: &Value, client: &Identity, server: &Identity) -> usize {
    [("/client/certificates", client), ("/server/certificates", server)]
        .into_iter()
        .map(|(pointer, identity)| {
            let shown = at(record, pointer).as_array();
            let foreign = |fingerprint: &&Value| !identity.fingerprints.iter().any(|own| *fingerprint == own);
            shown.map_or(0, |shown| shown.iter().filter(foreign).count())
        })
        .sum()
}

/// Prints the number to watch.
///
/// # Panics
/// When it is not 0.
pub fn none_wrong(what: &str, wrong: usize) {
    println!("{what}: certificates attributed to a wrong connection: {wrong}");
    assert_eq!(wrong, 0, "{what}");
}
