//! Which connections the matrix is made of.

use std::fmt;

use crate::{ClientKind, Mode, ServerKind, Version};

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
const PAIRS: [(ServerKind, [ClientKind; 2]); 8] = [
    (ServerKind::OpenSsl, [ClientKind::OpenSsl, ClientKind::Go]),
    (ServerKind::Nginx, [ClientKind::Curl, ClientKind::GnuTls]),
    (ServerKind::Apache, [ClientKind::Curl, ClientKind::Node]),
    (ServerKind::GnuTls, [ClientKind::GnuTls, ClientKind::Python]),
    (ServerKind::Python, [ClientKind::Python, ClientKind::OpenSsl]),
    (ServerKind::Asyncio, [ClientKind::Asyncio, ClientKind::Curl]),
    (ServerKind::Node, [ClientKind::Node, ClientKind::Asyncio]),
    (ServerKind::Go, [ClientKind::Go, ClientKind::Python]),
];

fn possible(server: ServerKind, client: ClientKind, mode: Mode, version: Option<Version>) -> bool {
    // Go resumes TLS 1.2 by ticket only; curl offers session ids only.
    let no_common_resumption = (server, client, mode, version)
        == (ServerKind::Go, ClientKind::Curl, Mode::Resumed, Some(Version::V1_2));
    server.can(mode) && client.can(mode) && !no_common_resumption
}

/// All cases of the plain run, or of the full product.
#[must_use]
pub fn cases(full: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for (server, pair) in PAIRS {
        let clients = if full { ClientKind::ALL.as_slice() } else { pair.as_slice() };
        for &client in clients {
            for mode in Mode::ALL {
                let versions = match mode {
                    Mode::Plaintext => [None].as_slice(),
                    _ => &[Some(Version::V1_2), Some(Version::V1_3)],
                };
                cases.extend(
                    versions
                        .iter()
                        .filter(|version| possible(server, client, mode, **version))
                        .map(|&version| Case { server, client, mode, version }),
                );
            }
        }
    }
    cases
}
