//! `who`: everything that is known of a name, an address, a process or a certificate.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use rusqlite::params;
use rusqlite::types::Value;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::condition::{Clause, Test, Wanted};
use super::connections::{held_by, is, named, place, workload};
use super::paging::limit;
use super::selection::{Selection, fingerprints};
use super::subject::HAS_ALTERNATIVE_NAME;
use super::walk::{self, Walked};
use super::{Answering, End, Moment, QuestionError, Range, certificates};
use crate::record::{ProcessRecord, SUBJECT_SCHEMA, SubjectRecord, WallTime};
use crate::store::{StoreError, to_hex};

mod summary;
#[cfg(test)]
mod tests;

use summary::{MAX_ENDS, Summary};

/// Certificates of one name that are looked at.
const MAX_CERTIFICATES: usize = 64;
/// Fewest hexadecimal digits that name a certificate or a key.
const SHORTEST_PREFIX: usize = 8;

/// Whom or what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct WhoQuestion {
    /// An address, address:port, pid, path of an executable, unit, pod, container, key of a workload, SPIFFE ID, DNS name,
    /// serial, or SHA-256 of a certificate or of a key (or how that begins, 8 digits at least)
    #[arg(value_name = "SUBJECT")]
    pub subject: String,
    /// Only connections opened at this time or later: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only connections opened before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// So many connections at most [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Begin behind a page: `next` of its last line
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
}

/// What the subject was taken to be.
#[derive(Default)]
struct Understood {
    names: Vec<&'static str>,
    alternatives: Vec<Selection>,
    certificates: BTreeSet<i64>,
    pid: Option<u32>,
    executable: bool,
}

impl WhoQuestion {
    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let limit = limit(self.limit)?;
        let mut understood = self.understand(answering)?;
        if understood.names.is_empty() {
            return Ok(End::default());
        }
        let selection = Selection::any_of(std::mem::take(&mut understood.alternatives));
        let mut range = selection.within(Range::of(self.since, self.until, answering.now));
        match &self.after {
            Some(after) => range.to = range.to.min(place(after)?),
            None => {
                let subject = self.subject(answering, &understood, &selection, range)?;
                let mut wanted = answering.record(&subject)?;
                if !understood.certificates.is_empty() {
                    let uses = certificates::uses_of(answering, &understood.certificates)?;
                    for number in &understood.certificates {
                        let record = certificates::record(answering, *number, uses.get(number))?;
                        wanted = answering.record(&record)?;
                    }
                }
                if wanted.is_break() {
                    return Ok(End { next: None, interrupted: true });
                }
            }
        }
        let mut take = |answering: &mut Answering<'_>, opened| match answering.reader.connection(opened)? {
            Some(record) => answering.record(&record),
            None => Ok(ControlFlow::Continue(())),
        };
        let (walked, last) = walk::newest(answering, &selection, range, limit, &mut take)?;
        let next = last.filter(|_| walked != Walked::All).map(|last| last.to_string());
        Ok(End { next, interrupted: walked == Walked::Interrupted })
    }

    /// All that it can be and is known as.
    fn understand(&self, answering: &mut Answering<'_>) -> Result<Understood, QuestionError> {
        let text = self.subject.trim();
        if text.is_empty() {
            return Err(QuestionError::Refused("subject: of whom or what?".to_owned()));
        }
        // Without its hyphens it would be 32 digits, as a session or the beginning of a fingerprint is.
        if text.contains('-') && uuid::Uuid::try_parse(text).is_ok_and(|id| id.get_version_num() == 7) {
            let message = format!("subject: {text} is the id of a connection: ask `explain`");
            return Err(QuestionError::Refused(message));
        }
        let mut understood = Understood::default();
        if let Ok(address) = text.parse::<IpAddr>() {
            let clause = Test::either("address", &is(&address.to_canonical().to_string())).into();
            understood.add(answering, "address", vec![clause])?;
        } else if let Ok(address) = text.parse::<SocketAddr>() {
            understood.add(answering, "address_and_port", socket(address))?;
            return Ok(understood);
        }
        if let Ok(pid) = text.parse::<u32>() {
            understood.pid = understood.add(answering, "pid", vec![held_by(pid)])?.then_some(pid);
        }
        if text.starts_with('/') {
            understood.executable = understood.add(answering, "executable", vec![running(text)])?;
        }
        understood.add(answering, "workload", vec![workload(text)])?;
        let named_so = format!(
            "SELECT id, sha256 FROM certificate WHERE identity = ?1 OR subject = ?1 OR {HAS_ALTERNATIVE_NAME}"
        );
        let named_so = self.certificates(answering, &named_so, [text])?;
        let mut identity: Clause = Test::either("identity", &is(text)).into();
        identity.extend(presenting(&named_so));
        if understood.add(answering, "identity", vec![identity])? {
            understood.certificates.extend(named_so.keys());
        }
        let asked = named("tls.server_name", [text].into_iter());
        understood.add(answering, "server_name", vec![asked])?;
        self.digits(answering, &mut understood, text)?;
        Ok(understood)
    }

    /// What hexadecimal digits can be.
    fn digits(
        &self,
        answering: &mut Answering<'_>,
        understood: &mut Understood,
        text: &str,
    ) -> Result<(), QuestionError> {
        let digits = text.replace(':', "").to_ascii_lowercase();
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(());
        }
        let mut found =
            vec![("serial", self.certificates(answering, CERTIFICATES_BY_SERIAL, [digits.as_str()])?)];
        if digits.len() >= SHORTEST_PREFIX
            && let Some((first, last)) = fingerprints(&digits)
        {
            found.push(("fingerprint", self.certificates(answering, CERTIFICATES_BY_SHA256, [first, last])?));
            found.push(("key", self.certificates(answering, CERTIFICATES_BY_KEY, [first, last])?));
        }
        for (name, certificates) in found {
            if !certificates.is_empty() {
                understood.names.push(name);
                understood.alternatives.push(Selection::resolve(answering, &[presenting(&certificates)])?);
                understood.certificates.extend(certificates.keys());
            }
        }
        let raw_key: Clause = ["tls.client_public_key_sha256", "tls.server_public_key_sha256"]
            .map(|field| Test::new(field, is(&digits)))
            .into();
        if digits.len() == 64 {
            understood.add(answering, "key", vec![raw_key])?;
        }
        if digits.len() == 32 && understood.names.is_empty() {
            understood.add(answering, "session_id", vec![vec![Test::new("session_id", is(&digits))]])?;
        }
        Ok(())
    }

    /// Numbers and fingerprints of certificates.
    fn certificates(
        &self,
        answering: &Answering<'_>,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<FxHashMap<i64, String>, QuestionError> {
        let mut statement = answering.reader.database().prepare_cached(sql)?;
        let mut found = FxHashMap::default();
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()?
            && found.len() < MAX_CERTIFICATES
        {
            found.insert(row.get(0)?, to_hex(&row.get::<_, [u8; 32]>(1)?));
        }
        Ok(found)
    }

    fn subject(
        &self,
        answering: &mut Answering<'_>,
        understood: &Understood,
        selection: &Selection,
        range: Range,
    ) -> Result<SubjectRecord, QuestionError> {
        let mut summary = Summary::default();
        if !selection.needs_rows() {
            summary = Summary::of(answering, selection, range)?;
        }
        let names = summary.names(answering)?;
        let mut left_out = summary.ends.len().saturating_sub(MAX_ENDS) as u64;
        let mut listed = |names: BTreeSet<String>| -> Vec<String> {
            left_out += names.len().saturating_sub(SubjectRecord::MAX_NAMES) as u64;
            names.into_iter().take(SubjectRecord::MAX_NAMES).collect()
        };
        Ok(SubjectRecord {
            schema: SUBJECT_SCHEMA.into(),
            subject: self.subject.clone(),
            understood_as: understood.names.iter().map(|name| (*name).into()).collect(),
            connections: (!selection.needs_rows()).then_some(summary.connections),
            client: summary.roles[0].clone(),
            server: summary.roles[1].clone(),
            findings: summary.findings,
            addresses: listed(names.addresses),
            workloads: listed(names.workloads),
            owners: listed(names.owners),
            identities: listed(names.identities),
            certificates: listed(names.certificates),
            peers: listed(names.peers),
            processes: self.processes(answering, understood)?,
            first_seen: (summary.connections > 0).then_some(WallTime(summary.first_seen)),
            last_seen: (summary.connections > 0).then_some(WallTime(summary.last_seen)),
            left_out,
        })
    }

    /// Processes of this pid or executable, the latest first.
    fn processes(
        &self,
        answering: &Answering<'_>,
        understood: &Understood,
    ) -> Result<Vec<ProcessRecord>, QuestionError> {
        let mut processes = Vec::new();
        if let Some(pid) = understood.pid {
            processes = latest_processes(answering, "pid = ?1", pid.into())?;
        }
        if understood.executable {
            let running = "program IN (SELECT id FROM program WHERE executable = ?1)";
            processes = latest_processes(answering, running, self.subject.trim().to_owned().into())?;
        }
        Ok(processes)
    }
}

/// The latest processes that fulfil a condition: first their numbers, out of an index alone, since they may be many.
fn latest_processes(
    answering: &Answering<'_>,
    condition: &str,
    value: Value,
) -> Result<Vec<ProcessRecord>, QuestionError> {
    let sql = format!(
        "SELECT p.record, s.pid, s.start_time, s.started, s.namespace_pid \
         FROM process s CROSS JOIN program p ON p.id = s.program \
         WHERE s.id IN (SELECT id FROM process WHERE {condition} ORDER BY id DESC LIMIT ?2) ORDER BY s.id DESC"
    );
    let mut statement = answering.reader.database().prepare_cached(&sql)?;
    let mut rows = statement.query(params![value, SubjectRecord::MAX_NAMES as i64])?;
    let mut processes = Vec::new();
    while let Some(row) = rows.next()? {
        let program: String = row.get(0)?;
        let program: ProcessRecord = serde_json::from_str(&program).map_err(StoreError::Record)?;
        processes.push(ProcessRecord {
            pid: row.get(1)?,
            start_time: row.get::<_, i64>(2)?.cast_unsigned(),
            started: row.get::<_, Option<i64>>(3)?.map(WallTime),
            namespace_pid: row.get(4)?,
            ..program
        });
    }
    Ok(processes)
}

const CERTIFICATES_BY_SERIAL: &str = "SELECT id, sha256 FROM certificate WHERE serial = ?1";
const CERTIFICATES_BY_SHA256: &str = "SELECT id, sha256 FROM certificate WHERE sha256 BETWEEN ?1 AND ?2";
const CERTIFICATES_BY_KEY: &str = "SELECT id, sha256 FROM certificate WHERE spki_sha256 BETWEEN ?1 AND ?2";

impl Understood {
    /// Takes it to be this, if anything is known by that.
    fn add(
        &mut self,
        answering: &mut Answering<'_>,
        name: &'static str,
        clauses: Vec<Clause>,
    ) -> Result<bool, QuestionError> {
        let selection = Selection::resolve(answering, &clauses)?;
        let is_known = !selection.is_nothing();
        if is_known {
            self.names.push(name);
            self.alternatives.push(selection);
        }
        Ok(is_known)
    }
}

/// Either end has this address and port.
fn socket(address: SocketAddr) -> Vec<Clause> {
    let (ip, port) = (address.ip().to_canonical().to_string(), address.port().to_string());
    // A client's port is each connection's own: (server or client's address) and (server or client's port).
    let server = || Test::new("server.socket", Wanted::Is(format!("{ip} {port}")));
    let client = |field: &str, value: &str| Test::new(&format!("client.{field}"), is(value));
    vec![vec![server(), client("address", &ip)], vec![server(), client("port", &port)]]
}

fn running(path: &str) -> Clause {
    let fields = ["process.executable", "processes.process.executable"];
    fields.into_iter().flat_map(|field| Test::either(field, &is(path))).collect()
}

fn presenting(certificates: &FxHashMap<i64, String>) -> Clause {
    let fingerprints = certificates.values();
    fingerprints.flat_map(|fingerprint| Test::either("certificates", &is(fingerprint))).collect()
}
