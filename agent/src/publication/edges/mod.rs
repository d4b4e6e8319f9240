//! Who talks to whom since the start, how the connections between them were authenticated last, and how far identities reach.
//!
//! ```text
//! revision of a connection ──► its edge (client, server, port) ──► weaker than before? ──► verdict
//!                        └───► what the client's identity reached
//! ```
//!
//! An end on this host is its workload. An end on another host is its address: what it shows cannot be its name here, or an edge that
//! loses its authentication would be another one. All ends outside of the internal networks are one, and held against nothing.

mod reach;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::record::{Authentication, ConnectionRecord, Scope, SideName, WallTime, WorkloadRecord};
use crate::verdict::Regression;
pub use reach::{Reaching, Widest};
use table::{Place, Table};

/// Edges remembered: a busy host has some thousand; beyond, those that were not used lately are forgotten.
pub const MAX_EDGES: usize = 16_384;
/// Pairs of an identity and what it reached that are remembered: most edges have one identity.
pub const MAX_REACHED: usize = 16_384;
/// Bytes that are kept of each name of a workload, and of each identity; those of units have at most 255.
const MAX_NAME: usize = 256;
/// An edge that is weaker now and then is one regression: it is one again after it was not weaker for so long (an hour), in
/// nanoseconds.
const QUIET: i64 = 3600 * 1_000_000_000;
/// How well the ends of a connection can be established: nobody, the server, both.
const LEVELS: usize = 3;
/// Never seen.
const NEVER: i64 = i64::MIN;

/// Bounded memory of edges, shared between the pipeline and the metrics; a clone is the same memory.
#[derive(Debug, Clone)]
pub struct Edges {
    book: Arc<Mutex<Book>>,
}

/// What a connection says of its edge: the next revision repeats it, or takes it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeUse {
    place: Place,
    authentication: Authentication,
    /// The edge had established this before.
    weaker_than: Option<Authentication>,
}

/// What noting a connection tells.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NotedEdge {
    /// To be given with the next revision; `None` if it is not known whose ends these are.
    pub edge: Option<EdgeUse>,
    /// The connection is weaker than its edge was before.
    pub regression: Option<Regression>,
    /// No connection of the edge was as weak before, or not since it had recovered.
    pub regressed_now: bool,
}

/// How full the memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EdgeSizes {
    /// Edges.
    pub edges: usize,
    /// Edges that were forgotten for room.
    pub edges_evicted: u64,
    /// Pairs of an identity and what it reached.
    pub reached: usize,
    /// Those that were forgotten for room.
    pub reached_evicted: u64,
}

#[derive(Debug)]
struct Book {
    edges: Table<Edge>,
    /// What identities reached, see [`reach`].
    reached: Table<()>,
    /// The name at hand.
    name: String,
}

#[derive(Debug)]
struct Edge {
    scope: Scope,
    /// What was established last, or a connection on which nothing was if there was no other.
    last: Authentication,
    /// Connections that say so.
    connections: [u32; Authentication::ALL.len()],
    /// When each level was established last, as [`WallTime`].
    seen: [i64; LEVELS],
}

impl Default for Edges {
    fn default() -> Self {
        Edges::with_bounds(MAX_EDGES, MAX_REACHED)
    }
}

impl Edges {
    fn with_bounds(edges: usize, reached: usize) -> Self {
        let book = Book { edges: Table::new(edges), reached: Table::new(reached), name: String::new() };
        Edges { book: Arc::new(Mutex::new(book)) }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a revision of a connection says of its edge, in place of what the revision `before` it said. Without a verdict it
    /// says nothing.
    pub fn note(&self, connection: &ConnectionRecord, before: Option<EdgeUse>, now: WallTime) -> NotedEdge {
        if connection.decided.is_none() {
            return NotedEdge { edge: before, ..NotedEdge::default() };
        }
        let mut book = self.lock();
        book.reach(connection);
        book.note(connection, before, now)
    }

    /// How many edges there are in each scope, by what was established last.
    pub fn by_authentication(&self) -> BTreeMap<(Scope, Authentication), u64> {
        let mut counts = BTreeMap::new();
        for (_, edge) in self.lock().edges.each() {
            *counts.entry((edge.scope, edge.last)).or_default() += 1;
        }
        counts
    }

    /// How full it is.
    pub fn sizes(&self) -> EdgeSizes {
        let book = self.lock();
        EdgeSizes {
            edges: book.edges.len(),
            edges_evicted: book.edges.evicted(),
            reached: book.reached.len(),
            reached_evicted: book.reached.evicted(),
        }
    }
}

impl Book {
    fn note(&mut self, connection: &ConnectionRecord, before: Option<EdgeUse>, now: WallTime) -> NotedEdge {
        let authentication = connection.authentication;
        let place = self.write_edge(connection).map(|known| {
            let place = self.edges.enter(&self.name, || Edge::new(connection));
            (place, known)
        });
        let repeated = |before: &EdgeUse| {
            place.map(|(place, _)| place) == Some(before.place) && before.authentication == authentication
        };
        if let Some(before) = before.filter(repeated) {
            let edge = self.edges.at(before.place);
            let regression = edge.and_then(|edge| edge.regression(before.weaker_than?));
            return NotedEdge { edge: Some(before), regression, regressed_now: false };
        }
        let noted = place.and_then(|(place, known)| {
            let edge = self.edges.at(place)?;
            // The connection itself is not what it is held against.
            if let Some(before) = before.filter(|before| before.place == place) {
                edge.take_back(before.authentication);
            }
            let weaker_than = edge.stronger(connection).filter(|_| known);
            let regressed_now = weaker_than.is_some() && edge.regresses_now(connection, now);
            let regression = weaker_than.and_then(|stronger| edge.regression(stronger));
            edge.count(connection, now);
            let edge = Some(EdgeUse { place, authentication, weaker_than });
            Some(NotedEdge { edge, regression, regressed_now })
        });
        if let Some(before) = before.filter(|before| place.is_none_or(|(place, _)| place != before.place)) {
            self.take_back(before);
        }
        noted.unwrap_or_default()
    }

    /// The connection does not say so any more; an edge of which nothing is left was a mistake.
    fn take_back(&mut self, before: EdgeUse) {
        let Some(edge) = self.edges.at(before.place) else { return };
        edge.take_back(before.authentication);
        if edge.connections.iter().all(|count| *count == 0) {
            self.edges.remove(before.place);
        }
    }

    /// Writes the name of an edge. `None` if an end on this host has no workload, else whether both ends are known ones.
    fn write_edge(&mut self, connection: &ConnectionRecord) -> Option<bool> {
        let name = &mut self.name;
        name.clear();
        let mut known = true;
        for (side, end) in [(SideName::Client, &connection.client), (SideName::Server, &connection.server)] {
            match (connection.observed_from.contains(&side), &end.workload, connection.scope) {
                (true, Some(workload), _) => write_workload(name, workload),
                (true, None, _) => return None,
                (false, _, Scope::NorthSouth) => known = false,
                (false, ..) => name.push_str(&end.address),
            }
            name.push('\0');
        }
        name.push_str(itoa::Buffer::new().format(connection.server.port));
        Some(known)
    }
}

/// Bounded as [`MAX_NAME`] says.
fn write_workload(name: &mut String, workload: &WorkloadRecord) {
    let begin = name.len();
    workload.write_key(name);
    name.truncate(name.floor_char_boundary(begin + MAX_NAME));
}

/// How well the ends are established, if that is known. Who says nothing establishes nothing and gives nothing up.
fn level(authentication: Authentication, protocol: &str) -> Option<usize> {
    match authentication {
        Authentication::None if protocol == "silent" => None,
        Authentication::None | Authentication::Anonymous => Some(0),
        Authentication::ServerOnly => Some(1),
        Authentication::Mutual | Authentication::Psk => Some(2),
        Authentication::NotEstablished | Authentication::Unknown => None,
    }
}

impl Edge {
    fn new(connection: &ConnectionRecord) -> Self {
        Edge {
            scope: connection.scope,
            last: Authentication::Unknown,
            connections: Default::default(),
            seen: [NEVER; LEVELS],
        }
    }

    fn count(&mut self, connection: &ConnectionRecord, now: WallTime) {
        let authentication = connection.authentication;
        self.scope = connection.scope;
        let connections = &mut self.connections[authentication as usize];
        *connections = connections.saturating_add(1);
        let level = level(authentication, &connection.protocol);
        if level.is_some() || self.seen == [NEVER; LEVELS] {
            self.last = authentication;
        }
        if let Some(level) = level {
            self.seen[level] = self.seen[level].max(now.0);
        }
    }

    fn take_back(&mut self, authentication: Authentication) {
        let connections = &mut self.connections[authentication as usize];
        *connections = connections.saturating_sub(1);
    }

    /// The strongest that was established, if a connection is weaker.
    fn stronger(&self, connection: &ConnectionRecord) -> Option<Authentication> {
        let own = level(connection.authentication, &connection.protocol)?;
        let strongest = [Authentication::Mutual, Authentication::Psk, Authentication::ServerOnly]
            .into_iter()
            .find(|known| self.connections[*known as usize] > 0)?;
        level(strongest, "").filter(|strongest| *strongest > own).map(|_| strongest)
    }

    /// Whether no connection was as weak, or none since a stronger one and for some time.
    fn regresses_now(&self, connection: &ConnectionRecord, now: WallTime) -> bool {
        let Some(own) = level(connection.authentication, &connection.protocol) else { return false };
        let (weak, strong) = self.seen.split_at(own + 1);
        let weak = weak.iter().max().copied().unwrap_or(NEVER);
        let has_recovered = strong.iter().any(|strong| *strong > weak);
        weak == NEVER || (has_recovered && now.0.saturating_sub(weak) >= QUIET)
    }

    fn regression(&self, from: Authentication) -> Option<Regression> {
        let last = WallTime(self.seen[level(from, "")?]);
        Some(Regression { from, last })
    }
}
