//! Lines of JSON of a capture's connections: most connections say what others have said, except for their names, ends and times.
//!
//! Writing all values of a record is a good part of what a replay costs. So a line is cut where the values stand that are a
//! connection's own, and its pieces serve for each connection of which everything else is the same.

use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;

use memchr::memchr_iter;
use rustc_hash::FxHasher;
use serde::Serialize;

use crate::display::{json_line, json_value};
use crate::record::{ConnectionRecord, EndpointRecord};

/// Patterns kept: more than the pairs of client and server programs that a capture mostly shows.
const PATTERNS: usize = 1024;
/// Longest line (bytes) that is kept as a pattern: with its record it takes about twice as much.
const MAX_LINE: usize = 4 * 1024;

/// Writes connections, and remembers how: about 10 MiB at most.
pub(super) struct ConnectionLines {
    /// By hash; the last one with it stays.
    places: Vec<Place>,
}

#[derive(Default)]
struct Place {
    /// Of the record that came here last: one that comes once needs no pattern.
    last: u64,
    pattern: Option<Box<Pattern>>,
}

/// A line with places for the values that are a connection's own.
struct Pattern {
    record: ConnectionRecord,
    text: Vec<u8>,
    /// Where the values belong in the text, in order.
    ends: Vec<usize>,
}

/// Takes the values that are a connection's own, with their names.
trait OwnValues {
    fn take(&mut self, name: &str, value: &impl Serialize) -> io::Result<()>;
}

/// Hands out what is a connection's own, in the order in which it stands in the line. The rest is compared by [`is_like`].
fn own_values(record: &ConnectionRecord, to: &mut impl OwnValues) -> io::Result<()> {
    to.take("id", &record.id)?;
    to.take("session_id", &record.session_id)?;
    to.take("opened", &record.opened)?;
    to.take("decided", &record.decided)?;
    to.take("closed", &record.closed)?;
    for end in [&record.client, &record.server] {
        to.take("address", &end.address)?;
        to.take("port", &end.port)?;
        to.take("inherited_from", &end.inherited_from)?;
    }
    // In clear it is as long as what was said.
    to.take("cleartext_examined", &record.cleartext_examined)?;
    to.take("bytes", &record.bytes)
}

impl ConnectionLines {
    pub fn new() -> Self {
        ConnectionLines { places: (0..PATTERNS).map(|_| Place::default()).collect() }
    }

    /// Appends a record as a line, as [`json_line`] does.
    pub fn write(&mut self, record: &ConnectionRecord, lines: &mut Vec<u8>) -> io::Result<()> {
        let hash = hash(record);
        // Less than the number of places.
        let place = &mut self.places[(hash >> 32) as usize % PATTERNS];
        if let Some(pattern) = &place.pattern
            && is_like(&pattern.record, record)
        {
            return pattern.fill(record, lines);
        }
        let begin = lines.len();
        json_line(record, lines)?;
        if place.last == hash {
            place.pattern = Pattern::of(record, &lines[begin..]).map(Box::new);
        }
        place.last = hash;
        Ok(())
    }
}

impl Pattern {
    /// Cuts a line; `None` if it is too long, or cannot be cut.
    fn of(record: &ConnectionRecord, line: &[u8]) -> Option<Self> {
        if line.len() > MAX_LINE {
            return None;
        }
        let mut cutter = Cutter { rest: line, text: Vec::with_capacity(line.len()), ends: Vec::new() };
        own_values(record, &mut cutter).ok()?;
        cutter.text.extend_from_slice(cutter.rest);
        Some(Pattern { record: record.clone(), text: cutter.text, ends: cutter.ends })
    }

    fn fill(&self, record: &ConnectionRecord, lines: &mut Vec<u8>) -> io::Result<()> {
        lines.reserve(MAX_LINE);
        let mut filler = Filler { text: &self.text, begin: 0, ends: self.ends.iter(), lines };
        own_values(record, &mut filler)?;
        filler.lines.extend_from_slice(&self.text[filler.begin..]);
        Ok(())
    }
}

struct Cutter<'a> {
    /// What of the line was not cut yet.
    rest: &'a [u8],
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl OwnValues for Cutter<'_> {
    fn take(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let mut member = Vec::new();
        // Within strings quotes are escaped: what is found is the member itself.
        json_value(&name, &mut member)?;
        member.push(b':');
        let named = member.len();
        json_value(value, &mut member)?;
        let mut begins = memchr_iter(b'"', self.rest);
        let found =
            begins.find(|at| self.rest[*at..].starts_with(&member)).ok_or(io::ErrorKind::InvalidData)?;
        let (piece, rest) = self.rest.split_at(found + named);
        self.text.extend_from_slice(piece);
        self.ends.push(self.text.len());
        self.rest = &rest[member.len() - named..];
        Ok(())
    }
}

struct Filler<'a> {
    text: &'a [u8],
    begin: usize,
    ends: std::slice::Iter<'a, usize>,
    lines: &'a mut Vec<u8>,
}

impl OwnValues for Filler<'_> {
    #[inline]
    fn take(&mut self, _name: &str, value: &impl Serialize) -> io::Result<()> {
        // A pattern has as many as there are values.
        let end = *self.ends.next().ok_or(io::ErrorKind::InvalidData)?;
        self.lines.extend_from_slice(&self.text[self.begin..end]);
        self.begin = end;
        Ok(json_value(value, self.lines)?)
    }
}

/// Mostly equal for records that are alike, see [`is_like`], and mostly different for others.
fn hash(record: &ConnectionRecord) -> u64 {
    let mut hasher = FxHasher::default();
    record.tls.as_ref().map(Arc::as_ptr).hash(&mut hasher);
    record.authentication.hash(&mut hasher);
    record.close_reason.hash(&mut hasher);
    record.protocol.hash(&mut hasher);
    record.findings.len().hash(&mut hasher);
    for end in [&record.client, &record.server] {
        end.certificates.first().hash(&mut hasher);
    }
    hasher.finish()
}

/// Whether two records differ at most in [`own_values`].
fn is_like(one: &ConnectionRecord, other: &ConnectionRecord) -> bool {
    // All fields are named, so that a new one is not forgotten.
    let ConnectionRecord {
        schema,
        id: _,
        revision,
        r#final,
        session_id: _,
        host,
        host_id,
        boot_id,
        agent_version,
        source,
        file,
        opened: _,
        decided: _,
        closed: _,
        close_reason,
        scope,
        interface,
        client,
        server,
        observed_from,
        protocol,
        upgraded_from,
        encryption,
        authentication,
        evidence,
        confidence,
        credential_in_clear,
        cleartext_examined: _,
        capture_complete,
        capture_reason,
        tls,
        findings,
        authorization,
        policy_version,
        bytes: _,
    } = one;
    // What tells most of them apart comes first.
    *tls == other.tls
        && is_like_end(client, &other.client)
        && is_like_end(server, &other.server)
        && *findings == other.findings
        && *authentication == other.authentication
        && *evidence == other.evidence
        && *confidence == other.confidence
        && *close_reason == other.close_reason
        && *scope == other.scope
        && *encryption == other.encryption
        && *protocol == other.protocol
        && *capture_complete == other.capture_complete
        && *capture_reason == other.capture_reason
        && *credential_in_clear == other.credential_in_clear
        && *upgraded_from == other.upgraded_from
        && *file == other.file
        && *policy_version == other.policy_version
        && *source == other.source
        && *schema == other.schema
        && *revision == other.revision
        && *r#final == other.r#final
        && *observed_from == other.observed_from
        && *authorization == other.authorization
        && (host, host_id, boot_id) == (&other.host, &other.host_id, &other.boot_id)
        && (agent_version, interface) == (&other.agent_version, &other.interface)
}

fn is_like_end(one: &EndpointRecord, other: &EndpointRecord) -> bool {
    let EndpointRecord {
        address: _,
        port: _,
        dialled_address,
        dialled_port,
        translated,
        netns,
        process,
        process_unknown,
        processes,
        owner_source,
        workload,
        labels,
        certificates,
        identity,
        inherited_from: _,
        verification,
        trust,
        identity_fit,
    } = one;
    *certificates == other.certificates
        && *identity == other.identity
        && *labels == other.labels
        && *process_unknown == other.process_unknown
        && *verification == other.verification
        && *identity_fit == other.identity_fit
        && *dialled_address == other.dialled_address
        && *dialled_port == other.dialled_port
        && *translated == other.translated
        && *netns == other.netns
        && *process == other.process
        && *processes == other.processes
        && *owner_source == other.owner_source
        && *workload == other.workload
        && *trust == other.trust
}

#[cfg(test)]
mod tests;
