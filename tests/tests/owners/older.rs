//! Connections older than the agent where the kernel's iterator does not run.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use countersign_tests::{
    Agent, AgentOptions, Expectation, Matcher, Process, Testbed, agent_binary, at, findings_are, pair_across,
    ready, request_over, text,
};
use serde_json::{Value, json};

/// A command within which the kernel shows no types of its own, as one without BTF: its iterator cannot be loaded.
const WITHOUT_TYPES: &str = "mount -t tmpfs none /sys/kernel/btf";

fn within(preparation: &str, more: &[&str]) -> Vec<String> {
    let script = format!("{preparation} && exec \"$@\"");
    let words = ["unshare", "--mount"].iter().chain(more).copied().chain(["sh", "-c", &script, "sh"]);
    words.map(str::to_owned).collect()
}

#[test]
fn without_the_iterator_older_connections_have_their_owners_and_their_end() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (mut client, mut server, listener) = pair_across()?;
    let (idle_client, idle_server, idle_listener) = pair_across()?;
    let (port, idle_port) = (listener.local_addr()?.port(), idle_listener.local_addr()?.port());
    request_over(&mut client, &mut server)?;
    let agent = Agent::start(AgentOptions { within: within(WITHOUT_TYPES, &[]), ..AgentOptions::default() })?;
    agent.wait_for_log("sought in /proc")?;
    let own = json!(std::process::id());
    let expectation = Expectation::default()
        .is("/authentication", "unknown")
        .is("/encryption", "unknown")
        .is("/evidence/reason", "mid_stream")
        .is("/capture_complete", false)
        .is("/client/process/pid", own.clone())
        .is("/server/process/pid", own)
        .is("/client/owner_source", "iterator")
        .is("/server/owner_source", "iterator")
        .is("/client/address", Testbed::CLIENT.to_string())
        .is("/server/address", Testbed::SERVER.to_string())
        .with("/observed_from", Matcher::Set(vec![json!("client"), json!("server")]))
        .with("/findings", findings_are(&[]));
    // They have sent nothing since the agent came.
    let open = [port, idle_port].map(|port| agent.records.decided_to(port));
    request_over(&mut client, &mut server)?;
    drop((client, server, idle_client, idle_server));
    for (port, open) in [port, idle_port].into_iter().zip(open) {
        let open = open?;
        expectation.assert(&open);
        // Of an idle one nothing tells the end but two passes without it.
        let closed = agent.records.wait_for("the end", Duration::from_secs(90), |all| {
            let mut all = all.iter().filter(|record| at(record, "/server/port") == port);
            all.find(|record| at(record, "/final") == &Value::Bool(true)).map(|record| (*record).clone())
        })?;
        expectation.assert(&closed);
        assert_eq!(at(&closed, "/id"), at(&open, "/id"));
    }
    Ok(())
}

#[test]
fn where_pids_mean_others_an_older_connection_is_listed_without_an_owner() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    // In the agent's own network namespace: ways to others begin at processes that it cannot see.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let (server, _) = listener.accept()?;
    let within = within(WITHOUT_TYPES, &["--pid", "--fork", "--kill-child", "--mount-proc"]);
    let agent = Agent::start(AgentOptions { within, ..AgentOptions::default() })?;
    agent.wait_for_log("another PID namespace")?;
    Expectation::default()
        .is("/authentication", "unknown")
        .is("/client/process", Value::Null)
        .is("/client/process_unknown", "before_agent")
        .is("/server/process", Value::Null)
        .is("/server/process_unknown", "before_agent")
        .with("/observed_from", Matcher::Set(vec![json!("client"), json!("server")]))
        .assert(&agent.records.decided_to(port)?);
    drop((client, server));
    Ok(())
}

/// What `check` says of older sockets.
fn older_sockets(within: &[String]) -> Result<(String, String)> {
    let Output { stdout, stderr, .. } =
        Command::new(&within[0]).args(&within[1..]).arg(agent_binary()).args(["check", "--json"]).output()?;
    let rows = String::from_utf8_lossy(&stdout).into_owned();
    let row = rows.lines().find_map(|line| {
        let row: Value = serde_json::from_str(line).ok()?;
        (text(&row, "/name") == "older sockets").then_some(row)
    });
    let row = row.with_context(|| format!("no such row: {rows}{}", String::from_utf8_lossy(&stderr)))?;
    Ok((text(&row, "/status").to_owned(), text(&row, "/detail").to_owned()))
}

#[test]
fn check_says_by_which_way_older_sockets_are_found_and_what_is_missing() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (status, detail) = older_sockets(&within("true", &[]))?;
    assert_eq!((status.as_str(), detail.contains("task_file")), ("works", true), "{detail}");
    let hidden = format!("{WITHOUT_TYPES} && mount -t proc -o hidepid=ptraceable none /proc");
    let without_rights = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"];
    let mut cases =
        vec![(within(WITHOUT_TYPES, &[]), vec!["/proc and by sock_diag", "task_file does not run"])];
    cases.push((within(WITHOUT_TYPES, &["--pid", "--fork", "--mount-proc"]), vec!["another PID namespace"]));
    for (preparation, needle) in [(WITHOUT_TYPES, "CAP_SYS_PTRACE"), (&hidden, "hidepid")] {
        let mut words = within(preparation, &[]);
        words.extend(without_rights.map(str::to_owned));
        cases.push((words, vec![needle]));
    }
    for (words, needles) in cases {
        let (_, detail) = older_sockets(&words)?;
        println!("{detail}");
        for needle in needles {
            assert!(detail.contains(needle), "no {needle:?} by {words:?}: {detail}");
        }
    }
    Ok(())
}

/// Holds as many connections to itself, half of them by a process of its own, until its input ends.
const HOLDER: &str = "
import os, resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
count, listener = int(sys.argv[1]), socket.create_server(('127.0.0.1', 0), backlog=4096)
port = listener.getsockname()[1]
read, write = os.pipe()
server = os.fork()
if server == 0:
    kept = [listener.accept()[0] for _ in range(count)]
    os.write(write, b'.')
else:
    kept = [socket.create_connection(('127.0.0.1', port)) for _ in range(count)]
    os.read(read, 1)
    print('held', port, server, flush=True)
sys.stdin.read()
os._exit(0)
";

#[test]
fn of_thousands_of_older_sockets_each_connection_is_listed_with_both_owners() -> Result<()> {
    // More than a reader may lag behind.
    const CONNECTIONS: usize = 3_000;
    if !ready() {
        return Ok(());
    }
    let mut command = Command::new("python3");
    command.args(["-c", HOLDER, &CONNECTIONS.to_string()]);
    let holder = Process::spawn("holder", None, command)?;
    holder.wait_for_output("held ")?;
    let output = holder.output();
    let mut words = output.split_whitespace().skip(1);
    let mut number = || -> Result<u64> { Ok(words.next().context("a number")?.parse()?) };
    let (port, server) = (number()?, number()?);
    for (name, preparation) in [("the iterator", "true"), ("/proc and sock_diag", WITHOUT_TYPES)] {
        let began = Instant::now();
        let agent =
            Agent::start(AgentOptions { within: within(preparation, &[]), ..AgentOptions::default() })?;
        agent.records.wait_for("all connections", Duration::from_secs(60), |all| {
            let is_whole = |record: &&&Value| {
                at(record, "/server/port") == port
                    && at(record, "/capture_reason") == "mid_stream"
                    && at(record, "/authentication") == "unknown"
                    && at(record, "/client/process/pid") == holder.pid()
                    && at(record, "/server/process/pid") == server
            };
            // Looked at once there are enough: this is asked at each record that comes.
            (all.len() >= CONNECTIONS && all.iter().filter(is_whole).count() == CONNECTIONS).then_some(())
        })?;
        println!("{name}: {CONNECTIONS} connections are listed {:?} after the start", began.elapsed());
    }
    Ok(())
}
