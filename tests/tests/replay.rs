//! The replay of a capture says the same as the agent that saw the connections live.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, ClientKind, ClientOptions, Mode, ServerKind, ServerOptions, Testbed, Version, agent_binary, at,
    peers_only, ready, text,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// What one sees of a connection wherever one stands.
const SAME: [&str; 13] = [
    "/session_id",
    "/protocol",
    "/encryption",
    "/authentication",
    "/evidence",
    "/confidence",
    "/scope",
    "/tls",
    "/client/certificates",
    "/server/certificates",
    "/capture_complete",
    "/findings",
    "/bytes",
];

/// The modes that are played, each to a port of its own.
const MODES: [(Option<Version>, Mode); 5] = [
    (None, Mode::Plaintext),
    (Some(Version::V1_2), Mode::Mutual),
    (Some(Version::V1_3), Mode::Mutual),
    (Some(Version::V1_2), Mode::ServerOnly),
    (Some(Version::V1_3), Mode::RequestedNoneSent),
];

/// tcpdump(8) on the client's end of the veth pair; killed with the value.
struct Tcpdump(Child);

impl Tcpdump {
    /// Captures into a file, or to its standard output if that is `-`.
    fn start(file: &Path) -> Result<Tcpdump> {
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", "veth-client", "-Z", "root", "-U", "--immediate-mode", "-w"])
            .arg(file)
            .arg("tcp");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = || command.spawn().context("start tcpdump: is it installed? `cargo xtask setup` does it");
        let mut child = Testbed::shared().client_side.enter(start)?;
        let mut said = BufReader::new(child.stderr.take().context("its standard error")?);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(said.read_line(&mut line)? > 0, "tcpdump has ended");
        }
        // Its last words (how many packets it saw) must not stop it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Ok(Tcpdump(child))
    }

    /// Has it write what it holds and end.
    fn end(&mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGINT)?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plays one mode; gives the server's port.
fn play(version: Option<Version>, mode: Mode) -> Result<u16> {
    let testbed = Testbed::shared();
    let (address, port) = (Testbed::SERVER, testbed.port());
    let (server, client) = match version {
        None => (ServerKind::Python, ClientKind::Python),
        Some(_) => (ServerKind::OpenSsl, ClientKind::OpenSsl),
    };
    let identity = &testbed.pki.server;
    let _server =
        server.start(testbed, ServerOptions { address, port, version, request: mode.request(), identity })?;
    let identity = (mode == Mode::Mutual).then_some(&testbed.pki.client);
    let run =
        client.run(testbed, ClientOptions { address, port, version, identity, resume: false, count: 1 })?;
    ensure!(run.answered, "{}", run.output);
    Ok(port)
}

fn lines(output: &[u8]) -> Result<Vec<Value>> {
    let text = std::str::from_utf8(output)?;
    text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
}

fn to_port(records: &[Value], port: u16) -> Result<&Value> {
    let is_it = |record: &&Value| {
        text(record, "/schema") == "countersign.connection/1" && at(record, "/server/port") == port
    };
    let mut found = records.iter().filter(is_it);
    let first = found.next().with_context(|| format!("no record to port {port} in {records:#?}"))?;
    ensure!(found.next().is_none(), "two records to port {port}: {records:#?}");
    Ok(first)
}

fn replay(input: &Path, stdin: Stdio) -> Result<Child> {
    let mut command = Command::new(agent_binary());
    command.args(["replay", "--json"]).arg(input).stdin(stdin).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

#[test]
fn a_capture_says_the_same_as_the_live_agent() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = (!peers_only()).then(Agent::shared);
    let file = Testbed::shared().folder("capture")?.join("veth.pcap");
    let mut tcpdump = Tcpdump::start(&file)?;
    let ports =
        MODES.map(|(version, mode)| play(version, mode).with_context(|| format!("{version:?} {mode}")));
    tcpdump.end()?;
    let output = replay(&file, Stdio::null())?.wait_with_output()?;
    ensure!(output.status.success(), "{}", output.status);
    let records = lines(&output.stdout)?;
    let mut problems = Vec::new();
    for port in ports {
        let port = port?;
        let replayed = to_port(&records, port)?;
        ensure!(text(replayed, "/source") == "replay" && at(replayed, "/final") == true, "{replayed}");
        let Some(agent) = agent else { continue };
        let live = agent.records.one_closed_to(port)?;
        for pointer in SAME {
            let (there, here) = (at(&live, pointer), at(replayed, pointer));
            if there != here {
                problems.push(format!("{port} {pointer}: live {there}, replay {here}"));
            }
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

#[test]
fn a_running_capture_can_be_piped_in() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let mut tcpdump = Tcpdump::start(Path::new("-"))?;
    let stream = tcpdump.0.stdout.take().context("its standard output")?;
    let replay = replay(Path::new("-"), stream.into())?;
    let port = play(Some(Version::V1_3), Mode::Mutual)?;
    tcpdump.end()?;
    let output = replay.wait_with_output()?;
    ensure!(output.status.success(), "{}", output.status);
    let records = lines(&output.stdout)?;
    let record = to_port(&records, port)?;
    ensure!(text(record, "/authentication") == "mutual" && text(record, "/file") == "-", "{record}");
    Ok(())
}
