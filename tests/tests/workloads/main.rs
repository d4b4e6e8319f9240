//! What a connection's owner belongs to: real cgroups of every layout with processes moved into them, real container runtimes
//! in their own namespaces, and names that somebody chose to do harm.
//!
//! What needs a service manager, a kubelet or Docker is proven by where its processes are, not by itself.

mod cgroups;
mod hostile;
mod layouts;
mod processes;
mod runtimes;

use std::process::Command;

use anyhow::{Context, Result};
use countersign_tests::{Agent, Expectation, PATIENCE, Process, Testbed, at};
use serde_json::Value;

use cgroups::Cgroup;

/// A TLS server for clients that are to be told apart.
fn tls_server() -> Result<(Process, u16)> {
    // Before the first connection.
    Agent::shared();
    let testbed = Testbed::shared();
    let port = testbed.port();
    let mut command = Command::new("openssl");
    command.arg("s_server").args(server_arguments(port));
    let mut server = Process::spawn("s_server", Some(&testbed.server_side), command)?;
    server.wait_listening(port)?;
    Ok((server, port))
}

/// Arguments of `openssl s_server` with the usual certificate.
fn server_arguments(port: u16) -> Vec<String> {
    let identity = &Testbed::shared().pki.server;
    let mut arguments =
        vec!["-quiet".to_owned(), "-accept".to_owned(), format!("{}:{port}", Testbed::SERVER)];
    arguments.extend(["-cert".to_owned(), identity.chain.display().to_string()]);
    arguments.extend(["-key".to_owned(), identity.key.display().to_string()]);
    arguments
}

/// A client of OpenSSL that says nothing and goes.
fn tls_client(port: u16) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("{}:{port}", Testbed::SERVER)]);
    command
}

/// Runs a client in the client's namespace, in a cgroup, and gives its record.
fn record_of_client(cgroup: Option<&Cgroup>, client: Command) -> Result<Value> {
    let client = match cgroup {
        Some(cgroup) => cgroup.command(client),
        None => client,
    };
    let mut process = Process::spawn("client", Some(&Testbed::shared().client_side), client)?;
    process.close_input();
    let finished = process.finish(PATIENCE)?;
    record_of_pid("/client/process/pid", finished.pid).with_context(|| finished.output)
}

/// The final record of which an owner has this pid.
fn record_of_pid(pointer: &str, pid: u32) -> Result<Value> {
    Agent::shared().records.wait_for(&format!("a connection of pid {pid}"), PATIENCE, |all| {
        let is_it = |record: &&&Value| {
            at(record, pointer).as_u64() == Some(u64::from(pid)) && at(record, "/final") == &Value::Bool(true)
        };
        all.iter().find(is_it).map(|record| (*record).clone())
    })
}

/// Makes a connection to a server and gives its record.
fn record_of_server(port: u16) -> Result<Value> {
    let client = record_of_client(None, tls_client(port))?;
    let id = at(&client, "/id").clone();
    Agent::shared().records.wait_for("the connection to a server", PATIENCE, |all| {
        all.iter().find(|record| at(record, "/id") == &id).map(|record| (*record).clone())
    })
}

/// Fails with every difference.
fn assert_says(what: &str, record: &Value, expected: &Expectation) {
    let mismatches = expected.mismatches(record);
    assert!(mismatches.is_empty(), "{what}:\n{}\n{record}", mismatches.join("\n"));
}
