//! How far something can spread over connections, in the order of time.
//!
//! Whoever is reached next in time is asked whom he reached from then on (Dijkstra's algorithm, with times for lengths): each is asked once, and
//! whoever was reached before needs no look at his connections any more.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use rusqlite::{Connection, params};
use rustc_hash::FxHashMap;

use crate::question::QuestionError;
use crate::question::times::{LookBack, Span, Use, earliest_use, latest_use};
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
    /// The soonest way to each node, as an index of [`Spread::ways`].
    pub found: FxHashMap<i64, usize>,
    /// There are more nodes than there is room for.
    pub is_full: bool,
    /// There are nodes farther away.
    pub goes_on: bool,
    pub look_back: LookBack,
    /// Who is to be asked, the soonest first.
    next: BinaryHeap<Reverse<(i64, usize)>>,
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
            look_back: LookBack::default(),
            next: BinaryHeap::new(),
        }
    }

    /// Begins with these connections, and goes on from there. `Break` of `progress`, which is asked for each node, ends it.
    pub fn run(
        &mut self,
        seeds: &[Link],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, QuestionError> {
        let from = match self.direction {
            Direction::Reached => self.bounds.since,
            Direction::ReachedBy => self.bounds.until,
        };
        for seed in seeds {
            self.take(*seed, from, None)?;
        }
        let mut farthest = Vec::new();
        while let Some(Reverse((_, way))) = self.next.pop() {
            let Way { node, at, hops, .. } = self.ways[way];
            // A sooner way was found after this one.
            if self.found.get(&node) != Some(&way) {
                continue;
            }
            if hops >= self.bounds.depth {
                farthest.push(way);
                continue;
            }
            for link in self.links_of(node)? {
                self.take(link, at, Some(way))?;
            }
            if progress().is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.goes_on = self.has_further(&farthest)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Whether one connection more leads to somebody new.
    fn has_further(&mut self, farthest: &[usize]) -> Result<bool, QuestionError> {
        for way in farthest {
            let Way { node, at, .. } = self.ways[*way];
            for link in self.links_of(node)? {
                if !self.found.contains_key(&self.far_end(&link)) && self.when(&link, at)?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn take(&mut self, link: Link, from: i64, before: Option<usize>) -> Result<(), QuestionError> {
        let node = self.far_end(&link);
        let known = self.found.get(&node).map(|known| self.ways[*known].at);
        if known.is_some_and(|known| !self.is_sooner(self.at_best(&link, from), known)) {
            return Ok(());
        }
        if known.is_none() && self.found.len() >= self.bounds.nodes {
            self.is_full = true;
            return Ok(());
        }
        let Some(used) = self.when(&link, from)? else { return Ok(()) };
        if known.is_some_and(|known| !self.is_sooner(used.at, known)) {
            return Ok(());
        }
        let (hops, to_the_hour) = match before {
            Some(before) => (self.ways[before].hops + 1, self.ways[before].to_the_hour),
            None => (1, false),
        };
        let to_the_hour = to_the_hour || used.to_the_hour;
        let way = self.ways.len();
        self.ways.push(Way { node, at: used.at, to_the_hour, hops, link, used, before });
        self.found.insert(node, way);
        let key = match self.direction {
            Direction::Reached => used.at,
            Direction::ReachedBy => used.at.saturating_neg(),
        };
        self.next.push(Reverse((key, way)));
        Ok(())
    }

    /// All links of a node; those that were there first come first, and spare a look at later ones.
    fn links_of(&self, node: i64) -> Result<Vec<Link>, QuestionError> {
        let end = match self.direction {
            Direction::Reached => "e.client = ?1",
            Direction::ReachedBy => "e.server = ?1",
        };
        let sql = format!("{LINKS} {end} ORDER BY p.first_seen, p.id");
        let mut statement = self.database.prepare_cached(&sql)?;
        Ok(statement.query_map(params![node], link)?.collect::<Result<_, _>>()?)
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

    fn when(&mut self, link: &Link, from: i64) -> Result<Option<Use>, QuestionError> {
        match self.direction {
            Direction::Reached => {
                earliest_use(self.database, link.span, from, self.bounds.until, &mut self.look_back)
            }
            Direction::ReachedBy => {
                latest_use(self.database, link.span, from, self.bounds.since, from, &mut self.look_back)
            }
        }
    }

    fn is_sooner(&self, one: i64, other: i64) -> bool {
        match self.direction {
            Direction::Reached => one < other,
            Direction::ReachedBy => one > other,
        }
    }
}
