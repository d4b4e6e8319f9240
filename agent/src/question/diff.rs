//! `diff`: what changed between two times.
//!
//! An edge is there at a time if one of its connections was open within a window before it, and establishes what the last of
//! those did of which that is known. Identities and certificates are there if they were presented within that window.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::names::Names;
use super::strength::strength;
use super::times::{LookBack, Span, Use, latest_use};
use super::{Answering, End, MAX_LIMIT, Moment, QuestionError};
use crate::record::{
    Authentication, CHANGE_SCHEMA, CHANGE_SUMMARY_SCHEMA, ChangeName, ChangeRecord, ChangeSummaryRecord,
    StateRecord, WallTime,
};

/// Seconds before a time in which something must have been seen, if nothing else is asked for: what runs once a day is there.
const DEFAULT_WINDOW: u64 = 86_400;
/// Differences that are told if nothing else is asked for.
const DEFAULT_CHANGES: u32 = 1_000;
/// Pairings between two reports of how far it is.
const PAIRINGS_PER_REPORT: usize = 256;

/// Between which times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct DiffQuestion {
    /// The first time: a date, a time, or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME", required = true)]
    pub before: Option<Moment>,
    /// The second time [default: now]
    #[arg(long, value_name = "TIME")]
    pub after: Option<Moment>,
    /// What was not seen for so long before a time is taken to be gone then (90s, 15m, 2h, 7d) [default: 1d]
    #[arg(long, value_name = "DURATION")]
    pub window: Option<Moment>,
    /// So many differences at most [default: 1000]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
}

impl DiffQuestion {
    pub(super) fn answer(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
        let refused = |why: &str| QuestionError::Refused(why.to_owned());
        let before =
            self.before.ok_or_else(|| refused("before: between which times?"))?.resolve(answering.now);
        let after = self.after.map_or(answering.now, |after| after.resolve(answering.now));
        if before >= after {
            return Err(refused("before: it is not before after"));
        }
        let seconds = match self.window {
            None => DEFAULT_WINDOW,
            Some(Moment::Ago(seconds)) if seconds > 0 => u64::from(seconds),
            Some(_) => return Err(refused("window: it is no duration (90s, 15m, 2h, 7d)")),
        };
        let limit = self.limit.unwrap_or(DEFAULT_CHANGES).min(MAX_LIMIT) as usize;
        let window = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        let database = answering.reader.database();
        let asker = &mut *answering.asker;
        let mut wanted = |done| asker.progress(done).is_continue();
        let Some(([first, second], look_back)) = states(database, [before.0, after.0], window, &mut wanted)?
        else {
            return Ok(End { next: None, interrupted: true });
        };
        let mut names = Names::new(answering.reader);
        let changes = all_changes(&mut names, &first, &second)?;
        let gaps: i64 = database.query_row(
            "SELECT count(*) FROM gap WHERE ended >= ?1 AND coalesce(began, ended) < ?2",
            [before.0.saturating_sub(window), after.0],
            |row| row.get(0),
        )?;
        let summary = ChangeSummaryRecord {
            schema: CHANGE_SUMMARY_SCHEMA.into(),
            before,
            after,
            window_seconds: seconds,
            edges_before: first.edges.len() as u64,
            edges_after: second.edges.len() as u64,
            changes: changes.len() as u64,
            left_out: changes.len().saturating_sub(limit) as u64,
            gaps: gaps.cast_unsigned(),
            looked_back_in_part: look_back.cut,
        };
        if changes.is_empty() {
            return Ok(End::default());
        }
        if changes.len() > limit {
            answering.left_out = Some("limit");
        }
        let mut taken = answering.record(&summary)?;
        for change in changes.iter().take(limit) {
            if taken.is_break() {
                return Ok(End { next: None, interrupted: true });
            }
            taken = answering.record(change)?;
        }
        Ok(End::default())
    }
}

/// What was there at a time.
#[derive(Debug, Default)]
struct State {
    edges: FxHashMap<i64, (Use, Authentication)>,
    /// By fingerprint.
    certificates: BTreeMap<String, Use>,
    identities: BTreeMap<String, Use>,
}

impl State {
    fn edge(&mut self, edge: i64, used: Use, authentication: Authentication) {
        let is_known = |authentication| strength(authentication).is_some();
        let held = self.edges.entry(edge).or_insert((used, authentication));
        let (old, new) = ((is_known(held.1), held.0.at), (is_known(authentication), used.at));
        if new > old {
            *held = (used, authentication);
        }
    }
}

/// What was there at both times; `None` if nobody waits for it any more.
fn states(
    database: &Connection,
    times: [i64; 2],
    window: i64,
    wanted: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<([State; 2], LookBack)>, QuestionError> {
    let mut states = [State::default(), State::default()];
    let mut look_back = LookBack::default();
    let mut ends: [FxHashMap<i64, Use>; 2] = Default::default();
    let pairings: i64 = database
        .query_row("SELECT max(id) FROM pairing", [], |row| Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0)))?;
    let sql = "SELECT p.id, p.first_seen, p.last_seen, p.edge, p.client, p.server, a.authentication \
               FROM pairing p JOIN answer a ON a.id = p.answer WHERE a.authentication <> 'not_established' ORDER BY p.id";
    let mut statement = database.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut done = 0;
    while let Some(row) = rows.next()? {
        done += 1;
        if done % PAIRINGS_PER_REPORT == 0 && !wanted(done as f64 / pairings as f64) {
            return Ok(None);
        }
        let span = Span { pairing: row.get(0)?, first_seen: row.get(1)?, last_seen: row.get(2)? };
        let (edge, client, server): (i64, i64, i64) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let name: String = row.get(6)?;
        let authentication = name.parse().unwrap_or(Authentication::Unknown);
        for (index, time) in times.into_iter().enumerate() {
            let since = time.saturating_sub(window);
            let Some(used) = latest_use(database, span, time, since, since, &mut look_back)? else {
                continue;
            };
            states[index].edge(edge, used, authentication);
            for end in [client, server] {
                later(ends[index].entry(end).or_insert(used), used);
            }
        }
    }
    for (state, ends) in states.iter_mut().zip(ends) {
        presented(database, state, ends)?;
    }
    Ok(Some((states, look_back)))
}

/// What these ends presented.
fn presented(
    database: &Connection,
    state: &mut State,
    ends: FxHashMap<i64, Use>,
) -> Result<(), QuestionError> {
    let sql = "SELECT q.identity, lower(hex(c.sha256)) FROM endpoint q \
               LEFT JOIN endpoint_certificate l ON l.endpoint = q.id AND l.position = 0 \
               LEFT JOIN certificate c ON c.id = l.certificate WHERE q.id = ?1";
    let mut statement = database.prepare_cached(sql)?;
    for (end, used) in ends {
        let (identity, certificate): (Option<String>, Option<String>) =
            statement.query_row([end], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (known, name) in [(&mut state.identities, identity), (&mut state.certificates, certificate)] {
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                later(known.entry(name).or_insert(used), used);
            }
        }
    }
    Ok(())
}

fn later(held: &mut Use, used: Use) {
    if used.at > held.at {
        *held = used;
    }
}

/// What got weaker comes first, then what changed otherwise, what is new, and what is gone.
fn all_changes(
    names: &mut Names<'_>,
    first: &State,
    second: &State,
) -> Result<Vec<ChangeRecord>, QuestionError> {
    let mut changes = Vec::new();
    for (edge, before, after) in pairs(first.edges.iter(), second.edges.iter()) {
        let Some(change) = change(before.map(|before| before.1), after.map(|after| after.1)) else {
            continue;
        };
        let state = |held: Option<&(Use, Authentication)>| held.map(|(used, name)| state(*used, Some(*name)));
        let edge = Some(names.edge(*edge)?);
        changes.push(ChangeRecord { edge, ..record(change, state(before), state(after)) });
    }
    let presented = |held: Option<&Use>| held.map(|used| state(*used, None));
    for (name, before, after) in pairs(first.identities.iter(), second.identities.iter()) {
        let Some(change) = there(&before, &after) else { continue };
        let identity = Some(name.clone());
        changes.push(ChangeRecord { identity, ..record(change, presented(before), presented(after)) });
    }
    for (name, before, after) in pairs(first.certificates.iter(), second.certificates.iter()) {
        let Some(change) = there(&before, &after) else { continue };
        let certificate = Some(name.clone());
        changes.push(ChangeRecord { certificate, ..record(change, presented(before), presented(after)) });
    }
    let kind = |change: &ChangeRecord| (change.edge.is_none(), change.identity.is_none());
    changes.sort_by_cached_key(|change| {
        let names = (change.edge.clone(), change.identity.clone(), change.certificate.clone());
        (kind(change), change.change, names)
    });
    Ok(changes)
}

/// Everything of two maps, with what each has of it.
fn pairs<'a, K: Eq + std::hash::Hash + 'a, V: 'a>(
    first: impl Iterator<Item = (&'a K, &'a V)>,
    second: impl Iterator<Item = (&'a K, &'a V)>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let mut all: FxHashMap<&K, (Option<&V>, Option<&V>)> = FxHashMap::default();
    for (key, value) in first {
        all.entry(key).or_default().0 = Some(value);
    }
    for (key, value) in second {
        all.entry(key).or_default().1 = Some(value);
    }
    all.into_iter().map(|(key, (first, second))| (key, first, second))
}

fn record(change: ChangeName, before: Option<StateRecord>, after: Option<StateRecord>) -> ChangeRecord {
    ChangeRecord {
        schema: CHANGE_SCHEMA.into(),
        change,
        edge: None,
        identity: None,
        certificate: None,
        before,
        after,
    }
}

fn state(used: Use, authentication: Option<Authentication>) -> StateRecord {
    StateRecord { authentication, last_seen: WallTime(used.at), to_the_hour: used.to_the_hour }
}

/// What two states of an edge are called, if they differ.
fn change(before: Option<Authentication>, after: Option<Authentication>) -> Option<ChangeName> {
    let (Some(before), Some(after)) = (before, after) else { return there(&before, &after) };
    (before != after).then(|| match (strength(before), strength(after)) {
        (Some(before), Some(after)) if after < before => ChangeName::Weaker,
        (Some(before), Some(after)) if after > before => ChangeName::Stronger,
        _ => ChangeName::Changed,
    })
}

/// Whether something is there at one of the times only.
fn there<T>(before: &Option<T>, after: &Option<T>) -> Option<ChangeName> {
    match (before, after) {
        (None, Some(_)) => Some(ChangeName::Appeared),
        (Some(_), None) => Some(ChangeName::Vanished),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::made::{History, certificate, from_to, minute, presents};
    use crate::record::ConnectionRecord;

    const HOUR: i64 = 60;

    fn plain(client: &str, server: &str, minutes: i64) -> ConnectionRecord {
        ConnectionRecord { authentication: Authentication::None, ..from_to(client, server, minutes) }
    }

    fn between(before: i64, after: i64) -> DiffQuestion {
        DiffQuestion {
            before: Some(Moment::At(minute(before))),
            after: Some(Moment::At(minute(after))),
            window: Some(Moment::Ago(3_600)),
            limit: None,
        }
    }

    /// `change client>server` or `change name`, without the summary.
    fn told(answer: &[serde_json::Value]) -> Vec<String> {
        let told = answer.iter().skip(1).map(|record| {
            let short = |name: &serde_json::Value| name.as_str().unwrap().replace("workload:systemd:", "");
            let name = match &record["edge"] {
                serde_json::Value::Null => short(match &record["identity"] {
                    serde_json::Value::Null => &record["certificate"],
                    identity => identity,
                }),
                edge => format!("{}>{}", short(&edge["client"]), short(&edge["server"])),
            };
            format!("{} {name}", record["change"].as_str().unwrap())
        });
        told.collect()
    }

    #[test]
    fn edges_are_compared_by_what_they_established_last() {
        let (first, second) = (HOUR, 5 * HOUR);
        let connections = vec![
            plain("same", "s", first - 10),
            plain("same", "s", second - 10),
            from_to("weaker", "s", first - 10),
            plain("weaker", "s", second - 10),
            plain("stronger", "s", first - 20),
            from_to("stronger", "s", second - 20),
            from_to("gone", "s", first - 10),
            from_to("gone", "s", second - 61),
            plain("new", "s", second - 10),
            // Only the last before each time counts, and what is not known does not.
            from_to("last", "s", first - 30),
            plain("last", "s", first - 20),
            plain("last", "s", second - 20),
            ConnectionRecord { authentication: Authentication::Unknown, ..from_to("last", "s", second - 5) },
            from_to("last", "s", second + 1),
        ];
        let history = History::of("diff-edges", connections, vec![]);
        let expected = ["weaker weaker>s", "stronger stronger>s", "appeared new>s", "vanished gone>s"];
        let answer = history.ask(between(first, second));
        assert_eq!(told(&answer), expected);
        assert_eq!(answer[1]["before"]["authentication"], "mutual");
        assert_eq!(answer[1]["after"]["authentication"], "none");
        assert_eq!((&answer[0]["edges_before"], &answer[0]["edges_after"]), (&5.into(), &5.into()));
        assert!(history.ask(between(first, first + 1)).is_empty(), "nothing happened");
        let limited = history.ask(DiffQuestion { limit: Some(1), ..between(first, second) });
        assert_eq!((limited.len(), &limited[0]["left_out"]), (2, &3.into()));
    }

    #[test]
    fn a_connection_that_lasts_is_there_all_the_time() {
        let long = ConnectionRecord { closed: Some(minute(4 * HOUR + 30)), ..from_to("a", "b", 0) };
        let history = History::of("diff-long", vec![long], vec![]);
        assert!(history.ask(between(HOUR + 30, 5 * HOUR)).is_empty());
        assert_eq!(told(&history.ask(between(HOUR + 30, 7 * HOUR))), ["vanished a>b"]);
    }

    #[test]
    fn identities_and_certificates_are_compared_too() {
        let mut old = from_to("a", "b", HOUR - 10);
        presents(&mut old.client, "one", "spiffe://test/a");
        let mut new = from_to("a", "b", 5 * HOUR - 10);
        presents(&mut new.client, "two", "spiffe://test/a");
        presents(&mut new.server, "three", "spiffe://test/b");
        let certificates = vec![certificate("one", "spiffe://test/a", "CN=issuer", 0)];
        let answer = History::of("diff-names", vec![old, new], certificates).ask(between(HOUR, 5 * HOUR));
        let names: Vec<String> = ["three", "two"].map(crate::question::made::sha256).into();
        let mut expected = vec!["appeared spiffe://test/b".to_owned()];
        let mut appeared: Vec<String> = names.iter().map(|name| format!("appeared {name}")).collect();
        appeared.sort();
        expected.extend(appeared);
        expected.push(format!("vanished {}", crate::question::made::sha256("one")));
        assert_eq!(told(&answer), expected);
    }

    #[test]
    fn folded_hours_are_there_too() {
        let connections = vec![from_to("a", "b", 10), from_to("a", "b", 50), plain("a", "b", 5 * HOUR)];
        let history = History::of("diff-folded", connections, vec![]);
        history.fold_before(2 * HOUR);
        let answer = history.ask(between(30, 5 * HOUR + 1));
        assert_eq!(told(&answer), ["weaker a>b"]);
        assert_eq!(answer[1]["before"]["to_the_hour"], true);
    }

    #[test]
    fn times_that_are_none_are_refused() {
        let refused = |question: DiffQuestion| {
            let folder = History::of("diff-refused", vec![from_to("a", "b", 1)], vec![]);
            let mut reader = crate::store::Reader::open(&folder.folder.file()).unwrap();
            let mut all = crate::question::tests::Everything::default();
            crate::question::Question::from(question).answer(&mut reader, minute(0), &mut all).is_err()
        };
        assert!(refused(between(5, 5)));
        assert!(refused(DiffQuestion { before: None, ..between(1, 5) }));
        assert!(refused(DiffQuestion { window: Some(Moment::At(minute(0))), ..between(1, 5) }));
    }
}
