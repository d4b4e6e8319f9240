//! `workload-history`: who had connections, what they established and what they presented.

use std::collections::BTreeMap;

use clap::builder::PossibleValuesParser;
use rusqlite::OptionalExtension as _;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::counts::{Answers, add, counted};
use super::paging::{limit, no_place, page};
use super::selection::Selection;
use super::walk::Counted;
use super::{Answering, Condition, End, Moment, QuestionError, Range, fields};
use crate::record::{
    Authentication, LabelsRecord, RoleRecord, ShownRecord, Text, WORKLOAD_HISTORY_SCHEMA, WallTime,
    WorkloadHistoryRecord, WorkloadRecord,
};
use crate::store::{StoreError, to_hex};

/// Kinds of workload.
const KINDS: [&str; 5] = ["systemd", "kubernetes", "container", "executable", "kernel"];

/// Which workloads. Values of one kind are alternatives, different kinds must all match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct WorkloadsQuestion {
    /// Count only connections opened at this time or later: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Count only connections opened before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Only workloads of this kind
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = PossibleValuesParser::new(KINDS))]
    pub kind: Vec<String>,
    /// Only this systemd unit
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// Only the workload, pod or container of this name, or the workload with this key
    #[arg(long, value_name = "NAME")]
    pub workload: Vec<String>,
    /// Only workloads of this owner, by the file of owners
    #[arg(long, value_name = "OWNER")]
    pub owner: Vec<String>,
    /// Only workloads that nobody owns
    #[arg(long, conflicts_with = "owner")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_owner: bool,
    /// Only workloads with connections on which they did not prove who they are
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unauthenticated: bool,
    /// Only workloads that presented this identity
    #[arg(long, value_name = "IDENTITY")]
    pub identity: Vec<String>,
    /// Only workloads with connections where this was established
    #[arg(long, value_name = "ANSWER", value_delimiter = ',')]
    pub authentication: Vec<Authentication>,
    /// Only workloads with connections that have this finding
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub finding: Vec<String>,
    /// Only those of which a field of countersign.workload_history/1 has this value; `null` where it is missing; all of several must hold
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub r#where: Vec<Condition>,
    /// So many at most [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Begin behind a page: `next` of its last line
    #[arg(long, value_name = "PLACE")]
    pub after: Option<i64>,
}

/// What of a workload filters look at, whether the history knows it or the daemon's present table.
#[derive(Debug)]
pub struct Described<'a> {
    /// Names it.
    pub key: &'a str,
    /// What it is called.
    pub workload: &'a WorkloadRecord,
    /// Whose it is.
    pub labels: Option<&'a LabelsRecord>,
    /// As client, and as server.
    pub roles: [&'a RoleRecord; 2],
    /// Its connections by finding.
    pub findings: &'a BTreeMap<Text, u64>,
    /// What it presented.
    pub identities: Vec<&'a str>,
}

impl<'a> Described<'a> {
    /// A workload of the history; `identities` are all of them, of which the record has the latest.
    fn of(record: &'a WorkloadHistoryRecord, identities: Vec<&'a str>) -> Self {
        Described {
            key: &record.key,
            workload: &record.workload,
            labels: record.labels.as_ref(),
            roles: [&record.client, &record.server],
            findings: &record.findings,
            identities,
        }
    }
}

impl Described<'_> {
    fn has(&self, answer: Authentication) -> bool {
        self.roles.iter().any(|role| role.authentication.get(&answer).is_some_and(|count| *count > 0))
    }

    /// Whether it has connections on which it did not prove who it is. A server that is asked for nothing proves nothing, too.
    fn is_unauthenticated(&self) -> bool {
        let as_client = &self.roles[0].authentication;
        self.has(Authentication::None)
            || self.has(Authentication::Anonymous)
            || as_client.get(&Authentication::ServerOnly).is_some_and(|count| *count > 0)
    }
}

impl WorkloadsQuestion {
    /// Whether all filters but those of time and of single fields let a workload pass.
    pub fn wants(&self, described: &Described<'_>) -> bool {
        let any = |wanted: &[String], is: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|wanted| is(wanted))
        };
        let workload = described.workload;
        let owner = described.labels.and_then(|labels| labels.owner.as_deref());
        any(&self.kind, &|kind| workload.kind == kind)
            && any(&self.unit, &|unit| workload.unit.as_deref() == Some(unit))
            && any(&self.workload, &|name| workload.has_name(name) || described.key == name)
            && any(&self.owner, &|wanted| owner == Some(wanted))
            && !(self.without_owner && owner.is_some())
            && (!self.unauthenticated || described.is_unauthenticated())
            && any(&self.identity, &|identity| described.identities.contains(&identity))
            && (self.authentication.is_empty()
                || self.authentication.iter().any(|answer| described.has(*answer)))
            && any(&self.finding, &|code| described.findings.get(code).is_some_and(|count| *count > 0))
    }

    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let limit = limit(self.limit)?;
        fields::check(&self.r#where, fields::workload())?;
        let range = Range::of(self.since, self.until, answering.now);
        let ends = Ends::read(answering)?;
        let mut sums: FxHashMap<i64, Sum> = FxHashMap::default();
        counted(answering, &Selection::default(), range, &mut |counted| {
            ends.count(&mut sums, &counted);
            Ok(())
        })?;
        let places = self.places(answering, &sums)?;
        let mut answers = Answers::default();
        page(answering, limit, &places, |answering, number| {
            let Some(sum) = sums.get(number) else { return Ok(None) };
            let record = record(answering, &mut answers, &ends, *number, sum)?;
            let identities = sum.shown.keys().filter_map(|place| ends.shown[*place].0.as_deref()).collect();
            let described = Described::of(&record, identities);
            let is_wanted = self.wants(&described) && fields::holds(&self.r#where, &record)?;
            Ok(is_wanted.then_some(record))
        })
    }

    /// Workloads by key, behind the last page.
    fn places(
        &self,
        answering: &Answering<'_>,
        sums: &FxHashMap<i64, Sum>,
    ) -> Result<Vec<i64>, QuestionError> {
        let database = answering.reader.database();
        let mut behind = None;
        if let Some(after) = self.after {
            let sql = "SELECT key FROM workload WHERE id = ?1";
            let key: Option<String> =
                database.prepare_cached(sql)?.query_row([after], |row| row.get(0)).optional()?;
            behind = Some(key.ok_or_else(no_place)?);
        }
        let sql = "SELECT id FROM workload WHERE ?1 IS NULL OR key > ?1 ORDER BY key";
        let mut statement = database.prepare_cached(sql)?;
        let mut places = Vec::new();
        for number in statement.query_map([behind], |row| row.get(0))? {
            places.push(number?);
        }
        places.retain(|number| sums.contains_key(number));
        Ok(places)
    }
}

/// Ends that belong to workloads, and what they present.
#[derive(Debug, Default)]
struct Ends {
    /// Workload, and place in `shown`.
    of: FxHashMap<i64, (i64, Option<usize>)>,
    /// Identity, and number of the leaf.
    shown: Vec<(Option<String>, Option<i64>)>,
}

impl Ends {
    fn read(answering: &Answering<'_>) -> Result<Ends, QuestionError> {
        let sql = "SELECT e.id, e.workload, e.identity, c.certificate FROM endpoint e \
                   LEFT JOIN endpoint_certificate c ON c.endpoint = e.id AND c.position = 0 \
                   WHERE e.workload IS NOT NULL";
        let mut statement = answering.reader.database().prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let (mut ends, mut places) = (Ends::default(), FxHashMap::default());
        while let Some(row) = rows.next()? {
            let shown: (Option<String>, Option<i64>) = (row.get(2)?, row.get(3)?);
            let place = (shown != (None, None)).then(|| {
                *places.entry(shown).or_insert_with_key(|shown| {
                    ends.shown.push(shown.clone());
                    ends.shown.len() - 1
                })
            });
            ends.of.insert(row.get(0)?, (row.get(1)?, place));
        }
        Ok(ends)
    }

    /// Counts connections for the workloads at their ends.
    fn count(&self, sums: &mut FxHashMap<i64, Sum>, counted: &Counted) {
        let mut last = None;
        for (role, end) in [counted.of.client, counted.of.server].into_iter().enumerate() {
            let Some((workload, shown)) = self.of.get(&end) else { continue };
            let sum = sums.entry(*workload).or_default();
            *sum.roles[role].entry(counted.of.answer).or_default() += counted.connections;
            if last != Some(workload) {
                *sum.all.entry(counted.of.answer).or_default() += counted.connections;
            }
            last = Some(workload);
            sum.seen.add(counted, end);
            if let Some(place) = shown {
                let shown = sum.shown.entry(*place).or_default();
                shown.connections[role] += counted.connections;
                shown.seen.add(counted, end);
            }
        }
    }
}

/// What is summed up of a workload.
#[derive(Debug, Default)]
struct Sum {
    /// Connections by answer, as client and as server.
    roles: [FxHashMap<i64, u64>; 2],
    /// The same of all, those with itself once.
    all: FxHashMap<i64, u64>,
    seen: Seen,
    shown: FxHashMap<usize, Shown>,
}

/// What is summed up of something that it presented.
#[derive(Debug, Default)]
struct Shown {
    connections: [u64; 2],
    seen: Seen,
}

#[derive(Debug)]
struct Seen {
    first: i64,
    last: i64,
    /// The end that was seen last.
    end: i64,
}

impl Default for Seen {
    fn default() -> Self {
        Seen { first: i64::MAX, last: i64::MIN, end: 0 }
    }
}

impl Seen {
    fn add(&mut self, counted: &Counted, end: i64) {
        self.first = self.first.min(counted.first_seen);
        // Of ends that were seen at the same time the later one, so that the answer is always the same.
        (self.last, self.end) = (self.last, self.end).max((counted.last_seen, end));
    }
}

fn record(
    answering: &mut Answering<'_>,
    answers: &mut Answers,
    ends: &Ends,
    number: i64,
    sum: &Sum,
) -> Result<WorkloadHistoryRecord, QuestionError> {
    let sql = "SELECT key, record FROM workload WHERE id = ?1";
    let (key, text): (String, String) = answering
        .reader
        .database()
        .prepare_cached(sql)?
        .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut record = WorkloadHistoryRecord {
        schema: WORKLOAD_HISTORY_SCHEMA.into(),
        key,
        workload: serde_json::from_str(&text).map_err(StoreError::Record)?,
        labels: answering.reader.endpoint(sum.seen.end)?.labels.map(|labels| (*labels).clone()),
        first_seen: WallTime(sum.seen.first),
        last_seen: WallTime(sum.seen.last),
        client: RoleRecord::default(),
        server: RoleRecord::default(),
        scopes: BTreeMap::new(),
        findings: BTreeMap::new(),
        presented: Vec::new(),
        presented_left_out: sum.shown.len().saturating_sub(WorkloadHistoryRecord::MAX_PRESENTED) as u64,
    };
    for (role, counts) in [&mut record.client, &mut record.server].into_iter().zip(&sum.roles) {
        for (answer, connections) in counts {
            answers.said(answering, *answer)?.count(role, *connections);
        }
    }
    for (answer, connections) in &sum.all {
        let said = answers.said(answering, *answer)?;
        add(&mut record.scopes, said.scope, *connections);
        for code in &said.findings {
            add(&mut record.findings, code.clone(), *connections);
        }
    }
    let mut latest: Vec<_> = sum.shown.iter().collect();
    latest.sort_unstable_by_key(|(place, shown)| (std::cmp::Reverse(shown.seen.last), **place));
    for (place, shown) in latest.into_iter().take(WorkloadHistoryRecord::MAX_PRESENTED) {
        record.presented.push(presented(answering, &ends.shown[*place], shown)?);
    }
    Ok(record)
}

fn presented(
    answering: &mut Answering<'_>,
    (identity, leaf): &(Option<String>, Option<i64>),
    shown: &Shown,
) -> Result<ShownRecord, QuestionError> {
    let (mut certificate, mut not_after) = (None, None);
    if let Some(leaf) = leaf {
        let sql = "SELECT sha256, not_after FROM certificate WHERE id = ?1";
        let database = answering.reader.database();
        let known: ([u8; 32], Option<i64>) =
            database.prepare_cached(sql)?.query_row([leaf], |row| Ok((row.get(0)?, row.get(1)?)))?;
        (certificate, not_after) = (Some(to_hex(&known.0)), known.1.map(WallTime));
    }
    let fit = answering.reader.endpoint(shown.seen.end)?.identity_fit;
    Ok(ShownRecord {
        identity: identity.clone(),
        certificate,
        not_after,
        client: shown.connections[0],
        server: shown.connections[1],
        identity_fit: fit.map(|fit| (*fit).clone()),
        first_seen: WallTime(shown.seen.first),
        last_seen: WallTime(shown.seen.last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::made::{NOON, SECOND, from_to, minute, presents, sha256};
    use crate::question::tests::{ask, history};
    use crate::record::{ConnectionRecord, Encryption, Scope, sample};
    use crate::store::sample::{Folder, full};

    /// `a` reaches `b` with a certificate, then a resumed session, then nothing; `b` reaches itself.
    fn varied(name: &str) -> (Folder, crate::store::Reader) {
        let owned =
            |owner: &str| Some(LabelsRecord { owner: Some(owner.to_owned()), ..LabelsRecord::default() });
        let mut first = from_to("a", "b", 1);
        presents(&mut first.client, "leaf", "spiffe://test/a");
        first.client.labels = owned("old owner").map(Into::into);
        let mut resumed = from_to("a", "b", 2);
        resumed.client.identity = Some("spiffe://test/a".to_owned());
        let mut plain = from_to("a", "b", 3);
        plain.authentication = Authentication::Unknown;
        plain.evidence.reason = Some("late".into());
        plain.findings = vec!["authentication_regressed".into()];
        plain.client.labels = owned("new owner").map(Into::into);
        let mut itself = from_to("b", "b", 4);
        (itself.authentication, itself.encryption) = (Authentication::None, Encryption::None);
        history(name, [first, resumed, plain, itself])
    }

    fn keys(lines: &[serde_json::Value]) -> Vec<&str> {
        lines.iter().map(|line| line["key"].as_str().unwrap().rsplit(':').next().unwrap()).collect()
    }

    #[test]
    fn an_identity_that_is_not_listed_any_more_is_found_all_the_same() {
        let count = WorkloadHistoryRecord::MAX_PRESENTED as i64 + 1;
        let connections = (0..count).map(|number| {
            let mut one = from_to("a", "b", number);
            presents(&mut one.client, &format!("leaf {number}"), &format!("spiffe://test/{number}"));
            one
        });
        let (_folder, mut reader) = history("workloads-identities", connections);
        let (lines, _) = ask(&mut reader, "workload-history", "identity=spiffe://test/0");
        assert_eq!(keys(&lines), ["a"]);
        assert_eq!(lines[0]["presented_left_out"], 1);
    }

    #[test]
    fn each_workload_comes_with_what_it_established_and_presented() {
        let (_folder, mut reader) = varied("workloads");
        let (lines, page) = ask(&mut reader, "workload-history", "");
        assert_eq!((keys(&lines), page.next), (vec!["a", "b"], None));
        let (a, b) = (&lines[0], &lines[1]);
        assert_eq!(
            (&a["first_seen"], &a["last_seen"]),
            (&minute(1).to_string().into(), &WallTime(minute(3).0 + SECOND).to_string().into())
        );
        assert_eq!(a["client"]["authentication"], serde_json::json!({"mutual": 2, "unknown": 1}));
        assert_eq!(a["client"]["unknown"], serde_json::json!({"late": 1}));
        assert_eq!(a["server"]["connections"], 0);
        assert_eq!(a["findings"], serde_json::json!({"authentication_regressed": 1}));
        assert_eq!(a["labels"]["owner"], "new owner", "as it was last");
        let shown = a["presented"].as_array().unwrap();
        assert_eq!(shown.len(), 2);
        assert_eq!(
            (&shown[0]["certificate"], &shown[0]["identity"]),
            (&().into(), &"spiffe://test/a".into())
        );
        assert_eq!(shown[1]["certificate"], sha256("leaf"));
        assert_eq!((&shown[1]["client"], &shown[1]["server"]), (&1.into(), &0.into()));
        assert_eq!((&b["client"]["connections"], &b["server"]["connections"]), (&1.into(), &4.into()));
        assert_eq!(b["scopes"], serde_json::json!({"east_west": 4}), "one with itself is one");
    }

    #[test]
    fn filters_of_workloads_select_and_pages_stay_in_their_order() {
        let (_folder, mut reader) = varied("workload-filters");
        for (query, expected) in [
            ("", &["a", "b"][..]),
            ("kind=systemd", &["a", "b"]),
            ("kind=container", &[]),
            ("unit=a", &["a"]),
            ("workload=systemd:b", &["b"]),
            ("workload=a&workload=b", &["a", "b"]),
            ("owner=new+owner", &["a"]),
            ("owner=old+owner", &[]),
            ("without_owner=true", &["b"]),
            ("unauthenticated=true", &["b"]),
            ("identity=spiffe:%2F%2Ftest%2Fa", &["a"]),
            ("authentication=mutual", &["a", "b"]),
            ("authentication=none", &["b"]),
            ("finding=authentication_regressed&unit=b", &["b"]),
            ("finding=other", &[]),
            ("where=workload.unit%3Da", &["a"]),
            ("where=presented.certificate%3Dnull", &["a"]),
            ("where=server.connections%3D4", &["b"]),
        ] {
            let (lines, _) = ask(&mut reader, "workload-history", query);
            assert_eq!(keys(&lines), expected, "{query}");
        }
        let since = format!("since={}", WallTime(NOON + 210 * SECOND));
        let (lines, _) = ask(&mut reader, "workload-history", &since);
        assert_eq!((keys(&lines), &lines[0]["server"]["connections"]), (vec!["b"], &1.into()));
        let (first, page) = ask(&mut reader, "workload-history", "limit=1");
        let (second, last) =
            ask(&mut reader, "workload-history", &format!("limit=1&after={}", page.next.unwrap()));
        assert_eq!((keys(&first), keys(&second), last.next), (vec!["a"], vec!["b"], None));
    }

    #[test]
    fn a_server_that_asks_for_no_certificate_is_not_the_one_that_proves_nothing() {
        let workload = sample::unit("a");
        let role = |answer| RoleRecord { authentication: [(answer, 1)].into(), ..RoleRecord::default() };
        let (server_only, anonymous, nothing) =
            (role(Authentication::ServerOnly), role(Authentication::Anonymous), RoleRecord::default());
        let findings = BTreeMap::new();
        let is = |roles| {
            let described = Described {
                key: "a",
                workload: &workload,
                labels: None,
                roles,
                findings: &findings,
                identities: vec![],
            };
            described.is_unauthenticated()
        };
        assert!(is([&server_only, &nothing]) && is([&nothing, &anonymous]));
        assert!(!is([&nothing, &server_only]) && !is([&nothing, &nothing]));
    }

    #[test]
    fn ends_without_a_workload_are_nobody() {
        let mut one: ConnectionRecord = full(0);
        one.client.workload = None;
        one.scope = Scope::Loopback;
        let (_folder, mut reader) = history("workloads-none", [one]);
        assert_eq!(ask(&mut reader, "workload-history", "").1.count, 0);
    }
}
