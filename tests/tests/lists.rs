//! Workloads and identities, as users list them.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, AgentOptions, Identity, Mode, PATIENCE, Process, ServerKind, ServerOptions, Signal, Testbed,
    Version, agent_binary, at, output_of, ready, request_to_self, text, until,
};
use serde_json::Value;

/// A name that would clear a terminal, break a line and reorder what follows.
const HOSTILE: &str = "a\u{1b}[2J\n\u{202e}\"b";

fn countersign(arguments: &[&str], agent: &Agent) -> Result<Output> {
    let mut command = Command::new(agent_binary());
    command.args(arguments).arg("--socket").arg(agent.folder.join("socket"));
    Ok(command.stdin(Stdio::null()).output()?)
}

fn lines(output: &Output) -> Result<Vec<Value>> {
    let text = std::str::from_utf8(&output.stdout)?;
    text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
}

/// The line of a list on the workload of an end.
fn workload_of(list: &[Value], end: &Value) -> Result<Value> {
    let is_it = |line: &&Value| {
        ["/kind", "/name"]
            .iter()
            .all(|name| at(at(line, "/workload"), name) == at(at(end, "/workload"), name))
    };
    list.iter().find(is_it).cloned().with_context(|| format!("{end:#} is not in {list:#?}"))
}

/// openssl under another name: a program of its own.
fn program(name: &str) -> Result<PathBuf> {
    let path = output_of(Command::new("sh").args(["-c", "command -v openssl"]))?;
    let copy = Testbed::shared().folder("program")?.join(name);
    std::fs::copy(path.trim(), &copy)?;
    Ok(copy)
}

/// A program connects over TLS 1.2, where certificates are in clear. Gives the record.
fn connect(agent: &Agent, program: &Path, mode: Mode, identity: Option<&Identity>) -> Result<Value> {
    let testbed = Testbed::shared();
    let (address, port) = (Testbed::SERVER, testbed.port());
    let options = ServerOptions {
        address,
        port,
        version: Some(Version::V1_2),
        request: mode.request(),
        identity: &testbed.pki.server,
    };
    let _server = ServerKind::Nginx.start(testbed, options)?;
    let mut command = Command::new(program);
    command.args(["s_client", "-tls1_2", "-quiet", "-connect", &format!("{address}:{port}")]);
    if let Some(identity) = identity {
        command.arg("-cert").arg(&identity.leaf).arg("-key").arg(&identity.key);
        command.arg("-cert_chain").arg(&identity.intermediates);
    }
    let mut client = Process::spawn("client", Some(&testbed.client_side), command)?;
    client.write(b"GET / HTTP/1.0\r\n\r\n")?;
    let finished = client.finish(PATIENCE)?;
    ensure!(finished.output.contains("200 OK"), "{}", finished.output);
    agent.records.one_closed_to(port)
}

fn no_terminal_takes_harm(output: &Output) -> Result<()> {
    let text = std::str::from_utf8(&output.stdout)?;
    let harmful = |char: char| (char.is_control() && char != '\n') || char == '\u{202e}';
    ensure!(!text.contains(harmful), "{text:?}");
    Ok(())
}

#[test]
fn who_is_here_is_listed_with_what_it_presented_and_how_it_authenticates() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    let client = program("a-client")?;
    let identity = &Testbed::shared().pki.client;
    let record = connect(agent, &client, Mode::Mutual, Some(identity))?;
    ensure!(text(&record, "/authentication") == "mutual", "{record:#}");
    let output = countersign(&["workloads", "--json"], agent)?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    let list = lines(&output)?;
    for (role, other) in [("client", "server"), ("server", "client")] {
        let end = at(&record, &format!("/{role}"));
        let known = workload_of(&list, end)?;
        ensure!(text(&known, "/schema") == "countersign.workload/1", "{known:#}");
        let count = |pointer: &str| at(&known, pointer).as_u64().unwrap_or_default();
        ensure!(count(&format!("/{role}/authentication/mutual")) >= 1, "{known:#}");
        ensure!(count("/scopes/east_west") >= 1, "{known:#}");
        let fingerprint = text(end, "/certificates/0");
        let presented = at(&known, "/certificates").as_array().context("certificates")?;
        let presented = presented.iter().find(|one| text(one, "/sha256") == fingerprint);
        let presented = presented.with_context(|| format!("{fingerprint} is not in {known:#}"))?;
        ensure!(at(presented, "/identity") == at(end, "/identity"), "{presented:#}");
        ensure!(at(presented, &format!("/{role}")).as_u64() >= Some(1), "{presented:#}");
        ensure!(!at(presented, "/not_after").is_null() && !at(presented, "/spki_sha256").is_null());
        // Where each program is a workload of its own nobody else's connections are counted.
        if text(end, "/workload/kind") == "executable" && role == "client" {
            ensure!(count("/client/connections") == 1 && count("/server/connections") == 0, "{known:#}");
            ensure!(count(&format!("/{other}/connections")) == 0, "{known:#}");
            ensure!(text(&known, "/executables/0") == client.to_string_lossy(), "{known:#}");
        }
    }
    let table = countersign(&["workloads"], agent)?;
    let table = String::from_utf8(table.stdout)?;
    let identity = text(&record, "/client/identity");
    ensure!(table.contains(&format!("→ {identity}  client  until ")), "{table}");
    ensure!(table.lines().any(|line| line.contains("mutual")), "{table}");
    // The other way round.
    let output = countersign(&["identities", "--json"], agent)?;
    let identities = lines(&output)?;
    let line = identities.iter().find(|line| text(line, "/identity") == identity).context("the identity")?;
    ensure!(text(line, "/schema") == "countersign.identity/1", "{line:#}");
    let key = text(&workload_of(&list, at(&record, "/client"))?, "/key").to_owned();
    let presented = at(line, "/presented").as_array().context("presented")?;
    ensure!(presented.iter().any(|one| text(one, "/workload") == key), "{line:#}");
    let table = String::from_utf8(countersign(&["identities"], agent)?.stdout)?;
    ensure!(table.contains(identity), "{table}");
    Ok(())
}

/// All that the leaf of a list names.
fn names(presented: &Value) -> Vec<String> {
    let lists = ["/san/dns", "/san/uri", "/san/ip", "/san/email"];
    let all = lists.iter().flat_map(|list| at(presented, list).as_array().into_iter().flatten());
    let names: Vec<String> = all.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    match (at(presented, "/spiffe_id").as_str(), names.is_empty()) {
        (Some(id), _) => vec![id.to_owned()],
        (None, true) => vec![text(presented, "/subject").to_owned()],
        (None, false) => names,
    }
}

#[test]
fn rules_can_be_tried_on_what_was_seen_before_they_are_in_force() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::start(AgentOptions::default())?;
    let identity = &Testbed::shared().pki.client;
    connect(&agent, &program("another-client")?, Mode::Mutual, Some(identity))?;
    let list = lines(&countersign(&["workloads", "--json"], &agent)?)?;
    let presented: Vec<&Value> =
        list.iter().flat_map(|line| at(line, "/certificates").as_array().into_iter().flatten()).collect();
    ensure!(presented.len() == 2, "the client's and the server's: {list:#?}");
    let all: Vec<String> = presented.iter().flat_map(|one| names(one)).collect();
    let folder = Testbed::shared().folder("tried")?;
    let rules =
        |may_present: &[String]| format!("[[identity]]\nworkload = \"any\"\nmay_present = {may_present:?}\n");
    for (tried, code, says) in [
        (rules(&all), 0, "2 fit, 0 do not fit, 0 without a rule"),
        (rules(&["nobody.example".to_owned()]), 1, "→ by any it may present nobody.example"),
        (String::new(), 1, "0 fit, 0 do not fit, 2 without a rule"),
        ("[[identity]]\nworkload = \"any\"\n".to_owned(), 2, "may_present"),
    ] {
        let file = folder.join("tried.toml");
        std::fs::write(&file, &tried)?;
        let output = countersign(&["identities", "--check", "--config", &file.to_string_lossy()], &agent)?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        ensure!(output.status.code() == Some(code) && said.contains(says), "{tried}\n{said}");
    }
    Ok(())
}

#[test]
fn owners_are_named_once_their_file_is_read_also_for_who_is_silent() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::start(AgentOptions::default())?;
    request_to_self(None, [127, 0, 0, 1].into())?;
    agent.fence()?;
    let without = countersign(&["workloads", "--without-owner", "--json"], &agent)?;
    ensure!(without.status.code() == Some(0), "{without:?}");
    let owners = agent.folder.join("owners.toml");
    std::fs::write(
        &owners,
        "[[owner]]\nworkload = \"any\"\nowner = \"the team\"\nenvironment = \"tests\"\n",
    )?;
    let configuration = format!("[ownership]\nfile = {:?}\n", owners.to_string_lossy());
    std::fs::write(agent.folder.join("countersign.toml"), configuration)?;
    agent.signal(Signal::SIGHUP)?;
    agent.wait_for_log("configuration reloaded")?;
    // Nobody has connected since, save these commands.
    until("the owner to be named", PATIENCE, || {
        let output = countersign(&["workloads", "--owner", "the team"], &agent)?;
        let table = String::from_utf8(output.stdout)?;
        Ok((output.status.code() == Some(0) && table.contains("the team (tests)")).then_some(()))
    })?;
    let without = countersign(&["workloads", "--without-owner"], &agent)?;
    ensure!(without.status.code() == Some(1), "{without:?}");
    until("a connection to be counted for the owner", PATIENCE, || {
        request_to_self(None, [127, 0, 0, 1].into())?;
        let labels = "owner=\"the team\",purpose=\"\",environment=\"tests\"";
        Ok((agent.metric("countersign_owner_connections_total", labels)? > 0.0).then_some(()))
    })?;
    let mut watch = Command::new(agent_binary());
    watch.args(["watch", "--json", "--count", "1", "--owner", "the team", "--socket"]);
    watch.arg(agent.folder.join("socket"));
    let watch = Process::spawn("watch", None, watch)?;
    until("the watch to print a connection", PATIENCE, || {
        request_to_self(None, [127, 0, 0, 1].into())?;
        Ok(watch.output().contains("countersign.connection/1").then_some(()))
    })?;
    let finished = watch.finish(PATIENCE)?;
    ensure!(finished.output.contains("the team"), "{}", finished.output);
    Ok(())
}

#[test]
fn a_filter_that_nothing_matches_says_so_and_no_daemon_says_what_to_do() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    agent.fence()?;
    for arguments in [
        &["workloads", "--owner", "nobody"][..],
        &["workloads", "--kind", "kernel", "--unit", "no.service"],
        &["workloads", "--workload", "no-such-workload", "--json"],
    ] {
        let output = countersign(arguments, agent)?;
        ensure!(output.status.code() == Some(1), "{arguments:?} {output:?}");
    }
    let port = request_to_self(Some(&Testbed::shared().server_side), Testbed::SERVER)?;
    agent.records.one_closed_to(port)?;
    let output = countersign(&["workloads", "--without-owner", "--unauthenticated"], agent)?;
    ensure!(output.status.code() == Some(0), "the test's own request in clear: {output:?}");
    for list in ["workloads", "identities"] {
        let mut command = Command::new(agent_binary());
        let output = command.args([list, "--socket", "/nonexistent/socket"]).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(3), "{said}");
        ensure!(said.contains("/nonexistent/socket") && said.contains("countersign run"), "{said}");
    }
    Ok(())
}

#[test]
fn a_program_with_a_hostile_name_is_listed_as_it_is_called_and_harms_nobody() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    let client = program(HOSTILE)?;
    let record = connect(agent, &client, Mode::ServerOnly, None)?;
    let list = countersign(&["workloads", "--json"], agent)?;
    no_terminal_takes_harm(&list)?;
    no_terminal_takes_harm(&countersign(&["workloads"], agent)?)?;
    no_terminal_takes_harm(&countersign(&["identities"], agent)?)?;
    let known = workload_of(&lines(&list)?, at(&record, "/client"))?;
    if text(&known, "/workload/kind") == "executable" {
        let name = client.to_string_lossy();
        ensure!(
            text(&known, "/workload/name") == name && text(&known, "/executables/0") == name,
            "{known:#}"
        );
        let output = countersign(&["workloads", "--json", "--workload", &name], agent)?;
        ensure!(lines(&output)?.len() == 1, "{output:?}");
    }
    Ok(())
}

#[test]
fn readers_that_do_not_read_hold_nobody_up() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut reader = UnixStream::connect(agent.folder.join("socket"))?;
        reader.write_all(b"GET /v1/workloads HTTP/1.1\r\nhost: x\r\n\r\n")?;
        stalled.push(reader);
    }
    agent.fence()?;
    let output = countersign(&["workloads", "--json"], agent)?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    drop(stalled);
    Ok(())
}

#[test]
fn what_workloads_take_and_whose_connections_are_is_on_the_metrics_page() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    agent.fence()?;
    until("connections without an owner to be counted", PATIENCE, || {
        let count = agent.metric("countersign_owner_connections_total", "owner=\"\"")?;
        Ok((count >= 1.0).then_some(()))
    })?;
    for table in ["workloads", "workload_certificates"] {
        ensure!(agent.metric("countersign_table_bound", &format!("\"{table}\""))? >= 4096.0, "{table}");
    }
    until("the workloads to be measured", PATIENCE, || {
        let count = agent.metric("countersign_table_entries", "\"workloads\"")?;
        Ok((count >= 1.0).then_some(()))
    })
}
