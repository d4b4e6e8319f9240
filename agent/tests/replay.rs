//! `countersign replay` as a shell runs it.

#![expect(clippy::unwrap_used, reason = "a test's helpers stand outside its test functions")]

#[path = "../src/replay/tests/made.rs"]
mod made;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use made::{Ends, Made, SECOND, flow};

/// A folder with captures, removed with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("countersign-replay-cli-{}-{serial}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).unwrap();
    }

    /// Runs in the folder, on embedded defaults.
    fn run(&self, arguments: &str) -> Ended {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        Ended {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    fn command(&self, arguments: &str) -> Command {
        self.write("none.toml", b"");
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.arg("replay").args(arguments.split_whitespace()).args(["--config", "none.toml"]);
        command.current_dir(&self.0).stdin(Stdio::null());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// HTTP, TLS 1.2 and 1.3 with both certificates, and TLS 1.2 with the server's only.
fn mixed() -> Made {
    let mut made = Made::new();
    made.connection(flow(40_000, 80), &made::http(), Ends::Fin);
    made.connection(flow(40_001, 443), &made::tls12_mutual(), Ends::Fin);
    made.now += 86_400 * SECOND;
    made.connection(flow(40_002, 443), &made::tls13_mutual(), Ends::Fin);
    made.connection(flow(40_003, 8443), &made::tls12_server_only(), Ends::Never);
    made
}

#[test]
fn equal_input_gives_byte_equal_output() {
    let folder = Folder::new();
    folder.write("a.pcap", &mixed().bytes);
    for arguments in ["a.pcap", "a.pcap --json", "a.pcap --findings", "a.pcap --findings --json"] {
        let (first, second) = (folder.run(arguments), folder.run(arguments));
        assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""), "{arguments}");
        assert!(
            !first.stdout.is_empty() && first.stdout == second.stdout,
            "{arguments}: {first:?} {second:?}"
        );
    }
}

#[test]
fn the_table_names_each_day_and_ends_with_a_summary() {
    let folder = Folder::new();
    folder.write("a.pcap", &mixed().bytes);
    let Ended { code, stdout, .. } = folder.run("a.pcap");
    assert_eq!(code, Some(0));
    for line in [
        "-- 2023-11-14",
        "-- 2023-11-15",
        "connections     4; 1 without an end in the capture",
        "authentication  2 mutual, 1 none, 1 server_only",
        "protocol        3 tls, 1 http/1",
        "TLS version     2 1.2, 1 1.3",
        "scope           4 east_west",
    ] {
        assert!(stdout.lines().any(|printed| printed == line), "{line}\n{stdout}");
    }
    let rows = stdout.lines().filter(|line| line.starts_with(". 22:13:20 east_west ")).count();
    assert_eq!(rows, 4, "{stdout}");
}

#[test]
fn lines_of_json_have_their_schemas_and_the_last_one_says_what_was_read() {
    let folder = Folder::new();
    folder.write("a.pcap", &mixed().bytes);
    let Ended { stdout, .. } = folder.run("a.pcap --json");
    let lines: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |schema: &str| {
        lines.iter().filter(|line| line["schema"] == format!("countersign.{schema}/1")).count()
    };
    assert_eq!(of("connection"), 4);
    assert!(of("certificate") >= 3 && of("finding") >= 2, "{stdout}");
    let last = lines.last().unwrap();
    assert_eq!((&last["schema"], &last["connections"]), (&"countersign.replay/1".into(), &4.into()));
    let mut fingerprints: Vec<_> = lines.iter().filter_map(|line| line["sha256"].as_str()).collect();
    fingerprints.sort_unstable();
    let printed = fingerprints.len();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), printed, "each certificate once");
}

#[test]
fn findings_alone_say_how_often_and_what_to_do() {
    let folder = Folder::new();
    folder.write("a.pcap", &mixed().bytes);
    let Ended { code, stdout, .. } = folder.run("a.pcap --findings --port 80");
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("high     unauthenticated_east_west 10.0.0.1 → 10.0.0.2:80\n"), "{stdout}");
    assert!(
        stdout.contains("once, first 2023-11-14T22:13:20") && stdout.contains("→ Put the service"),
        "{stdout}"
    );
    let nothing = folder.run("a.pcap --findings --authentication psk");
    assert_eq!(nothing.stdout, "nothing was found in 0 connections\n");
    let Ended { stdout, .. } = folder.run("a.pcap --finding server_only_tls_east_west --json --findings");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert_eq!(folder.run("a.pcap --finding no_such").code, Some(2));
}

#[test]
fn certificates_become_files_and_nothing_is_overwritten() {
    let folder = Folder::new();
    folder.write("a.pcap", &mixed().bytes);
    for _ in 0..2 {
        let ended = folder.run("a.pcap --certificates seen/here");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
    let files: Vec<_> =
        fs::read_dir(folder.0.join("seen/here")).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.starts_with("-----BEGIN CERTIFICATE-----\n")
                && text.ends_with("-----END CERTIFICATE-----\n")
        );
    }
    fs::write(&files[0], "mine").unwrap();
    let ended = folder.run("a.pcap --certificates seen/here");
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("another file of this name"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&files[0]).unwrap(), "mine");
}

#[test]
fn a_damaged_capture_is_read_as_far_as_it_goes_and_has_its_exit_code() {
    let folder = Folder::new();
    let whole = mixed().bytes;
    folder.write("cut.pcap", &whole[..whole.len() - 10]);
    let ended = folder.run("cut.pcap --json");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.starts_with("countersign: cut.pcap: "), "{}", ended.stderr);
    assert_eq!(ended.stdout.matches("countersign.connection/1").count(), 4);
    let last = ended.stdout.lines().last().unwrap();
    assert!(last.contains("\"problems\":[\"cut.pcap: "), "{last}");
}

#[test]
fn what_is_no_capture_is_refused_with_its_name() {
    let folder = Folder::new();
    folder.write("a.txt", b"this is a letter, not a capture of anything\n");
    folder.write("empty", b"");
    for name in ["a.txt", "empty", "missing.pcap"] {
        let ended = folder.run(&format!("{name} --certificates made"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{name}");
        assert!(ended.stderr.starts_with("countersign: ") && ended.stderr.contains(name), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    assert!(!Path::new(&folder.0).join("made").exists(), "nothing is made for nothing");
    let ended = folder.run("- -");
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn a_capture_may_come_through_a_pipe_and_the_reader_may_leave() {
    let folder = Folder::new();
    let mut made = mixed();
    for number in 0..2000 {
        made.connection(flow(41_000 + number, 80), &made::http(), Ends::Fin);
    }
    folder.write("a.pcap", &made.bytes);
    let stdin = |arguments| {
        let mut command = folder.command(arguments);
        command.stdin(File::open(folder.0.join("a.pcap")).unwrap());
        command
    };
    let named = stdin("- --json").output().unwrap();
    assert_eq!(named.status.code(), Some(0));
    assert_eq!(stdin("--json").output().unwrap().stdout, named.stdout);
    let mut child = stdin("-").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), vec![]));
}
