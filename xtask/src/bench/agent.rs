//! The agent under measurement, beside whatever agent the host runs already.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::page::Page;
use crate::workspace;

/// Longest start and longest end; both take well under a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Resident memory in bytes.
pub struct Resident {
    /// Everything.
    pub all: u64,
    /// Heap and stacks.
    pub anonymous: u64,
    /// The program itself, and the ring buffer as often as it is mapped.
    pub files: u64,
}

/// Whether the agent probes TLS libraries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Probing {
    /// It looks at the wire alone.
    Off,
    /// It does, as it does by default.
    On,
}

/// A running agent, ended with this value.
pub struct Agent {
    child: Child,
    metrics: SocketAddr,
}

impl Agent {
    /// Starts it on its defaults but for `probing`, with files of its own in `folder`, and returns when it is healthy.
    pub fn start(folder: &Path, probing: Probing) -> Result<Self> {
        let configuration = folder.join("countersign.toml");
        fs::write(&configuration, format!("[libraries]\nenabled = {}\n", probing == Probing::On))?;
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let log = fs::File::options().create(true).append(true).open(folder.join("agent.log"))?;
        let child = Command::new(workspace::agent_binary())
            .arg("run")
            .arg("--config")
            .arg(configuration)
            .arg("--socket")
            .arg(folder.join("socket"))
            .arg("--data-dir")
            .arg(folder.join("data"))
            .args(["--metrics-listen", &metrics.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the agent")?;
        let mut agent = Self { child, metrics };
        let deadline = Instant::now() + PATIENCE;
        while agent.get("/healthz").is_err() {
            if let Some(status) = agent.child.try_wait()? {
                bail!("the agent ended with {status}; it said: {}", said(folder));
            }
            if Instant::now() > deadline {
                bail!("the agent is not healthy after {PATIENCE:?}; it said: {}", said(folder));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(agent)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its metrics now.
    pub fn page(&self) -> Result<Page> {
        self.get("/metrics").map(Page)
    }

    /// What the agent with its files in `folder` says of TLS libraries: `check --libraries --json`.
    pub fn check_libraries(folder: &Path) -> Result<Vec<serde_json::Value>> {
        let mut command = Command::new(workspace::agent_binary());
        command.args(["check", "--libraries", "--json", "--socket"]).arg(folder.join("socket"));
        // Without any file its exit status says so, and there are no lines.
        let output = command.stdin(Stdio::null()).output()?;
        let lines = String::from_utf8_lossy(&output.stdout);
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Resident memory now.
    pub fn resident(&self) -> Result<Resident> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let text = line.with_context(|| format!("no {name} in the status of the agent"))?;
            let kib: u64 = text.trim().trim_end_matches(" kB").parse()?;
            Ok(kib * 1024)
        };
        Ok(Resident { all: field("VmRSS:")?, anonymous: field("RssAnon:")?, files: field("RssFile:")? })
    }

    /// Ends it as a service manager would, and expects that it ends cleanly.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the agent ended with {status} after SIGTERM");
            }
            if Instant::now() > deadline {
                bail!("the agent still runs {PATIENCE:?} after SIGTERM");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.metrics, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.metrics)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("{path} answers {}", head.lines().next().unwrap_or_default());
        }
        Ok(body.to_owned())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Already ended in the good case.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn said(folder: &Path) -> String {
    fs::read_to_string(folder.join("agent.log")).unwrap_or_default()
}
