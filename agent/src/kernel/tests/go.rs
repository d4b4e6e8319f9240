//! Probes of crypto/tls in programs that Go's own toolchains built.

use std::{
    collections::BTreeMap,
    fs::File,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use super::{
    super::*,
    PATIENCE,
    library::{Folder, Party, Presented, all, list, party, runs_of, socket_on, verifications_of, whole},
    roomy, source,
};
use crate::{
    event::{Library, LibraryForm, LibraryVerdict, Presenter, Role, SocketBy},
    library::examine,
};

/// The source of a peer, which the black-box tests have.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/peers/go");

/// Programs to test besides the one that the toolchain at hand builds: peers by other versions, separated by colons.
const OTHERS: &str = "COUNTERSIGN_GO_PEERS";

/// The programs; empty where there is no toolchain.
fn programs(folder: &Folder) -> Vec<PathBuf> {
    if Command::new("go").arg("version").stdout(Stdio::null()).status().is_err() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "these tests need Go");
        eprintln!("skipped: needs Go");
        return Vec::new();
    }
    // Stripped and position-independent: the symbols are not what is read.
    let own = folder.path().join("go-peer");
    let built = Command::new("go")
        .args(["build", "-buildmode=pie", "-ldflags=-s -w", "-o"])
        .arg(&own)
        .arg(".")
        .current_dir(SOURCE)
        .status();
    assert!(built.unwrap().success());
    let others = std::env::var(OTHERS).unwrap_or_default();
    others.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).chain([own]).collect()
}

fn probe_go(source: &mut KernelSource, program: &Path) -> Probed {
    let examination = examine(&File::open(program).unwrap());
    let [found] = &examination.libraries[..] else { panic!("{examination:?}") };
    assert_eq!(found.library, Library::Go);
    let mut prober = source.prober();
    let probed = prober.probe(program, &found.points);
    assert!(probed.refused().is_empty(), "{:?}", probed.refused());
    assert!(prober.unavailable().is_empty(), "{:?}", prober.unavailable());
    probed
}

/// How peers meet, each with both certificates.
#[derive(Clone, Copy)]
struct Case {
    version: &'static str,
    /// Connections at a time.
    count: usize,
    /// Neither end verifies.
    unverified: bool,
    /// The server has its connections wrapped.
    wrapped: bool,
}

const TLS13: Case = Case { version: "1.3", count: 1, unverified: false, wrapped: false };
const TLS12: Case = Case { version: "1.2", ..TLS13 };

fn peer(program: &Path, role: &str, port: u16, case: Case, own: &Party, other: &Party) -> Child {
    let options = serde_json::json!({
        "role": role, "address": "127.0.0.1", "port": port, "version": case.version, "request": "require",
        "chain": own.presented, "key": own.key, "ca": other.root, "count": case.count,
        "unverified": case.unverified, "wrapped": case.wrapped,
    });
    Command::new(program)
        .arg(options.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn serve(program: &Path, case: Case, own: &Party, other: &Party) -> (Child, u16) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let child = peer(program, "server", free.port(), case, own, other);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(free).is_err() {
        assert!(Instant::now() < deadline, "the server does not listen");
        std::thread::yield_now();
    }
    (child, free.port())
}

/// What a case caused: events, and the processes of client and server.
fn exchange(
    source: &mut KernelSource,
    program: &Path,
    case: Case,
    [client, server]: [&Party; 2],
) -> (Vec<Event>, [u32; 2], u16) {
    let (mut serving, port) = serve(program, case, server, client);
    // What the attempts to connect caused.
    all(source);
    let connected = peer(program, "client", port, case, client, server);
    let processes = [connected.id(), serving.id()];
    let output = String::from_utf8(connected.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.contains(r#""answered":true"#), "{}: {output}", program.display());
    serving.kill().unwrap();
    serving.wait().unwrap();
    (all(source), processes, port)
}

fn mutual(source: &mut KernelSource, folder: &Folder, program: &Path, case: Case) {
    let _probed = probe_go(source, program);
    let server = party(folder, "server.test", Presented::WithoutRoot);
    let client = party(folder, "client.test", Presented::WithRoot);
    let (events, [connected, served], port) = exchange(source, program, case, [&client, &server]);

    let ends = [
        (connected, Role::Client, &client.chain, &server.chain),
        (served, Role::Server, &server.chain, &client.chain),
    ];
    for (process, role, own, peer) in ends {
        let what = format!("{} {} {role:?}", program.display(), case.version);
        let socket = socket_on(&events, role, port);
        let runs = runs_of(&events, process);
        let verifications = verifications_of(&events, process);
        let calls = runs.iter().map(|run| run.call).chain(verifications.iter().map(|said| said.call));
        for call in calls {
            let joined = call.socket.unwrap_or_else(|| panic!("{what}"));
            assert_eq!(
                (joined.socket, joined.by, call.library),
                (socket, SocketBy::Descriptor, Library::Go),
                "{what}"
            );
        }
        let (received, sent): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|run| run.presenter == Presenter::Peer);
        assert!(received.iter().all(|run| run.form == LibraryForm::List));
        assert!(!received.is_empty(), "{what}");
        assert_eq!(whole(&received), list(peer, if case.version == "1.3" { &[0, 0] } else { &[] }), "{what}");
        let forms: Vec<_> = sent.iter().map(|run| run.form).collect();
        assert!(!forms.is_empty(), "{what}");
        assert_eq!(forms[0], LibraryForm::Leaf);
        assert!(forms[1..].iter().all(|form| *form == LibraryForm::Following));
        let sent: Vec<_> = sent.into_iter().map(|run| whole(&[run])).collect();
        assert_eq!(&sent, own, "{what}");
        let verdicts: Vec<_> = verifications.iter().map(|said| said.verdict).collect();
        let expected: &[_] = if case.unverified { &[] } else { &[LibraryVerdict::Attempted] };
        assert_eq!(verdicts, expected, "{what}");
    }
}

#[test]
fn both_chains_are_read_at_both_ends_of_go() {
    let Some(mut source) = source(&roomy()) else { return };
    let folder = Folder::new();
    for program in programs(&folder) {
        mutual(&mut source, &folder, &program, TLS13);
        mutual(&mut source, &folder, &program, TLS12);
    }
}

#[test]
fn a_chain_that_go_does_not_verify_is_not_called_verified() {
    let Some(mut source) = source(&roomy()) else { return };
    let folder = Folder::new();
    for program in programs(&folder) {
        mutual(&mut source, &folder, &program, Case { unverified: true, ..TLS13 });
    }
}

#[test]
fn a_connection_that_go_sees_wrapped_is_found() {
    let Some(mut source) = source(&roomy()) else { return };
    let folder = Folder::new();
    for program in programs(&folder) {
        mutual(&mut source, &folder, &program, Case { wrapped: true, ..TLS13 });
    }
}

#[test]
fn each_of_many_connections_of_go_has_its_own_certificates() {
    const COUNT: usize = 50;
    let Some(mut source) = source(&roomy()) else { return };
    let folder = Folder::new();
    let server = party(&folder, "server.test", Presented::WithoutRoot);
    let client = party(&folder, "client.test", Presented::WithRoot);
    for program in programs(&folder) {
        let _probed = probe_go(&mut source, &program);
        let (events, processes, _) = exchange(
            &mut source,
            &program,
            Case { count: COUNT, wrapped: true, ..TLS13 },
            [&client, &server],
        );
        for process in processes {
            // One list, and the two or three certificates of the own chain.
            let mut calls: BTreeMap<SocketCookie, (usize, usize, usize)> = BTreeMap::new();
            for run in runs_of(&events, process).iter().filter(|run| run.offset == 0) {
                let (peer, own, _) = calls.entry(run.call.socket.unwrap().socket).or_default();
                *(if run.presenter == Presenter::Peer { peer } else { own }) += 1;
            }
            for said in verifications_of(&events, process) {
                calls.entry(said.call.socket.unwrap().socket).or_default().2 += 1;
            }
            let own = if process == processes[0] { client.chain.len() } else { server.chain.len() };
            assert_eq!(calls.len(), COUNT, "{}", program.display());
            let losses = source.losses();
            let all_there = calls.values().all(|seen| *seen == (1, own, 1));
            assert!(all_there, "{}: {calls:?}, {losses:?}", program.display());
        }
    }
}
