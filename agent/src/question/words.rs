//! What a connection's record says, in sentences.

use std::fmt::Write as _;

use crate::record::{
    Authentication, CertificateRecord, ConfidenceName, ConnectionRecord, Encryption, EndpointRecord,
    EvidenceName, ExplanationStepRecord, FindingRecord, IdentityFitName, SideName, Text, VerificationName,
    WallTime,
};
use crate::verdict::Code;

fn step(topic: impl Into<Text>, at: Option<WallTime>, text: String) -> ExplanationStepRecord {
    ExplanationStepRecord { topic: topic.into(), at, text }
}

/// When it was seen, from where, and whether all of it was.
pub(super) fn observation(record: &ConnectionRecord) -> Vec<ExplanationStepRecord> {
    let mut opened = format!("{} opened a connection to {}", socket(&record.client), socket(&record.server));
    if let (Some(address), Some(port)) = (&record.server.dialled_address, record.server.dialled_port) {
        let _ = write!(opened, ", having dialled {}", at(address, port));
    }
    let _ = write!(opened, " ({}).", record.scope);
    match (&*record.source, &record.file) {
        ("replay", Some(file)) => {
            let _ = write!(opened, " It was read from the capture {file}.");
        }
        _ => {
            let sides: Vec<&str> = record.observed_from.iter().map(|side| side.as_str()).collect();
            if !sides.is_empty() {
                let _ = write!(opened, " Of its ends the {} is on this host.", sides.join(" and the "));
            }
        }
    }
    let mut steps = vec![step("observation", Some(record.opened), opened)];
    if let Some(decided) = record.decided {
        steps.push(step(
            "observation",
            Some(decided),
            format!("The verdict was found {} after that.", after(record, decided)),
        ));
    }
    if let Some(closed) = record.closed {
        let how = record.close_reason.map_or("unknown", |reason| reason.as_str());
        let mut text = format!("It ended {} after it was opened ({how}).", after(record, closed));
        if let Some(bytes) = record.bytes {
            let (client, server) = (bytes.client_to_server, bytes.server_to_client);
            let _ = write!(text, " The client had sent {client} bytes, the server {server} bytes.");
        }
        steps.push(step("observation", Some(closed), text));
    } else {
        steps.push(step("observation", None, "Its end was not seen.".to_owned()));
    }
    if !record.capture_complete {
        let why = record.capture_reason.as_deref().unwrap_or("no reason is given");
        steps.push(step("observation", None, format!("Not all of its handshake was seen: {why}.")));
    }
    steps
}

/// Who held its two sockets, and how that is known.
pub(super) fn ends(record: &ConnectionRecord) -> [ExplanationStepRecord; 2] {
    [("client", &record.client), ("server", &record.server)].map(|(side, end)| {
        let mut text = match &end.process {
            Some(process) => {
                let user = process.user.as_ref().map_or(String::new(), |user| format!(" {user}"));
                let path = process.executable.as_deref().unwrap_or("an unknown executable");
                let source = end.owner_source.as_deref().or_else(|| source(end));
                let source = source.map_or(String::new(), |source| format!("; known by {source}"));
                format!(
                    "The {side} was {}[{}], {path}, user {}{user}{source}.",
                    process.comm, process.pid, process.uid
                )
            }
            None => {
                let why = end.process_unknown.as_deref().unwrap_or("no reason is given");
                format!("Which process the {side} was is not known: {why}.")
            }
        };
        let others = end
            .processes
            .iter()
            .filter(|holder| end.process.as_ref().is_none_or(|owner| owner.pid != holder.process.pid));
        let others: Vec<String> = others
            .map(|holder| {
                format!(
                    "{}[{}] ({}, known by {})",
                    holder.process.comm, holder.process.pid, holder.role, holder.source
                )
            })
            .collect();
        if !others.is_empty() {
            let _ = write!(text, " Others held its socket: {}.", others.join(", "));
        }
        if let Some(workload) = &end.workload {
            let _ = write!(text, " It belongs to {} {}.", workload.kind, workload.name);
            if let Some(unknown) = &workload.unknown {
                let _ = write!(text, " Some names of that are missing: {unknown}.");
            }
        }
        if let Some(owner) = end.labels.as_ref().and_then(|labels| labels.owner.as_ref()) {
            let _ = write!(text, " By the file of owners {owner} answers for it.");
        }
        step(side, None, text)
    })
}

fn source(end: &EndpointRecord) -> Option<&str> {
    let owner = end.process.as_ref()?;
    end.processes.iter().find(|holder| holder.process.pid == owner.pid).map(|holder| &*holder.source)
}

/// What was spoken, and how it was protected.
pub(super) fn protocol(record: &ConnectionRecord) -> Vec<ExplanationStepRecord> {
    let spoken = match &record.upgraded_from {
        Some(before) => format!("It began as {before} and switched to {}", record.protocol),
        None => format!("Its protocol is {}", record.protocol),
    };
    let protected = match record.encryption {
        Encryption::None => "its bytes were not protected",
        Encryption::Tls => "its bytes were encrypted by TLS",
        Encryption::IntegrityOnly => "its bytes were authenticated, not encrypted",
        Encryption::Other => "its bytes were encrypted by something else than TLS",
        Encryption::Unknown => "how its bytes were protected is not known",
    };
    let mut steps = vec![step("protocol", None, format!("{spoken}; {protected}."))];
    if let Some(tls) = &record.tls {
        let mut parts = vec![format!("handshake {}", tls.handshake)];
        let facts = [
            ("version", tls.version.as_deref()),
            ("cipher suite", tls.cipher_suite.as_deref()),
            ("server name", tls.server_name.as_deref()),
            ("ALPN", tls.alpn.as_deref()),
            ("JA4", tls.ja4.as_deref()),
            ("history", Some(tls.history.as_str()).filter(|history| !history.is_empty())),
        ];
        parts.extend(facts.iter().filter_map(|(name, value)| Some(format!("{name} {}", (*value)?))));
        parts.extend(
            tls.alerts
                .iter()
                .map(|alert| format!("alert {} {} from the {}", alert.level, alert.description, alert.from)),
        );
        let mut text = format!("Of TLS was seen: {}.", parts.join(", "));
        match &*tls.resumed {
            "no" => {}
            "unknown" => text.push_str(" Whether it resumes a session is not known."),
            how => {
                let _ = write!(text, " It resumes a session ({how}).");
            }
        }
        let _ = write!(text, " Client authentication: {}", tls.client_authentication);
        if let Some(outcome) = &tls.client_authentication_outcome {
            let _ = write!(text, ", {outcome}");
        }
        text.push('.');
        steps.push(step("protocol", None, text));
    }
    let examined = record.cleartext_examined;
    match &record.credential_in_clear {
        Some(kind) => {
            steps.push(step("protocol", None, format!("A credential crossed unencrypted: {kind}.")))
        }
        None if examined.client + examined.server > 0 => {
            let text = format!(
                "No credential was found in the first {} bytes of the client and {} of the server in clear.",
                examined.client, examined.server
            );
            steps.push(step("protocol", None, text));
        }
        None => {}
    }
    steps
}

/// What was established, and how that is known of each side.
pub(super) fn authentication(record: &ConnectionRecord) -> Vec<ExplanationStepRecord> {
    let meaning = match record.authentication {
        Authentication::None => "nobody proved who it is",
        Authentication::ServerOnly => "only the server proved who it is",
        Authentication::Mutual => "both sides proved who they are",
        Authentication::Anonymous => "it was encrypted, and nobody proved who it is",
        Authentication::Psk => "both sides proved that they know a key",
        Authentication::NotEstablished => "the handshake failed: nothing was established",
        Authentication::Unknown => "what was established is not known",
    };
    let mut text = format!("Authentication is {}: {meaning}.", record.authentication);
    if let Some(reason) = &record.evidence.reason {
        let _ = write!(text, " What is unknown is so because: {reason}.");
    }
    if let Some(disagreement) = record.evidence.disagreement {
        let _ = write!(text, " Sources say different things: {disagreement}.");
    }
    let sides = [
        ("server", record.evidence.server, record.confidence.server),
        ("client", record.evidence.client, record.confidence.client),
    ];
    let mut steps = vec![step("authentication", record.decided, text)];
    steps.extend(sides.map(|(side, evidence, confidence)| {
        let how = match evidence {
            EvidenceName::Certificate => "seen: the certificate in clear and the proof of its key",
            EvidenceName::Handshake => "seen: messages of the handshake in clear",
            EvidenceName::Library => "seen where a TLS library of this host handled the certificate",
            EvidenceName::Inferred => "inferred from the sizes and the order of encrypted records",
            EvidenceName::Inherited => "taken over from the session that it resumes",
            EvidenceName::Unknown => "not known",
            EvidenceName::None => "not asked: it is not TLS",
        };
        let surely = match confidence {
            Some(ConfidenceName::High) => "; confidence high",
            Some(ConfidenceName::Medium) => "; confidence medium",
            None => "",
        };
        step(
            "authentication",
            None,
            format!("The {side}'s side of this is {how} (evidence {evidence}{surely})."),
        )
    }));
    steps
}

/// What an end presented, what its peer did about it, and whether the end may present it.
pub(super) fn certificates(
    side: &'static str,
    end: &EndpointRecord,
    peer: &EndpointRecord,
    known: &[(&str, Option<CertificateRecord>)],
    record: &ConnectionRecord,
) -> Vec<ExplanationStepRecord> {
    let mut steps = Vec::new();
    if let Some(from) = &end.inherited_from {
        steps.push(step("certificate", None, format!("The {side} resumes the session of connection {from}: what it is known to have shown, it showed there.")));
    }
    for (position, (fingerprint, certificate)) in known.iter().enumerate() {
        let which = if position == 0 { "the certificate" } else { "with it" };
        let mut text = format!("The {side} presented {which} {fingerprint}");
        match certificate {
            None => text.push_str(", of which only the fingerprint is known."),
            Some(certificate) => text.push_str(&described(certificate, record.opened)),
        }
        steps.push(step("certificate", None, text));
    }
    if known.is_empty() && end.inherited_from.is_none() && record.tls.is_some() {
        steps.push(step("certificate", None, format!("No certificate of the {side} was seen.")));
    }
    if let Some(identity) = &end.identity {
        steps.push(step("certificate", None, format!("By that the {side} is {identity}.")));
    }
    if let Some(verification) = peer.verification {
        let other = if side == SideName::Client.as_str() { "server" } else { "client" };
        let text = match verification {
            VerificationName::Verified => {
                format!("The {side}'s certificate was verified by the {other}'s TLS library.")
            }
            VerificationName::FailedOverridden => {
                format!(
                    "Verification of the {side}'s certificate by the {other} failed, and the connection was used all the same."
                )
            }
            VerificationName::NotAttempted => format!("The {other} did not verify the {side}'s certificate."),
            VerificationName::Custom => format!(
                "The {other} verified the {side}'s certificate by code of its own, whose answer was not seen."
            ),
            VerificationName::Unknown => {
                format!("Whether the {other} verified the {side}'s certificate is not known.")
            }
        };
        steps.push(step("certificate", None, text));
    }
    if let Some(fit) = &end.identity_fit {
        let mut text = match fit.status {
            IdentityFitName::Fits => format!("By the rules the {side}'s workload may present it"),
            IdentityFitName::DoesNotFit => format!("By the rules the {side}'s workload may not present it"),
            IdentityFitName::NoRule => format!("No rule says what the {side}'s workload may present"),
            IdentityFitName::Unknown => format!("Whether the {side}'s workload may present it is not known"),
        };
        let reasons = [
            fit.rule.as_deref().map(|rule| format!("rule {rule}")),
            fit.reason.as_deref().map(str::to_owned),
        ];
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        if !reasons.is_empty() {
            let _ = write!(text, " ({})", reasons.join(", "));
        }
        if !fit.expected.is_empty() {
            let _ = write!(text, "; it expects {}", fit.expected.join(", "));
        }
        text.push('.');
        steps.push(step("certificate", None, text));
    }
    steps
}

fn described(certificate: &CertificateRecord, opened: WallTime) -> String {
    let mut text = String::new();
    let parts =
        [("of", &certificate.subject), ("issued by", &certificate.issuer), ("serial", &certificate.serial)];
    for (name, value) in parts {
        if let Some(value) = value {
            let _ = write!(text, ", {name} {value}");
        }
    }
    if let (Some(from), Some(to)) = (certificate.not_before, certificate.not_after) {
        let was = match (opened < from, opened > to) {
            (true, _) => "was not valid yet",
            (_, true) => "had expired",
            (false, false) => "was valid then",
        };
        let _ = write!(text, ", valid from {from} to {to}, which {was}");
    }
    if let Some(problem) =
        certificate.parse_error.as_ref().or(certificate.svid_problem.as_deref().map(str::to_owned).as_ref())
    {
        let _ = write!(text, "; what is wrong with it: {problem}");
    }
    text.push('.');
    text
}

/// What the policy says, and what to do.
pub(super) fn finding(code: &str, found: Option<&FindingRecord>) -> ExplanationStepRecord {
    let summary = found.map_or(String::new(), |found| format!(" {}", found.summary));
    let remedy = found.map(|found| &*found.remedy).or_else(|| Code::from_name(code).map(Code::remedy));
    let remedy = remedy.map_or(String::new(), |remedy| format!(" Remedy: {remedy}"));
    step("finding", None, format!("{code}.{summary}{remedy}"))
}

/// What nobody looked at.
pub(super) fn not_evaluated(record: &ConnectionRecord) -> ExplanationStepRecord {
    let ends = [("client", &record.client), ("server", &record.server)];
    let mut missing = Vec::new();
    for (side, end) in ends {
        if end.trust.is_none() {
            missing.push(format!(
                "trust in the {side}'s certificate (whether its chain leads to an issuer that is trusted)"
            ));
        }
        if end.verification.is_none() {
            missing.push(format!(
                "what the {side} did about its peer's certificate (no TLS library of this host showed it)"
            ));
        }
        if end.identity_fit.is_none() {
            missing.push(format!("whether the {side} may present its certificate"));
        }
    }
    if record.authorization.is_none() {
        missing.push("whether the connection is allowed".to_owned());
    }
    missing.push("revocation".to_owned());
    step("not_evaluated", None, format!("Not evaluated: {}.", missing.join("; ")))
}

fn socket(end: &EndpointRecord) -> String {
    at(&end.address, end.port)
}

fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// `3.2 ms`
fn after(record: &ConnectionRecord, time: WallTime) -> String {
    let nanoseconds = time.0.saturating_sub(record.opened.0) as f64;
    match nanoseconds {
        small if small < 1e6 => format!("{:.0} µs", small / 1e3),
        small if small < 1e9 => format!("{:.1} ms", small / 1e6),
        large => format!("{:.1} s", large / 1e9),
    }
}
