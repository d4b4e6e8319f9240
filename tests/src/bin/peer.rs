//! Both ends of connections whose truth is known, in one program that needs nothing but a C library:
//! for guests that have no other peer.
//!
//! `peer run FOLDER` makes certificates in FOLDER, holds one connection per case over loopback, the
//! server of each being a process of its own, and prints one JSON line per connection with what an
//! observer should find. `peer once` holds a single plaintext connection and prints nothing.
#![expect(clippy::print_stdout, reason = "the truths are printed for the test that compares them")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The name in the server's certificate, and in the SNI.
const SERVER_NAME: &str = "server.kernel.test";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server.kernel.test\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// How a connection is to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Plaintext,
    ServerOnly,
    RequestedNoneSent,
    Mutual,
}

/// What an observer should find; the field names are this test's own.
#[derive(Serialize)]
struct Truth {
    mode: Mode,
    version: Option<&'static str>,
    client_pid: u32,
    client_port: u16,
    server_pid: u32,
    server_port: u16,
    server_name: Option<&'static str>,
    client_certificate: Option<String>,
    server_certificate: Option<String>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["run", folder] => run(Path::new(folder)),
        ["once"] => hold(Path::new("/nonexistent"), Mode::Plaintext, "1.3").map(|_| ()),
        ["serve", mode, version, folder] => {
            let mode = serde_json::from_value(serde_json::Value::String((*mode).to_owned()))?;
            serve(Path::new(folder), mode, version)
        }
        _ => bail!("usage: peer run FOLDER | once"),
    }
}

fn run(folder: &Path) -> Result<()> {
    make_certificates(folder)?;
    for (mode, version) in [
        (Mode::Plaintext, "1.3"),
        (Mode::ServerOnly, "1.2"),
        (Mode::ServerOnly, "1.3"),
        (Mode::RequestedNoneSent, "1.2"),
        (Mode::RequestedNoneSent, "1.3"),
        (Mode::Mutual, "1.2"),
        (Mode::Mutual, "1.3"),
    ] {
        let truth = hold(folder, mode, version)
            .with_context(|| format!("cannot hold the {mode:?} {version} connection"))?;
        println!("{}", serde_json::to_string(&truth)?);
    }
    Ok(())
}

/// Holds one connection to a server process of its own, and returns what is true about it.
fn hold(folder: &Path, mode: Mode, version: &'static str) -> Result<Truth> {
    let mode_name = serde_json::to_value(mode)?;
    let mut server = Server::start(folder, mode_name.as_str().unwrap_or_default(), version)?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port))?;
    let client_port = stream.local_addr()?.port();
    if mode == Mode::Plaintext {
        request(stream)?;
    } else {
        let config = client_config(folder, mode, version)?;
        let name = ServerName::try_from(SERVER_NAME)?;
        let session = ClientConnection::new(Arc::new(config), name)?;
        request(rustls::StreamOwned::new(session, stream))?;
    }
    server.finish()?;
    let is_tls = mode != Mode::Plaintext;
    let fingerprint = |name: &str| -> Result<String> {
        let der = fs::read(folder.join(name))?;
        Ok(Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect())
    };
    Ok(Truth {
        mode,
        version: is_tls.then_some(version),
        client_pid: std::process::id(),
        client_port,
        server_pid: server.child.id(),
        server_port: server.port,
        server_name: is_tls.then_some(SERVER_NAME),
        client_certificate: (mode == Mode::Mutual).then(|| fingerprint("client.der")).transpose()?,
        server_certificate: is_tls.then(|| fingerprint("server.der")).transpose()?,
    })
}

/// Sends the request and reads the response to its end.
fn request(mut stream: impl Read + Write) -> Result<()> {
    stream.write_all(REQUEST)?;
    stream.flush()?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    if response != RESPONSE {
        bail!("the response is {:?}", String::from_utf8_lossy(&response));
    }
    Ok(())
}

/// A server process, ended with this value.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(folder: &Path, mode: &str, version: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", mode, version])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the server has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().parse().context("the server printed no port")?;
        Ok(Self { child, port })
    }

    fn finish(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `finish` there is nothing to end, which is no error here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Serves one connection and ends.
fn serve(folder: &Path, mode: Mode, version: &str) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    let (stream, _) = listener.accept()?;
    if mode == Mode::Plaintext {
        let mut stream = stream;
        respond(&mut stream)?;
        stream.shutdown(Shutdown::Write)?;
        return Ok(());
    }
    let session = ServerConnection::new(Arc::new(server_config(folder, mode, version)?))?;
    let mut stream = rustls::StreamOwned::new(session, stream);
    respond(&mut stream)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    stream.sock.shutdown(Shutdown::Write)?;
    Ok(())
}

fn respond(stream: &mut (impl Read + Write)) -> Result<()> {
    let mut request = vec![0; REQUEST.len()];
    stream.read_exact(&mut request)?;
    stream.write_all(RESPONSE)?;
    stream.flush()?;
    Ok(())
}

fn versions(version: &str) -> Result<[&'static rustls::SupportedProtocolVersion; 1]> {
    match version {
        "1.2" => Ok([&rustls::version::TLS12]),
        "1.3" => Ok([&rustls::version::TLS13]),
        _ => bail!("{version} is not a version of this peer"),
    }
}

fn client_config(folder: &Path, mode: Mode, version: &str) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(version)?)?
        .with_root_certificates(roots(folder)?);
    Ok(if mode == Mode::Mutual {
        builder.with_client_auth_cert(certificate(folder, "client")?, key(folder, "client")?)?
    } else {
        builder.with_no_client_auth()
    })
}

fn server_config(folder: &Path, mode: Mode, version: &str) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions(version)?)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(folder)?), provider);
    let builder = match mode {
        Mode::Plaintext | Mode::ServerOnly => builder.with_no_client_auth(),
        Mode::RequestedNoneSent => {
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
        }
        Mode::Mutual => builder.with_client_cert_verifier(verifier.build()?),
    };
    Ok(builder.with_single_cert(certificate(folder, "server")?, key(folder, "server")?)?)
}

fn roots(folder: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for authority in certificate(folder, "authority")? {
        roots.add(authority)?;
    }
    Ok(roots)
}

fn certificate(folder: &Path, name: &str) -> Result<Vec<CertificateDer<'static>>> {
    Ok(vec![fs::read(path(folder, name, "der"))?.into()])
}

fn key(folder: &Path, name: &str) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::try_from(fs::read(path(folder, name, "key"))?).map_err(anyhow::Error::msg)
}

fn path(folder: &Path, name: &str, kind: &str) -> PathBuf {
    folder.join(format!("{name}.{kind}"))
}

/// An authority, and a leaf of it for each side.
fn make_certificates(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
    fs::write(path(folder, "authority", "der"), authority.der())?;
    for name in ["server", "client"] {
        let key = KeyPair::generate()?;
        let leaf =
            CertificateParams::new(vec![format!("{name}.kernel.test")])?.signed_by(&key, &authority)?;
        fs::write(path(folder, name, "der"), leaf.der())?;
        fs::write(path(folder, name, "key"), key.serialize_der())?;
    }
    Ok(())
}
