//! Processes that hold connections open, both ends of each.
//!
//! One process can hold half as many connections as it may have files open, and not every root may
//! raise that limit. So `cargo xtask bench` starts itself again, as often as it takes, as a holder.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};

use super::handshake::Flight;

/// Connections per source address: well below the ephemeral ports that one address has.
const CONNECTIONS_OF_A_SOURCE: usize = 5_000;
/// Connections per process, where the limit of open files allows as many.
const CONNECTIONS_OF_A_HOLDER: usize = 10_000;
/// Files that a holder has open besides its connections.
const OTHER_FILES: u64 = 64;
/// Between two connections: memory is measured here, not how the agent stands a burst that no host
/// with real handshakes sees. At most 2,000 connections a second come out of it.
const PAUSE: Duration = Duration::from_micros(450);
/// Where the random stands in a hello: behind the record header, the message header and the version.
const RANDOM: std::ops::Range<usize> = 11..43;

/// What a holder is told.
#[derive(clap::Args)]
pub struct Options {
    flights: PathBuf,
    first: usize,
    count: usize,
}

/// A process that holds connections for as long as this value lives.
pub struct Holder(Child);

impl Holder {
    /// Starts as many as it takes, one after the other; each returns when its connections are open.
    pub fn open(flights: &[Flight], folder: &Path, connections: usize) -> Result<Vec<Self>> {
        let file = folder.join("flights.json");
        fs::write(&file, serde_json::to_vec(flights)?)?;
        let (_, allowed) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let most = usize::try_from(allowed.saturating_sub(OTHER_FILES) / 2)?.min(CONNECTIONS_OF_A_HOLDER);
        (0..connections)
            .step_by(most)
            .map(|first| Self::start(&file, first, most.min(connections - first)))
            .collect()
    }

    fn start(flights: &Path, first: usize, count: usize) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg("hold-connections")
            .arg(flights)
            .args([first.to_string(), count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut holder = Self(child);
        let output = holder.0.stdout.take().context("a holder has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line != "open\n" {
            bail!("a holder could not open its connections");
        }
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The holder's own life: opens, says so, and holds until its standard input ends.
pub fn hold(options: &Options) -> Result<()> {
    let (_, allowed) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, allowed, allowed)?;
    let flights: Vec<Flight> = serde_json::from_slice(&fs::read(&options.flights)?)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let connections = (options.first..options.first + options.count)
        .map(|number| {
            let mut client = connect_from(source_address(number), port)?;
            let (mut server, _) = listener.accept()?;
            play(&flights, number, &mut client, &mut server)?;
            std::thread::sleep(PAUSE);
            Ok((client, server))
        })
        .collect::<Result<Vec<_>>>()?;
    println!("open");
    // The end of the input is the sign to end; there is nothing to read before it.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(connections);
    Ok(())
}

/// 127.1.0.1 for the first connections, 127.1.0.2 for the next, …
fn source_address(number: usize) -> Ipv4Addr {
    let [.., high, low] = (number / CONNECTIONS_OF_A_SOURCE + 1).to_be_bytes();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_change_before_their_ports_run_out() {
        assert_eq!(source_address(0), Ipv4Addr::new(127, 1, 0, 1));
        assert_eq!(source_address(CONNECTIONS_OF_A_SOURCE - 1), Ipv4Addr::new(127, 1, 0, 1));
        assert_eq!(source_address(CONNECTIONS_OF_A_SOURCE), Ipv4Addr::new(127, 1, 0, 2));
        assert_eq!(source_address(CONNECTIONS_OF_A_SOURCE * 255), Ipv4Addr::new(127, 1, 1, 0));
    }
}
