//! How far identities reach: to how many different servers each has proven itself as a client.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Book, Edges, MAX_NAME, write_workload};
use crate::record::{Authentication, ConnectionRecord, SideName};
use crate::verdict::{Presence, presence};

/// Stands between the two names of a pair.
const BETWEEN: char = '\0';

/// The identities that reached most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Widest {
    /// The widest first.
    pub identities: Vec<Reaching>,
    /// Further ones.
    pub left_out: usize,
}

/// One identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaching {
    /// As connections name it, at most 256 bytes of it.
    pub identity: String,
    /// Different servers: workloads on this host, identities on others, else addresses.
    pub servers: u64,
}

impl Edges {
    /// The identities that reached most servers, at most `most`.
    pub fn widest(&self, most: usize) -> Widest {
        // Counted outside of the lock.
        let pairs: Vec<Arc<str>> = self.lock().reached.each().map(|(pair, ())| Arc::clone(pair)).collect();
        let mut servers: HashMap<&str, u64> = HashMap::new();
        for (identity, _) in pairs.iter().filter_map(|pair| pair.split_once(BETWEEN)) {
            *servers.entry(identity).or_default() += 1;
        }
        let mut all: Vec<(&str, u64)> = servers.into_iter().collect();
        all.sort_by(|one, other| (other.1, one.0).cmp(&(one.1, other.0)));
        let left_out = all.len().saturating_sub(most);
        all.truncate(most);
        let own = |(identity, servers): (&str, u64)| Reaching { identity: identity.to_owned(), servers };
        Widest { identities: all.into_iter().map(own).collect(), left_out }
    }
}

impl Book {
    /// Notes what the client's identity reached. A resumed session reaches as far as the one where it began.
    pub(super) fn reach(&mut self, connection: &ConnectionRecord) {
        let (client, server) = (&connection.client, &connection.server);
        let proven = connection.authentication == Authentication::Mutual;
        let Some(identity) = client.identity.as_deref().filter(|_| proven) else { return };
        if presence(connection, SideName::Client).is_none() {
            return;
        }
        let name = &mut self.name;
        name.clear();
        // A null character in it would move the border.
        name.extend(identity.chars().filter(|character| *character != BETWEEN));
        name.truncate(name.floor_char_boundary(MAX_NAME));
        name.push(BETWEEN);
        let begin = name.len();
        let shown = server
            .identity
            .as_deref()
            .filter(|_| presence(connection, SideName::Server) == Some(Presence::Shown));
        match (connection.observed_from.contains(&SideName::Server), &server.workload, shown) {
            (true, Some(workload), _) => write_workload(name, workload),
            (false, _, Some(shown)) => name.push_str(shown),
            _ => name.push_str(&server.address),
        }
        name.truncate(name.floor_char_boundary(begin + MAX_NAME));
        self.reached.enter(&self.name, || ());
    }
}
