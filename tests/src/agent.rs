//! The agent, run and read as a user would.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{Finished, PATIENCE, Process, Records, Signal, Testbed, until};

/// How an agent is started beside others.
#[derive(Debug, Clone, Default)]
pub struct AgentOptions {
    /// Lines of its configuration file.
    pub configuration: String,
    /// Its folder; a new one if `None`.
    pub folder: Option<PathBuf>,
    /// A command that runs it, as a container or a service manager would.
    pub within: Vec<String>,
    /// `NOTIFY_SOCKET` of sd_notify(3).
    pub notify_socket: Option<PathBuf>,
}

/// Configuration of an agent that does not probe libraries.
const WIRE_ONLY: &str = "[libraries]\nenabled = false\n";

/// A running daemon and one `watch --json` on it.
#[derive(Debug)]
pub struct Agent {
    daemon: Process,
    _watch: Watch,
    /// What the watch has printed.
    pub records: Records,
    /// Its configuration file, socket and data live here.
    pub folder: PathBuf,
    metrics: u16,
}

/// A `watch --json` of its own, ended with the value.
#[derive(Debug)]
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether only the peers are to be proven, without an agent (`COUNTERSIGN_PEERS_ONLY=1`).
#[must_use]
pub fn peers_only() -> bool {
    std::env::var("COUNTERSIGN_PEERS_ONLY").is_ok_and(|value| value == "1")
}

/// `COUNTERSIGN_BIN`, else the release build of this workspace.
#[must_use]
pub fn agent_binary() -> PathBuf {
    std::env::var_os("COUNTERSIGN_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/countersign"),
        PathBuf::from,
    )
}

/// Starts processes on a thread that lives as long as the test program. The kernel sends the parent-death signal
/// when the *thread* that started a process ends, and each test has its own.
fn on_lasting_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    type Job = Box<dyn FnOnce() + Send>;
    static THREAD: OnceLock<Sender<Job>> = OnceLock::new();
    let jobs = THREAD.get_or_init(|| {
        let (sender, receiver) = channel::<Job>();
        std::thread::spawn(move || receiver.into_iter().for_each(|job| job()));
        sender
    });
    let (sender, receiver) = channel();
    let job = Box::new(move || drop(sender.send(work())));
    jobs.clone().send(job).map_err(|_| anyhow::anyhow!("the starting thread has gone"))?;
    Ok(receiver.recv()?)
}

/// The agent's binary under setpriv(1): a daemon shared by the tests of one program ends with it, since
/// statics are never dropped.
fn agent_command(within: &[String]) -> Result<Command> {
    let binary = agent_binary();
    ensure!(
        binary.exists(),
        "{} is missing: run `cargo build --release -p countersign` or set COUNTERSIGN_BIN",
        binary.display()
    );
    // The signal is forgotten where rights are gained or given up: what runs it comes first.
    let mut words = within.iter().map(String::as_str).chain(["setpriv", "--pdeathsig", "TERM", "--"]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(binary);
    Ok(command)
}

/// A loopback port that is free now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Agent {
    /// The one that all tests of a program share. It looks at the wire alone: what libraries add has its own suite.
    ///
    /// # Panics
    /// When it does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Agent> = OnceLock::new();
        SHARED.get_or_init(|| {
            let started = Testbed::shared().folder("agent").and_then(|folder| {
                let configuration = WIRE_ONLY.to_owned();
                Self::start(AgentOptions { folder: Some(folder), configuration, ..AgentOptions::default() })
            });
            started.unwrap_or_else(|error| panic!("the shared agent does not start: {error:?}"))
        })
    }

    /// The command line of a daemon below `folder`, with its configuration written.
    ///
    /// # Errors
    /// When the binary is missing or the configuration cannot be written.
    pub fn command(options: &AgentOptions, folder: &Path, metrics: u16) -> Result<Command> {
        let file = folder.join("countersign.toml");
        std::fs::write(&file, &options.configuration)?;
        let mut command = agent_command(&options.within)?;
        command.arg("run").arg("--config").arg(file);
        command.arg("--data-dir").arg(folder.join("data"));
        command.arg("--socket").arg(folder.join("socket"));
        command.args(["--metrics-listen", &format!("127.0.0.1:{metrics}")]);
        if let Some(path) = &options.notify_socket {
            command.env("NOTIFY_SOCKET", path);
        }
        Ok(command)
    }

    /// Starts one and waits until it reports connections.
    ///
    /// # Errors
    /// When it ends or reports nothing; with its log.
    pub fn start(options: AgentOptions) -> Result<Self> {
        let folder = match &options.folder {
            Some(folder) => folder.clone(),
            None => Testbed::shared().folder("agent")?,
        };
        let metrics = free_port()?;
        let command = Self::command(&options, &folder, metrics)?;
        let mut daemon = on_lasting_thread(move || Process::spawn("countersign run", None, command))??;
        daemon.wait_listening(metrics)?;
        let records = Records::default();
        let watch = Self::watch(&folder, &records, &daemon)?;
        let agent = Self { daemon, _watch: watch, records, folder, metrics };
        agent.fence().with_context(|| format!("the log of the agent:\n{}", agent.daemon.output()))?;
        Ok(agent)
    }

    fn watch(folder: &Path, records: &Records, daemon: &Process) -> Result<Watch> {
        let socket = folder.join("socket");
        until("the agent's socket", PATIENCE, || Ok(socket.exists().then_some(())))
            .with_context(|| format!("the log of the agent:\n{}", daemon.output()))?;
        let mut command = agent_command(&[])?;
        // What was said before the watch came is repeated to it: the gap of a daemon that had been killed.
        command.args(["watch", "--json", "--open", "--socket"]).arg(&socket);
        command.stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = on_lasting_thread(move || command.spawn())?.context("start watch")?;
        records.read_from(child.stdout.take().context("output of watch")?);
        Ok(Watch(child))
    }

    /// Makes a connection of its own and waits for its final record: whatever ended before it was reported too,
    /// unless it never will be.
    ///
    /// # Errors
    /// When it is not reported.
    pub fn fence(&self) -> Result<()> {
        // A watch that has just started may miss the first: connect anew until one comes.
        let mut ports = Vec::new();
        until("a record of the test's own connection", PATIENCE, || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let client = TcpStream::connect(address)?;
            let (mut server, _) = listener.accept()?;
            (&client).write_all(b"fence\n")?;
            server.read_exact(&mut [0; 6])?;
            drop((client, server));
            ports.push(address.port());
            let ports = &ports;
            let seen = self.records.wait_for("the fence", Duration::from_millis(700), |all| {
                all.iter().find_map(|record| {
                    let port = crate::at(record, "/server/port").as_u64()?;
                    let ours = ports.iter().any(|own| u64::from(*own) == port);
                    (ours && crate::at(record, "/final") == &serde_json::Value::Bool(true)).then_some(())
                })
            });
            Ok(seen.ok())
        })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.output()
    }

    /// Waits until its log says `needle`.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_log(&self, needle: &str) -> Result<()> {
        self.daemon.wait_for_output(needle)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.daemon.signal(signal)
    }

    /// Sends a signal that ends it and waits for that.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(self, signal: Signal) -> Result<Finished> {
        self.daemon.signal(signal)?;
        self.daemon.finish(PATIENCE)
    }

    /// Port of its metrics page.
    #[must_use]
    pub fn metrics_port(&self) -> u16 {
        self.metrics
    }

    /// Status code and body of a page of its HTTP server.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn http(&self, method: &str, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the header")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// The sum of a metric's samples whose label text contains `labels`.
    ///
    /// # Errors
    /// When the page does not come.
    pub fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let (_, page) = self.http("GET", "/metrics")?;
        Ok(page
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}
