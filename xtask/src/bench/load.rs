//! The loads: a server that stays, and a client that measures a rate.
//!
//! Server and client are bound to a processor each, so that neither moves in the middle of a run; the
//! agent runs where the scheduler puts it, and takes its time from one of the two.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::agent::free_port;
use crate::{process, workspace};

const SERVER_PROCESSOR: &str = "0";
/// Where clients run.
pub const CLIENT_PROCESSOR: &str = "1";
/// Enough to keep a single server process busy without a gap.
const CONNECTIONS: &str = "--connections=16";
/// New mutual connections that are in their handshake at a time.
const AT_ONCE: &str = "4";
/// New mutual connections for each second that a run is to last: about what two processors do.
const CONNECTIONS_PER_SECOND: u64 = 500;

/// One run.
#[derive(Clone, Copy)]
pub struct Run {
    /// Work per second: what a user notices.
    pub rate: f64,
    /// Work per second of processor time: the same on a machine that has nothing else to do, and less
    /// disturbed on one that has.
    pub efficiency: f64,
    /// Processor time of server, client and agent.
    pub spent: Duration,
    /// The agent's part of it.
    pub agent: Duration,
}

impl Run {
    /// How much work was done.
    pub fn operations(&self) -> f64 {
        self.efficiency * self.spent.as_secs_f64()
    }
}

/// What a client reports.
struct Work {
    done: f64,
    /// Per second.
    rate: f64,
}

/// A server and what its client does.
pub struct Load {
    server: Child,
    client: Client,
}

enum Client {
    /// wrk with these arguments; requests per second.
    Requests(Vec<String>),
    /// The tests' client on OpenSSL, with these arguments before and behind the number of its connections.
    Connections { program: PathBuf, before: Vec<String>, behind: Vec<String> },
    /// iperf3 to this port; bits per second.
    Bulk(u16),
}

impl Load {
    /// Small requests over connections that stay open.
    pub fn keepalive(folder: &Path) -> Result<Self> {
        let port = free_port()?;
        Ok(Self {
            server: nginx(folder, &format!("listen 127.0.0.1:{port};"), port)?,
            client: Client::Requests(vec![format!("http://127.0.0.1:{port}/")]),
        })
    }

    /// A new TLS 1.3 connection with an ECDSA certificate for each small request, never resumed.
    pub fn handshakes(folder: &Path) -> Result<Self> {
        let port = free_port()?;
        let (certificate, key) = self_signed(folder)?;
        let settings = tls_settings(port, &certificate, &key);
        Ok(Self {
            server: nginx(folder, &settings, port)?,
            client: Client::Requests(vec![
                "--header=Connection: close".to_owned(),
                format!("https://127.0.0.1:{port}/"),
            ]),
        })
    }

    /// A new mutual TLS 1.3 connection with ECDSA certificates each time, never resumed.
    pub fn mutual(folder: &Path) -> Result<Self> {
        let (certificate, key) = self_signed(folder)?;
        let port = free_port()?;
        // One identity for both, which is its own authority.
        let verify = format!(" ssl_verify_client on; ssl_client_certificate {certificate};");
        let settings = tls_settings(port, &certificate, &key) + &verify;
        let before = ["client", "127.0.0.1", &port.to_string(), "1.3", &certificate].map(str::to_owned);
        let client = Client::Connections {
            program: openssl_client(folder)?,
            before: before.to_vec(),
            behind: vec![AT_ONCE.to_owned(), certificate, key],
        };
        Ok(Self { server: nginx(folder, &settings, port)?, client })
    }

    /// Small requests over TLS connections that stay open.
    pub fn keepalive_tls(folder: &Path) -> Result<Self> {
        let (certificate, key) = self_signed(folder)?;
        let port = free_port()?;
        Ok(Self {
            server: nginx(folder, &tls_settings(port, &certificate, &key), port)?,
            client: Client::Requests(vec![format!("https://127.0.0.1:{port}/")]),
        })
    }

    /// Responses of 4 MiB over TLS connections that stay open.
    pub fn bulk_tls(folder: &Path) -> Result<Self> {
        let (certificate, key) = self_signed(folder)?;
        let files = folder.join("files");
        fs::create_dir_all(&files)?;
        fs::File::create(files.join("bulk"))?.set_len(4 << 20)?;
        let port = free_port()?;
        let place = format!(" location /bulk {{ root {}; }}", files.display());
        Ok(Self {
            server: nginx(folder, &(tls_settings(port, &certificate, &key) + &place), port)?,
            client: Client::Requests(vec![format!("https://127.0.0.1:{port}/bulk")]),
        })
    }

    /// One connection, as fast as it goes.
    pub fn bulk() -> Result<Self> {
        let port = free_port()?;
        let server = start(
            bound_to(SERVER_PROCESSOR, "iperf3")
                .args(["--server", "--bind", "127.0.0.1", "--port"])
                .arg(port.to_string()),
        )?;
        let load = Self { server, client: Client::Bulk(port) };
        // Its listener takes one test at a time; a probing connection would be one.
        await_listener(port)?;
        Ok(load)
    }

    /// Loads for this time. The processor time of the server, of the client, and of `agent` counts.
    pub fn run(&self, length: Duration, agent: Option<u32>) -> Result<Run> {
        let of_agent = || agent.map_or(Ok(Duration::ZERO), processor_time);
        let of_load = || -> Result<Duration> { Ok(processor_time(self.server.id())? + client_time()?) };
        let before = (of_load()?, of_agent()?);
        let Work { done, rate } = self.work(length)?;
        let agent = of_agent()?.saturating_sub(before.1);
        let spent = of_load()?.saturating_sub(before.0) + agent;
        Ok(Run { rate, efficiency: done / spent.as_secs_f64(), spent, agent })
    }

    fn work(&self, length: Duration) -> Result<Work> {
        let seconds = length.as_secs();
        match &self.client {
            Client::Requests(arguments) => {
                let output = process::output_of(
                    bound_to(CLIENT_PROCESSOR, "wrk")
                        .args(["--threads=1", CONNECTIONS, &format!("--duration={seconds}s")])
                        .args(arguments),
                )?;
                requests_in(&output)
            }
            Client::Connections { program, before, behind } => {
                let started = Instant::now();
                let count = seconds * CONNECTIONS_PER_SECOND;
                let mut command = bound_to(CLIENT_PROCESSOR, &program.to_string_lossy());
                let report = process::output_of(command.args(before).arg(count.to_string()).args(behind))?;
                if !report.contains("\"answered\":true") {
                    bail!("not all connections were answered");
                }
                let done = count as f64;
                Ok(Work { done, rate: done / started.elapsed().as_secs_f64() })
            }
            Client::Bulk(port) => transfer(*port, seconds),
        }
    }
}

/// One bulk transfer. The server reports the end of the one before a moment later than its client,
/// and until then refuses another.
fn transfer(port: u16, seconds: u64) -> Result<Work> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let output = bound_to(CLIENT_PROCESSOR, "iperf3")
            .args(["--client", "127.0.0.1", "--json", "--port", &port.to_string()])
            .args(["--time", &seconds.to_string()])
            .stdin(Stdio::null())
            .output()?;
        let report = String::from_utf8_lossy(&output.stdout);
        if !report.contains("the server is busy") || Instant::now() > deadline {
            return bits_in(&report);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Processor time of all living threads of a process.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // The first field is the time on a processor in nanoseconds (Documentation/scheduler/sched-stats).
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanoseconds = text.split_whitespace().next().context("an empty schedstat")?;
        total += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(total)
}

/// Processor time of all children that have ended: within a run that is the client alone.
fn client_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(microseconds.try_into()?))
}

impl Drop for Load {
    fn drop(&mut self) {
        // A server that is gone already made its client fail; that error is the one to show.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// A command that runs on one processor.
pub fn bound_to(processor: &str, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", processor, program]);
    command
}

fn start(command: &mut Command) -> Result<Child> {
    let shown = process::shown(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))
}

/// A TLS 1.3 server that resumes nothing.
fn tls_settings(port: u16, certificate: &str, key: &str) -> String {
    format!(
        "listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3; ssl_certificate {certificate}; \
         ssl_certificate_key {key}; ssl_session_tickets off; ssl_session_cache off;"
    )
}

/// One nginx process without children, which answers every request with six bytes.
fn nginx(folder: &Path, settings: &str, port: u16) -> Result<Child> {
    let folder = folder.join("nginx");
    fs::create_dir_all(&folder)?;
    let path = folder.display();
    let configuration = folder.join("nginx.conf");
    fs::write(
        &configuration,
        format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log; user root;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n access_log off; keepalive_requests 1000000000;\n \
             client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi;\n \
             uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;\n \
             server {{ {settings}\n  location / {{ return 200 \"hello\\n\"; }} }}\n}}\n"
        ),
    )?;
    let program = process::find_program("nginx").context("nginx is missing: cargo xtask setup")?;
    let mut command = bound_to(SERVER_PROCESSOR, &program.to_string_lossy());
    let mut server = start(command.arg("-c").arg(&configuration).arg("-p").arg(&folder))?;
    if let Err(error) = await_listener(port) {
        drop(server.kill());
        drop(server.wait());
        return Err(error);
    }
    Ok(server)
}

/// The tests' client of many connections on the system's OpenSSL, compiled.
fn openssl_client(folder: &Path) -> Result<PathBuf> {
    let source = workspace::root().join("tests/peers/openssl_peer.c");
    let program = folder.join("openssl-client");
    let mut compiler = Command::new("gcc");
    compiler.args(["-O2", "-pthread", "-o"]).arg(&program).arg(source).args(["-lssl", "-lcrypto"]);
    process::output_of(&mut compiler)?;
    Ok(program)
}

/// An ECDSA certificate and its key, as files.
pub fn self_signed(folder: &Path) -> Result<(String, String)> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    process::output_of(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-subj", "/CN=server.test", "-days", "2"])
            .args(["-keyout", &key, "-out", &certificate]),
    )?;
    Ok((certificate, key))
}

/// Returns when something listens on the port of 127.0.0.1, without connecting to it.
pub fn await_listener(port: u16) -> Result<()> {
    // State 0A is LISTEN; the address is in the host's byte order.
    let entry = format!(" 0100007F:{port:04X} 00000000:0000 0A ");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !fs::read_to_string("/proc/net/tcp")?.contains(&entry) {
        if Instant::now() > deadline {
            bail!("nothing listens on 127.0.0.1:{port} after 10 s");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// From wrk's report; a report of failed requests is an error, for then the rate means nothing.
fn requests_in(report: &str) -> Result<Work> {
    let field = |name: &str| report.lines().find_map(|line| line.trim().strip_prefix(name));
    if let Some(count) = field("Non-2xx or 3xx responses:") {
        bail!("{} requests failed", count.trim());
    }
    let rate: f64 = field("Requests/sec:").context("wrk reported no rate")?.trim().parse()?;
    if rate == 0.0 {
        bail!("no request succeeded: {report}");
    }
    let done = report.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (done, _) = done.context("wrk reported no number of requests")?;
    Ok(Work { done: done.parse()?, rate })
}

fn bits_in(report: &str) -> Result<Work> {
    let report: serde_json::Value = serde_json::from_str(report)?;
    let number = |name: &str| {
        let number = report.pointer(&format!("/end/sum_received/{name}")).and_then(serde_json::Value::as_f64);
        number.with_context(|| format!("iperf3 reported no {name}: {report}"))
    };
    Ok(Work { done: number("bytes")? * 8.0, rate: number("bits_per_second")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_requests_are_no_rate() {
        let report = "  25 requests in 2.00s, 3.02KB read\nRequests/sec:  12.5\n";
        assert_eq!(requests_in(report).ok().map(|work| (work.done, work.rate)), Some((25.0, 12.5)));
        assert!(requests_in(&format!("  Non-2xx or 3xx responses: 3\n{report}")).is_err());
        assert!(requests_in("Requests/sec:      0.00\n").is_err());
        assert!(requests_in("").is_err());
    }
}
