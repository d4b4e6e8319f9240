//! Connections whose owners are known from elsewhere, and how many of them a record names wrongly.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Finished, Namespace, Process, Program, Testbed, at, text};

/// Who made a connection, by what `/proc` told itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The connection's local port.
    pub port: u16,
    /// Its pid in the initial PID namespace.
    pub pid: u32,
    /// Its start in clock ticks.
    pub start: u64,
    /// The file that it runs.
    pub path: String,
}

impl Owner {
    /// Those that `owners` printed, in order.
    #[must_use]
    pub fn all_of(output: &str) -> Vec<Self> {
        output.lines().filter_map(Self::parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix("client ")?.splitn(4, ' ');
        Some(Self {
            port: fields.next()?.parse().ok()?,
            pid: fields.next()?.parse().ok()?,
            start: fields.next()?.parse().ok()?,
            path: fields.next()?.to_owned(),
        })
    }
}

/// What records said of connections with known owners.
#[derive(Debug, Default)]
pub struct Attribution {
    /// Pid, start and executable are right.
    pub named: usize,
    /// No process, or none with an executable, by reason.
    pub unnamed: BTreeMap<String, usize>,
    /// Another process, start or executable; or another holder beside the right one.
    pub wrong: Vec<String>,
}

impl Attribution {
    /// Compares the clients of `records` with those that are known.
    #[must_use]
    pub fn of_clients(owners: &[Owner], records: &[Value]) -> Self {
        let mut attribution = Self::default();
        let mut by_port: BTreeMap<u64, Vec<&Owner>> = BTreeMap::new();
        for owner in owners.iter().rev() {
            by_port.entry(owner.port.into()).or_default().push(owner);
        }
        for record in records {
            let port = at(record, "/client/port").as_u64().unwrap_or_default();
            match by_port.get_mut(&port).and_then(Vec::pop) {
                Some(owner) => attribution.add(owner, record),
                None => attribution.wrong.push(format!("nobody connected from port {port}: {record}")),
            }
        }
        let missing: usize = by_port.values().map(Vec::len).sum();
        if missing > 0 {
            attribution.unnamed.insert("no record".to_owned(), missing);
        }
        attribution
    }

    fn add(&mut self, owner: &Owner, record: &Value) {
        let process = at(record, "/client/process");
        let executable = text(process, "/executable");
        let others = at(record, "/client/processes").as_array();
        let other = others.into_iter().flatten().any(|holder| at(holder, "/process/pid") != owner.pid);
        let wrong = !process.is_null()
            && (at(process, "/pid") != owner.pid
                || at(process, "/start_time") != owner.start
                || !executable.is_empty() && executable != owner.path);
        if wrong || other {
            self.wrong.push(format!("{owner:?} is {record}"));
        } else if executable.is_empty() {
            let reason = match text(record, "/client/process_unknown") {
                "" => "no executable",
                reason => reason,
            };
            *self.unnamed.entry(reason.to_owned()).or_default() += 1;
        } else {
            self.named += 1;
        }
    }

    /// Fails with the first wrong one.
    ///
    /// # Panics
    /// When a connection was attributed to a wrong process.
    #[track_caller]
    pub fn assert_none_wrong(&self) {
        assert!(self.wrong.is_empty(), "{self}, the first: {}", self.wrong[0]);
    }
}

impl fmt::Display for Attribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "named: {}, without a name: ", self.named)?;
        match self.unnamed.is_empty() {
            true => write!(f, "0")?,
            false => write!(f, "{:?}", self.unnamed)?,
        }
        write!(f, ", attributed to a wrong process: {}", self.wrong.len())
    }
}

/// Starts `owners MANNER` in the client namespace of the shared testbed, from a copy of the program at `program`.
///
/// # Errors
/// When it does not start.
pub fn owners(program: &Path, manner: &str, port: u16, arguments: &[&str]) -> Result<Process> {
    let mut command = Command::new(program);
    command.args([manner, &Testbed::SERVER.to_string(), &port.to_string()]).args(arguments);
    Process::spawn(manner, Some(&Testbed::shared().client_side), command)
}

/// A copy of the program whose path no other process has.
///
/// # Errors
/// When it does not compile.
pub fn owners_program(name: &str) -> Result<std::path::PathBuf> {
    let copy = Testbed::shared().folder("owners")?.join(name);
    std::fs::copy(Program::Owners.path()?, &copy)?;
    Ok(copy)
}

/// The connections that `owners` has made, once it has ended well.
///
/// # Errors
/// When it failed; with what it printed.
pub fn owned(finished: &Finished) -> Result<Vec<Owner>> {
    anyhow::ensure!(finished.status.success(), "{}", finished.output);
    Ok(Owner::all_of(&finished.output))
}

/// Answers each request at `port`, on a thread for each connection, for as long as the test program runs.
///
/// # Errors
/// When the port is taken.
pub fn answer_all(namespace: &Namespace, port: u16) -> Result<()> {
    let address = SocketAddr::new(Testbed::SERVER, port);
    let listener = namespace.enter(|| TcpListener::bind(address).context("listen"))?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok_and(|length| length > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                }
            });
        }
    });
    Ok(())
}
