//! What the facts of a connection amount to: protected how, who proved an identity, how that is known.
//!
//! A conclusion says what was *established*, not what policy thinks of it. Where a fact is missing it says which.

use crate::cleartext;
use crate::record::{Authentication, ConfidenceName, Encryption, EvidenceName};
use crate::tls::{
    self, ClientAuthentication, ClientOutcome, HandshakeState, ServerAuthentication, Sight, TlsFacts,
    UnknownReason,
};

use super::sessions::Origin;

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// No byte of payload so far.
    Silent,
    /// TLS or SSL 3.
    Tls,
    /// An application protocol that was recognised, in clear unless it protects itself.
    Named(cleartext::Protocol),
    /// Bytes that are no TLS and were not recognised.
    Unknown,
}

impl Protocol {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Silent => "silent",
            Protocol::Tls => "tls",
            Protocol::Named(protocol) => protocol.as_str(),
            Protocol::Unknown => "unknown",
        }
    }
}

/// How the answer about one side is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// By what.
    pub kind: EvidenceName,
    /// How surely; `None` where nothing is claimed.
    pub confidence: Option<ConfidenceName>,
}

impl Evidence {
    const NONE: Evidence = Evidence { kind: EvidenceName::None, confidence: None };
    const UNKNOWN: Evidence = Evidence { kind: EvidenceName::Unknown, confidence: None };

    fn sure(kind: EvidenceName) -> Evidence {
        Evidence { kind, confidence: Some(ConfidenceName::High) }
    }

    fn seen(sight: Sight, in_clear: EvidenceName) -> Evidence {
        match sight {
            Sight::Clear => Evidence::sure(in_clear),
            Sight::InferredHigh => Evidence::sure(EvidenceName::Inferred),
            Sight::InferredMedium => {
                Evidence { kind: EvidenceName::Inferred, confidence: Some(ConfidenceName::Medium) }
            }
        }
    }
}

/// The verdict of the wire on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conclusion {
    /// What it carries.
    pub protocol: Protocol,
    /// How it is protected.
    pub encryption: Encryption,
    /// What was established.
    pub authentication: Authentication,
    /// How the server's part is known.
    pub server: Evidence,
    /// How the client's part is known.
    pub client: Evidence,
    /// Why something of it is unknown.
    pub reason: Option<UnknownReason>,
}

impl Conclusion {
    /// A conclusion that nothing is known, for this reason.
    pub fn unknown(protocol: Protocol, reason: UnknownReason) -> Self {
        Conclusion {
            protocol,
            encryption: Encryption::Unknown,
            authentication: Authentication::Unknown,
            server: Evidence::UNKNOWN,
            client: Evidence::UNKNOWN,
            reason: Some(reason),
        }
    }

    /// No byte was sent: nothing was protected and nobody proved anything, which is certain only when it is over.
    pub fn silent() -> Self {
        Conclusion {
            protocol: Protocol::Silent,
            encryption: Encryption::None,
            authentication: Authentication::None,
            server: Evidence::NONE,
            client: Evidence::NONE,
            reason: None,
        }
    }

    /// What bytes that are no TLS amount to. Only what is known to be in clear is called unprotected.
    /// Bytes that merely look like text are not: the next ones may start TLS.
    pub fn of_cleartext(name: cleartext::Name) -> Self {
        use cleartext::Name::{Found, Incomplete, SoFar, Unknown};
        match name {
            Found(protocol) | SoFar(protocol) if protocol.protects_itself() => Conclusion {
                encryption: Encryption::Other,
                ..Conclusion::unknown(Protocol::Named(protocol), UnknownReason::OtherProtocol)
            },
            Found(protocol) | SoFar(protocol) if protocol.may_protect_itself() => {
                Conclusion::unknown(Protocol::Named(protocol), UnknownReason::OtherProtocol)
            }
            Found(protocol) | SoFar(protocol) => {
                Conclusion { protocol: Protocol::Named(protocol), ..Conclusion::silent() }
            }
            Unknown | Incomplete => {
                Conclusion::unknown(Protocol::Unknown, UnknownReason::ProtocolNotRecognised)
            }
        }
    }

    /// What is left of it after a second handshake that cannot be read (TLS ≤ 1.2).
    pub fn renegotiated(self) -> Self {
        Conclusion {
            authentication: Authentication::Unknown,
            client: Evidence::UNKNOWN,
            reason: Some(UnknownReason::Renegotiation),
            ..self
        }
    }

    /// What TLS facts amount to; `origin` is the handshake whose session this one resumes, if that was seen.
    pub fn of_tls(facts: &TlsFacts, origin: Option<&Origin>) -> Self {
        let (server, server_unknown) = server_evidence(facts);
        let (client, client_unknown) = client_evidence(facts);
        let mut conclusion = Conclusion {
            protocol: Protocol::Tls,
            encryption: encryption(facts),
            authentication: Authentication::Unknown,
            server,
            client,
            reason: None,
        };
        match (established(facts), facts.server_authentication, origin) {
            (Established::Failed, _, _) => conclusion.authentication = Authentication::NotEstablished,
            (Established::NotKnown(reason), _, _) => conclusion.reason = Some(reason),
            (Established::Yes, ServerAuthentication::Resumed, Some(origin))
                if origin.authentication == Authentication::Mutual
                    && facts.client_outcome != ClientOutcome::Accepted =>
            {
                // A ticket can be replayed by whoever saw it: only a server that goes on has found the key right.
                conclusion.reason = Some(UnknownReason::OutcomeNotVisible);
            }
            (Established::Yes, ServerAuthentication::Resumed, Some(origin)) => {
                conclusion.authentication = origin.authentication;
                conclusion.server = Evidence::sure(EvidenceName::Inherited);
                conclusion.client = Evidence::sure(EvidenceName::Inherited);
                let renegotiated = ClientAuthentication::Unknown(UnknownReason::Renegotiation);
                if facts.client_authentication == renegotiated
                    && origin.authentication != Authentication::Mutual
                {
                    conclusion = conclusion.renegotiated();
                }
            }
            (Established::Yes, _, _) => match server_unknown.or(client_unknown) {
                Some(reason) => conclusion.reason = Some(reason),
                None => (conclusion.authentication, conclusion.reason) = certified(facts),
            },
        }
        conclusion
    }
}

/// Whether the handshake led to a connection.
enum Established {
    Yes,
    Failed,
    NotKnown(UnknownReason),
}

fn established(facts: &TlsFacts) -> Established {
    match (facts.handshake, facts.client_outcome) {
        (HandshakeState::Failed, _) | (_, ClientOutcome::Rejected) => Established::Failed,
        (HandshakeState::MidStream, _) => Established::NotKnown(UnknownReason::MidStream),
        (HandshakeState::Incomplete, _) => {
            let reason = match (facts.client_authentication, facts.incomplete) {
                (ClientAuthentication::Unknown(reason), None) => reason,
                (_, Some(reason)) => reason.into(),
                (_, None) => UnknownReason::Incomplete,
            };
            Established::NotKnown(reason)
        }
        (HandshakeState::Complete, _) => Established::Yes,
    }
}

/// What a complete handshake without a pre-shared session established, both sides being known.
fn certified(facts: &TlsFacts) -> (Authentication, Option<UnknownReason>) {
    let server_proved = match facts.server_authentication {
        ServerAuthentication::Certificate
        | ServerAuthentication::RawPublicKey
        | ServerAuthentication::Inferred => true,
        ServerAuthentication::ExternalPsk => return (Authentication::Psk, None),
        ServerAuthentication::Anonymous => false,
        ServerAuthentication::Resumed | ServerAuthentication::Unknown(_) => {
            return (Authentication::Unknown, Some(UnknownReason::Incomplete));
        }
    };
    match (server_proved, facts.client_authentication, facts.client_outcome) {
        (_, ClientAuthentication::Unknown(reason), _) => (Authentication::Unknown, Some(reason)),
        (false, _, _) => (Authentication::Anonymous, None),
        (true, ClientAuthentication::NotRequested(_), _) => (Authentication::ServerOnly, None),
        (true, ClientAuthentication::RequestedNoneSent(_), ClientOutcome::Accepted) => {
            (Authentication::ServerOnly, None)
        }
        (true, ClientAuthentication::Presented(_), ClientOutcome::Accepted) => (Authentication::Mutual, None),
        (true, ClientAuthentication::RequestedNoneSent(_) | ClientAuthentication::Presented(_), _) => {
            (Authentication::Unknown, Some(UnknownReason::OutcomeNotVisible))
        }
    }
}

fn server_evidence(facts: &TlsFacts) -> (Evidence, Option<UnknownReason>) {
    match facts.server_authentication {
        ServerAuthentication::Certificate => (Evidence::sure(EvidenceName::Certificate), None),
        // The server alone cannot make a client finish: until it did, its flight could be anything.
        ServerAuthentication::Inferred if facts.handshake == HandshakeState::Complete => {
            (Evidence::seen(Sight::InferredHigh, EvidenceName::Inferred), None)
        }
        ServerAuthentication::Inferred => {
            (Evidence::seen(Sight::InferredMedium, EvidenceName::Inferred), None)
        }
        ServerAuthentication::Anonymous
        | ServerAuthentication::ExternalPsk
        | ServerAuthentication::RawPublicKey => (Evidence::sure(EvidenceName::Handshake), None),
        ServerAuthentication::Resumed => (Evidence::UNKNOWN, Some(origin_unknown(facts))),
        ServerAuthentication::Unknown(reason) => (Evidence::UNKNOWN, Some(reason)),
    }
}

fn client_evidence(facts: &TlsFacts) -> (Evidence, Option<UnknownReason>) {
    match facts.client_authentication {
        ClientAuthentication::NotRequested(sight) | ClientAuthentication::RequestedNoneSent(sight) => {
            (Evidence::seen(sight, EvidenceName::Handshake), None)
        }
        // A bare key is no certificate.
        ClientAuthentication::Presented(sight) if facts.client_public_key.is_some() => {
            (Evidence::seen(sight, EvidenceName::Handshake), None)
        }
        ClientAuthentication::Presented(sight) => (Evidence::seen(sight, EvidenceName::Certificate), None),
        ClientAuthentication::Unknown(reason) => (Evidence::UNKNOWN, Some(reason)),
    }
}

fn origin_unknown(facts: &TlsFacts) -> UnknownReason {
    if facts.version.is_some_and(tls::Version::is_modern) {
        UnknownReason::ResumptionOriginNotVisible
    } else {
        UnknownReason::ResumptionOriginNotSeen
    }
}

fn encryption(facts: &TlsFacts) -> Encryption {
    match facts.cipher_suite {
        Some(suite) if tls::suite_is_integrity_only(suite) => Encryption::IntegrityOnly,
        Some(_) => Encryption::Tls,
        // SSLv2 chooses its cipher elsewhere.
        None if facts.version == Some(tls::Version::Ssl2) && facts.handshake == HandshakeState::Complete => {
            Encryption::Tls
        }
        None => Encryption::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(server: ServerAuthentication, client: ClientAuthentication) -> TlsFacts {
        TlsFacts {
            version: Some(tls::Version::Tls12),
            cipher_suite: Some(0xc02b),
            server_authentication: server,
            client_authentication: client,
            client_outcome: ClientOutcome::Accepted,
            handshake: HandshakeState::Complete,
            ..TlsFacts::default()
        }
    }

    #[test]
    fn raw_keys_on_both_sides_are_mutual_without_a_certificate_as_evidence() {
        let facts = TlsFacts {
            client_public_key: Some([1; 32]),
            ..complete(ServerAuthentication::RawPublicKey, ClientAuthentication::Presented(Sight::Clear))
        };
        let conclusion = Conclusion::of_tls(&facts, None);
        assert_eq!(conclusion.authentication, Authentication::Mutual);
        assert_eq!(conclusion.server, Evidence::sure(EvidenceName::Handshake));
        assert_eq!(conclusion.client, Evidence::sure(EvidenceName::Handshake));
    }

    #[test]
    fn sslv2_is_encrypted_and_its_client_is_unknown() {
        let reason = UnknownReason::VersionNotEvaluated;
        let facts = TlsFacts {
            version: Some(tls::Version::Ssl2),
            cipher_suite: None,
            ..complete(ServerAuthentication::Certificate, ClientAuthentication::Unknown(reason))
        };
        let conclusion = Conclusion::of_tls(&facts, None);
        assert_eq!(
            (conclusion.encryption, conclusion.authentication),
            (Encryption::Tls, Authentication::Unknown)
        );
        assert_eq!(conclusion.reason, Some(reason));
    }

    #[test]
    fn a_draft_that_is_not_read_is_never_called_server_only() {
        let reason = UnknownReason::VersionNotEvaluated;
        let unread = (ServerAuthentication::Unknown(reason), ClientAuthentication::Unknown(reason));
        let facts = TlsFacts { version: Some(tls::Version::Tls13Draft(18)), ..complete(unread.0, unread.1) };
        let conclusion = Conclusion::of_tls(&facts, None);
        assert_eq!((conclusion.authentication, conclusion.reason), (Authentication::Unknown, Some(reason)));
    }
}
