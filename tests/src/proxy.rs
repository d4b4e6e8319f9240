//! A TCP proxy that sends every byte in a segment of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

use crate::{Namespace, Testbed};

/// Bytes of each direction that are sent one by one; the rest follows in one piece. More than any
/// handshake of the tests.
const BYTE_WISE: usize = 8 * 1024;

/// One connection is taken, forwarded and ended.
#[derive(Debug)]
pub struct ByteWiseProxy {
    /// Where it listens.
    pub port: u16,
}

impl ByteWiseProxy {
    /// Listens in `namespace` and forwards to `target`. Its threads end with the connection.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(namespace: &Namespace, address: IpAddr, target: SocketAddr) -> Result<Self> {
        let port = Testbed::shared().port();
        let listener = namespace.enter(|| Ok(TcpListener::bind((address, port))?))?;
        // The thread enters the namespace again, since its outgoing socket is made there.
        let (ready, outgoing) = std::sync::mpsc::channel();
        ready.send(namespace.enter(|| Ok(TcpStream::connect(target)?))?)?;
        std::thread::spawn(move || -> Result<()> {
            let (client, _) = listener.accept()?;
            let server = outgoing.recv()?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let (client_again, server_again) = (client.try_clone()?, server.try_clone()?);
            let back = std::thread::spawn(move || forward(server_again, client_again));
            forward(client, server);
            let _ = back.join();
            Ok(())
        });
        Ok(Self { port })
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    let mut sent = 0;
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let step = if sent < BYTE_WISE { 1 } else { length };
        sent += length;
        if buffer[..length].chunks(step).any(|piece| to.write_all(piece).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
