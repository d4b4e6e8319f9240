//! Names that somebody chose to do harm reach terminal, JSON, metrics and log harmless.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use countersign_tests::{Agent, Process, Testbed, agent_binary, ready, text};

use crate::cgroups::Cgroup;
use crate::{record_of_client, tls_server};

/// What a name may hold: cursor movements, a title, a quote, a tab, a carriage return, bytes that are no UTF-8, an
/// override of the writing direction.
const HARM: &[u8] = b"x\x1b[31m\x1b]0;owned\x07\"\\\t\r\xff\xfe\xe2\x80\xaey";

/// A copy of OpenSSL's program with this name.
fn program(name: &[u8], below: &str) -> Result<PathBuf> {
    let folder = Testbed::shared().folder("hostile")?.join(below);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(OsStr::from_bytes(name));
    std::fs::copy("/usr/bin/openssl", &path)?;
    Ok(path)
}

/// Whether a terminal could be harmed: control characters, and what reorders text.
fn is_harmless(output: &str) -> bool {
    let harmful = |letter: char| {
        (letter.is_control() && letter != '\n')
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !output.contains(harmful)
}

#[test]
fn hostile_names_of_programs_and_cgroups_harm_nobody() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    let (_server, port) = tls_server()?;
    let mut command = Command::new(agent_binary());
    command.args(["watch", "--socket"]).arg(agent.folder.join("socket"));
    let table = Process::spawn("watch", None, command)?;
    agent.fence()?;
    let with_newline = [HARM, b"\nfake line"].concat();
    let deep = vec!["d".repeat(200); 19].join("/");
    for (name, below, unit) in [
        (with_newline.as_slice(), "", HARM),
        (b"y".repeat(120).as_slice(), deep.as_str(), b"z".repeat(240).as_slice()),
    ] {
        let path = program(name, below)?;
        let unit = [unit, b".service"].concat();
        let cgroup = [b"/system.slice/", unit.as_slice()].concat();
        let cgroup = Cgroup::make(&[""], &cgroup)?.context("cgroup v2 is not mounted")?;
        let mut command = Command::new(&path);
        command.args(["s_client", "-connect", &format!("{}:{port}", Testbed::SERVER)]);
        let record = record_of_client(Some(&cgroup), command)?;
        // JSON keeps the names, and escapes them.
        assert_eq!(
            text(&record, "/client/process/executable"),
            String::from_utf8_lossy(path.as_os_str().as_bytes())
        );
        assert_eq!(text(&record, "/client/workload/unit"), String::from_utf8_lossy(&unit));
        assert!(!record.to_string().contains(char::is_control));
    }
    agent.fence()?;
    table.wait_for_output(&format!(":{port}"))?;
    assert_eq!(agent.records.violations(), Vec::<String>::new());
    let (_, page) = agent.http("GET", "/metrics")?;
    for (what, output) in [("table", table.output()), ("metrics", page), ("log", agent.log())] {
        assert!(is_harmless(&output), "{what}: {output:?}");
    }
    Ok(())
}
