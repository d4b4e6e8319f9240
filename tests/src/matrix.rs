//! Which connections the matrix is made of.

use std::fmt;

use crate::{ClientKind, GoBuild, Mode, ServerKind, Version};

/// One connection (two when resumed) between two peers.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Who accepts.
    pub server: ServerKind,
    /// Who connects.
    pub client: ClientKind,
    /// What happens.
    pub mode: Mode,
    /// `None` is plaintext.
    pub version: Option<Version>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.map_or("-", Version::as_str);
        write!(f, "{:8} {:8} {:3} {:11}", self.client, self.server, version, self.mode)
    }
}

/// The plain run: each server with two clients, each client with at least two servers.
const PAIRS: [(ServerKind, [ClientKind; 2]); 9] = [
    (ServerKind::OpenSsl, [ClientKind::OpenSsl, ClientKind::Go]),
    (ServerKind::Nginx, [ClientKind::Curl, ClientKind::GnuTls]),
    (ServerKind::Apache, [ClientKind::Curl, ClientKind::Node]),
    (ServerKind::GnuTls, [ClientKind::GnuTls, ClientKind::Python]),
    (ServerKind::Python, [ClientKind::Python, ClientKind::OpenSsl]),
    (ServerKind::Asyncio, [ClientKind::Asyncio, ClientKind::Curl]),
    (ServerKind::Node, [ClientKind::Node, ClientKind::Asyncio]),
    (ServerKind::Go, [ClientKind::Go, ClientKind::Python]),
    (ServerKind::Nss, [ClientKind::OpenSsl, ClientKind::GnuTls]),
];

fn possible(server: ServerKind, client: ClientKind, mode: Mode, version: Option<Version>) -> bool {
    // Go resumes TLS 1.2 by ticket only; curl offers session ids only.
    let no_common_resumption = (server, client, mode, version)
        == (ServerKind::Go, ClientKind::Curl, Mode::Resumed, Some(Version::V1_2));
    server.can(mode) && client.can(mode) && !no_common_resumption
}

/// All cases of the plain run, or of the full one: the product of all peers, and each release of Go with itself and with Python.
#[must_use]
pub fn cases(full: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for (server, pair) in PAIRS {
        let clients = if full { ClientKind::ALL.as_slice() } else { pair.as_slice() };
        clients.iter().for_each(|client| add(&mut cases, server, *client));
    }
    for release in if full { GoBuild::RELEASES.as_slice() } else { &[] } {
        for client in [ClientKind::GoRelease(release), ClientKind::Python] {
            add(&mut cases, ServerKind::GoRelease(release), client);
        }
    }
    cases
}

/// Adds the cases of two peers.
fn add(cases: &mut Vec<Case>, server: ServerKind, client: ClientKind) {
    for mode in Mode::ALL {
        let versions = match mode {
            Mode::Plaintext => [None].as_slice(),
            _ => &[Some(Version::V1_2), Some(Version::V1_3)],
        };
        let possible = versions.iter().filter(|version| possible(server, client, mode, **version));
        cases.extend(possible.map(|&version| Case { server, client, mode, version }));
    }
}
