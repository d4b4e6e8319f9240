//! The history string: one letter per message, upper case from the client, lower case from the server; the letters
//! are those of Zeek's `ssl_history`.
//!
//! | letter | message | letter | message |
//! |---|---|---|---|
//! | H | HelloRequest | K | ServerKeyExchange |
//! | C | ClientHello | R | CertificateRequest |
//! | S | ServerHello | N | ServerHelloDone |
//! | J | HelloRetryRequest | Y | CertificateVerify |
//! | T | NewSessionTicket | G | ClientKeyExchange |
//! | X | Certificate | F | Finished (encrypted: the first handshake record after ChangeCipherSpec) |
//! | U | CertificateStatus | A | SupplementalData |
//! | I | ChangeCipherSpec | L | alert, in clear or encrypted |
//! | B | heartbeat | D | application data or an encrypted record of TLS 1.3, once per direction |
//! | W | CertificateURL | Z | another handshake message, or an encrypted one that cannot be named |

use super::message::kind;
use super::outline::{Entry, Outline, What};
use super::stream::{ALERT, APPLICATION_DATA, HANDSHAKE};
use super::{Alert, MAX_ALERTS, MAX_HISTORY};

/// Writes history and alerts anew, in the order in which they must have been sent.
pub(super) fn tell(client: &Outline, server: &Outline, history: &mut String, alerts: &mut Vec<Alert>) {
    history.clear();
    alerts.clear();
    // Most handshakes have fewer letters.
    history.reserve(24);
    let (mut client_told, mut server_told) = (Told::default(), Told::default());
    for (from_client, entry) in in_order(client.entries(), server.entries()) {
        if let What::Alert { level, description } = entry.what
            && alerts.len() < MAX_ALERTS
        {
            alerts.push(Alert { from_client, level, description });
        }
        let told = if from_client { &mut client_told } else { &mut server_told };
        if history.len() < MAX_HISTORY
            && let Some(letter) = told.letter(entry.what)
        {
            history.push(if from_client { letter } else { letter.to_ascii_lowercase() });
        }
    }
}

/// Whether the first letter is that of a ClientHello.
pub(super) fn begins_with_client_hello(client: &Outline, server: &Outline) -> bool {
    let first = in_order(client.entries(), server.entries()).next();
    first.is_some_and(|(from_client, entry)| from_client && entry.what == What::Message(kind::CLIENT_HELLO))
}

/// Merges the directions by causality: what a sender had acknowledged came before what it sent. Where neither had
/// seen the other, the client comes first.
fn in_order<'a>(mut client: &'a [Entry], mut server: &'a [Entry]) -> impl Iterator<Item = (bool, &'a Entry)> {
    std::iter::from_fn(move || {
        let server_first = match (client.first(), server.first()) {
            (Some(next), Some(other)) => next.acknowledged >= other.end,
            (next, _) => next.is_none(),
        };
        let side = if server_first { &mut server } else { &mut client };
        let (entry, rest) = side.split_first()?;
        *side = rest;
        Some((!server_first, entry))
    })
}

/// What a direction's history already has.
#[derive(Debug, Default)]
struct Told {
    data: bool,
    finished: bool,
}

impl Told {
    fn letter(&mut self, what: What) -> Option<char> {
        Some(match what {
            What::Message(message) => match message {
                kind::HELLO_REQUEST => 'H',
                kind::CLIENT_HELLO => 'C',
                kind::SERVER_HELLO => 'S',
                kind::NEW_SESSION_TICKET => 'T',
                kind::CERTIFICATE => 'X',
                kind::SERVER_KEY_EXCHANGE => 'K',
                kind::CERTIFICATE_REQUEST => 'R',
                kind::SERVER_HELLO_DONE => 'N',
                kind::CERTIFICATE_VERIFY => 'Y',
                kind::CLIENT_KEY_EXCHANGE => 'G',
                kind::FINISHED => 'F',
                kind::CERTIFICATE_STATUS => 'U',
                21 => 'W',
                23 => 'A',
                _ => 'Z',
            },
            What::HelloRetryRequest => 'J',
            What::ChangeCipherSpec => 'I',
            What::Alert { .. } => 'L',
            What::Encrypted { content: HANDSHAKE, .. } => {
                if std::mem::replace(&mut self.finished, true) {
                    'Z'
                } else {
                    'F'
                }
            }
            What::Encrypted { content: ALERT, .. } => 'L',
            What::Encrypted { content: APPLICATION_DATA, .. } => {
                if std::mem::replace(&mut self.data, true) {
                    return None;
                }
                'D'
            }
            What::Encrypted { .. } => 'B',
        })
    }
}
