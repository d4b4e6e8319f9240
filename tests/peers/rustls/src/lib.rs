//! What both peers share: `rustlsNN server|client ADDRESS PORT CA CHAIN KEY`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The name in the server's certificate.
pub const SERVER_NAME: &str = "server.test";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

/// The arguments, with the files read.
pub struct Options {
    /// Accepts, else connects.
    pub server: bool,
    /// Where.
    pub address: (String, u16),
    /// Trusted root.
    pub authority: CertificateDer<'static>,
    /// What is shown.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Options {
    /// Those of this process.
    pub fn read() -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [role, address, port, authority, chain, key] = arguments.as_slice() else {
            anyhow::bail!("server|client ADDRESS PORT CA CHAIN KEY");
        };
        Ok(Self {
            server: role == "server",
            address: (address.clone(), port.parse().context("PORT")?),
            authority: CertificateDer::from_pem_file(authority)?,
            chain: CertificateDer::pem_file_iter(chain)?.collect::<Result<_, _>>()?,
            key: PrivateKeyDer::from_pem_file(key)?,
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

/// Asks once, and prints what came.
pub fn ask<S: Read + Write>(options: &Options, wrap: impl Fn(TcpStream) -> Result<S>) -> Result<()> {
    let mut stream = wrap(TcpStream::connect((options.address.0.as_str(), options.address.1))?)?;
    stream.write_all(REQUEST)?;
    let mut text = Vec::new();
    // These servers close without a goodbye.
    let _ = stream.read_to_end(&mut text);
    println!("{}", String::from_utf8_lossy(&text));
    Ok(())
}
