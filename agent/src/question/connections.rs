//! `connections`: records as they were published, the newest first.

use serde::{Deserialize, Serialize};

use super::condition::{Clause, Condition, Test, Wanted};
use super::paging::{limit, no_place};
use super::selection::{Selection, WORKLOAD_CALLED};
use super::walk::{self, Walked};
use super::{Answering, End, Moment, QuestionError, Range};
use crate::record::{Authentication, Encryption, Scope};

/// Fewest digits of a fingerprint by which it is known.
const SHORTEST_PREFIX: usize = 8;

/// Which connections. Values of one kind are alternatives, different kinds must all match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionsQuestion {
    /// Opened at this time or later: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Opened before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Only of this client: its address, or its workload's name or key
    #[arg(long, value_name = "NAME")]
    pub client: Vec<String>,
    /// Only to this server: its address, or its workload's name or key
    #[arg(long, value_name = "NAME")]
    pub server: Vec<String>,
    /// Only to this port of the server, as it has it or as it was dialled
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    pub port: Vec<u16>,
    /// Only those that this process held, on either end
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Only of this systemd unit, on either end
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// Only of the workload, pod or container of this name, on either end
    #[arg(long, value_name = "NAME")]
    pub workload: Vec<String>,
    /// Only of this owner, on either end
    #[arg(long, value_name = "OWNER")]
    pub owner: Vec<String>,
    /// Only where either end presented this identity
    #[arg(long, value_name = "IDENTITY")]
    pub identity: Vec<String>,
    /// Only where either end presented the certificate with this SHA-256, or with one that begins so (8 digits at least)
    #[arg(long, value_name = "SHA256")]
    pub certificate: Vec<String>,
    /// Only where this was established
    #[arg(long, value_name = "ANSWER", value_delimiter = ',')]
    pub authentication: Vec<Authentication>,
    /// Only between such ends
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    pub scope: Vec<Scope>,
    /// Only of this protocol
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',')]
    pub protocol: Vec<String>,
    /// Only protected like this
    #[arg(long, value_name = "HOW", value_delimiter = ',')]
    pub encryption: Vec<Encryption>,
    /// Only with this finding
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub finding: Vec<String>,
    /// Only of this version of TLS
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    pub tls_version: Vec<String>,
    /// Only where the server was asked for by this name (SNI)
    #[arg(long, value_name = "NAME")]
    pub server_name: Vec<String>,
    /// Only with this session_id, which is the same on both hosts
    #[arg(long, value_name = "HEX")]
    pub session_id: Vec<String>,
    /// Only where a field of countersign.connection/1 has this value; `null` where it is missing; all of several must hold
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub r#where: Vec<Condition>,
    /// So many at most [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Begin behind a page: `next` of its last line
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
}

impl ConnectionsQuestion {
    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let limit = limit(self.limit)?;
        let selection = Selection::resolve(answering, &self.clauses()?)?;
        let mut range = selection.within(Range::of(self.since, self.until, answering.now));
        if let Some(after) = &self.after {
            range.to = range.to.min(place(after)?);
        }
        let mut take = |answering: &mut Answering<'_>, opened| match answering.reader.connection(opened)? {
            Some(record) => answering.record(&record),
            None => Ok(std::ops::ControlFlow::Continue(())),
        };
        let (walked, last) = walk::newest(answering, &selection, range, limit, &mut take)?;
        let next = last.filter(|_| walked != Walked::All).map(|last| last.to_string());
        Ok(End { next, interrupted: walked == Walked::Interrupted })
    }

    fn clauses(&self) -> Result<Vec<Clause>, QuestionError> {
        let either = |name: &str, values: &[String]| -> Clause {
            values.iter().flat_map(|value| Test::either(name, &is(value))).collect()
        };
        let mut clauses = vec![
            self.client.iter().flat_map(|name| end("client", name)).collect(),
            self.server.iter().flat_map(|name| end("server", name)).collect(),
            self.port.iter().flat_map(|port| port_of_server(*port)).collect(),
            self.pid.iter().flat_map(|pid| held_by(*pid)).collect(),
            either("workload.unit", &self.unit),
            self.workload.iter().flat_map(|name| workload(name)).collect(),
            either("labels.owner", &self.owner),
            either("identity", &self.identity),
            self.certificate.iter().map(|prefix| presented(prefix)).collect::<Result<Vec<_>, _>>()?.concat(),
            named("authentication", self.authentication.iter().map(|name| name.as_str())),
            named("scope", self.scope.iter().map(|name| name.as_str())),
            named("protocol", self.protocol.iter().map(String::as_str)),
            named("encryption", self.encryption.iter().map(|name| name.as_str())),
            named("findings", self.finding.iter().map(String::as_str)),
            named("tls.version", self.tls_version.iter().map(String::as_str)),
            named("tls.server_name", self.server_name.iter().map(String::as_str)),
            named("session_id", self.session_id.iter().map(String::as_str)),
        ];
        clauses.retain(|clause| !clause.is_empty());
        for condition in &self.r#where {
            clauses.push(vec![condition.of_connection()?]);
        }
        Ok(clauses)
    }
}

/// `next` of a page of connections.
pub(super) fn place(after: &str) -> Result<i64, QuestionError> {
    after.parse().map_err(|_| no_place())
}

/// Exactly this.
pub(super) fn is(value: &str) -> Wanted {
    Wanted::Is(value.to_owned())
}

/// A field has one of these values.
pub(super) fn named<'a>(field: &str, values: impl Iterator<Item = &'a str>) -> Clause {
    values.map(|value| Test::new(field, is(value))).collect()
}

/// An end that is called so.
pub(super) fn end(side: &str, name: &str) -> Clause {
    ["address", WORKLOAD_CALLED].map(|field| Test::new(&format!("{side}.{field}"), is(name))).into()
}

/// Either end is a workload that is called so.
pub(super) fn workload(name: &str) -> Clause {
    Test::either(WORKLOAD_CALLED, &is(name)).into()
}

pub(super) fn port_of_server(port: u16) -> Clause {
    let wanted = is(&port.to_string());
    ["server.port", "server.dialled_port"].map(|field| Test::new(field, wanted.clone())).into()
}

/// A process of this pid held either end.
pub(super) fn held_by(pid: u32) -> Clause {
    let wanted = is(&pid.to_string());
    let fields = ["process.pid", "processes.process.pid"];
    fields.into_iter().flat_map(|field| Test::either(field, &wanted)).collect()
}

/// Either end presented a certificate with this fingerprint, or one that begins so.
pub(super) fn presented(prefix: &str) -> Result<Clause, QuestionError> {
    Ok(Test::either("certificates", &Wanted::Begins(fingerprint(prefix)?)).into())
}

/// Digits of a fingerprint, or its first ones, as people write them.
pub(super) fn fingerprint(prefix: &str) -> Result<String, QuestionError> {
    let digits = prefix.replace(':', "").to_ascii_lowercase();
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex || !(SHORTEST_PREFIX..=64).contains(&digits.len()) {
        let message =
            format!("certificate: a SHA-256 is named by {SHORTEST_PREFIX} to 64 hexadecimal digits");
        return Err(QuestionError::Refused(message));
    }
    Ok(digits)
}
