//! `countersign replay` as a shell runs it.

#![expect(clippy::unwrap_used, reason = "a test's helpers stand outside its test functions")]

#[path = "../src/replay/tests/made.rs"]
mod made;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

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
    // What a wide terminal shows without a break, up to the findings.
    let (header, _) = stdout.split_once("FINDINGS").unwrap();
    assert!(header.chars().count() <= 120, "{header}");
    assert!(
        stdout.contains(" 10.0.0.1:40000 → 10.0.0.2:80 "),
        "a connection is found by its client's port: {stdout}"
    );
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
fn what_is_no_connection_is_in_the_summary() {
    const RESET: u8 = 4;
    const ACKNOWLEDGEMENT: u8 = 16;
    let folder = Folder::new();
    let mut made = Made::new();
    made.packet(flow(40_000, 80), true, ACKNOWLEDGEMENT, 5, 6, &[]);
    made.packet(flow(40_001, 80), true, RESET, 5, 0, &[]);
    folder.write("a.pcap", &made.bytes);
    let last: serde_json::Value = serde_json::from_str(&folder.run("a.pcap --json").stdout).unwrap();
    assert_eq!((&last["empty_flows"], &last["stray_packets"]), (&1.into(), &1.into()));
    let Ended { stdout, .. } = folder.run("a.pcap");
    let row = "not read        1 connections without a beginning and without a byte, 1 TCP packets of no connection";
    assert!(stdout.lines().any(|line| line == row), "{stdout}");
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
    assert!(ended.stdout.contains("\nconnections     4;"), "the records are not lost: {}", ended.stdout);
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

#[test]
fn one_input_that_cannot_be_read_does_not_take_the_others_with_it() {
    let folder = Folder::new();
    let mut other = Made::new();
    other.connection(flow(50_000, 80), &made::http(), Ends::Fin);
    folder.write("a.pcap", &mixed().bytes);
    folder.write("b.pcap", &other.bytes);
    folder.write("empty.pcap", b"");
    folder.write("letter", b"this is a letter, not a capture of anything");
    for bad in ["empty.pcap", "letter", "missing.pcap", "."] {
        let ended = folder.run(&format!("a.pcap {bad} b.pcap --json"));
        assert_eq!(ended.code, Some(4), "{bad}: {ended:?}");
        assert_eq!(ended.stdout.matches("countersign.connection/1").count(), 5, "{bad}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains(bad), "{}", ended.stderr);
        let last: serde_json::Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(last["unreadable_inputs"], serde_json::json!([bad]));
    }
    let ended = folder.run("a.pcap missing.pcap letter");
    assert!(ended.stdout.contains("\nnot opened      missing.pcap, letter\n"), "{}", ended.stdout);
    let ended = folder.run("empty.pcap missing.pcap letter");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(ended.stderr.lines().count(), 3, "{}", ended.stderr);
}

#[test]
fn packets_of_unsupported_link_types_are_no_success() {
    let folder = Folder::new();
    // LINKTYPE_USER0 (147) in the file's header.
    let mut foreign = mixed().bytes;
    foreign[20] = 147;
    folder.write("foreign.pcap", &foreign);
    folder.write("a.pcap", &mixed().bytes);
    let ended = folder.run("foreign.pcap");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(" packets of link type 147 were not read"), "{}", ended.stderr);
    let ended = folder.run("foreign.pcap a.pcap --json");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert_eq!(ended.stdout.matches("countersign.connection/1").count(), 4);
}

#[test]
fn compressed_captures_that_are_cut_anywhere_are_damaged_in_words_for_people() {
    let folder = Folder::new();
    let whole = mixed().bytes;
    let zstd = ruzstd::encoding::compress_to_vec(&whole[..], ruzstd::encoding::CompressionLevel::Fastest);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&whole).unwrap();
    for compressed in [zstd, gzip.finish().unwrap()] {
        for length in [5, 8, 12, 20, compressed.len() / 2, compressed.len() - 5] {
            folder.write("cut", &compressed[..length]);
            let ended = folder.run("cut");
            assert_eq!(ended.code, Some(4), "{length}: {ended:?}");
            assert!(ended.stderr.contains("ends too early"), "{length}: {}", ended.stderr);
            assert!(!ended.stderr.contains(['{', '(']), "{length}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_folder_for_certificates_that_cannot_be_one_is_said_before_anything_is_read() {
    let folder = Folder::new();
    folder.write("a.pcap", &mixed().bytes);
    for place in ["a.pcap", "a.pcap/below", "/proc/here"] {
        let ended = folder.run(&format!("a.pcap --certificates {place}"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{place}");
        assert!(ended.stderr.contains(place) && ended.stderr.contains("name a folder"), "{}", ended.stderr);
    }
}

/// A replay of a pipe that stays open.
struct Live {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Live {
    /// Whatever started the tests may ignore signals, as a shell does for what runs in the background.
    fn new(folder: &Folder, arguments: &str) -> Live {
        Live::behind(&["env", "--default-signal=INT,TERM"], &folder.command(arguments))
    }

    /// Started by another program.
    fn behind(starter: &[&str], replay: &Command) -> Live {
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).arg(replay.get_program()).args(replay.get_args());
        command.current_dir(replay.get_current_dir().unwrap());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Live { child, stdin, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(60)).expect("a line within a minute")
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// While standard input is still open.
    fn end(mut self) -> Ended {
        let stdout: Vec<String> =
            std::iter::from_fn(|| self.lines.recv_timeout(Duration::from_secs(60)).ok()).collect();
        let code = self.child.wait().unwrap().code();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        drop(self.stdin);
        Ended { code, stdout: stdout.join("\n"), stderr }
    }
}

#[test]
fn a_live_pipe_shows_what_ended_and_a_signal_ends_it_before_its_end_which_is_said() {
    let folder = Folder::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut made = Made::new();
        made.connection(flow(40_000, 80), &made::http(), Ends::Fin);
        made.connection(flow(40_001, 443), &made::tls12_mutual(), Ends::Never);
        let mut live = Live::new(&folder, "- --json");
        // The beginning of another packet, which its writer keeps back.
        made.bytes.extend([0; 7]);
        live.stdin.write_all(&made.bytes).unwrap();
        let first = live.line();
        assert!(first.contains("countersign.connection/1") && first.contains(":40000"), "{first}");
        live.signal(signal);
        let ended = live.end();
        assert_eq!(ended.code, Some(4), "{ended:?}");
        assert!(
            ended.stderr.contains("-: after packet 17") && ended.stderr.contains("interrupted"),
            "{ended:?}"
        );
        assert_eq!(ended.stdout.matches("countersign.connection/1").count(), 1, "the open one: {ended:?}");
        assert!(ended.stdout.lines().last().unwrap().contains("countersign.replay/1"), "{ended:?}");
    }
}

#[test]
fn a_pipe_that_ends_with_the_signal_was_read_whole() {
    let folder = Folder::new();
    let mut made = Made::new();
    made.connection(flow(40_000, 80), &made::http(), Ends::Fin);
    let mut live = Live::new(&folder, "- --json");
    live.stdin.write_all(&made.bytes).unwrap();
    live.line();
    live.signal(Signal::SIGINT);
    // As tcpdump, which Ctrl-C reaches as well.
    let Live { child, stdin, lines } = live;
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(lines.iter().last().unwrap().contains("countersign.replay/1"));
}

#[test]
fn a_signal_that_the_parent_had_ignored_stays_ignored() {
    let folder = Folder::new();
    let (mut first, mut second) = (Made::new(), Made::new());
    first.connection(flow(40_000, 80), &made::http(), Ends::Fin);
    second.connection(flow(40_000, 80), &made::http(), Ends::Fin);
    second.connection(flow(40_001, 80), &made::http(), Ends::Fin);
    let starter = ["env", "--ignore-signal=INT"];
    let mut live = Live::behind(&starter, &folder.command("- --json"));
    live.stdin.write_all(&first.bytes).unwrap();
    live.line();
    live.signal(Signal::SIGINT);
    live.signal(Signal::SIGINT);
    live.stdin.write_all(&second.bytes[first.bytes.len()..]).unwrap();
    let Live { child, stdin, lines } = live;
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{output:?}");
    assert!(lines.iter().any(|line| line.contains(":40001")), "the second one was read");
}

/// Starts a replay of a FIFO that nobody writes to, and waits until signals no longer end it by themselves.
fn awaiting_a_writer(folder: &Folder) -> Live {
    nix::unistd::mkfifo(&folder.0.join("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let live = Live::new(folder, "fifo --json");
    let status = format!("/proc/{}/status", live.child.id());
    let catches = |text: &str| {
        let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim();
        u64::from_str_radix(mask, 16).unwrap() & 1 << (Signal::SIGINT as u32 - 1) != 0
    };
    let until = Instant::now() + Duration::from_secs(60);
    while !catches(&fs::read_to_string(&status).unwrap()) {
        assert!(Instant::now() < until, "no signal is ever caught");
        std::thread::sleep(Duration::from_millis(5));
    }
    live
}

#[test]
fn a_signal_ends_the_wait_for_the_writer_of_a_fifo() {
    let folder = Folder::new();
    let mut live = awaiting_a_writer(&folder);
    live.signal(Signal::SIGINT);
    let until = Instant::now() + Duration::from_secs(30);
    while live.child.try_wait().unwrap().is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    live.child.kill().unwrap();
    let ended = live.end();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("interrupted"), "{ended:?}");
}

#[test]
fn a_fifo_is_read_when_its_writer_comes() {
    let folder = Folder::new();
    let live = awaiting_a_writer(&folder);
    fs::write(folder.0.join("fifo"), mixed().bytes).unwrap();
    let ended = live.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.contains("countersign.connection/1"), "{ended:?}");
}
