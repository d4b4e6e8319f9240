//! Resident memory of the agent, idle and while many connections are open.
//!
//! The connections are mutual TLS 1.2 with both chains in clear, which leaves most behind. Holding
//! 50,000 of them takes no cryptography: one handshake is recorded and its bytes are played to every
//! connection, with randoms of its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};

use super::agent::{Agent, free_port};
use super::{Verdict, load};

const MIB: u64 = 1024 * 1024;
/// Resident limit without connections.
const IDLE_LIMIT: u64 = 40 * MIB;
/// Resident limit with the open connections.
const BUSY_LIMIT: u64 = 100 * MIB;
/// Connections per source address: well below the ephemeral ports that one address has.
const PER_SOURCE: usize = 10_000;
/// For the tables of an idle agent to reach their size.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// For the agent to have followed every connection.
const PATIENCE: Duration = Duration::from_secs(60);
/// Silence after which the recorded handshake is over; it takes a few milliseconds.
const HANDSHAKE_OVER: Duration = Duration::from_secs(1);
/// Where the random stands in a hello: behind the record header, the message header and the version.
const RANDOM: std::ops::Range<usize> = 11..43;

/// Bytes that one side sent before the other answered.
struct Flight {
    from_client: bool,
    bytes: Vec<u8>,
}

/// Measures both.
pub fn measure(folder: &Path, connections: usize) -> Result<Vec<Verdict>> {
    let needed = connections as u64 * 2 + 1024;
    setrlimit(Resource::RLIMIT_NOFILE, needed, needed).context("cannot raise the limit of open files")?;
    let flights = record_handshake(folder)?;
    let agent = Agent::start(folder)?;
    std::thread::sleep(IDLE_TIME);
    let idle = agent.resident()?;
    let opened = Instant::now();
    let open = open_all(&flights, connections)?;
    println!("opened {connections} connections in {:?}", opened.elapsed());
    let followed = await_followed(&agent, connections)?;
    let busy = agent.resident()?;
    let page = agent.page()?;
    let lost = page.sum("countersign_events_lost_total", "");
    println!("the agent follows {followed} connections and lost {lost} events");
    drop(open);
    agent.stop()?;
    let complete = followed >= connections as f64;
    Ok(vec![
        verdict("resident memory, idle", idle, IDLE_LIMIT, true),
        verdict(
            &format!("resident memory, {followed} of {connections} open connections followed"),
            busy,
            BUSY_LIMIT,
            complete,
        ),
    ])
}

fn verdict(title: &str, bytes: u64, limit: u64, complete: bool) -> Verdict {
    let within = bytes <= limit && complete;
    Verdict {
        text: format!(
            "{title}: {:.1} MiB (limit {} MiB: {})",
            bytes as f64 / MIB as f64,
            limit / MIB,
            if within { "within" } else { "EXCEEDED" }
        ),
        within,
    }
}

/// Returns how many connections the agent follows once that is all of them, or has stopped to grow
/// for too long.
fn await_followed(agent: &Agent, connections: usize) -> Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let followed = agent.page()?.sum("countersign_connections_open", "");
        if followed >= connections as f64 || Instant::now() > deadline {
            return Ok(followed);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Opens them all; both ends of each.
fn open_all(flights: &[Flight], count: usize) -> Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    (0..count)
        .map(|number| {
            let mut client = connect_from(source_address(number), port)?;
            let (mut server, _) = listener.accept()?;
            play(flights, number, &mut client, &mut server)?;
            Ok((client, server))
        })
        .collect()
}

/// 127.1.0.1 for the first connections, 127.1.0.2 for the next, …
fn source_address(number: usize) -> Ipv4Addr {
    let [.., high, low] = (number / PER_SOURCE + 1).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

fn connect_from(source: Ipv4Addr, port: u16) -> Result<TcpStream> {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
    let server = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    socket::connect(socket.as_raw_fd(), &server).with_context(|| format!("cannot connect from {source}"))?;
    Ok(TcpStream::from(socket))
}

fn play(flights: &[Flight], number: usize, client: &mut TcpStream, server: &mut TcpStream) -> Result<()> {
    for (position, flight) in flights.iter().enumerate() {
        let mut bytes = flight.bytes.clone();
        // The first flight of each side starts with its hello.
        if position < 2 {
            let random = bytes.get_mut(RANDOM).context("the recorded hello is too short")?;
            random[..8].copy_from_slice(&(number as u64).to_be_bytes());
        }
        let (from, to) =
            if flight.from_client { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
        from.write_all(&bytes)?;
        to.read_exact(&mut bytes)?;
    }
    Ok(())
}

/// Records a mutual TLS 1.2 handshake between two programs, and adds a request and a response.
fn record_handshake(folder: &Path) -> Result<Vec<Flight>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_change_before_their_ports_run_out() {
        assert_eq!(source_address(0), Ipv4Addr::new(127, 1, 0, 1));
        assert_eq!(source_address(PER_SOURCE - 1), Ipv4Addr::new(127, 1, 0, 1));
        assert_eq!(source_address(PER_SOURCE), Ipv4Addr::new(127, 1, 0, 2));
        assert_eq!(source_address(PER_SOURCE * 255), Ipv4Addr::new(127, 1, 1, 0));
    }
}
