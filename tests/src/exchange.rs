//! Small exchanges outside the matrix: sockets of the test itself, and peers with unusual manners.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::Command;

use anyhow::Result;

use crate::{Finished, Namespace, PATIENCE, Process, Testbed, peer_script, python};

const REQUEST: &[u8; 18] = b"GET / HTTP/1.1\r\n\r\n";
const RESPONSE: &[u8; 27] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// Starts one of the servers of `odd_server.py` in the server namespace of the shared testbed.
///
/// # Errors
/// When it does not listen.
pub fn odd_server(manner: &str, address: IpAddr, port: u16) -> Result<Process> {
    let command = odd("odd_server.py", manner, address, port)?;
    let mut server = Process::spawn(manner, Some(&Testbed::shared().server_side), command)?;
    server.wait_listening(port)?;
    Ok(server)
}

/// Runs one of the clients of `odd_client.py` in the client namespace of the shared testbed.
///
/// # Errors
/// When it does not end.
pub fn odd_client(manner: &str, address: IpAddr, port: u16) -> Result<Finished> {
    let command = odd("odd_client.py", manner, address, port)?;
    Process::spawn(manner, Some(&Testbed::shared().client_side), command)?.finish(PATIENCE)
}

fn odd(script: &str, manner: &str, address: IpAddr, port: u16) -> Result<Command> {
    let mut command = Command::new(python()?);
    command.arg(peer_script(script)).args([manner, &address.to_string(), &port.to_string()]);
    Ok(command)
}

/// Client, server and listener of a connection between sockets of this process across the veth pair of the shared
/// testbed.
///
/// # Errors
/// When it cannot be made.
pub fn pair_across() -> Result<(TcpStream, TcpStream, TcpListener)> {
    let testbed = Testbed::shared();
    // A port of our own: the kernel would hand out one that an earlier test's server had, whose records are still there.
    let port = testbed.port();
    let listener = testbed.server_side.enter(|| Ok(TcpListener::bind((Testbed::SERVER, port))?))?;
    let client = testbed.client_side.enter(|| Ok(TcpStream::connect((Testbed::SERVER, port))?))?;
    let (server, _) = listener.accept()?;
    Ok((client, server, listener))
}

/// One HTTP request in clear over a pair, left open.
///
/// # Errors
/// When an end has gone.
pub fn request_over(client: &mut TcpStream, server: &mut TcpStream) -> Result<()> {
    client.write_all(REQUEST)?;
    server.read_exact(&mut [0; REQUEST.len()])?;
    server.write_all(RESPONSE)?;
    Ok(client.read_exact(&mut [0; RESPONSE.len()])?)
}

/// One HTTP request in clear from an address to itself, made, answered and closed; gives the server's port.
///
/// # Errors
/// When the address is not there.
pub fn request_to_self(namespace: Option<&Namespace>, address: IpAddr) -> Result<u16> {
    let work = || {
        let listener = TcpListener::bind((address, 0))?;
        let port = listener.local_addr()?.port();
        let mut client = TcpStream::connect((address, port))?;
        let (mut server, _) = listener.accept()?;
        request_over(&mut client, &mut server)?;
        Ok(port)
    };
    namespace.map_or_else(work, |namespace| namespace.enter(work))
}
