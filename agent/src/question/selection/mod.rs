//! Which connections are wanted, by numbers: clauses are looked up once in what repeats, so that a connection costs a few
//! comparisons.

use rusqlite::Row as SqlRow;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::condition::{Clause, Test};
use super::{Answering, QuestionError, Range};
use crate::store::from_hex;

mod lookup;

use lookup::Lookup;

/// Clauses of one question: more than there are options.
const MAX_CLAUSES: usize = 64;
/// Stands for all names of a workload, and its key.
pub(super) const WORKLOAD_CALLED: &str = "workload.*";

type Numbers = FxHashSet<i64>;

/// A clause, looked up.
#[derive(Debug, Default)]
struct Resolved {
    answers: Numbers,
    clients: Numbers,
    servers: Numbers,
    /// Clients that are known by their address alone.
    visitors: Numbers,
    client_holders: Numbers,
    server_holders: Numbers,
    /// Pairings of which these held sockets, and when.
    held: FxHashMap<i64, Held>,
    client_ports: Vec<u16>,
    session_ids: Vec<[u8; 16]>,
    /// What only the whole record shows.
    records: Vec<Test>,
}

/// When sockets of a pairing were held: in order, without a common moment, and few, so that each is walked by itself.
#[derive(Debug, Clone, Default)]
struct Held(Vec<Range>);

impl Held {
    const MOST: usize = 16;

    fn add(&mut self, range: Range) {
        if range.from >= range.to {
            return;
        }
        let first = self.0.partition_point(|held| held.to < range.from);
        let behind = self.0.partition_point(|held| held.from <= range.to);
        let joined = self.0[first..behind].iter().fold(range, |joined, held| joined.or(*held));
        self.0.splice(first..behind, [joined]);
        if self.0.len() > Self::MOST {
            // The newest are asked for most often: the oldest become one.
            let oldest = self.0[0].or(self.0[1]);
            self.0.splice(..2, [oldest]);
        }
    }

    fn all(&self) -> Option<Range> {
        self.0.iter().copied().reduce(Range::or)
    }
}

impl Resolved {
    /// Whether connections with these ends and this answer fulfil it, all of them.
    fn holds(&self, pairing: &Pairing) -> bool {
        self.answers.contains(&pairing.answer)
            || self.clients.contains(&pairing.client)
            || self.servers.contains(&pairing.server)
            || pairing.visitor.is_some_and(|visitor| self.visitors.contains(&visitor))
    }

    /// Whether some may, by what each has of its own.
    fn is_open(&self) -> bool {
        !(self.client_holders.is_empty() && self.server_holders.is_empty()) || self.is_open_to_all()
    }

    /// Whether some of every pairing may.
    fn is_open_to_all(&self) -> bool {
        !(self.client_ports.is_empty() && self.session_ids.is_empty() && self.records.is_empty())
    }

    /// The same of this pairing.
    fn is_open_to(&self, pairing: &Pairing) -> bool {
        self.is_open_to_all() || self.held.contains_key(&pairing.id)
    }

    fn is_nothing(&self) -> bool {
        !self.is_open() && self.holds_none()
    }

    /// Whether there is no pairing all of whose connections fulfil it.
    fn holds_none(&self) -> bool {
        let by_pairing = [&self.answers, &self.clients, &self.servers, &self.visitors];
        by_pairing.iter().all(|numbers| numbers.is_empty())
    }

    /// When there can be some, if that is known: while the processes that are wanted held sockets.
    fn time(&self) -> Option<Range> {
        let by_holders = self.holds_none() && !self.is_open_to_all();
        by_holders.then(|| self.held.values().filter_map(Held::all).reduce(Range::or)).flatten()
    }

    /// Takes another one's alternatives over.
    fn add(&mut self, other: Resolved) {
        self.answers.extend(other.answers);
        self.clients.extend(other.clients);
        self.servers.extend(other.servers);
        self.visitors.extend(other.visitors);
        self.client_holders.extend(other.client_holders);
        self.server_holders.extend(other.server_holders);
        for (pairing, held) in other.held {
            held.0.into_iter().for_each(|range| self.held.entry(pairing).or_default().add(range));
        }
        self.client_ports.extend(other.client_ports);
        self.session_ids.extend(other.session_ids);
        self.records.extend(other.records);
    }

    fn holds_row(&self, own: &Own) -> bool {
        own.client_holders.is_some_and(|holders| self.client_holders.contains(&holders))
            || own.server_holders.is_some_and(|holders| self.server_holders.contains(&holders))
            || self.client_ports.contains(&own.client_port)
            || own.session_id.is_some_and(|id| self.session_ids.contains(&id))
            || own.visitor.is_some_and(|visitor| self.visitors.contains(&visitor))
    }
}

/// Connections with the same ends and the same answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pairing {
    pub id: i64,
    pub client: i64,
    pub server: i64,
    pub answer: i64,
    /// Only those of this visitor.
    pub visitor: Option<i64>,
}

/// What a connection has of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Own {
    pub client_holders: Option<i64>,
    pub server_holders: Option<i64>,
    pub client_port: u16,
    pub session_id: Option<[u8; 16]>,
    pub visitor: Option<i64>,
}

impl Own {
    pub const COLUMNS: &str = "client_holders, server_holders, client_port, session_id, visitor";

    /// From [`Own::COLUMNS`], which begin there.
    pub fn of(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Own> {
        Ok(Own {
            client_holders: row.get(column)?,
            server_holders: row.get(column + 1)?,
            client_port: row.get(column + 2)?,
            session_id: row.get(column + 3)?,
            visitor: row.get(column + 4)?,
        })
    }
}

/// Clauses that a pairing leaves open, a bit for each.
pub(super) type Open = u64;

/// What is wanted.
#[derive(Debug, Default)]
pub(super) struct Selection {
    clauses: Vec<Resolved>,
}

impl Selection {
    /// Looks the clauses up.
    pub fn resolve(answering: &mut Answering<'_>, clauses: &[Clause]) -> Result<Selection, QuestionError> {
        if clauses.len() > MAX_CLAUSES {
            return Err(QuestionError::Refused(format!("more than {MAX_CLAUSES} conditions")));
        }
        let Answering { reader, asker, .. } = answering;
        let mut lookup = Lookup { database: reader.database(), asker: &mut **asker, last: None };
        let mut resolved = Vec::new();
        for clause in clauses {
            resolved.push(lookup.clause(clause)?);
        }
        Ok(Selection { clauses: resolved })
    }

    /// What any of these wants; where there are several, each has one clause.
    pub fn any_of(all: Vec<Selection>) -> Selection {
        let several = match <[Selection; 1]>::try_from(all) {
            Ok([one]) => return one,
            Err(several) => several,
        };
        let mut any = Resolved::default();
        for clause in several.into_iter().flat_map(|one| one.clauses) {
            any.add(clause);
        }
        Selection { clauses: vec![any] }
    }

    /// The time in which there can be such connections.
    pub fn within(&self, range: Range) -> Range {
        self.clauses.iter().filter_map(Resolved::time).fold(range, Range::and)
    }

    /// Whether everything is wanted.
    pub fn is_everything(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Whether nothing can be what is wanted.
    pub fn is_nothing(&self) -> bool {
        self.clauses.iter().any(Resolved::is_nothing)
    }

    /// Whether each connection must be looked at to know.
    pub fn needs_rows(&self) -> bool {
        self.clauses.iter().any(Resolved::is_open)
    }

    /// Whether a connection's whole record may be needed to know.
    pub fn needs_records(&self) -> bool {
        self.clauses.iter().any(|clause| !clause.records.is_empty())
    }

    /// At which ends of a pairing is what is wanted: client, server.
    pub fn sides(&self, pairing: &Pairing) -> [bool; 2] {
        let is_visitor =
            |clause: &Resolved| pairing.visitor.is_some_and(|one| clause.visitors.contains(&one));
        let client = |clause: &Resolved| clause.clients.contains(&pairing.client) || is_visitor(clause);
        let client = self.clauses.iter().any(client);
        let server = self.clauses.iter().any(|clause| clause.servers.contains(&pairing.server));
        // What is wanted of the connection as a whole is at its server's.
        [client, server || !client]
    }

    /// What a pairing leaves open; `None` if none of its connections is wanted.
    pub fn open(&self, pairing: &Pairing) -> Option<Open> {
        let mut open = 0;
        for (bit, clause) in self.clauses.iter().enumerate() {
            match clause.holds(pairing) {
                true => {}
                false if clause.is_open_to(pairing) => open |= 1 << bit,
                false => return None,
            }
        }
        Some(open)
    }

    /// All visitors that are asked for.
    pub fn visitors(&self) -> impl Iterator<Item = i64> {
        self.clauses.iter().flat_map(|clause| clause.visitors.iter().copied())
    }

    /// When those connections of a pairing can have been opened that fulfil what it leaves open: times without a common moment.
    pub fn narrowed(&self, pairing: &Pairing, open: Open, range: Range) -> Vec<Range> {
        let left = self.clauses.iter().enumerate().filter(|(bit, _)| open & (1 << bit) != 0);
        let held = left.filter(|(_, clause)| !clause.is_open_to_all());
        held.filter_map(|(_, clause)| clause.held.get(&pairing.id)).fold(vec![range], |ranges, held| {
            let both = |range: &Range| held.0.iter().map(|held| held.and(*range)).collect::<Vec<_>>();
            ranges.iter().flat_map(both).filter(|range| range.from < range.to).collect()
        })
    }

    /// What a connection leaves open that only its record can tell; `None` if it is not wanted.
    pub fn open_for_record(&self, open: Open, own: &Own) -> Option<Open> {
        let mut left = 0;
        for (bit, clause) in self.clauses.iter().enumerate().filter(|(bit, _)| open & (1 << bit) != 0) {
            match clause.holds_row(own) {
                true => {}
                false if !clause.records.is_empty() => left |= 1 << bit,
                false => return None,
            }
        }
        Some(left)
    }

    /// Whether a record fulfils what was left open.
    pub fn holds_record(&self, open: Open, record: &Value) -> bool {
        let mut left = self.clauses.iter().enumerate().filter(|(bit, _)| open & (1 << bit) != 0);
        left.all(|(_, clause)| clause.records.iter().any(|test| test.holds(record)))
    }

    /// The few ends one of which every wanted connection has; `None` if they are not few.
    pub fn few_ends(&self) -> Option<Ends<'_>> {
        const FEW: usize = 1_000;
        let count = |clause: &&Resolved| clause.clients.len() + clause.servers.len() + clause.visitors.len();
        let by_ends = self.clauses.iter().filter(|clause| clause.answers.is_empty() && !clause.is_open());
        let fewest = by_ends.min_by_key(count).filter(|clause| count(clause) <= FEW)?;
        let Resolved { clients, servers, visitors, .. } = fewest;
        Some(Ends { clients, servers, visitors })
    }
}

/// Ends of which every wanted connection has one.
pub(super) struct Ends<'a> {
    pub clients: &'a Numbers,
    pub servers: &'a Numbers,
    pub visitors: &'a Numbers,
}

/// The first and the last fingerprint that begins so.
pub(super) fn fingerprints(prefix: &str) -> Option<([u8; 32], [u8; 32])> {
    let filled = |digit: &str| {
        from_hex::<32>(&format!("{prefix}{}", digit.repeat(64_usize.checked_sub(prefix.len())?)))
    };
    Some((filled("0")?, filled("f")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_joined_where_they_meet_and_the_oldest_where_they_are_many() {
        let held = |all: &[(i64, i64)]| {
            let mut held = Held::default();
            all.iter().for_each(|&(from, to)| held.add(Range { from, to }));
            held.0.iter().map(|range| (range.from, range.to)).collect::<Vec<_>>()
        };
        assert_eq!(held(&[(10, 20), (0, 5), (30, 40)]), [(0, 5), (10, 20), (30, 40)]);
        assert_eq!(held(&[(10, 20), (0, 5), (30, 40), (5, 30)]), [(0, 40)]);
        assert_eq!(held(&[(10, 20), (12, 15), (15, 25)]), [(10, 25)]);
        assert_eq!(held(&[(10, 20), (40, 30)]), [(10, 20)], "a file may be forged");
        let many: Vec<(i64, i64)> = (0..100).map(|number| (number * 10, number * 10 + 5)).collect();
        let few = held(&many);
        assert_eq!((few.len(), few[0], few[1]), (Held::MOST, (0, 845), (850, 855)));
        assert_eq!(held(&many.iter().rev().copied().collect::<Vec<_>>()).len(), Held::MOST);
    }
}
