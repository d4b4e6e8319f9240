//! The clients of the matrix: how each is run in each mode.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::servers::{openssl_version, script};
use crate::{
    Finished, GoBuild, Identity, Mode, Namespace, PATIENCE, Process, Program, SERVER_NAME, Testbed, Version,
    python,
};

/// What every client asks; the server answers and closes. As long as real ones: what is shorter than 64 bytes may be an alert
/// to who sees sizes.
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: server.test\r\nUser-Agent: a client of the tests\r\nAccept: */*\r\n\
    Connection: close\r\n\r\n";

/// How a client is run.
#[derive(Debug, Clone, Copy)]
pub struct ClientOptions<'a> {
    /// Address to connect to.
    pub address: IpAddr,
    /// Port to connect to.
    pub port: u16,
    /// `None` is plaintext.
    pub version: Option<Version>,
    /// Its certificate, if it has one.
    pub identity: Option<&'a Identity>,
    /// Connects twice, the second time with the session of the first.
    pub resume: bool,
    /// Connections at once (Go only), else 1.
    pub count: usize,
}

/// What a client did.
#[derive(Debug)]
pub struct ClientRun {
    /// The process of each connection, in order.
    pub pids: Vec<u32>,
    /// Whether it got an answer on every connection.
    pub answered: bool,
    /// IANA name of the suite, where the client says it.
    pub cipher_suite: Option<String>,
    /// Whether it says that its last connection was resumed.
    pub resumed: Option<bool>,
    /// What it printed.
    pub output: String,
}

/// Client implementations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ClientKind {
    OpenSsl,
    Curl,
    GnuTls,
    Python,
    Asyncio,
    Node,
    Go,
    /// Go of another release than Debian's.
    GoRelease(&'static str),
}

impl ClientKind {
    /// All of them, Go of one release.
    pub const ALL: [Self; 7] =
        [Self::OpenSsl, Self::Curl, Self::GnuTls, Self::Python, Self::Asyncio, Self::Node, Self::Go];

    /// Whether it can play its part in `mode`.
    #[must_use]
    pub fn can(self, mode: Mode) -> bool {
        match mode {
            Mode::Plaintext => !matches!(self, Self::OpenSsl | Self::GnuTls),
            // asyncio keeps no handle on the session object of ssl.
            Mode::Resumed => self != Self::Asyncio,
            _ => true,
        }
    }

    /// Runs it to its end in the client namespace of the testbed.
    ///
    /// # Errors
    /// When it cannot be started or does not end. A failed handshake is no error.
    pub fn run(self, testbed: &Testbed, options: ClientOptions<'_>) -> Result<ClientRun> {
        self.run_in(testbed, &testbed.client_side, options)
    }

    /// The same in another namespace.
    ///
    /// # Errors
    /// As [`ClientKind::run`].
    pub fn run_in(
        self,
        testbed: &Testbed,
        namespace: &Namespace,
        options: ClientOptions<'_>,
    ) -> Result<ClientRun> {
        let ca = testbed.pki.ca.as_path();
        let finish = |command, input| self.finish(namespace, command, input);
        match self {
            Self::OpenSsl if options.resume => {
                let session = testbed.folder("session")?.join("session.pem");
                let first = finish(openssl(options, ca, Some(("-sess_out", &session))), Some(REQUEST))?;
                let second = finish(openssl(options, ca, Some(("-sess_in", &session))), Some(REQUEST))?;
                Ok(ClientRun {
                    pids: vec![first.pid, second.pid],
                    answered: first.output.contains("200 ok") || first.output.contains("200 OK"),
                    cipher_suite: None,
                    resumed: Some(second.output.contains("Reused, ")),
                    output: format!("{}{}", first.output, second.output),
                })
            }
            Self::OpenSsl => self.described(finish(openssl(options, ca, None), Some(REQUEST))?, options),
            Self::GnuTls => self.described(finish(gnutls(options, ca), Some(REQUEST))?, options),
            Self::Curl => self.described(finish(curl(options, ca), None)?, options),
            Self::Python | Self::Asyncio | Self::Node | Self::Go | Self::GoRelease(_) => {
                self.described(finish(self.own(options, ca)?, None)?, options)
            }
        }
    }

    fn finish(self, namespace: &Namespace, command: Command, input: Option<&[u8]>) -> Result<Finished> {
        let mut process = Process::spawn(&format!("{self} client"), Some(namespace), command)?;
        if let Some(input) = input {
            // It stays open: these clients end when the server closes, not before they have read.
            // One that was rejected may have gone before: its output says what happened.
            let _gone = process.write(input);
        }
        process.finish(PATIENCE)
    }

    fn described(self, finished: Finished, options: ClientOptions<'_>) -> Result<ClientRun> {
        let Finished { pid, output, status } = finished;
        let report = output.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let own = !matches!(self, Self::OpenSsl | Self::GnuTls | Self::Curl);
        ensure!(!own || report.is_some(), "{self} client ended with {status} and no report:\n{output}");
        let report = report.unwrap_or_default();
        let suite = report.get("suite").and_then(Value::as_str).map(str::to_owned);
        let openssl_1_3 =
            || output.lines().find_map(|line| line.trim().strip_prefix("New, TLSv1.3, Cipher is "));
        Ok(ClientRun {
            pids: vec![pid; if options.resume { 2 } else { options.count }],
            answered: report
                .get("answered")
                .and_then(Value::as_bool)
                .unwrap_or_else(|| output.contains("200 OK") || output.contains("200 ok")),
            cipher_suite: suite.or_else(|| openssl_1_3().map(str::to_owned)),
            resumed: match self {
                Self::GnuTls => Some(output.contains("This is a resumed session")),
                Self::Curl => Some(output.contains("re-using session ID")),
                _ => report.get("resumed").and_then(Value::as_bool),
            },
            output,
        })
    }

    /// One of our own peers, which take their options as JSON.
    pub(crate) fn own_program(self) -> Result<Command> {
        Ok(match self {
            Self::Python => script(python()?, "peer.py"),
            Self::Asyncio => script(python()?, "peer_asyncio.py"),
            Self::Node => script(Path::new("node"), "peer.js"),
            Self::GoRelease(release) => Command::new(Program::Go(GoBuild::of(release)).path()?),
            _ => Command::new(Program::Go(GoBuild::PLAIN).path()?),
        })
    }

    fn own(self, options: ClientOptions<'_>, ca: &Path) -> Result<Command> {
        let mut command = self.own_program()?;
        command.arg(
            json!({
                "role": "client",
                "address": options.address,
                "port": options.port,
                "version": options.version.map(Version::as_str),
                "chain": options.identity.map(|identity| &identity.chain),
                "key": options.identity.map(|identity| &identity.key),
                "ca": ca,
                "resume": options.resume,
                "count": options.count,
            })
            .to_string(),
        );
        Ok(command)
    }
}

impl fmt::Display for ClientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OpenSsl => "openssl",
            Self::Curl => "curl",
            Self::GnuTls => "gnutls",
            Self::Python => "python",
            Self::Asyncio => "asyncio",
            Self::Node => "node",
            Self::Go => "go",
            Self::GoRelease(release) => release,
        })
    }
}

/// An address as it stands in a URL or a `listen` directive.
pub(crate) fn url_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn openssl(options: ClientOptions<'_>, ca: &Path, session: Option<(&str, &Path)>) -> Command {
    let mut command = Command::new("openssl");
    let target = format!("{}:{}", url_host(options.address), options.port);
    command.args(["s_client", "-ign_eof", "-connect", &target, "-servername", SERVER_NAME]);
    command.args(["-alpn", "http/1.1"]).arg("-CAfile").arg(ca);
    command.args(openssl_version(options.version));
    if let Some(identity) = options.identity {
        command.arg("-cert").arg(&identity.leaf).arg("-key").arg(&identity.key);
        command.arg("-cert_chain").arg(&identity.intermediates);
    }
    if let Some((flag, file)) = session {
        command.arg(flag).arg(file);
    }
    command
}

fn gnutls(options: ClientOptions<'_>, ca: &Path) -> Command {
    let mut command = Command::new("gnutls-cli");
    let version = options.version.map_or("1.3", Version::as_str);
    command.args(["--port", &options.port.to_string(), "--sni-hostname", SERVER_NAME]);
    command.args(["--verify-hostname", SERVER_NAME, "--alpn", "http/1.1", "--x509cafile"]).arg(ca);
    command.args(["--priority", &format!("NORMAL:-VERS-ALL:+VERS-TLS{version}")]);
    if let Some(identity) = options.identity {
        command.arg("--x509certfile").arg(&identity.chain).arg("--x509keyfile").arg(&identity.key);
    }
    if options.resume {
        command.args(["--resume", "--waitresumption"]);
    }
    command.arg(options.address.to_string());
    command
}

fn curl(options: ClientOptions<'_>, ca: &Path) -> Command {
    let mut command = Command::new("curl");
    let scheme = if options.version.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{SERVER_NAME}:{}/", options.port);
    command.args(["--silent", "--verbose", "--http1.1", "--noproxy", "*", "--max-time", "15"]);
    command.args(["--header", "Connection: close"]);
    let target = format!("{SERVER_NAME}:{}:{}", options.port, url_host(options.address));
    command.args(["--resolve", &target]).arg("--cacert").arg(ca);
    if let Some(version) = options.version {
        let version = version.as_str();
        command.args([&format!("--tlsv{version}"), "--tls-max", version]);
    }
    if let Some(identity) = options.identity {
        command.arg("--cert").arg(&identity.chain).arg("--key").arg(&identity.key);
    }
    command.arg(&url);
    if options.resume {
        command.arg(&url);
    }
    command
}
