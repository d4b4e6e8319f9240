//! The servers of the matrix: how each is started in each mode.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use crate::{GoBuild, Identity, Process, Program, Testbed, nss, peer_script, python};

/// TLS version that both peers are told to use, alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Version {
    /// OpenSSL peers only.
    V1_1,
    V1_2,
    V1_3,
}

impl Version {
    /// As the record and our own peers write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// What happens on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No TLS.
    Plaintext,
    /// Only the server shows a certificate; none is asked for.
    ServerOnly,
    /// The server asks, the client has none, the server goes on.
    RequestedNoneSent,
    /// Both show one.
    Mutual,
    /// The client shows one from an untrusted root; the server insists on a trusted one.
    Rejected,
    /// The second of two connections resumes the session of the first, a mutual one.
    Resumed,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Plaintext,
        Self::ServerOnly,
        Self::RequestedNoneSent,
        Self::Mutual,
        Self::Rejected,
        Self::Resumed,
    ];

    /// What the server does about client certificates.
    #[must_use]
    pub fn request(self) -> RequestCertificate {
        match self {
            Self::Plaintext | Self::ServerOnly => RequestCertificate::No,
            Self::RequestedNoneSent => RequestCertificate::Optional,
            Self::Mutual | Self::Rejected | Self::Resumed => RequestCertificate::Require,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plaintext => "plaintext",
            Self::ServerOnly => "server only",
            Self::RequestedNoneSent => "none sent",
            Self::Mutual => "mutual",
            Self::Rejected => "rejected",
            Self::Resumed => "resumed",
        })
    }
}

/// Whether a server asks for a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RequestCertificate {
    No,
    Optional,
    Require,
}

impl RequestCertificate {
    /// As our own peers read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Optional => "optional",
            Self::Require => "require",
        }
    }
}

/// How a server is started.
#[derive(Debug, Clone, Copy)]
pub struct ServerOptions<'a> {
    /// Address to listen on.
    pub address: IpAddr,
    /// Port to listen on.
    pub port: u16,
    /// `None` is plaintext.
    pub version: Option<Version>,
    /// Client certificates.
    pub request: RequestCertificate,
    /// Its own certificate.
    pub identity: &'a Identity,
}

/// Server implementations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ServerKind {
    OpenSsl,
    Nginx,
    Apache,
    GnuTls,
    Python,
    Asyncio,
    Node,
    Go,
    /// Go of another release than Debian's.
    GoRelease(&'static str),
    /// `selfserv`.
    Nss,
}

impl ServerKind {
    /// Whether it can play its part in `mode`.
    #[must_use]
    pub fn can(self, mode: Mode) -> bool {
        // The test servers of OpenSSL, GnuTLS and NSS know no plaintext.
        mode != Mode::Plaintext || !matches!(self, Self::OpenSsl | Self::GnuTls | Self::Nss)
    }

    /// Fingerprints of the certificates that it sends: `selfserv` the root, too, which it finds among what it trusts.
    #[must_use]
    pub fn shows(self, testbed: &Testbed, identity: &Identity) -> Vec<String> {
        let root = (self == Self::Nss).then(|| testbed.pki.ca_fingerprint.clone());
        identity.fingerprints.iter().cloned().chain(root).collect()
    }

    /// `false` for nginx, which finishes the handshake with a certificate that it does not accept and answers
    /// `400` inside: what TLS established is mutual there.
    #[must_use]
    pub fn rejects_in_handshake(self) -> bool {
        self != Self::Nginx
    }

    /// `false` for Node, which ends the finished connection without an alert, and asyncio, which drops its alert and
    /// resets: from outside that is no acceptance and no rejection.
    #[must_use]
    pub fn rejects_with_alert(self) -> bool {
        !matches!(self, Self::Nginx | Self::Node | Self::Asyncio)
    }

    /// Starts it in the server namespace of the testbed and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up; with what it printed.
    pub fn start(self, testbed: &Testbed, options: ServerOptions<'_>) -> Result<Process> {
        let folder = testbed.folder("server")?;
        let ca = testbed.pki.ca.as_path();
        let command = match self {
            Self::OpenSsl => openssl(options, ca),
            Self::GnuTls => gnutls(options, ca),
            Self::Nginx => nginx(options, ca, &folder)?,
            Self::Apache => apache(options, ca, &folder)?,
            Self::Nss => nss::selfserv(testbed, options)?,
            Self::Python | Self::Asyncio | Self::Node | Self::Go | Self::GoRelease(_) => {
                self.own(options, ca)?
            }
        };
        let mut process = Process::spawn(&format!("{self} server"), Some(&testbed.server_side), command)?;
        process.wait_listening(options.port)?;
        Ok(process)
    }

    fn own(self, options: ServerOptions<'_>, ca: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Python => script(python()?, "peer.py"),
            Self::Asyncio => script(python()?, "peer_asyncio.py"),
            Self::Node => script(Path::new("node"), "peer.js"),
            Self::GoRelease(release) => Command::new(Program::Go(GoBuild::of(release)).path()?),
            _ => Command::new(Program::Go(GoBuild::PLAIN).path()?),
        };
        command.arg(
            json!({
                "role": "server",
                "address": options.address,
                "port": options.port,
                "version": options.version.map(Version::as_str),
                "request": options.request.as_str(),
                "chain": options.identity.chain,
                "key": options.identity.key,
                "ca": ca,
            })
            .to_string(),
        );
        Ok(command)
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OpenSsl => "openssl",
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::GnuTls => "gnutls",
            Self::Python => "python",
            Self::Asyncio => "asyncio",
            Self::Node => "node",
            Self::Go => "go",
            Self::GoRelease(release) => release,
            Self::Nss => "nss",
        })
    }
}

/// An interpreter with one of our scripts.
pub(crate) fn script(interpreter: &Path, name: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(peer_script(name));
    command
}

/// What makes OpenSSL speak one version only.
pub(crate) fn openssl_version(version: Option<Version>) -> &'static [&'static str] {
    match version {
        // Debian's default security level has no suite for it.
        Some(Version::V1_1) => &["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"],
        Some(Version::V1_2) => &["-tls1_2"],
        _ => &["-tls1_3"],
    }
}

fn openssl(options: ServerOptions<'_>, ca: &Path) -> Command {
    let mut command = Command::new("openssl");
    let address = match options.address {
        IpAddr::V4(address) => format!("{address}:{}", options.port),
        IpAddr::V6(address) => format!("[{address}]:{}", options.port),
    };
    command.args(["s_server", "-www", "-accept", &address, "-alpn", "http/1.1"]);
    command.args(openssl_version(options.version));
    command.arg("-cert").arg(&options.identity.leaf).arg("-key").arg(&options.identity.key);
    command.arg("-cert_chain").arg(&options.identity.intermediates).arg("-CAfile").arg(ca);
    match options.request {
        RequestCertificate::No => {}
        RequestCertificate::Optional => drop(command.args(["-verify", "4"])),
        RequestCertificate::Require => drop(command.args(["-Verify", "4", "-verify_return_error"])),
    }
    command
}

fn gnutls(options: ServerOptions<'_>, ca: &Path) -> Command {
    let mut command = Command::new("gnutls-serv");
    let version = options.version.map_or("1.3", Version::as_str);
    command.args(["--http", "--port", &options.port.to_string(), "--alpn", "http/1.1"]);
    command.args(["--priority", &format!("NORMAL:-VERS-ALL:+VERS-TLS{version}")]);
    command.arg("--x509certfile").arg(&options.identity.chain);
    command.arg("--x509keyfile").arg(&options.identity.key).arg("--x509cafile").arg(ca);
    match options.request {
        RequestCertificate::No => command.arg("--disable-client-cert"),
        RequestCertificate::Optional => &mut command,
        RequestCertificate::Require => command.args(["--require-client-cert", "--verify-client-cert"]),
    };
    command
}

fn nginx(options: ServerOptions<'_>, ca: &Path, folder: &Path) -> Result<Command> {
    let ServerOptions { address, port, identity, .. } = options;
    let tls = options.version.map_or(String::new(), |version| {
        let verify = match options.request {
            RequestCertificate::No => "off",
            RequestCertificate::Optional => "optional",
            RequestCertificate::Require => "on",
        };
        format!(
            "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv{}; ssl_verify_client {verify}; \
             ssl_verify_depth 4; ssl_client_certificate {}; ssl_session_cache shared:s:1m;",
            identity.chain.display(),
            identity.key.display(),
            version.as_str(),
            ca.display(),
        )
    });
    let ssl = if options.version.is_some() { " ssl" } else { "" };
    let host = crate::clients::url_host(address);
    let folder = folder.display();
    std::fs::write(
        format!("{folder}/nginx.conf"),
        format!(
            "daemon off; worker_processes 1; user root; pid {folder}/pid; error_log stderr;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_timeout 0; client_body_temp_path {folder}/body;\n\
             proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi;\n\
             uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
             server {{ listen {host}:{port}{ssl}; {tls} location / {{ return 200 hello; }} }} }}\n"
        ),
    )
    .context("write nginx.conf")?;
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c", &format!("{folder}/nginx.conf")]);
    Ok(command)
}

fn apache(options: ServerOptions<'_>, ca: &Path, folder: &Path) -> Result<Command> {
    const MODULES: &str = "/usr/lib/apache2/modules";
    let tls = options.version.map_or(String::new(), |version| {
        let verify = match options.request {
            RequestCertificate::No => "none",
            // `optional` would end the handshake of a client whose certificate is refused; one without passes.
            RequestCertificate::Optional => "optional",
            RequestCertificate::Require => "require",
        };
        format!(
            "SSLEngine on\nSSLCertificateFile {}\nSSLCertificateKeyFile {}\nSSLProtocol -all +TLSv{}\n\
             SSLVerifyClient {verify}\nSSLVerifyDepth 4\nSSLCACertificateFile {}\n",
            options.identity.chain.display(),
            options.identity.key.display(),
            version.as_str(),
            ca.display(),
        )
    });
    let host = crate::clients::url_host(options.address);
    let (port, folder) = (options.port, folder.display());
    std::fs::write(format!("{folder}/index.html"), "hello")?;
    std::fs::write(
        format!("{folder}/apache.conf"),
        format!(
            "LoadModule mpm_event_module {MODULES}/mod_mpm_event.so\n\
             LoadModule authz_core_module {MODULES}/mod_authz_core.so\n\
             LoadModule dir_module {MODULES}/mod_dir.so\n\
             LoadModule socache_shmcb_module {MODULES}/mod_socache_shmcb.so\n\
             LoadModule ssl_module {MODULES}/mod_ssl.so\n\
             ServerName {}\nServerRoot {folder}\nPidFile {folder}/pid\nDefaultRuntimeDir {folder}\n\
             ErrorLog /dev/stderr\nListen {host}:{port}\nKeepAlive Off\nStartServers 1\n\
             ThreadsPerChild 8\nMinSpareThreads 4\nMaxSpareThreads 16\nMaxRequestWorkers 16\n\
             SSLSessionCache shmcb:{folder}/cache(512000)\nDocumentRoot {folder}\n\
             DirectoryIndex index.html\n<Directory {folder}>\nRequire all granted\n</Directory>\n{tls}",
            crate::SERVER_NAME
        ),
    )
    .context("write apache.conf")?;
    let mut command = Command::new("apache2");
    command.args(["-D", "FOREGROUND", "-f", &format!("{folder}/apache.conf")]);
    Ok(command)
}
