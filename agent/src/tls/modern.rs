//! TLS 1.3: the hellos, and what record geometry and causality say about the rest.

use smallvec::SmallVec;

use super::handshake::Handshake;
use super::inference::{Geometry, Inference, Rest, ends_early_data, infer, is_alert_sized};
use super::message::kind;
use super::outline::{Entry, What};
use super::stream::APPLICATION_DATA;
use super::{
    ClientAuthentication, ClientOutcome, HandshakeState, Resumption, ServerAuthentication, UnknownReason,
    Version,
};

/// Records among which the end of early data is looked for, counted from the client's first that follows the
/// ServerHello: only early data already on its way when the ServerHello arrived can precede it.
const MAX_LATE_EARLY_RECORDS: usize = 16;

/// The client's encrypted records: most flights are no longer, and looked at several times while they grow.
type Flight = SmallVec<[Entry; 6]>;
/// Their lengths.
type Lengths = SmallVec<[u16; 16]>;

/// Sets the facts that follow from both outlines. Returns whether they are final.
pub(super) fn conclude(handshake: &mut Handshake) -> bool {
    let Some(server_hello) = handshake.server.outline.find(kind::SERVER_HELLO).copied() else {
        return fail_by_alert(handshake);
    };
    let flight = client_flight(handshake, server_hello.end);
    // What the client had seen when it sent its flight belongs before it, whichever was observed first.
    let behind =
        flight.first().is_some_and(|first| !handshake.has_seen(&handshake.server, first.acknowledged));
    handshake.waits |= behind;
    if !handshake.facts.version.is_some_and(Version::has_final_form) {
        let suite = handshake.facts.cipher_suite.unwrap_or_default();
        let went_on = flight.first().is_some_and(|first| {
            let mut answers = handshake.server.outline.encrypted(APPLICATION_DATA);
            answers.any(|entry| entry.acknowledged >= first.end && !is_alert_sized(suite, length(entry)))
        });
        return unread(handshake, went_on) || fail_by_alert(handshake);
    }
    let pre_shared_key = handshake.choice.as_ref().is_some_and(|choice| choice.pre_shared_key);
    let decided = if pre_shared_key {
        handshake.facts.resumption = Resumption::Psk;
        !handshake.waits && resumed(handshake, &flight)
    } else {
        handshake.facts.resumption = Resumption::No;
        authenticated(handshake, &flight)
    };
    decided || fail_by_alert(handshake)
}

/// Drafts before 22: what they encrypt differs, and a pre-shared key did not yet rule out certificates.
fn unread(handshake: &mut Handshake, went_on: bool) -> bool {
    let reason = UnknownReason::VersionNotEvaluated;
    handshake.facts.server_authentication = ServerAuthentication::Unknown(reason);
    handshake.facts.client_authentication = ClientAuthentication::Unknown(reason);
    // What it did rule out is a resumption without one.
    if !handshake.choice.as_ref().is_none_or(|choice| choice.pre_shared_key) {
        handshake.facts.resumption = Resumption::No;
    }
    if went_on {
        handshake.facts.handshake = HandshakeState::Complete;
    }
    went_on
}

fn fail_by_alert(handshake: &mut Handshake) -> bool {
    let fatal = handshake.has_fatal_alert();
    if fatal && handshake.facts.handshake == HandshakeState::Incomplete {
        handshake.facts.handshake = HandshakeState::Failed;
    }
    fatal
}

/// The client's encrypted records after the last ClientHello, without early data: what it sent before it had the
/// ServerHello.
fn client_flight(handshake: &mut Handshake, server_hello_end: u64) -> Flight {
    let offered = handshake.facts.early_data_offered;
    let mut flight = Flight::new();
    for entry in handshake.client.outline.entries() {
        match entry.what {
            What::Message(kind::CLIENT_HELLO) => flight.clear(),
            What::Encrypted { content: APPLICATION_DATA, .. } => {
                if offered && entry.acknowledged < server_hello_end {
                    handshake.facts.early_data_sent = true;
                } else {
                    flight.push(*entry);
                }
            }
            _ => {}
        }
    }
    flight
}

/// Rule 1: a pre-shared key, so no certificate on either side in this handshake.
fn resumed(handshake: &mut Handshake, flight: &[Entry]) -> bool {
    let suite = handshake.facts.cipher_suite.unwrap_or_default();
    let client = lengths(flight);
    handshake.facts.server_authentication = ServerAuthentication::Resumed;
    handshake.facts.client_authentication =
        ClientAuthentication::Unknown(UnknownReason::ResumptionOriginNotVisible);
    if handshake.facts.early_data_sent {
        let full = client.len() >= MAX_LATE_EARLY_RECORDS || handshake.closed.is_some();
        if ends_early_data(suite, &client) != Some(true) {
            if full {
                handshake.facts.client_authentication =
                    ClientAuthentication::Unknown(UnknownReason::EarlyData);
            }
            return full || handshake.client.broken().is_some();
        }
        handshake.facts.handshake = HandshakeState::Complete;
        return true;
    }
    match client[..] {
        [] => false,
        [only] if is_alert_sized(suite, only) => {
            if handshake.closed.is_some() {
                handshake.facts.handshake = HandshakeState::Failed;
            }
            false
        }
        [..] => {
            handshake.flight_end = flight.first().map(|entry| entry.end);
            handshake.facts.handshake = HandshakeState::Complete;
            true
        }
    }
}

/// Rules 2 to 7, and what the server made of it.
fn authenticated(handshake: &mut Handshake, flight: &[Entry]) -> bool {
    let suite = handshake.facts.cipher_suite.unwrap_or_default();
    let inference = handshake.inference.unwrap_or_else(|| look(handshake, suite, flight));
    let first_end = flight.first().map(|entry| entry.end);
    let broken = handshake.client.broken().is_some();
    match inference {
        Inference::Wait => {
            handshake.facts.client_authentication = ClientAuthentication::Unknown(handshake.unseen());
            if flight.first().is_some_and(|entry| !is_alert_sized(suite, length(entry))) {
                handshake.facts.server_authentication = ServerAuthentication::Inferred;
            } else if broken {
                handshake.facts.server_authentication = ServerAuthentication::Unknown(handshake.unseen());
            }
            broken
        }
        Inference::Aborted => {
            handshake.inference = Some(inference);
            handshake.facts.handshake = HandshakeState::Failed;
            true
        }
        Inference::Decided { authentication, records } => {
            handshake.inference = Some(inference);
            handshake.facts.client_authentication = authentication;
            let Some(first_end) = first_end else { return true };
            handshake.facts.server_authentication = ServerAuthentication::Inferred;
            let end = flight.get(records - 1).map_or(first_end, |entry| entry.end);
            handshake.flight_end = Some(end);
            judge(handshake, suite, authentication, first_end, end)
        }
    }
}

/// Runs the inference on what is there, once all that the client had seen by then is here too.
fn look(handshake: &Handshake, suite: u16, flight: &[Entry]) -> Inference {
    let client = lengths(flight);
    let closed = handshake.closed.is_some();
    let rest = if closed { Rest::Closed } else { Rest::Open };
    let early_data = handshake.facts.early_data_sent;
    let Some(first) = flight.first() else {
        return if closed && handshake.client.broken().is_none() {
            infer(Geometry { suite, client: &client, server_flight: None, rest, early_data })
        } else {
            Inference::Wait
        };
    };
    let server = &handshake.server;
    if handshake.waits {
        return Inference::Wait;
    }
    let server_complete = server.seen_to() >= first.acknowledged;
    let server_records: Lengths = server
        .outline
        .encrypted(APPLICATION_DATA)
        .filter(|entry| entry.end <= first.acknowledged && entry.acknowledged <= first.start)
        .map(length)
        .collect();
    let whole = server_complete && server.outline.is_whole_to(first.acknowledged);
    let server_flight = whole.then_some(&server_records[..]);
    let geometry = Geometry { suite, client: &client, server_flight, rest, early_data };
    match infer(geometry) {
        Inference::Wait => match answered(handshake, flight) {
            Some(records) => infer(Geometry { client: &client[..records], rest: Rest::Answered, ..geometry }),
            None => Inference::Wait,
        },
        other => other,
    }
}

/// How many records of the flight the server had, exactly, when it first sent something after the first of them.
fn answered(handshake: &Handshake, flight: &[Entry]) -> Option<usize> {
    let first = flight.first()?;
    let mut server = handshake.server.outline.encrypted(APPLICATION_DATA);
    let boundary = server.find(|entry| entry.acknowledged >= first.end)?.acknowledged;
    flight.iter().position(|entry| entry.end == boundary).map(|index| index + 1)
}

/// Accepted or rejected: what the server sent once it had the client's flight, up to `flight_end`.
fn judge(
    handshake: &mut Handshake,
    suite: u16,
    authentication: ClientAuthentication,
    first_end: u64,
    flight_end: u64,
) -> bool {
    let server = &handshake.server;
    let answers = server.outline.encrypted(APPLICATION_DATA).filter(|entry| entry.acknowledged >= first_end);
    let (mut went_on, mut alerts) = (false, false);
    for entry in answers {
        let length = length(entry);
        if is_alert_sized(suite, length) {
            alerts = true;
        } else if entry.acknowledged >= flight_end {
            went_on = true;
        }
    }
    let blind = server.broken().is_some();
    let ended = handshake.closed.is_some();
    let outcome = if went_on {
        ClientOutcome::Accepted
    } else if alerts && ended && !blind {
        ClientOutcome::Rejected
    } else {
        ClientOutcome::Unknown
    };
    let facts = &mut handshake.facts;
    facts.handshake = match (authentication, outcome) {
        (ClientAuthentication::NotRequested(_), _) | (_, ClientOutcome::Accepted) => HandshakeState::Complete,
        (_, ClientOutcome::Rejected) => HandshakeState::Failed,
        (_, ClientOutcome::Unknown) => facts.handshake,
    };
    match authentication {
        ClientAuthentication::NotRequested(_) => true,
        ClientAuthentication::Unknown(_) => went_on || ended || blind,
        ClientAuthentication::RequestedNoneSent(_) | ClientAuthentication::Presented(_) => {
            facts.client_outcome = outcome;
            went_on || ended || blind
        }
    }
}

fn length(entry: &Entry) -> u16 {
    match entry.what {
        What::Encrypted { length, .. } => length,
        _ => 0,
    }
}

fn lengths(entries: &[Entry]) -> Lengths {
    entries.iter().map(length).collect()
}
