//! Probes of a real libcrypto, under real handshakes. What they report is compared with the files on disk.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{super::*, PATIENCE, elf, roomy, source};
use crate::{
    event::{LibraryBytes, LibraryForm, LibraryVerdict, LibraryVerification, Presenter, Role, SocketBy},
    library::{Hook, Point},
};

/// X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT (openssl/x509_vfy.h).
const SELF_SIGNED: i32 = 18;
/// X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN.
const UNTRUSTED_ROOT: i32 = 19;
/// X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY.
const UNKNOWN_ISSUER: i32 = 20;

pub(super) const OPENSSL: [(Hook, &str); 5] = [
    (Hook::OpenSslPeer, "d2i_X509"),
    (Hook::OpenSslOwn, "i2d_X509"),
    (Hook::OpenSslVerifyBegin, "X509_STORE_CTX_set_default"),
    (Hook::OpenSslVerify, "X509_verify_cert"),
    (Hook::OpenSslVerifyResult, "X509_STORE_CTX_get_error"),
];

/// The file of a library that a program is linked with.
pub(super) fn linked(program: &str, library: &str) -> PathBuf {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let path = text.split_whitespace().find(|word| word.starts_with('/') && word.contains(library));
    path.unwrap_or_else(|| panic!("{program} is not linked with {library}: {text}")).into()
}

pub(super) fn points(file: &Path, hooks: &[(Hook, &str)]) -> Vec<Point> {
    hooks.iter().map(|(hook, name)| Point { hook: *hook, offset: elf::function(file, name) }).collect()
}

/// Attaches everything to the libcrypto of the openssl program.
pub(super) fn probe_openssl(source: &mut KernelSource) -> Probed {
    probe(source, &linked("/usr/bin/openssl", "libcrypto"), &OPENSSL)
}

pub(super) fn probe(source: &mut KernelSource, file: &Path, hooks: &[(Hook, &str)]) -> Probed {
    let mut prober = source.prober();
    let probed = prober.probe(file, &points(file, hooks));
    assert!(probed.refused().is_empty(), "{:?}", probed.refused());
    assert!(prober.unavailable().is_empty(), "{:?}", prober.unavailable());
    probed
}

/// A folder that goes with its test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("countersign-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is a few kilobytes in a temporary folder.
        let _gone = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn authority(
    name: &str,
    issuer: Option<&Issuer<'_, KeyPair>>,
) -> (Certificate, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    (certificate, Issuer::new(params, key))
}

/// A chain of three, and the files that programs want.
pub(super) struct Party {
    pub(super) root: String,
    pub(super) options: Vec<String>,
    /// What is presented: the leaf and its issuers.
    pub(super) chain: Vec<Vec<u8>>,
    /// The same as a file, and its key.
    pub(super) presented: String,
    pub(super) key: String,
}

/// How much of a chain is presented.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Presented {
    SelfSigned,
    WithoutRoot,
    WithRoot,
}

pub(super) fn party(folder: &Folder, name: &str, presented: Presented) -> Party {
    let (root, root_issuer) = authority(&format!("{name} root"), None);
    let (middle, issuer) = authority(&format!("{name} intermediate"), Some(&root_issuer));
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let (leaf, above) = match presented {
        Presented::SelfSigned => (params.self_signed(&key).unwrap(), vec![]),
        Presented::WithoutRoot => (params.signed_by(&key, &issuer).unwrap(), vec![&middle]),
        Presented::WithRoot => (params.signed_by(&key, &issuer).unwrap(), vec![&middle, &root]),
    };
    let mut options = vec!["-cert".into(), folder.write(&format!("{name}.pem"), &leaf.pem())];
    let key = folder.write(&format!("{name}.key"), &key.serialize_pem());
    options.extend(["-key".into(), key.clone()]);
    let mut presented = leaf.pem();
    let mut chain = vec![leaf.der().to_vec()];
    if !above.is_empty() {
        let pem: String = above.iter().map(|certificate| certificate.pem()).collect();
        options.extend(["-cert_chain".into(), folder.write(&format!("{name}.chain.pem"), &pem)]);
        presented += &pem;
        chain.extend(above.iter().map(|certificate| certificate.der().to_vec()));
    }
    let presented = folder.write(&format!("{name}.presented.pem"), &presented);
    Party { root: folder.write(&format!("{name}.root.pem"), &root.pem()), options, chain, presented, key }
}

/// `openssl s_server` for one connection, and its port.
pub(super) fn serve(options: &[String]) -> (Child, u16) {
    let mut server = Command::new("/usr/bin/openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let accept = lines.find(|line| line.as_ref().unwrap().starts_with("ACCEPT")).unwrap().unwrap();
    // Somebody has to read what it prints.
    std::thread::spawn(move || lines.for_each(drop));
    (server, accept.rsplit(':').next().unwrap().trim().parse().unwrap())
}

/// Runs `openssl s_client` to its end and says which process it was.
pub(super) fn connect(port: u16, options: &[String]) -> u32 {
    let first = strings(&["s_client", "-connect", &format!("127.0.0.1:{port}")]);
    run("/usr/bin/openssl", &[first, options.to_vec()].concat())
}

/// Runs a program to its end and says which process it was.
pub(super) fn run(program: &str, options: &[String]) -> u32 {
    let client = Command::new(program)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = client.id();
    end(client);
    process
}

/// Waits for a program, with a bound.
pub(super) fn end(mut child: Child) {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{child:?} goes on and on");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(super) fn strings(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
}

pub(super) fn all(source: &mut KernelSource) -> Vec<Event> {
    let mut events = Vec::new();
    source.drain(usize::MAX, &mut |event| events.push(event));
    let losses = source.losses();
    assert_eq!((losses.ring_full, losses.malformed, losses.unreadable_certificates), (0, 0, 0));
    events
}

pub(super) fn runs_of(events: &[Event], process: u32) -> Vec<&LibraryBytes> {
    let runs = events.iter().filter_map(|event| match event {
        Event::LibraryBytes(run) if run.call.task.process.pid == process => Some(&**run),
        _ => None,
    });
    runs.collect()
}

pub(super) fn verifications_of(events: &[Event], process: u32) -> Vec<&LibraryVerification> {
    let said = events.iter().filter_map(|event| match event {
        Event::LibraryVerification(said) if said.call.task.process.pid == process => Some(&**said),
        _ => None,
    });
    said.collect()
}

pub(super) fn verdicts_of(events: &[Event], process: u32) -> Vec<LibraryVerdict> {
    verifications_of(events, process).iter().map(|said| said.verdict).collect()
}

/// The socket of a role on a port of a server.
pub(super) fn socket_on(events: &[Event], role: Role, port: u16) -> SocketCookie {
    let socket = events.iter().find_map(|event| match event {
        Event::Established(event) if event.role == role => {
            let server = if role == Role::Server { event.pair.local } else { event.pair.remote };
            (server.port() == port).then_some(event.socket)
        }
        _ => None,
    });
    socket.unwrap()
}

/// Runs of one call put together.
pub(super) fn whole(runs: &[&LibraryBytes]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for run in runs {
        assert_eq!(run.offset as usize, bytes.len());
        bytes.extend(&run.bytes);
    }
    assert_eq!(runs[0].total as usize, bytes.len());
    bytes
}

/// A certificate_list as it is on the wire, without extensions where there are some.
pub(super) fn list(chain: &[Vec<u8>], extensions: &[u8]) -> Vec<u8> {
    let entries = chain.iter().map(|der| [&(der.len() as u32).to_be_bytes()[1..], der, extensions].concat());
    entries.collect::<Vec<_>>().concat()
}

fn mutual(version: &str, extensions: &[u8]) {
    let Some(mut source) = source(&roomy()) else { return };
    let _probed = probe_openssl(&mut source);
    let folder = Folder::new();
    let server = party(&folder, "server", Presented::WithoutRoot);
    let client = party(&folder, "client", Presented::WithRoot);
    let (serving, port) = serve(
        &[server.options.clone(), strings(&[version, "-Verify", "3", "-CAfile", &client.root])].concat(),
    );
    let connected = connect(port, &[client.options.clone(), strings(&["-CAfile", &server.root])].concat());
    let server_process = serving.id();
    end(serving);
    let events = all(&mut source);

    let ends = [
        (connected, Role::Client, &client.chain, &server.chain),
        (server_process, Role::Server, &server.chain, &client.chain),
    ];
    for (process, role, own, peer) in ends {
        let socket = socket_on(&events, role, port);
        let runs = runs_of(&events, process);
        let verifications = verifications_of(&events, process);
        let calls = runs.iter().map(|run| run.call).chain(verifications.iter().map(|said| said.call));
        for call in calls {
            let joined = call.socket.unwrap();
            assert_eq!((joined.socket, joined.by), (socket, SocketBy::LastReceive), "{role:?}");
            assert!(joined.received_at <= call.at && joined.received_at.0 != 0);
            assert_eq!(&call.task.comm[..8], b"openssl\0");
        }
        let (received, sent): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|run| run.presenter == Presenter::Peer);
        assert!(received.iter().all(|run| run.form == LibraryForm::List));
        assert_eq!(whole(&received), list(peer, extensions), "{role:?}");
        let forms: Vec<_> = sent.iter().map(|run| run.form).collect();
        assert_eq!(forms[0], LibraryForm::Leaf);
        assert!(forms[1..].iter().all(|form| *form == LibraryForm::Following));
        let sent: Vec<_> = sent.into_iter().map(|run| whole(&[run])).collect();
        assert_eq!(&sent, own, "{role:?}");
        assert_eq!(verdicts_of(&events, process), [LibraryVerdict::Verified], "{role:?}");
    }
}

#[test]
fn both_chains_are_read_at_both_ends_of_tls13() {
    mutual("-tls1_3", &[0, 0]);
}

#[test]
fn both_chains_are_read_at_both_ends_of_tls12() {
    mutual("-tls1_2", &[]);
}

#[test]
fn a_failed_verification_has_its_code_though_the_program_goes_on() {
    let Some(mut source) = source(&roomy()) else { return };
    let _probed = probe_openssl(&mut source);
    let folder = Folder::new();
    let cases = [
        (Presented::SelfSigned, SELF_SIGNED),
        (Presented::WithRoot, UNTRUSTED_ROOT),
        (Presented::WithoutRoot, UNKNOWN_ISSUER),
    ];
    for (presented, code) in cases {
        let server = party(&folder, "server", presented);
        let (serving, port) = serve(&server.options);
        let connected = connect(port, &strings(&["-no-CAfile", "-no-CApath", "-no-CAstore"]));
        let server_process = serving.id();
        end(serving);
        let events = all(&mut source);
        assert_eq!(verdicts_of(&events, connected), [LibraryVerdict::Failed { code }]);
        assert_eq!(verdicts_of(&events, server_process), [], "it has asked for no certificate");
        assert_eq!(whole(&runs_of(&events, connected)), list(&server.chain, &[0, 0]));
    }
}

#[test]
fn a_list_that_is_too_long_is_counted() {
    let Some(mut source) = source(&roomy()) else { return };
    let folder = Folder::new();
    let server = party(&folder, "server", Presented::WithoutRoot);
    let presented = fs::read_to_string(&server.presented).unwrap();
    let (_, intermediate) = presented.split_at(presented.rfind("-----BEGIN").unwrap());
    for (count, long) in [(15, false), (16, true)] {
        folder.write("server.chain.pem", &intermediate.repeat(count));
        let before = source.losses().long_chains;
        let _probed = probe(&mut source, &linked("/usr/bin/openssl", "libcrypto"), &OPENSSL[..1]);
        let (serving, port) = serve(&server.options);
        let client = connect(port, &[]);
        end(serving);
        let events = all(&mut source);
        assert_eq!(runs_of(&events, client).is_empty(), long, "{count}");
        assert_eq!(source.losses().long_chains > before, long, "{count}");
    }
}

#[test]
fn certificates_that_come_from_files_are_not_read() {
    let Some(mut source) = source(&roomy()) else { return };
    let _probed = probe_openssl(&mut source);
    let folder = Folder::new();
    let server = party(&folder, "server", Presented::WithoutRoot);
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let verify = run("/usr/bin/openssl", &strings(&["verify", "-CAfile", bundle, &server.root]));
    let (serving, port) = serve(&[server.options.clone(), strings(&["-www"])].concat());
    // With its own bundle, then with a folder of one file per certificate, which is read during the handshake.
    let url = format!("https://127.0.0.1:{port}/");
    let loads =
        run("/usr/bin/curl", &strings(&["-s", "--capath", "/etc/ssl/certs", "--cacert", bundle, &url]));
    end(serving);
    let events = all(&mut source);
    assert!(runs_of(&events, verify).is_empty());
    assert!(verdicts_of(&events, verify).is_empty(), "no peer was verified");
    assert_eq!(whole(&runs_of(&events, loads)), list(&server.chain, &[0, 0]));
    assert_eq!(verdicts_of(&events, loads), [LibraryVerdict::Failed { code: UNKNOWN_ISSUER }]);
}
