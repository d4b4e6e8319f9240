//! How far something can spread over connections, in the order of time.
//!
//! In each round everybody who was newly found, or found to be reached sooner, is asked whom he reached from then on: ways
//! with one connection more. The first round that finds somebody gives the shortest way, the last one the soonest.

use std::ops::ControlFlow;

use rusqlite::{Connection, params};
use rustc_hash::FxHashMap;

use crate::question::QuestionError;
use crate::question::times::{Span, Use, earliest_use, latest_use};
use crate::record::Authentication;

/// Along connections, or against them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// To servers, later and later.
    Reached,
    /// To clients, earlier and earlier.
    ReachedBy,
}

/// Connections of one kind between two nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub span: Span,
    pub client: i64,
    pub server: i64,
    pub port: u16,
    pub authentication: Authentication,
}

/// A way to a node: its last connection, and the way to the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub node: i64,
    pub at: i64,
    /// Some time on the way is known to the hour only.
    pub to_the_hour: bool,
    pub hops: u32,
    pub link: Link,
    /// That of this connection alone.
    pub used: Use,
    pub before: Option<usize>,
}

/// Ways to one node, as indexes of [`Spread::ways`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub shortest: usize,
    pub soonest: usize,
}

/// What bounds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub since: i64,
    pub until: i64,
    pub depth: u32,
    pub nodes: usize,
}

/// Who was found, and how.
#[derive(Debug)]
pub(super) struct Spread<'a> {
    database: &'a Connection,
    direction: Direction,
    bounds: Bounds,
    pub ways: Vec<Way>,
    pub found: FxHashMap<i64, Found>,
    /// There are more nodes than there is room for.
    pub is_full: bool,
    /// There are nodes farther away.
    pub goes_on: bool,
    links: FxHashMap<i64, Vec<Link>>,
}

/// Columns of [`Link`], with the tables.
pub(super) const LINKS: &str = "SELECT p.id, p.first_seen, p.last_seen, e.client, e.server, e.port, a.authentication \
                                FROM pairing p JOIN edge e ON e.id = p.edge JOIN answer a ON a.id = p.answer \
                                WHERE a.authentication <> 'not_established' AND ";

/// A row of [`LINKS`].
pub(super) fn link(row: &rusqlite::Row<'_>) -> rusqlite::Result<Link> {
    let authentication: String = row.get(6)?;
    Ok(Link {
        span: Span { pairing: row.get(0)?, first_seen: row.get(1)?, last_seen: row.get(2)? },
        client: row.get(3)?,
        server: row.get(4)?,
        port: row.get(5)?,
        authentication: authentication.parse().unwrap_or(Authentication::Unknown),
    })
}

impl<'a> Spread<'a> {
    pub fn new(database: &'a Connection, direction: Direction, bounds: Bounds) -> Self {
        Spread {
            database,
            direction,
            bounds,
            ways: Vec::new(),
            found: FxHashMap::default(),
            is_full: false,
            goes_on: false,
            links: FxHashMap::default(),
        }
    }

    /// Begins with these connections, and goes on from there. `Break` of `progress`, which hears how many rounds there
    /// were, ends it.
    pub fn run(
        &mut self,
        seeds: &[Link],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, QuestionError> {
        let from = match self.direction {
            Direction::Reached => self.bounds.since,
            Direction::ReachedBy => self.bounds.until,
        };
        let mut next = FxHashMap::default();
        for seed in seeds {
            self.take(*seed, from, None, &mut next)?;
        }
        for _ in 1..self.bounds.depth {
            let mut round: Vec<usize> = next.drain().map(|(_, way)| way).collect();
            round.sort_unstable();
            for way in round {
                let Way { node, at, .. } = self.ways[way];
                for link in self.links_of(node)? {
                    self.take(link, at, Some(way), &mut next)?;
                }
                if progress().is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if next.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
        }
        self.goes_on = self.has_further(next)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Whether one connection more leads to somebody new.
    fn has_further(&mut self, last: FxHashMap<i64, usize>) -> Result<bool, QuestionError> {
        for way in last.into_values() {
            let Way { node, at, .. } = self.ways[way];
            for link in self.links_of(node)? {
                if !self.found.contains_key(&self.far_end(&link)) && self.when(&link, at)?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn take(
        &mut self,
        link: Link,
        from: i64,
        before: Option<usize>,
        next: &mut FxHashMap<i64, usize>,
    ) -> Result<(), QuestionError> {
        let node = self.far_end(&link);
        let known = self.found.get(&node).copied();
        if known.is_some_and(|known| !self.is_sooner(self.at_best(&link, from), self.ways[known.soonest].at))
        {
            return Ok(());
        }
        if known.is_none() && self.found.len() >= self.bounds.nodes {
            self.is_full = true;
            return Ok(());
        }
        let Some(used) = self.when(&link, from)? else { return Ok(()) };
        if known.is_some_and(|known| !self.is_sooner(used.at, self.ways[known.soonest].at)) {
            return Ok(());
        }
        let (hops, to_the_hour) = match before {
            Some(before) => (self.ways[before].hops + 1, self.ways[before].to_the_hour),
            None => (1, false),
        };
        let to_the_hour = to_the_hour || used.to_the_hour;
        let way = self.ways.len();
        self.ways.push(Way { node, at: used.at, to_the_hour, hops, link, used, before });
        let shortest = match known {
            Some(known) if self.ways[known.shortest].hops < hops => known.shortest,
            _ => way,
        };
        self.found.insert(node, Found { shortest, soonest: way });
        next.insert(node, way);
        Ok(())
    }

    fn links_of(&mut self, node: i64) -> Result<Vec<Link>, QuestionError> {
        if let Some(known) = self.links.get(&node) {
            return Ok(known.clone());
        }
        let end = match self.direction {
            Direction::Reached => "e.client = ?1",
            Direction::ReachedBy => "e.server = ?1",
        };
        let mut statement = self.database.prepare_cached(&format!("{LINKS} {end} ORDER BY p.id"))?;
        let links: Vec<Link> = statement.query_map(params![node], link)?.collect::<Result<_, _>>()?;
        self.links.insert(node, links.clone());
        Ok(links)
    }

    fn far_end(&self, link: &Link) -> i64 {
        match self.direction {
            Direction::Reached => link.server,
            Direction::ReachedBy => link.client,
        }
    }

    /// The soonest that connections can be used from a moment on, without looking at each.
    fn at_best(&self, link: &Link, from: i64) -> i64 {
        match self.direction {
            Direction::Reached => from.max(link.span.first_seen),
            Direction::ReachedBy => from,
        }
    }

    fn when(&self, link: &Link, from: i64) -> Result<Option<Use>, QuestionError> {
        match self.direction {
            Direction::Reached => earliest_use(self.database, link.span, from, self.bounds.until),
            Direction::ReachedBy => latest_use(self.database, link.span, from, self.bounds.since),
        }
    }

    fn is_sooner(&self, one: i64, other: i64) -> bool {
        match self.direction {
            Direction::Reached => one < other,
            Direction::ReachedBy => one > other,
        }
    }
}
