//! Processes that change while they run: their place, their program, their parents.

use std::process::Command;

use anyhow::Result;
use countersign_tests::{Agent, Expectation, PATIENCE, Process, Testbed, at, ready, text, until};
use serde_json::json;

use crate::cgroups::Cgroup;
use crate::{assert_says, record_of_client, record_of_server, server_arguments, tls_client, tls_server};

#[test]
fn a_server_that_is_moved_belongs_to_where_it_is() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let (before, after) = (
        Cgroup::unified("/system.slice/cs-before.service")?,
        Cgroup::unified("/system.slice/cs-after.service")?,
    );
    let testbed = Testbed::shared();
    let port = testbed.port();
    let mut command = Command::new("openssl");
    command.arg("s_server").args(server_arguments(port));
    let mut server = Process::spawn("s_server", Some(&testbed.server_side), before.command(command))?;
    server.wait_listening(port)?;
    let expected = |unit: &str| Expectation::default().is("/server/workload/name", unit);
    assert_says("before", &record_of_server(port)?, &expected("cs-before.service"));
    after.take(server.pid())?;
    assert_says("after", &record_of_server(port)?, &expected("cs-after.service"));
    Ok(())
}

#[test]
fn a_program_that_is_replaced_while_it_runs_is_told() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let testbed = Testbed::shared();
    let program = testbed.folder("replaced")?.join("server");
    std::fs::copy("/usr/bin/openssl", &program)?;
    let port = testbed.port();
    let mut command = Command::new(&program);
    command.arg("s_server").args(server_arguments(port));
    let mut server = Process::spawn("server", Some(&testbed.server_side), command)?;
    server.wait_listening(port)?;
    let record = record_of_server(port)?;
    assert_eq!(at(&record, "/server/process/executable_changed"), &serde_json::Value::Null);
    assert_eq!(text(&record, "/server/process/executable"), program.display().to_string());
    let new = program.with_extension("new");
    std::fs::copy("/usr/bin/openssl", &new)?;
    std::fs::rename(new, &program)?;
    until("the agent to notice", PATIENCE, || {
        let record = record_of_server(port)?;
        Ok((at(&record, "/server/process/executable_changed") == "replaced").then_some(()))
    })?;
    drop(server);
    Ok(())
}

#[test]
fn a_client_is_told_with_its_parents_up_to_the_leader_of_the_session() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (_server, port) = tls_server()?;
    // A session of its own, a shell in it, and a shell in that; each stays while its child runs.
    let client = tls_client(port);
    let mut command = Command::new("setsid");
    command.args(["--wait", "sh", "-c", "echo leader $$; sh -c '\"$@\"; true' sh \"$@\"; true", "sh"]);
    command.arg(client.get_program()).args(client.get_args());
    let mut process = Process::spawn("session", Some(&Testbed::shared().client_side), command)?;
    process.close_input();
    let finished = process.finish(PATIENCE)?;
    let leader = finished.output.lines().find_map(|line| line.strip_prefix("leader ")).unwrap_or_default();
    let record = Agent::shared().records.one_closed_to(port)?;
    let parents = at(&record, "/client/process/parents").as_array().cloned().unwrap_or_default();
    let comms: Vec<&str> = parents.iter().map(|parent| text(parent, "/comm")).collect();
    assert_eq!(comms, ["sh", "sh"], "{record}");
    assert_eq!(at(&parents[1], "/pid"), &json!(leader.trim().parse::<u32>()?), "{record}");
    Ok(())
}

#[test]
fn a_client_outside_of_units_is_its_program() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (_server, port) = tls_server()?;
    let root = Cgroup::unified("/")?;
    let record = record_of_client(Some(&root), tls_client(port))?;
    // The systemd hierarchy of a hybrid host may still name a unit.
    let hybrid = std::fs::read_to_string("/proc/self/cgroup")?.contains(":name=systemd:");
    let is_program = at(&record, "/client/workload/kind") == "executable";
    assert!(is_program || hybrid, "{record}");
    if is_program {
        assert_eq!(at(&record, "/client/workload/name"), at(&record, "/client/process/executable"));
        assert_eq!(at(&record, "/client/workload/unknown"), &serde_json::Value::Null);
    }
    Ok(())
}
