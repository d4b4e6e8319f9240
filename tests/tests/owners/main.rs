//! Who holds a socket: whatever processes do to make it hard to tell, none is named that never had it.
#![expect(clippy::print_stdout, reason = "the numbers are for whoever runs the tests")]

mod both_ends;
mod older;

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, Attribution, Expectation, PATIENCE, Process, Testbed, answer_all, at, odd_client, odd_server,
    owned, owners, owners_program, ready,
};
use serde_json::Value;

/// How long thousands of processes may take on two shared cores.
const LONG_PATIENCE: Duration = Duration::from_secs(180);

/// A port at which every request is answered.
fn answered_port() -> Result<u16> {
    let testbed = Testbed::shared();
    let port = testbed.port();
    answer_all(&testbed.server_side, port)?;
    Ok(port)
}

/// Runs one of the manners of `owners` to its end and compares what is recorded of its connections.
fn attribution(manner: &str, arguments: &[&str], count: usize) -> Result<(Attribution, Vec<Value>)> {
    let (agent, port) = (Agent::shared(), answered_port()?);
    let program = owners_program("owners")?;
    let known = owned(&owners(&program, manner, port, arguments)?.finish(LONG_PATIENCE)?)?;
    ensure!(known.len() == count, "{} connections", known.len());
    let records = agent.records.closed_to(port, count)?;
    let attribution = Attribution::of_clients(&known, &records);
    println!("{manner}: {attribution}");
    attribution.assert_none_wrong();
    Ok((attribution, records))
}

#[test]
fn five_thousand_clients_of_five_milliseconds_are_named() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    const CLIENTS: usize = 5000;
    const ROUND: usize = 250;
    const CHURN_PER_SECOND: u32 = 200;
    let agent = Agent::shared();
    let port = answered_port()?;
    let program = owners_program("short-lived")?;
    // Well over ten thousand processes a minute come and go beside it.
    let mut churn = owners(&owners_program("churn")?, "churn", port, &[&CHURN_PER_SECOND.to_string()])?;
    let began = Instant::now();
    let (mut known, mut records) = (Vec::new(), Vec::new());
    // In rounds: whoever reads the records has as little processor time as everybody here.
    for _ in 0..CLIENTS / ROUND {
        let clients = owners(&program, "many", port, &[&ROUND.to_string(), "4"])?.finish(LONG_PATIENCE)?;
        known.extend(owned(&clients)?);
        let taken = agent.records.take_closed_to(port, ROUND)?;
        let (came, lost) = (taken.records.len(), taken.unread);
        ensure!(came >= ROUND, "{came} of {ROUND} came, the agent lost {lost} records or events");
        records.extend(taken.records);
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    churn.close_input();
    let churned = churn.finish(PATIENCE)?.output;
    let churned: f64 = churned.trim().rsplit(' ').next().context("a count of processes")?.parse()?;
    let attribution = Attribution::of_clients(&known, &records);
    let per_minute = churned / minutes;
    println!("{CLIENTS} clients beside {per_minute:.0} other processes a minute: {attribution}");
    attribution.assert_none_wrong();
    assert!(attribution.named * 1000 >= CLIENTS * 999, "{attribution}");
    // Whoever has no name has a reason.
    assert!(!attribution.unnamed.contains_key("no record"), "{attribution}");
    Ok(())
}

#[test]
fn a_pid_that_is_used_again_names_who_has_it_now() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    const CLIENTS: usize = 300;
    let other = owners_program("other")?;
    let other = other.to_str().context("a path of text")?;
    let (same, records) = attribution("same_pid", &[&CLIENTS.to_string(), other], CLIENTS)?;
    let pids: std::collections::BTreeSet<u64> =
        records.iter().filter_map(|record| at(record, "/client/process/pid").as_u64()).collect();
    assert!(pids.len() < CLIENTS / 10, "pids were not used again: {pids:?}");
    assert_eq!(same.named, CLIENTS, "{same}");
    Ok(())
}

/// Whether each PID namespace has a `pid_max` (`proc_sys_kernel(5)`).
fn has_own_pid_max() -> Result<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    let version = numbers.next().zip(numbers.next()).context(release.clone())?;
    Ok((version.0?, version.1?) >= (6, 14))
}

#[test]
fn ten_pids_of_a_namespace_are_told_apart() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    if !has_own_pid_max()? {
        eprintln!("skipped: before Linux 6.14 the pid_max of a namespace is that of the whole host");
        return Ok(());
    }
    const CLIENTS: usize = 200;
    let (few, _) = attribution("few_pids", &[&CLIENTS.to_string()], CLIENTS)?;
    assert_eq!(few.named, CLIENTS, "{few}");
    Ok(())
}

#[test]
fn threads_and_children_that_connect_at_once_are_named_by_their_process() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for manner in ["thread", "orphaned_thread", "vfork"] {
        let (one, records) = attribution(manner, &[], 1)?;
        assert_eq!(one.named, 1, "{manner}: {one}");
        Expectation::default().is("/client/owner_source", "connect").assert(&records[0]);
    }
    Ok(())
}

#[test]
fn the_user_is_the_one_who_connected() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for (manner, uid) in [("user_before", 65_534), ("user_after", 0)] {
        let (_, records) = attribution(manner, &["65534"], 1)?;
        Expectation::default().is("/client/process/uid", uid).assert(&records[0]);
    }
    Ok(())
}

#[test]
fn a_program_that_was_replaced_is_named_by_what_it_was_started_as() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (agent, port) = (Agent::shared(), answered_port()?);
    let program = owners_program("replaced")?;
    let mut client = owners(&program, "late", port, &[])?;
    client.wait_for_output("waiting")?;
    let newer = program.with_extension("new");
    std::fs::copy("/bin/true", &newer)?;
    std::fs::rename(&newer, &program)?;
    client.write(b"\n")?;
    let finished = client.finish(PATIENCE)?;
    let record = agent.records.one_closed_to(port)?;
    // What it says of itself has a mark: ` (deleted)`.
    Expectation::default()
        .is("/client/process/pid", finished.pid)
        .is("/client/process/executable", program.to_string_lossy().into_owned())
        .assert(&record);
    Ok(())
}

fn holder_pids(record: &Value, side: &str) -> Vec<u64> {
    let holders = at(record, &format!("/{side}/processes")).as_array();
    holders.into_iter().flatten().filter_map(|holder| at(holder, "/process/pid").as_u64()).collect()
}

/// Pids that a server has printed as `WORD PID`, in order.
fn printed(output: &str, word: &str) -> Vec<u64> {
    output.lines().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).collect()
}

/// Plays `count` requests to an odd server, and compares the holders of each with those that had it: who must be named,
/// and who may be, too.
fn holders(
    manner: &str,
    count: usize,
    expected: impl Fn(&Process, usize) -> Result<(u64, Vec<u64>)>,
) -> Result<()> {
    let (agent, port) = (Agent::shared(), Testbed::shared().port());
    let server = odd_server(manner, Testbed::SERVER, port)?;
    for _ in 0..count {
        let client = odd_client("plain", Testbed::SERVER, port)?;
        ensure!(client.status.success(), "no answer: {}{}", client.output, server.output());
    }
    let records = agent.records.closed_to(port, count)?;
    let mut wrong = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let (owner, had_it) = expected(&server, number)?;
        let pids = holder_pids(record, "server");
        if at(record, "/server/process/pid") != owner || pids.iter().any(|pid| !had_it.contains(pid)) {
            wrong.push(format!("{owner} {had_it:?}: {record:#}"));
        }
    }
    println!("{manner}: {count} connections, attributed to a wrong process: {}", wrong.len());
    assert!(wrong.is_empty(), "the first: {}", wrong[0]);
    Ok(())
}

#[test]
fn a_fork_server_names_both_who_accepted_and_who_served() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (agent, port) = (Agent::shared(), Testbed::shared().port());
    let server = odd_server("fork", Testbed::SERVER, port)?;
    odd_client("plain", Testbed::SERVER, port)?;
    server.wait_for_output("child ")?;
    let child = *printed(&server.output(), "child ").first().context("pid of the child")?;
    let record = agent.records.one_closed_to(port)?;
    assert!(holder_pids(&record, "server").contains(&child), "{child} {record:#}");
    holders("fork", 20, |server, number| {
        let child = printed(&server.output(), "child ").get(number).copied().context("pid of a child")?;
        Ok((server.pid().into(), vec![server.pid().into(), child]))
    })
}

#[test]
fn a_passed_socket_belongs_to_the_process_that_accepted_it() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    holders("pass_on", 20, |server, _| {
        let worker = *printed(&server.output(), "worker ").first().context("pid of the worker")?;
        Ok((server.pid().into(), vec![server.pid().into(), worker]))
    })
}

#[test]
fn who_listened_for_an_activated_service_is_not_its_owner() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for manner in ["activated", "activated_without_address"] {
        holders(manner, 20, |server, _| {
            let child = *printed(&server.output(), "child ").first().context("pid of the child")?;
            Ok((child, vec![child]))
        })?;
    }
    Ok(())
}

#[test]
fn a_kernel_thread_never_owns_a_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (agent, port) = (Agent::shared(), Testbed::shared().port());
    let server = odd_server("drop_in_flight", Testbed::SERVER, port)?;
    let client = odd_client("plain", Testbed::SERVER, port)?;
    assert!(!client.status.success(), "nobody could answer");
    // The kernel looks for what is held by nothing but itself when some Unix socket is closed; then it lets go of the connection.
    drop(UnixStream::pair()?);
    let record = agent.records.one_closed_to(port)?;
    Expectation::default().is("/server/process/pid", server.pid()).assert(&record);
    for pid in holder_pids(&record, "server") {
        assert_ne!(std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok().as_deref(), Some(""));
    }
    Ok(())
}
