//! What a replay amounts to, in numbers.

use std::borrow::Cow;

use crate::connection::Connection;
use crate::record::ConnectionRecord;

/// How often each name of a small fixed set occurred, in the order in which they did first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(Vec<(Cow<'static, str>, u64)>);

impl Counts {
    fn add(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        // Mostly it is the same constant, which need not be compared byte by byte.
        let is_it = |known: &str| std::ptr::eq(known, &*name) || known == name;
        match self.0.iter_mut().find(|(known, _)| is_it(known)) {
            Some((_, count)) => *count += 1,
            None => self.0.push((name, 1)),
        }
    }

    /// The most frequent first, equal ones by name.
    pub fn descending(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(name, count)| (name.as_ref(), *count)).collect();
        all.sort_unstable_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        all
    }

    /// How often one occurred.
    pub fn of(&self, name: &str) -> u64 {
        self.0.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
    }
}

/// What was read, as far as the filter wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that were wanted.
    pub connections: u64,
    /// Connections that the filter left out.
    pub filtered: u64,
    /// Wanted ones of which the capture shows no end.
    pub open: u64,
    /// Wanted ones of which it does not show the whole beginning.
    pub incomplete: u64,
    /// Connections that found no room.
    pub refused: u64,
    /// Connections, wanted or not, that were concluded from before their time: all together held too much.
    pub cut: u64,
    /// By what was established.
    pub authentication: Counts,
    /// By how the client's part is known.
    pub evidence: Counts,
    /// By why something is unknown.
    pub unknown: Counts,
    /// By protocol.
    pub protocol: Counts,
    /// By version of TLS.
    pub version: Counts,
    /// By where the ends are.
    pub scope: Counts,
    /// Different certificates of wanted connections.
    pub certificates: u64,
    /// Certificates that were forgotten for room: each of them may be printed again, or its bytes be left out.
    pub certificates_forgotten: u64,
    /// Findings by code, counted once per connection and certificate.
    pub findings: Counts,
    /// Findings for whose subject there was no room: not printed, but counted.
    pub findings_refused: u64,
}

impl Totals {
    pub(super) fn count(&mut self, connection: &Connection, record: &ConnectionRecord) {
        self.connections += 1;
        self.open += u64::from(record.close_reason.is_none());
        self.incomplete += u64::from(!record.capture_complete);
        self.authentication.add(record.authentication.as_str());
        self.evidence.add(record.evidence.client.as_str());
        if let Some(reason) = connection.conclusion.reason {
            self.unknown.add(reason.as_str());
        }
        self.protocol.add(connection.conclusion.protocol.as_str());
        if let Some(version) = connection.tls().and_then(|facts| facts.version) {
            self.version.add(version.name());
        }
        self.scope.add(record.scope.as_str());
    }

    pub(super) fn found(&mut self, code: &'static str) {
        self.findings.add(code);
    }
}
