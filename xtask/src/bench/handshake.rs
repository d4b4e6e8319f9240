//! One real handshake, recorded to be played many times.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::agent::free_port;
use super::load;

/// Silence after which the recorded handshake is over; it takes a few milliseconds.
const HANDSHAKE_OVER: Duration = Duration::from_secs(1);

/// Bytes that one side sent before the other answered.
#[derive(Serialize, Deserialize)]
pub struct Flight {
    pub from_client: bool,
    pub bytes: Vec<u8>,
}

/// Records a mutual TLS 1.2 handshake between two programs, and adds a request and a response.
pub fn record_handshake(folder: &Path) -> Result<Vec<Flight>> {
    let (certificate, key) = load::self_signed(folder)?;
    let server_port = free_port()?;
    let identity = ["-cert", &certificate, "-key", &key];
    let _server = Tool::start(
        Command::new("openssl")
            .args(["s_server", "-quiet", "-tls1_2", "-Verify", "1", "-no_ticket"])
            .args(["-accept", &format!("127.0.0.1:{server_port}")])
            .args(identity),
    )?;
    load::await_listener(server_port)?;
    let relay = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _client = Tool::start(
        Command::new("openssl")
            .args(["s_client", "-quiet", "-tls1_2", "-connect"])
            .arg(relay.local_addr()?.to_string())
            .args(identity),
    )?;
    let (client, _) = relay.accept()?;
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port))?;
    let (sender, received) = mpsc::channel();
    for (from_client, from, to) in [(true, client.try_clone()?, server.try_clone()?), (false, server, client)]
    {
        let sender = sender.clone();
        std::thread::spawn(move || relay_bytes(from_client, from, to, &sender));
    }
    let mut flights: Vec<Flight> = Vec::new();
    while let Ok(chunk) = received.recv_timeout(HANDSHAKE_OVER) {
        match flights.last_mut() {
            Some(last) if last.from_client == chunk.from_client => last.bytes.extend(chunk.bytes),
            _ => flights.push(chunk),
        }
    }
    if flights.len() != 4 {
        bail!("a full handshake of TLS 1.2 has four flights, this one has {}", flights.len());
    }
    for from_client in [true, false] {
        let mut bytes = vec![0x17, 3, 3, 0, 64];
        bytes.extend([0x5a; 64]);
        flights.push(Flight { from_client, bytes });
    }
    Ok(flights)
}

/// Passes bytes on until either side ends, which is how the recording ends.
fn relay_bytes(from_client: bool, mut from: TcpStream, mut to: TcpStream, chunks: &mpsc::Sender<Flight>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = buffer[..length].to_vec();
        if to.write_all(&bytes).is_err() || chunks.send(Flight { from_client, bytes }).is_err() {
            return;
        }
    }
}

/// A program with an open standard input, ended with this value.
struct Tool(Child);

impl Tool {
    fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().context("cannot start openssl: cargo xtask setup installs it")?))
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Already ended, if its other end closed first.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
