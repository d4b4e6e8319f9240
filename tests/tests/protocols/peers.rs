//! Clients and servers, each in its namespace.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use countersign_tests::{Agent, Namespace, PATIENCE, Process, Testbed, peer_script, python_with_packages};

use crate::conversation::{PASSWORD, USER};

/// Starts a server and waits until it listens; the agent watches before.
pub fn serve(name: &str, command: Command, port: u16) -> Result<Process> {
    Agent::shared();
    let mut server = Process::spawn(name, Some(&Testbed::shared().server_side), command)?;
    server.wait_listening(port)?;
    Ok(server)
}

/// A server of `peers/protocols/server.py`.
pub fn serve_script(protocol: &str, port: u16) -> Result<Process> {
    serve(protocol, script("server.py", protocol, (Testbed::SERVER, port), Some(USER))?, port)
}

/// Runs a client in its namespace to its end; what it prints has to have the `answer` in it.
pub fn ask(name: &str, command: Command, answer: &str) -> Result<()> {
    ask_from(&Testbed::shared().client_side, name, command, answer)
}

/// Runs a client of `peers/protocols/client.py`.
pub fn ask_script(protocol: &str, port: u16, user: Option<&str>) -> Result<()> {
    ask(protocol, script("client.py", protocol, (Testbed::SERVER, port), user)?, "answered")
}

/// As [`ask`], from another namespace.
pub fn ask_from(namespace: &Namespace, name: &str, command: Command, answer: &str) -> Result<()> {
    let finished = Process::spawn(name, Some(namespace), command)?.finish(PATIENCE)?;
    ensure!(finished.output.contains(answer), "{name} was not answered:\n{}", finished.output);
    Ok(())
}

/// curl, which says on standard error what the server says; with the user, if there is one.
pub fn curl(url: &str, user: Option<&str>) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--verbose", "--max-time", "15", url]);
    if let Some(user) = user {
        command.args(["--user", &format!("{user}:{PASSWORD}")]);
    }
    command
}

/// One of the scripts; no user means that nobody logs in.
pub fn script(name: &str, protocol: &str, at: (IpAddr, u16), user: Option<&str>) -> Result<Command> {
    Ok(script_by(&python_with_packages()?, name, protocol, at, user))
}

/// The same, run by this Python.
pub fn script_by(
    python: &Path,
    name: &str,
    protocol: &str,
    (address, port): (IpAddr, u16),
    user: Option<&str>,
) -> Command {
    let mut command = Command::new(python);
    command.arg(peer_script("protocols").join(name)).args([
        protocol,
        &address.to_string(),
        &port.to_string(),
        user.unwrap_or_default(),
        PASSWORD,
    ]);
    command
}

/// A new folder with a configuration file in it.
pub fn configured(name: &str, content: &str) -> Result<(PathBuf, PathBuf)> {
    let folder = Testbed::shared().folder(name)?;
    let file = folder.join("configuration");
    std::fs::write(&file, content)?;
    Ok((folder, file))
}
