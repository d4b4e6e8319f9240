//! What both peers share: `rustlsNN server|client ADDRESS PORT VERSION CA CHAIN KEY...`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The name in the server's certificate.
pub const SERVER_NAME: &str = "server.test";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

/// A chain with its key.
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// The arguments, with the files read.
pub struct Options {
    /// Accepts, else connects.
    pub server: bool,
    /// Where.
    pub address: (String, u16),
    /// TLS 1.2, else 1.3.
    pub old: bool,
    /// Trusted root.
    pub authority: CertificateDer<'static>,
    /// What is shown: a client makes a connection with each.
    pub identities: Vec<Identity>,
}

impl Options {
    /// Those of this process.
    pub fn read() -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [role, address, port, version, authority, files @ ..] = arguments.as_slice() else {
            anyhow::bail!("server|client ADDRESS PORT VERSION CA CHAIN KEY...");
        };
        let identity = |files: &[String]| -> Result<Identity> {
            let [chain, key] = files else { anyhow::bail!("a chain without its key") };
            Ok(Identity {
                chain: CertificateDer::pem_file_iter(chain)?.collect::<Result<_, _>>()?,
                key: PrivateKeyDer::from_pem_file(key)?,
            })
        };
        Ok(Self {
            server: role == "server",
            address: (address.clone(), port.parse().context("PORT")?),
            old: version == "1.2",
            authority: CertificateDer::from_pem_file(authority)?,
            identities: files.chunks(2).map(identity).collect::<Result<_>>()?,
        })
    }
}

/// Answers one connection after the other.
pub fn serve<S: Read + Write>(options: &Options, wrap: impl Fn(TcpStream) -> Result<S>) -> Result<()> {
    let listener = TcpListener::bind((options.address.0.as_str(), options.address.1))?;
    for stream in listener.incoming() {
        if let Err(error) = wrap(stream?).and_then(|mut stream| answer(&mut stream)) {
            println!("server: {error}");
        }
    }
    Ok(())
}

fn answer(stream: &mut (impl Read + Write)) -> Result<()> {
    let mut seen = Vec::new();
    let mut part = [0; 4096];
    while !seen.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut part)?;
        ensure!(length > 0, "no request");
        seen.extend_from_slice(&part[..length]);
    }
    stream.write_all(RESPONSE)?;
    Ok(stream.flush()?)
}

/// Asks with each identity, all at the same time on a thread each. Prints what came to a single one, else the local port and the number
/// of the identity of each connection, as JSON. With `PEER_TWICE` in its environment a single one asks twice.
pub fn ask<C, S: Read + Write>(
    options: &Options,
    configure: impl Fn(&Identity) -> Result<C> + Sync,
    wrap: impl Fn(TcpStream, &C) -> Result<S> + Sync,
) -> Result<()> {
    let connect = |config: &C| -> Result<(u16, String)> {
        let stream = TcpStream::connect((options.address.0.as_str(), options.address.1))?;
        let port = stream.local_addr()?.port();
        let mut stream = wrap(stream, config)?;
        stream.write_all(REQUEST)?;
        let mut text = Vec::new();
        // These servers close without a goodbye.
        let _ = stream.read_to_end(&mut text);
        Ok((port, String::from_utf8_lossy(&text).into_owned()))
    };
    if let [identity] = options.identities.as_slice() {
        // The configuration keeps the session.
        let config = configure(identity)?;
        for _ in 0..if std::env::var_os("PEER_TWICE").is_some() { 2 } else { 1 } {
            println!("{}", connect(&config)?.1);
        }
        return Ok(());
    }
    let ask_one = |identity: &Identity| connect(&configure(identity)?);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask_one = &ask_one;
        let asking: Vec<_> =
            options.identities.iter().map(|identity| scope.spawn(move || ask_one(identity))).collect();
        asking.into_iter().map(|asked| asked.join()).collect()
    });
    let mut connections = Vec::new();
    let mut answered = true;
    for (number, answer) in answers.into_iter().enumerate() {
        let (port, text) = answer.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        answered &= text.contains("200 OK");
        connections.push(format!("[{port}, {number}]"));
    }
    println!("{{\"answered\": {answered}, \"connections\": [{}]}}", connections.join(", "));
    Ok(())
}
