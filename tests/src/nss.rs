//! Programs on NSS: they take keys and roots from a database of their own.

use std::process::Command;

use anyhow::Result;

use crate::{Identity, RequestCertificate, ServerOptions, Testbed, Version, output_of};

/// Threads of a server. Each serves one connection from its first byte on: with the usual eight, whoever first connects fifty
/// times and then speaks waits for ever.
const THREADS: &str = "64";

/// A database of NSS with a root to trust and an identity named `peer`; its folder as NSS wants it.
///
/// # Errors
/// Without NSS' tools.
pub fn nss_database(testbed: &Testbed, identity: &Identity) -> Result<String> {
    let folder = testbed.folder("nss")?;
    let (database, archive) = (format!("sql:{}", folder.display()), folder.join("peer.p12"));
    output_of(Command::new("certutil").args(["-N", "--empty-password", "-d", &database]))?;
    let mut export = Command::new("openssl");
    export.args(["pkcs12", "-export", "-name", "peer", "-passout", "pass:", "-in"]).arg(&identity.chain);
    output_of(export.arg("-inkey").arg(&identity.key).arg("-out").arg(&archive))?;
    output_of(Command::new("pk12util").args(["-W", "", "-d", &database, "-i"]).arg(archive))?;
    let mut trust = Command::new("certutil");
    trust.args(["-A", "-n", "root", "-t", "CT,C,C", "-a", "-d", &database, "-i"]).arg(&testbed.pki.ca);
    output_of(&mut trust)?;
    Ok(database)
}

/// As `selfserv` and `tstclnt` take it: the oldest and the newest.
#[must_use]
pub fn nss_versions(version: Option<Version>) -> &'static str {
    if version == Some(Version::V1_2) { "tls1.2:tls1.2" } else { "tls1.3:tls1.3" }
}

/// `selfserv`, with ALPN and session tickets.
pub(crate) fn selfserv(testbed: &Testbed, options: ServerOptions<'_>) -> Result<Command> {
    let mut command = Command::new("selfserv");
    command.args(["-d", &nss_database(testbed, options.identity)?, "-n", "peer"]);
    command.args(["-p", &options.port.to_string(), "-V", nss_versions(options.version)]);
    command.args(["-Q", "-u", "-t", THREADS]);
    // Once asks for a certificate on the first handshake, twice requires it.
    command.args(match options.request {
        RequestCertificate::No => &[][..],
        RequestCertificate::Optional => &["-r"],
        RequestCertificate::Require => &["-r", "-r"],
    });
    Ok(command)
}
