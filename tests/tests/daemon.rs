//! The daemon as a program: its start and end, configuration, neighbours, pages and permissions.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, AgentOptions, Expectation, Finished, PATIENCE, Process, Records, Signal, Testbed, agent_binary,
    at, findings_are, ready, request_to_self, text, until,
};
use serde_json::Value;

/// Kinds of kernel object and the line of `/proc/PID/fdinfo` that names one.
const KERNEL_OBJECTS: [(&str, &str); 3] = [("prog", "prog_id:"), ("link", "link_id:"), ("map", "map_id:")];

/// Ids of the programs, links and maps that a process holds.
fn kernel_objects(pid: u32) -> Result<BTreeSet<(&'static str, String)>> {
    let mut objects = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        let info = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for (kind, label) in KERNEL_OBJECTS {
            // A link's file names its program, too.
            let ids = info.lines().filter_map(|line| line.strip_prefix(label));
            objects.extend(ids.map(|id| (kind, id.trim().to_owned())));
        }
    }
    Ok(objects)
}

/// Whether bpftool still finds a kernel object.
fn exists(kind: &str, id: &str) -> Result<bool> {
    let output = Command::new("bpftool").args([kind, "show", "id", id]).output().context("run bpftool")?;
    Ok(output.status.success())
}

/// Waits until every one of them is gone: the kernel frees programs after a grace period.
fn wait_gone(objects: &BTreeSet<(&'static str, String)>) -> Result<()> {
    for (kind, id) in objects {
        until(&format!("{kind} {id} to be detached and freed"), PATIENCE, || {
            Ok((!exists(kind, id)?).then_some(()))
        })?;
    }
    Ok(())
}

/// A plaintext connection between two sockets of this process in the server's namespace: east-west.
fn plaintext_connection(records: &Records) -> Result<Value> {
    let port = request_to_self(Some(&Testbed::shared().server_side), Testbed::SERVER)?;
    records.one_closed_to(port)
}

/// Runs the program to its end with arguments.
fn countersign(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(agent_binary()).args(arguments).stdin(Stdio::null()).output()?)
}

fn both_streams(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Starts a daemon that cannot run, and gives its end.
fn refused(folder: &Path, metrics: u16, configuration: &str) -> Result<Finished> {
    let options = AgentOptions { configuration: configuration.to_owned(), ..AgentOptions::default() };
    let command = Agent::command(&options, folder, metrics)?;
    let finished = Process::spawn("countersign run", None, command)?.finish(PATIENCE)?;
    ensure!(!finished.status.success(), "it was not refused:\n{}", finished.output);
    Ok(finished)
}

#[test]
fn killed_in_the_middle_it_leaves_nothing_and_marks_the_gap() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::start(AgentOptions::default())?;
    plaintext_connection(&agent.records)?;
    let objects = kernel_objects(agent.pid())?;
    for (kind, _) in KERNEL_OBJECTS {
        assert!(objects.iter().any(|(held, _)| *held == kind), "no {kind} is held: {objects:?}");
    }
    for (kind, id) in &objects {
        assert!(exists(kind, id)?, "{kind} {id} is not found while the agent runs");
    }
    let folder = agent.folder.clone();
    agent.end(Signal::SIGKILL)?;
    wait_gone(&objects)?;
    let again = Agent::start(AgentOptions { folder: Some(folder), ..AgentOptions::default() })?;
    plaintext_connection(&again.records)?;
    let marked = until("the time without an agent to be marked", PATIENCE, || {
        let gaps = again.records.others("gap");
        let gap = gaps.iter().any(|gap| text(gap, "/cause") == "agent_down");
        let counted = again.metric("countersign_events_lost_total", "agent_down")? > 0.0;
        Ok((gap && counted).then_some(()))
    });
    marked.with_context(|| again.log())
}

#[test]
fn sigterm_ends_it_cleanly() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::start(AgentOptions::default())?;
    let (objects, socket) = (kernel_objects(agent.pid())?, agent.folder.join("socket"));
    let finished = agent.end(Signal::SIGTERM)?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.output);
    // It has just begun to load the programs of libraries.
    assert!(!finished.output.contains("refuse"), "{}", finished.output);
    assert!(!socket.exists(), "the socket is left behind");
    wait_gone(&objects)
}

#[test]
fn systemd_is_told_about_start_and_end() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let folder = Testbed::shared().folder("notify")?;
    let path = folder.join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let heard = |wanted: &str| -> Result<()> {
        let mut buffer = [0; 1024];
        loop {
            let length = socket.recv(&mut buffer).with_context(|| format!("waiting for {wanted}"))?;
            if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == wanted) {
                return Ok(());
            }
        }
    };
    let agent = Agent::start(AgentOptions { notify_socket: Some(path), ..AgentOptions::default() })?;
    heard("READY=1")?;
    agent.end(Signal::SIGTERM)?;
    heard("STOPPING=1")
}

#[test]
fn a_taken_port_is_named_with_what_to_do() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let finished = refused(&Testbed::shared().folder("taken")?, port, "")?;
    assert!(finished.output.contains(&port.to_string()), "{}", finished.output);
    assert!(finished.output.contains("metrics-listen"), "{}", finished.output);
    Ok(())
}

#[test]
fn a_second_daemon_runs_beside_with_other_flags_only() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (first, second) = (Agent::start(AgentOptions::default())?, Agent::start(AgentOptions::default())?);
    let record = plaintext_connection(&second.records)?;
    let port = u16::try_from(at(&record, "/server/port").as_u64().context("port")?)?;
    first.records.one_closed_to(port)?;
    // The same socket again is refused.
    let finished = refused(&first.folder, 0, "")?;
    assert!(finished.output.contains("--socket"), "{}", finished.output);
    plaintext_connection(&first.records)?;
    Ok(())
}

#[test]
fn sighup_takes_a_good_configuration_and_keeps_the_old_one_over_a_bad() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::start(AgentOptions::default())?;
    let file = agent.folder.join("countersign.toml");
    let finding = "unauthenticated_east_west";
    let judged = |findings: &[&str]| -> Result<()> {
        let record = plaintext_connection(&agent.records)?;
        Expectation::default().with("/findings", findings_are(findings)).assert(&record);
        Ok(())
    };
    let reloaded = |result: &str, successful: f64| {
        until("the reload to be counted", PATIENCE, || {
            let count = agent.metric("countersign_config_reload_total", result)?;
            let last = agent.metric("countersign_config_last_reload_successful", "")?;
            Ok((count > 0.0 && last == successful).then_some(()))
        })
        .with_context(|| agent.log())
    };
    judged(&[finding])?;
    std::fs::write(&file, format!("[findings]\ndisabled = [\"{finding}\"]\n"))?;
    agent.signal(Signal::SIGHUP)?;
    reloaded("applied", 1.0)?;
    judged(&[])?;
    std::fs::write(&file, "[findings]\ndisabled = []\n[capture]\nno_such_key = 1\n")?;
    agent.signal(Signal::SIGHUP)?;
    reloaded("refused", 0.0)?;
    agent.wait_for_log("no_such_key")?;
    judged(&[])
}

#[test]
fn a_bad_configuration_is_refused_with_file_line_and_key() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let folder = Testbed::shared().folder("configuration")?;
    let exception = "[[exception]]\nfinding = \"unauthenticated_east_west\"\nfrom = \"any\"\nto = \"any\"\n\
                     port = \"any\"\nowner = \"web team\"\nreason = \"migration\"\n";
    for (content, line, key) in [
        ("[capture]\n\nno_such_key = 1\n".to_owned(), 3, "no_such_key"),
        ("[scope]\ninternal = [\"10.0.0.0/33\"]\n".to_owned(), 2, "internal"),
        ("[metrics]\nlisten = \"0.0.0.0:1\"\n".to_owned(), 2, "listen"),
        ("[findings]\ndisabled = [\"no_such_finding\"]\n".to_owned(), 2, "disabled"),
        (exception.to_owned(), 1, "expires"),
        (format!("{exception}expires = \"2030-02-31\"\n"), 8, "expires"),
    ] {
        let file = folder.join("bad.toml");
        std::fs::write(&file, &content)?;
        let output = countersign(&["config", "check", &file.to_string_lossy()])?;
        let said = both_streams(&output);
        assert_eq!(output.status.code(), Some(2), "{content}\n{said}");
        assert!(said.contains("bad.toml") && said.contains(key), "{content}\n{said}");
        let line_named = said.contains(&format!("line {line}")) || said.contains(&format!("bad.toml:{line}"));
        assert!(line_named, "line {line} is not named:\n{content}\n{said}");
        let finished = refused(&folder, 0, &content)?;
        assert!(finished.output.contains(key), "{}", finished.output);
    }
    Ok(())
}

#[test]
fn the_printed_default_configuration_is_accepted() -> Result<()> {
    let output = countersign(&["config", "default"])?;
    assert!(output.status.success(), "{}", both_streams(&output));
    let file = Testbed::shared().folder("default")?.join("default.toml");
    std::fs::write(&file, &output.stdout)?;
    let output = countersign(&["config", "check", &file.to_string_lossy()])?;
    assert_eq!(output.status.code(), Some(0), "{}", both_streams(&output));
    Ok(())
}

#[test]
fn an_exception_sets_a_finding_apart_until_it_expires() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for (expires, expired) in [("2099-12-31", false), ("2020-01-01", true)] {
        let configuration = format!(
            "[[exception]]\nfinding = \"unauthenticated_east_west\"\nfrom = \"{}/32\"\nto = \"any\"\n\
             port = \"any\"\nowner = \"web team\"\nreason = \"migration\"\nexpires = \"{expires}\"\n",
            Testbed::SERVER
        );
        let agent = Agent::start(AgentOptions { configuration, ..AgentOptions::default() })?;
        let record = plaintext_connection(&agent.records)?;
        let codes = at(&record, "/findings").to_string();
        assert!(codes.contains("unauthenticated_east_west"), "an exception hides nothing: {record:#}");
        assert_eq!(codes.contains("exception_expired"), expired, "{record:#}");
        let excepted = agent.metric("countersign_findings_total", "excepted=\"true\"")?;
        assert_eq!(excepted > 0.0, !expired, "{excepted} findings are counted apart");
    }
    Ok(())
}

#[test]
fn the_metrics_page_satisfies_promtool_and_nothing_else_is_served() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    plaintext_connection(&agent.records)?;
    let (status, page) = agent.http("GET", "/metrics")?;
    assert_eq!(status, 200);
    assert!(page.contains("countersign_connections_total"), "{page}");
    for table in ["connections", "sessions", "processes", "certificates", "findings", "decisions"] {
        for number in ["entries", "bound"] {
            let sample = format!("countersign_table_{number}{{table=\"{table}\"}}");
            assert!(page.contains(&sample), "no {sample} in\n{page}");
        }
    }
    let file = Testbed::shared().folder("metrics")?.join("page");
    std::fs::write(&file, &page)?;
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file)?)
        .output()
        .context("run promtool")?;
    assert!(output.status.success(), "{}", both_streams(&output));
    assert_eq!(agent.http("GET", "/healthz")?.0, 200);
    for path in ["/", "/metrics/", "/v1/watch", "/../etc/passwd"] {
        assert_eq!(agent.http("GET", path)?.0, 404, "{path}");
    }
    assert_eq!(agent.http("POST", "/metrics")?.0, 405);
    Ok(())
}

#[test]
fn only_root_and_one_group_may_open_the_socket() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    let socket = agent.folder.join("socket");
    let metadata = std::fs::metadata(&socket)?;
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    assert_eq!(metadata.uid(), 0);
    let path = socket.to_string_lossy();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "curl", "--silent", "--show-error"])
        .args(["--max-time", "5", "--unix-socket", &path, "http://localhost/v1/status"])
        .output()?;
    assert!(!output.status.success(), "a stranger was served: {}", both_streams(&output));
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "5", "--unix-socket", &path, "http://localhost/v1/status"])
        .output()?;
    assert!(output.status.success(), "{}", both_streams(&output));
    serde_json::from_slice::<Value>(&output.stdout).context("the status is JSON")?;
    Ok(())
}

#[test]
fn watch_without_a_daemon_says_where_it_looked() -> Result<()> {
    let output = countersign(&["watch", "--socket", "/nonexistent/socket"])?;
    assert!(!output.status.success());
    assert!(both_streams(&output).contains("/nonexistent/socket"), "{}", both_streams(&output));
    Ok(())
}

#[test]
fn revisions_only_grow_and_end_with_the_final_one() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    for _ in 0..20 {
        plaintext_connection(&agent.records)?;
    }
    agent.fence()?;
    assert_eq!(agent.records.violations(), Vec::<String>::new());
    Ok(())
}
