//! Processes that a test starts: their pid, their output, their end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

use crate::{Namespace, PATIENCE, until};

/// A running process; ended by its pid when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Debug, Default)]
struct Output {
    text: Mutex<String>,
    grown: Condvar,
}

/// How a process ended.
#[derive(Debug)]
pub struct Finished {
    /// Its pid.
    pub pid: u32,
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output and error, interleaved by line.
    pub output: String,
}

impl Process {
    /// Starts a command, in a namespace or where the test runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(name: &str, namespace: Option<&Namespace>, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut start = move || command.spawn().with_context(|| format!("start {:?}", command.get_program()));
        let mut child = match namespace {
            Some(namespace) => namespace.enter(start)?,
            None => start()?,
        };
        let output = Arc::new(Output::default());
        if let Some(stream) = child.stdout.take() {
            collect(stream, Arc::clone(&output));
        }
        if let Some(stream) = child.stderr.take() {
            collect(stream, Arc::clone(&output));
        }
        Ok(Self { name: name.to_owned(), child, output })
    }

    /// Its pid, in the initial PID namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pid and those of all descendants: a prefork server accepts in a child.
    #[must_use]
    pub fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.pid()];
        let mut next = 0;
        while let Some(&pid) = tree.get(next) {
            next += 1;
            let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
                tree.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
        }
        tree
    }

    /// What it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has printed `needle`.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`].
    pub fn wait_for_output(&self, needle: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut text = self.output.text.lock().unwrap_or_else(PoisonError::into_inner);
        while !text.contains(needle) {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "{} did not print `{needle}` but:\n{text}", self.name);
            text = self.output.grown.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Waits until a socket of its network namespace listens on `port`: asking by connecting would
    /// itself be a connection that the agent reports.
    ///
    /// # Errors
    /// When it ends before, or never listens.
    pub fn wait_listening(&mut self, port: u16) -> Result<()> {
        self.wait_listening_for(port, PATIENCE)
    }

    /// As [`Process::wait_listening`], for what takes longer to start.
    ///
    /// # Errors
    /// When it ends before, or never listens.
    pub fn wait_listening_for(&mut self, port: u16, patience: Duration) -> Result<()> {
        let what = format!("{} to listen on port {port}", self.name);
        until(&what, patience, || {
            if let Some(status) = self.child.try_wait()? {
                // Its last words are still on their way through the reader threads.
                let _ = self.wait_for_output("\n");
                bail!("{} ended with {status} instead of listening:\n{}", self.name, self.output());
            }
            Ok(listens(self.pid(), port).then_some(()))
        })
    }

    /// Writes to its standard input and leaves that open.
    ///
    /// # Errors
    /// When it has gone.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("standard input is closed")?;
        stdin.write_all(bytes)?;
        Ok(stdin.flush()?)
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(nix::sys::signal::kill(Pid::from_raw(i32::try_from(self.pid())?), signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it is still there after `patience`; it is killed then.
    pub fn finish(mut self, patience: Duration) -> Result<Finished> {
        let status = until(&format!("{} to end", self.name), patience, || Ok(self.child.try_wait()?))
            .with_context(|| format!("it printed:\n{}", self.output()))?;
        // Both streams end with the process (unless a descendant holds them); their threads then let go.
        let _ = until("its output", Duration::from_millis(500), || {
            Ok((Arc::strong_count(&self.output) == 1).then_some(()))
        });
        Ok(Finished { pid: self.pid(), status, output: self.output() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Children first: a killed parent would orphan its workers.
            for pid in self.tree().into_iter().rev().filter_map(|pid| i32::try_from(pid).ok()) {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Output>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let mut text = output.text.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&String::from_utf8_lossy(&line));
            output.grown.notify_all();
            line.clear();
        }
    });
}

/// Whether a socket in the network namespace of `pid` listens on `port` (proc(5), `net/tcp`: state 0A).
fn listens(pid: u32, port: u16) -> bool {
    let local = format!(":{port:04X}");
    ["tcp", "tcp6"].iter().any(|table| {
        std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default().lines().skip(1).any(
            |line| {
                let mut fields = line.split_whitespace().skip(1);
                fields.next().is_some_and(|address| address.ends_with(&local))
                    && fields.nth(1).is_some_and(|state| state == "0A")
            },
        )
    })
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started or fails; with what it printed.
pub fn output_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} failed with {}:\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}
