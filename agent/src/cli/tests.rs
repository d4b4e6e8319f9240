use std::path::PathBuf;

use clap::{CommandFactory as _, Parser as _};

use super::table::Row;
use super::watch::Printer;
use super::*;
use crate::record::sample::connection;
use crate::record::*;

mod history;
mod lists;

const PROGRAM: Program = Program {
    preflight: |_| vec![row("kernel", CheckStatus::Works, "6.18", None)],
    libraries: || Ok(vec![sample::library_file()]),
    daemon: |_| anyhow::bail!("no kernel\nin tests"),
};

fn row(name: &str, status: CheckStatus, detail: &str, remedy: Option<&str>) -> CheckRow {
    CheckRow { name: name.into(), status, detail: detail.into(), remedy: remedy.map(str::to_owned) }
}

fn parse(line: &str) -> Result<Command, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace()).map(|arguments| arguments.command)
}

fn exit(line: &str) -> Exit {
    match execute(parse(line).unwrap(), &PROGRAM) {
        Ok(exit) => exit,
        Err(failure) => failure.exit(),
    }
}

fn printed(lines: &[&str], json: bool) -> (String, u64) {
    let mut output = Vec::new();
    let mut printer = Printer::new(&mut output, json, false).unwrap();
    lines.iter().for_each(|line| printer.print(line).unwrap());
    let connections = printer.connections;
    (String::from_utf8(output).unwrap(), connections)
}

#[test]
fn the_definition_is_sound_and_every_command_has_help_with_examples_that_parse() {
    let mut program = Arguments::command();
    program.clone().debug_assert();
    program.build();
    let mut examples = 0;
    let commands = program.get_subcommands().filter(|command| command.get_name() != "help");
    for command in std::iter::once(&program).chain(commands) {
        let name = command.get_name();
        let help = command.get_after_help().unwrap_or_else(|| panic!("{name} has no examples")).to_string();
        for line in help.lines().filter_map(|line| line.strip_prefix("  countersign ")) {
            // Up to the explanation beside it or the redirection.
            let typed = line.split("   ").next().unwrap().split(" > ").next().unwrap();
            parse(&format!("countersign {typed}")).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(line.len() <= 86, "wraps where a terminal has 100 columns: {line}");
            examples += 1;
        }
    }
    assert!(examples >= 18, "{examples}");
    for code in ["0  done", "1  done", "2  the arg", "3  it can", "4  done in part"] {
        assert!(program.render_help().to_string().contains(code), "{code}");
    }
}

#[test]
fn what_is_typed_becomes_what_is_meant() {
    let line = "countersign watch --authentication none,unknown --scope loopback --pid 1,2 --port 443 --unit a.service \
        --workload prod/db-0 --owner payments --finding x --closed --count 3 --json --socket /s";
    let Command::Watch(watch) = parse(line).unwrap() else { panic!() };
    assert_eq!(
        watch.filter().to_query(),
        "authentication=none&authentication=unknown&scope=loopback&finding=x&pid=1&pid=2&unit=a.service\
         &workload=prod%2Fdb-0&owner=payments&port=443&closed=true"
    );
    assert_eq!((watch.count.unwrap().get(), watch.daemon.socket), (3, Some(PathBuf::from("/s"))));

    let line = "countersign run --config c.toml --data-dir /d --socket /s --metrics-listen [::1]:9";
    let Command::Run(run) = parse(line).unwrap() else { panic!() };
    assert_eq!(run.overrides().metrics_listen.unwrap().to_string(), "[::1]:9");
    assert_eq!((run.overrides().data_dir, run.config), (Some("/d".into()), Some("c.toml".into())));

    for wrong in [
        "countersign",
        "countersign watch --authentication plaintext",
        "countersign watch --count 0",
        "countersign workloads --kind pod",
        "countersign workloads --owner x --without-owner",
        "countersign run --metrics-listen localhost",
        "countersign run --frobnicate",
        "countersign config check",
        "countersign completion tcsh",
    ] {
        assert!(parse(wrong).unwrap_err().use_stderr(), "{wrong}");
    }
}

#[test]
fn exit_codes_are_as_the_help_says() {
    for (line, expected) in [
        ("countersign check --config /dev/null", Exit::Success),
        ("countersign check --config /nowhere/c.toml", Exit::Usage),
        ("countersign config check /dev/null", Exit::Success),
        ("countersign watch --finding x --socket /nowhere/api.sock", Exit::Usage),
        ("countersign watch --socket /nowhere/api.sock", Exit::Unable),
        ("countersign workloads --socket /nowhere/api.sock", Exit::Unable),
        ("countersign identities --socket /nowhere/api.sock", Exit::Unable),
        ("countersign connections --socket /nowhere/api.sock", Exit::Unable),
        ("countersign connections --db /nowhere/countersign.db", Exit::Unable),
        ("countersign connections --config /nowhere/c.toml", Exit::Usage),
        ("countersign workloads --config /nowhere/c.toml", Exit::Usage),
        ("countersign identities --check --config /dev/null --socket /nowhere/api.sock", Exit::Unable),
        ("countersign identities --check --config /nowhere/c.toml --socket /nowhere/api.sock", Exit::Usage),
        ("countersign run --config /dev/null --socket relative", Exit::Usage),
    ] {
        assert_eq!(exit(line), expected, "{line}");
    }
    let missing =
        Program { preflight: |_| vec![row("kernel", CheckStatus::Missing, "4.19", None)], ..PROGRAM };
    let command = parse("countersign check --config /dev/null").unwrap();
    assert_eq!(execute(command, &missing).unwrap(), Exit::Negative);
    let closed = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    assert_eq!(closed.exit(), Exit::Success);
}

#[test]
fn a_missing_daemon_is_told_with_what_to_do() {
    let command = parse("countersign watch --socket /nowhere/api.sock").unwrap();
    assert_eq!(
        execute(command, &PROGRAM).unwrap_err().to_string(),
        "no daemon answers on /nowhere/api.sock: start one with `countersign run`, or name its socket with --socket: \
         No such file or directory (os error 2)"
    );
}

#[test]
fn completions_and_the_manual_name_every_command() {
    let manual = String::from_utf8(manual::page().unwrap()).unwrap();
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "countersign", &mut script);
        let script = String::from_utf8(script).unwrap();
        for word in [
            "check",
            "run",
            "watch",
            "replay",
            "workloads",
            "without-owner",
            "kubernetes",
            "identities",
            "certificates",
            "config",
            "completion",
            "man",
            "authentication",
            "server_only",
        ] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    for heading in
        [".SS countersign check", ".SS countersign watch", ".SS countersign config default", "EXIT STATUS"]
    {
        assert!(manual.contains(heading), "{heading}");
    }
    assert!(manual.starts_with(".ie") || manual.starts_with(".TH"), "{}", &manual[..80]);
    assert!(
        manual.contains("\\-\\-metrics\\-listen") && manual.contains("countersign watch \\-\\-closed"),
        "{manual}"
    );
}

#[test]
fn a_check_is_a_table_or_lines() {
    let rows = [
        row("kernel", CheckStatus::Works, "6.18\u{1b}[2J", None),
        row("iter/task_file", CheckStatus::Degraded, "refused\nlog line 2", Some("mount it")),
        row("btf", CheckStatus::Missing, "no file", None),
    ];
    let mut table = Vec::new();
    check::print_table(&rows, false, &mut table).unwrap();
    assert_eq!(
        String::from_utf8(table).unwrap(),
        "works     kernel          6.18\\u{1b}[2J\n\
         degraded  iter/task_file  refused\n                          log line 2\n                          → mount it\n\
         missing   btf             no file\n\n\
         the daemon cannot run here; missing: 1, degraded: 1\n"
    );
    let mut lines = Vec::new();
    check::print_json(&rows[1..2], &mut lines).unwrap();
    assert_eq!(
        String::from_utf8(lines).unwrap(),
        "{\"schema\":\"countersign.check/1\",\"name\":\"iter/task_file\",\"status\":\"degraded\",\
         \"detail\":\"refused\\nlog line 2\",\"remedy\":\"mount it\"}\n"
    );
}

/// As a daemon would print it.
fn known_connection() -> ConnectionRecord {
    let process =
        |pid, comm: &str| ProcessRecord { pid, start_time: 1, comm: comm.into(), ..ProcessRecord::default() };
    let mut record = connection(1);
    record.revision = 0;
    record.opened = WallTime(1_700_000_000_000_000_000);
    record.scope = Scope::EastWest;
    record.client.process = Some(process(1234, "curl").into());
    record.client.workload = Some(
        WorkloadRecord {
            kind: "executable".into(),
            name: "/usr/bin/curl".into(),
            ..WorkloadRecord::default()
        }
        .into(),
    );
    record.server.process = Some(process(80, "nginx").into());
    record.server.workload = Some(
        WorkloadRecord { kind: "systemd".into(), name: "nginx.service".into(), ..WorkloadRecord::default() }
            .into(),
    );
    record.findings = vec!["unauthenticated_east_west".into()];
    record
}

#[test]
fn a_connection_is_an_aligned_line() {
    let line = serde_json::to_string(&known_connection()).unwrap();
    let gap = r#"{"schema":"countersign.gap/1","from":null,"to":"2023-11-14T22:13:20Z","cause":"slow_reader","lost":7}"#;
    let later = r#"{"schema":"countersign.edge/1","x":1}"#;
    let (table, connections) = printed(&[&line, gap, later, "not JSON"], false);
    let expected = concat!(
        "  TIME UTC SCOPE                      CLIENT → SERVER:PORT              PROTOCOL    AUTHENTICATION  EVIDENCE           FINDINGS\n",
        "+ 22:13:20 east_west              curl[1234] → nginx.service[80]:80     http/1      none            none               unauthenticated_east_west\n",
        "-- not seen from ? to 22:13:20: slow_reader, lost: 7\n",
    );
    assert_eq!((table.as_str(), connections), (expected, 1));
    let (json, connections) = printed(&[&line, gap, later], true);
    assert_eq!((json, connections), (format!("{line}\n{gap}\n{later}\n"), 1));
}

#[test]
fn unknowns_say_why_and_colours_are_only_for_terminals() {
    let mut record = known_connection();
    record.revision = 2;
    record.authentication = Authentication::Unknown;
    record.evidence.client = EvidenceName::Unknown;
    record.evidence.reason = Some("mid_stream".into());
    record.server.workload = None;
    record.server.process = None;
    record.server.address = "fd00::1".into();
    let row = Row::of(&record);
    let plain = row.line(false);
    assert!(
        plain.starts_with("~ ") && plain.contains("[fd00::1]:80 ") && plain.contains(" mid_stream "),
        "{plain}"
    );
    assert!(!plain.contains('\x1b') && row.line(true).contains("\x1b[2munknown        \x1b[0m"), "{plain}");
    record.r#final = true;
    record.authentication = Authentication::Mutual;
    record.evidence = EvidenceRecord { client: EvidenceName::Inferred, reason: None, ..record.evidence };
    record.confidence.client = Some(ConfidenceName::High);
    record.server.identity = Some("db.test".into());
    let plain = Row::of(&record).line(false);
    assert!(
        plain.starts_with(". ") && plain.contains(" inferred/high ") && plain.contains("(? → db.test)"),
        "{plain}"
    );
    // What was asked for is not what was proven.
    record.tls = Some(TlsRecord { server_name: Some("db.\x1b[1mtest".into()), ..sample::tls() }.into());
    assert!(Row::of(&record).line(false).contains("(? → db.test)"));
    record.server.identity = None;
    let asked = Row::of(&record).line(false);
    assert!(asked.contains("(? → asked:db.") && !asked.contains('\x1b'), "{asked}");
}

#[test]
fn a_pid_is_never_cut_however_long_the_name_before_it_is() {
    let mut record = known_connection();
    for end in [&mut record.client, &mut record.server] {
        let process = ProcessRecord { pid: 4_194_304, ..ProcessRecord::default() };
        end.process = Some(process.into());
        end.workload = Some(sample::unit("a-service-with-a-long-name.service").into());
    }
    record.server.port = 65535;
    let line = Row::of(&record).line(false);
    assert!(line.contains(" a-service-w…[4194304] → a-servic…[4194304]:65535 "), "{line}");
}

#[test]
fn names_that_others_choose_cannot_touch_the_terminal() {
    let hostile = "a\x1b[2J\n\u{202e}\u{9b}b";
    let mut record = known_connection();
    record.client.workload = Some(
        WorkloadRecord { kind: "systemd".into(), name: hostile.repeat(50), ..WorkloadRecord::default() }
            .into(),
    );
    record.server.workload = None;
    record.server.process = record
        .server
        .process
        .map(|process| ProcessRecord { comm: hostile.into(), ..(*process).clone() }.into());
    record.protocol = hostile.into();
    record.evidence.reason = Some(hostile.into());
    record.evidence.client = EvidenceName::Unknown;
    record.findings = vec![hostile.into()];
    let line = serde_json::to_string(&record).unwrap();
    for json in [false, true] {
        let (text, _) = printed(&[&line], json);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), if json { 1 } else { 2 }, "{text:?}");
        assert!(lines.iter().all(|line| display_safe(line) == *line), "{text:?}");
    }
}

#[test]
fn the_list_of_libraries_says_what_is_probed_and_why_something_is_not() {
    let probed = sample::library_file();
    let stripped = LibraryFileRecord {
        path: "/opt/\u{1b}[31mtool".to_owned(),
        library: None,
        version: None,
        state: ProbeState::NotProbed,
        reason: Some("stripped".to_owned()),
        processes: (1..=9).collect(),
        process_count: 12,
        ..sample::library_file()
    };
    let shown = |enabled| {
        let mut output = Vec::new();
        libraries::print(&[probed.clone(), stripped.clone()], enabled, false, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    };
    let text = shown(Some(true));
    assert!(text.contains("openssl 3.0.17") && text.contains("libcrypto.so.3  pid 7,9"), "{text}");
    assert!(text.contains("pid 1,2,3,4,5,6,7,8 and 4 more") && text.contains("→ stripped"), "{text}");
    assert!(!text.contains('\u{1b}') && text.ends_with("probed 1, not probed 1\n"), "{text}");
    assert!(shown(Some(false)).contains("libraries.enabled = false"));
    assert!(shown(None).contains("no daemon is running"));
}
