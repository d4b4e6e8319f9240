//! Libraries are found wherever they are: running already, loaded late, private to a container; and where they cannot be
//! probed, that is said.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, AgentOptions, CrowdClient, Process, Program, SERVER_NAME, ServerKind, Testbed, agent_binary, at,
    openssl_server, openssl_server_command, output_of, peer_script, peers_only, python, ready, text,
};
use serde_json::{Value, json};

use crate::attribution::{Seen, mutual, none_wrong, wrong};
use crate::{agent, further, required};

/// A blind client shows the usual certificate to a server whose `library` is probed, and the record says so.
fn shows_both(agent: &Agent, what: &str, (server, library): (&Process, &str), port: u16) -> Result<()> {
    let testbed = Testbed::shared();
    let (client, own) = (&testbed.pki.client, &further::shown(library, &testbed.pki.server));
    agent.wait_probed(server, library)?;
    CrowdClient::Blind.run(testbed, port, std::slice::from_ref(client))?;
    let record = agent.records.one_closed_to(port)?;
    none_wrong(what, wrong(&record, client, own));
    mutual((client, Seen::Whole), (own, Seen::Whole)).is("/server/verification", "verified").assert(&record);
    Ok(())
}

#[test]
fn a_process_that_runs_already_is_probed() -> Result<()> {
    if !ready() || peers_only() {
        return Ok(());
    }
    let start = |(name, library, start): (_, _, further::Start)| {
        let port = Testbed::shared().port();
        Ok((name, library, start(required(port))?, port))
    };
    let running: Vec<_> = further::SERVERS.into_iter().map(start).collect::<Result<_>>()?;
    let agent = Agent::start(AgentOptions::default())?;
    for (name, library, server, port) in &running {
        shows_both(&agent, &format!("{name}, running already"), (server, library), *port)?;
    }
    Ok(())
}

#[test]
fn a_library_that_is_loaded_late_is_probed() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let port = testbed.port();
    let agent = agent();
    let mut command = Command::new(python()?);
    let pki = &testbed.pki;
    let options = json!({
        "role": "server", "address": Testbed::SERVER, "port": port, "version": "1.3", "request": "require",
        "chain": pki.server.chain, "key": pki.server.key, "ca": pki.ca,
    });
    command.arg(peer_script("late.py")).arg(peer_script("peer.py")).arg(options.to_string());
    let mut server = Process::spawn("late server", Some(&testbed.server_side), command)?;
    server.wait_for_output("waiting")?;
    if let Some(agent) = agent {
        // A whole connection has come and gone since: the process was looked at as it is now.
        agent.fence()?;
        let mapped = |file: &Value| {
            at(file, "/processes").as_array().is_some_and(|all| all.contains(&server.pid().into()))
        };
        ensure!(!agent.library_files()?.iter().any(mapped), "it has a library before it loads one");
    }
    server.write(b"\n")?;
    server.wait_listening(port)?;
    match agent {
        Some(agent) => shows_both(agent, "loaded late", (&server, "openssl"), port),
        None => CrowdClient::Blind.run(testbed, port, std::slice::from_ref(&pki.client)).map(drop),
    }
}

/// Debian's folder of the two libraries.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// Copies of both libraries in a folder of their own, and the command in a mount namespace where they stand in for the
/// system's, as in a container.
fn with_own_libraries(command: &Command) -> Result<(Command, PathBuf)> {
    let folder = Testbed::shared().folder("container")?;
    let mut script = String::new();
    for name in ["libssl.so.3", "libcrypto.so.3"] {
        let (from, to) = (Path::new(LIBRARIES).join(name), folder.join(name));
        std::fs::copy(&from, &to)?;
        script.push_str(&format!("mount --bind {} {} && ", to.display(), from.display()));
    }
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "sh", "-c", &format!("{script} exec \"$0\" \"$@\"")]);
    inside.arg(command.get_program()).args(command.get_args());
    Ok((inside, folder.join("libcrypto.so.3")))
}

#[test]
fn a_library_of_another_mount_namespace_is_probed() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let port = testbed.port();
    let agent = agent();
    let server = openssl_server_command(Program::OpenSsl, testbed, required(port), 2)?;
    let (command, copy) = with_own_libraries(&server)?;
    let mut server = Process::spawn("server with its own libraries", Some(&testbed.server_side), command)?;
    server.wait_listening(port)?;
    let inode = std::fs::metadata(copy)?.ino();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid()))?;
    ensure!(maps.contains(&format!(" {inode} ")), "the copy is not mapped:\n{maps}");
    let Some(agent) = agent else { return Ok(()) };
    let files = agent.library_files_of(&server, "openssl")?;
    ensure!(files.iter().any(|file| at(file, "/inode") == inode), "no inode {inode} in {files:#?}");
    shows_both(agent, "another mount namespace", (&server, "openssl"), port)
}

#[test]
fn what_cannot_be_probed_stays_inferred_and_says_why() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let (port, agent) = (testbed.port(), agent());
    let server = openssl_server(Program::OpenSslStatic, testbed, required(port), 2)?;
    CrowdClient::Blind.run(testbed, port, std::slice::from_ref(&testbed.pki.client))?;
    let Some(agent) = agent else { return Ok(()) };
    let record = agent.records.one_closed_to(port)?;
    mutual((&testbed.pki.client, Seen::Nothing), (&testbed.pki.server, Seen::Nothing)).assert(&record);
    let path = std::fs::read_link(format!("/proc/{}/exe", server.pid()))?;
    let row =
        countersign_tests::until("the static program in the list", countersign_tests::PATIENCE, || {
            let files = agent.library_files()?;
            Ok(files.into_iter().find(|file| text(file, "/path") == path.to_string_lossy()))
        })?;
    assert_eq!(text(&row, "/state"), "not_probed", "{row}");
    assert!(text(&row, "/reason").contains("stripped"), "{row}");
    let table = agent.library_table()?;
    assert!(table.contains(text(&row, "/reason")), "{table}");
    println!("{}: {}", path.display(), text(&row, "/reason"));
    Ok(())
}

#[test]
fn the_list_names_the_processes_and_needs_no_daemon() -> Result<()> {
    if !ready() || peers_only() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let port = testbed.port();
    let server = ServerKind::Nginx.start(testbed, required(port))?;
    let agent = agent().context("no agent")?;
    agent.wait_probed(&server, "openssl")?;
    let (file, pid) = (format!("{LIBRARIES}/libcrypto.so.3"), server.pid());
    let lists = |files: &[Value], state: &str| {
        files.iter().any(|row| {
            text(row, "/path") == file
                && text(row, "/schema") == "countersign.library/1"
                && text(row, "/library") == "openssl"
                && text(row, "/version").starts_with("3.0")
                && text(row, "/state") == state
                && at(row, "/processes").as_array().is_some_and(|pids| pids.contains(&pid.into()))
        })
    };
    let files = agent.library_files()?;
    ensure!(lists(&files, "probed"), "{files:#?}");
    let table = agent.library_table()?;
    let line = table.lines().find(|line| line.contains(&file)).with_context(|| table.clone())?;
    ensure!(line.starts_with("probed") && line.contains("openssl 3.0"), "{table}");
    // The daemon of this configuration does not run: the command looks itself.
    let configuration = testbed.folder("no-daemon")?.join("countersign.toml");
    std::fs::write(&configuration, "[daemon]\nsocket = \"/nonexistent/socket\"\n")?;
    let mut command = Command::new(agent_binary());
    command.args(["check", "--libraries", "--json", "--config"]).arg(&configuration);
    let found: Vec<Value> =
        output_of(&mut command)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(lists(&found, "can_be_probed"), "{found:#?}");
    ensure!(!found.iter().any(|row| text(row, "/state") == "probed"), "{found:#?}");
    Ok(())
}

#[test]
fn libraries_that_are_not_wanted_are_not_probed() -> Result<()> {
    if !ready() || peers_only() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let port = testbed.port();
    let configuration = "[libraries]\nenabled = false\n".to_owned();
    let agent = Agent::start(AgentOptions { configuration, ..AgentOptions::default() })?;
    let _server = ServerKind::Nginx.start(testbed, required(port))?;
    CrowdClient::Blind.run(testbed, port, std::slice::from_ref(&testbed.pki.client))?;
    let record = agent.records.one_closed_to(port)?;
    mutual((&testbed.pki.client, Seen::Nothing), (&testbed.pki.server, Seen::Nothing))
        .is("/tls/server_name", SERVER_NAME)
        .assert(&record);
    let table = agent.library_table()?;
    ensure!(table.contains("libraries.enabled = false"), "{table}");
    Ok(())
}
