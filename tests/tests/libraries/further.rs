//! Peers beyond the matrix: HAProxy, PostgreSQL, NSS, wget, BoringSSL, rustls, variants of Go.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    ClientOptions, GoBuild, Identity, PostgresqlCluster, Process, Program, SERVER_NAME, ServerKind,
    ServerOptions, Testbed, Version, nss_database, nss_versions, peer_script, python_with_packages,
    with_identities,
};
use serde_json::json;

/// Starts a server of the shared testbed and waits until it listens.
fn serve(name: &str, command: Command, port: u16) -> Result<Process> {
    let mut server = Process::spawn(name, Some(&Testbed::shared().server_side), command)?;
    server.wait_listening(port)?;
    Ok(server)
}

/// One file with leaf, intermediates and key.
fn bundle(folder: &Path, identity: &Identity) -> Result<PathBuf> {
    let path = folder.join("bundle.pem");
    let text = [&identity.chain, &identity.key]
        .map(std::fs::read_to_string)
        .into_iter()
        .collect::<Result<String, _>>()?;
    std::fs::write(&path, text)?;
    Ok(path)
}

/// A command in a mount namespace where the server's name resolves: for clients that cannot be told an address.
fn named(program: &str) -> Result<Command> {
    let hosts = Testbed::shared().folder("hosts")?.join("hosts");
    std::fs::write(&hosts, format!("{} {SERVER_NAME}\n", Testbed::SERVER))?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""])
        .arg(hosts)
        .arg(program);
    Ok(command)
}

pub fn haproxy(port: u16) -> Result<Process> {
    let testbed = Testbed::shared();
    let folder = testbed.folder("haproxy")?;
    let (bundle, ca) = (bundle(&folder, &testbed.pki.server)?, &testbed.pki.ca);
    let file = folder.join("haproxy.cfg");
    std::fs::write(
        &file,
        format!(
            "global\n  nbthread 2\n\
             defaults\n  mode http\n  timeout client 20s\n  timeout server 20s\n  timeout connect 20s\n\
             frontend tls\n  bind {}:{port} ssl crt {} ca-file {} verify required ssl-min-ver TLSv1.3\n  \
             option httpclose\n  http-request return status 200 content-type text/plain string hello\n",
            Testbed::SERVER,
            bundle.display(),
            ca.display()
        ),
    )?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    serve("haproxy", command, port)
}

/// What a server with a library shows.
pub fn shown(library: &str, identity: &Identity) -> Identity {
    let mut identity = identity.clone();
    if library == "nss" {
        identity.fingerprints = ServerKind::Nss.shows(Testbed::shared(), &identity);
    }
    identity
}

/// Starts a server.
pub type Start = fn(ServerOptions<'_>) -> Result<Process>;

/// Name, library and start of servers of every kind.
pub const SERVERS: [(&str, &str, Start); 9] = [
    ("asyncio", "openssl", |options| ServerKind::Asyncio.start(Testbed::shared(), options)),
    ("nginx", "openssl", |options| ServerKind::Nginx.start(Testbed::shared(), options)),
    ("go", "go", |options| ServerKind::Go.start(Testbed::shared(), options)),
    ("node", "openssl", |options| ServerKind::Node.start(Testbed::shared(), options)),
    ("apache", "openssl", |options| ServerKind::Apache.start(Testbed::shared(), options)),
    ("gnutls", "gnutls", |options| ServerKind::GnuTls.start(Testbed::shared(), options)),
    ("selfserv", "nss", |options| ServerKind::Nss.start(Testbed::shared(), options)),
    ("rustls 0.21", "rustls", |options| rustls_server(Program::Rustls21, options)),
    ("rustls 0.23", "rustls", |options| rustls_server(Program::Rustls23, options)),
];

/// It asks from a file: at the end of a pipe it would poll for ever.
pub fn tstclnt(options: ClientOptions<'_>) -> Result<Command> {
    let testbed = Testbed::shared();
    let identity = options.identity.context("no identity")?;
    let request = testbed.folder("tstclnt")?.join("request");
    std::fs::write(&request, "GET / HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n")?;
    let mut command = named("tstclnt")?;
    command.arg("-A").arg(request);
    command.args(["-d", &nss_database(testbed, identity)?, "-n", "peer", "-h", SERVER_NAME]);
    command.args(["-p", &options.port.to_string(), "-V", nss_versions(options.version), "-4"]);
    Ok(command)
}

pub fn wget(options: ClientOptions<'_>) -> Result<Command> {
    let (pki, port) = (&Testbed::shared().pki, options.port);
    let identity = options.identity.context("no identity")?;
    let mut command = named("wget")?;
    let version = if options.version == Some(Version::V1_2) { "TLSv1_2" } else { "TLSv1_3" };
    command.args(["--quiet", "--save-headers", "--output-document=-", "--no-proxy"]);
    command.arg(format!("--secure-protocol={version}"));
    command.arg("--ca-certificate").arg(&pki.ca).arg("--certificate").arg(&identity.chain);
    command.arg("--private-key").arg(&identity.key);
    command.arg(format!("https://{SERVER_NAME}:{port}/"));
    Ok(command)
}

/// What takes the arguments of [`with_identities`].
fn peer(
    command: Command,
    port: u16,
    version: Option<Version>,
    identity: Option<&Identity>,
) -> Result<Command> {
    let (identity, version) = (identity.context("no identity")?, version.context("no version")?);
    Ok(with_identities(Testbed::shared(), (port, version), std::slice::from_ref(identity), command))
}

pub fn curl_cffi(options: ClientOptions<'_>) -> Result<Command> {
    let mut command = Command::new(python_with_packages()?);
    command.arg(peer_script("peer_curl_cffi.py"));
    peer(command, options.port, options.version, options.identity)
}

pub fn rustls_server(program: Program, options: ServerOptions<'_>) -> Result<Process> {
    let mut command = Command::new(program.path()?);
    command.arg("server");
    let command = peer(command, options.port, options.version, Some(options.identity))?;
    serve("rustls server", command, options.port)
}

pub fn rustls_client(program: Program, options: ClientOptions<'_>) -> Result<Command> {
    let mut command = Command::new(program.path()?);
    command.arg("client");
    peer(command, options.port, options.version, options.identity)
}

/// Builds of the Go peer: the plain run takes the oldest and the newest release.
pub fn go_builds(full: bool) -> Vec<GoBuild> {
    let build = |toolchain, stripped, pie| GoBuild { toolchain, stripped, pie };
    if !full {
        return vec![build(None, false, false), build(None, true, false), build(Some("1.27.3"), true, true)];
    }
    let kinds = [(false, false), (true, false), (false, true), (true, true)];
    let toolchains = [None].into_iter().chain(GoBuild::RELEASES.map(Some));
    let builds = |toolchain| kinds.map(|(stripped, pie)| build(toolchain, stripped, pie));
    toolchains.flat_map(builds).collect()
}

/// What the Go peer does otherwise than by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct GoManner {
    /// It takes any certificate: `InsecureSkipVerify`, `RequireAnyClientCert`.
    pub unverified: bool,
    /// Its sockets are inside a type of its own.
    pub wrapped: bool,
}

pub fn go_server(build: GoBuild, port: u16, manner: GoManner) -> Result<Process> {
    let pki = &Testbed::shared().pki;
    let options = json!({
        "role": "server", "address": Testbed::SERVER, "port": port, "version": "1.3", "request": "require",
        "chain": pki.server.chain, "key": pki.server.key, "ca": pki.ca,
        "unverified": manner.unverified, "wrapped": manner.wrapped,
    });
    let mut command = Command::new(Program::Go(build).path()?);
    command.arg(options.to_string());
    serve("go server", command, port)
}

pub fn go_client(build: GoBuild, port: u16, manner: GoManner) -> Result<Command> {
    let pki = &Testbed::shared().pki;
    let options = json!({
        "role": "client", "address": Testbed::SERVER, "port": port, "version": "1.3", "unverified": manner.unverified, "wrapped": manner.wrapped,
        "chain": pki.client.chain, "key": pki.client.key, "ca": pki.ca, "count": 1,
    });
    let mut command = Command::new(Program::Go(build).path()?);
    command.arg(options.to_string());
    Ok(command)
}

pub fn postgresql(port: u16) -> Result<Process> {
    let pki = &Testbed::shared().pki;
    let folder = Testbed::shared().folder("postgresql-keys")?;
    let own = |name: &str, from: &Path, mode: u32| -> Result<String> {
        let path = folder.join(name);
        std::fs::copy(from, &path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        PostgresqlCluster::own(&path)?;
        Ok(path.display().to_string())
    };
    let cluster = PostgresqlCluster {
        rules: "hostssl all all all trust clientcert=verify-ca\n",
        password: None,
        settings: vec![
            ("ssl", "on".to_owned()),
            ("ssl_min_protocol_version", "TLSv1.3".to_owned()),
            ("ssl_cert_file", own("chain.pem", &pki.server.chain, 0o644)?),
            ("ssl_key_file", own("key.pem", &pki.server.key, 0o600)?),
            ("ssl_ca_file", own("ca.pem", &pki.ca, 0o644)?),
        ],
    };
    serve("postgresql", cluster.command(port)?, port)
}

pub fn psql(port: u16) -> Result<Command> {
    let pki = &Testbed::shared().pki;
    let key = Testbed::shared().folder("psql")?.join("key.pem");
    std::fs::copy(&pki.client.key, &key)?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    ensure!(!key.display().to_string().contains(' '), "the connection string is split at spaces");
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--tuples-only", "--command=select '200 OK'"]);
    command.arg(format!(
        "host={SERVER_NAME} hostaddr={} port={port} user=postgres dbname=postgres gssencmode=disable \
         sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
        Testbed::SERVER,
        pki.ca.display(),
        pki.client.chain.display(),
        key.display()
    ));
    Ok(command)
}
