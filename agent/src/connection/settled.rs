//! What is kept of a TLS connection after its verdict. Most connections of a host say the same things (the same
//! programs, names, versions and certificates), so equal ones share one copy.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashSet;

use super::Fingerprint;
use crate::record::TlsRecord;
use crate::tls::TlsFacts;

/// Different ones that are looked for among open connections; beyond it each connection has its own.
const MAX_SHARED: usize = 8192;

/// Facts without the certificates' bytes and without what differs from connection to connection.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Settled {
    /// TLS facts; no chains, no session handles, no session id.
    pub tls: TlsFacts,
    /// What the client presented, in clear or at a library, leaf first.
    pub client_chain: Arc<[Fingerprint]>,
    /// What the server did.
    pub server_chain: Arc<[Fingerprint]>,
    record: Record,
}

/// The public record of the facts, once somebody wanted it. It follows from them, so that it does not tell two apart.
#[derive(Debug, Default)]
struct Record(OnceLock<Arc<TlsRecord>>);

impl PartialEq for Record {
    fn eq(&self, _other: &Record) -> bool {
        true
    }
}

impl Eq for Record {}

impl Hash for Record {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

impl Settled {
    /// Takes what is worth keeping.
    pub(super) fn new(
        facts: TlsFacts,
        client_chain: Arc<[Fingerprint]>,
        server_chain: Arc<[Fingerprint]>,
    ) -> Self {
        let tls = TlsFacts {
            client_chain: Vec::new(),
            server_chain: Vec::new(),
            session_id: None,
            session_resumed: None,
            session_echoed: None,
            session_issued: Vec::new(),
            ..facts
        };
        Settled { tls, client_chain, server_chain, record: Record::default() }
    }

    /// The public record of the facts, made by `make` for the first who wants it.
    pub fn record(&self, make: impl FnOnce(&TlsFacts) -> TlsRecord) -> Arc<TlsRecord> {
        Arc::clone(self.record.0.get_or_init(|| Arc::new(make(&self.tls))))
    }

    /// The same with what a renegotiation leaves of it.
    pub(super) fn renegotiated(&self) -> Self {
        let mut tls = self.tls.clone();
        tls.note_renegotiation();
        let (client_chain, server_chain) = (Arc::clone(&self.client_chain), Arc::clone(&self.server_chain));
        Settled { tls, client_chain, server_chain, record: Record::default() }
    }
}

/// The copies in use.
#[derive(Debug, Default)]
pub(super) struct Shared {
    copies: FxHashSet<Arc<Settled>>,
}

impl Shared {
    /// The one copy of what equals `settled`.
    pub fn share(&mut self, settled: Settled) -> Arc<Settled> {
        if let Some(copy) = self.copies.get(&settled) {
            return Arc::clone(copy);
        }
        if self.copies.len() >= MAX_SHARED {
            self.copies.retain(|copy| Arc::strong_count(copy) > 1);
        }
        let copy = Arc::new(settled);
        if self.copies.len() < MAX_SHARED {
            self.copies.insert(Arc::clone(&copy));
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: String) -> Settled {
        Settled::new(
            TlsFacts { server_name: Some(name), ..TlsFacts::default() },
            Arc::default(),
            Arc::default(),
        )
    }

    #[test]
    fn equal_facts_share_one_copy_and_the_copies_are_bounded() {
        let mut shared = Shared::default();
        let one = shared.share(named("db".to_owned()));
        assert!(Arc::ptr_eq(&one, &shared.share(named("db".to_owned()))));
        for number in 0..2 * MAX_SHARED {
            shared.share(named(number.to_string()));
        }
        assert!(shared.copies.len() <= MAX_SHARED);
        assert!(Arc::ptr_eq(&one, &shared.share(named("db".to_owned()))));
    }
}
