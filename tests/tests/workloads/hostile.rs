//! Names that somebody chose to do harm reach terminal, JSON, metrics and log harmless.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use countersign_tests::{Agent, Process, Testbed, agent_binary, at, ready, text};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

use crate::cgroups::Cgroup;
use crate::{record_of_client, tls_client, tls_server};

/// Tags of DER (X.690).
const UTF8_STRING: u8 = 0x0c;
const TELETEX_STRING: u8 = 0x14;

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

/// A table of connections.
fn watch() -> Result<Process> {
    let agent = Agent::shared();
    let mut command = Command::new(agent_binary());
    command.args(["watch", "--socket"]).arg(agent.folder.join("socket"));
    let table = Process::spawn("watch", None, command)?;
    agent.fence()?;
    Ok(table)
}

/// Whatever is printed, now that the table shows the connection to a port.
fn nobody_is_harmed(table: &Process, port: u16) -> Result<()> {
    let agent = Agent::shared();
    agent.fence()?;
    table.wait_for_output(&format!(":{port}"))?;
    assert_eq!(agent.records.violations(), Vec::<String>::new());
    let (_, page) = agent.http("GET", "/metrics")?;
    let mut outputs = vec![("table", table.output()), ("metrics", page), ("log", agent.log())];
    for list in ["workloads", "identities", "edges", "certificates", "connections", "findings"] {
        let mut command = Command::new(agent_binary());
        command.arg(list).arg("--socket").arg(agent.folder.join("socket"));
        let output = command.output()?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        ensure!(matches!(output.status.code(), Some(0 | 1)), "{list}: {said}");
        outputs.push((list, said));
    }
    for (what, output) in outputs {
        assert!(is_harmless(&output), "{what}: {output:?}");
    }
    Ok(())
}

#[test]
fn hostile_names_of_programs_and_cgroups_harm_nobody() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (_server, port) = tls_server()?;
    let table = watch()?;
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
        assert_eq!(text(&record, "/client/process/comm"), String::from_utf8_lossy(&name[..15]));
        assert!(!record.to_string().contains(char::is_control));
    }
    nobody_is_harmed(&table, port)
}

/// A key, and a certificate (DER) for it in which subject and names are hostile: 4 kB, and what harms.
fn hostile_certificate(file: &str) -> Result<(PathBuf, PathBuf)> {
    // Of the same length, since it takes the place of text in what is encoded already.
    let place = "H".repeat(HARM.len());
    let mut params = CertificateParams::new(vec![place.clone()])?;
    // Printed the other way round (RFC 4514), and cut.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "o".repeat(4096));
    params.distinguished_name.push(DnType::CommonName, place.as_str());
    let key = KeyPair::generate()?;
    let mut der = params.self_signed(&key)?.der().to_vec();
    for at in (0..der.len() - HARM.len()).rev() {
        if der[at..].starts_with(place.as_bytes()) {
            der[at..at + HARM.len()].copy_from_slice(HARM);
            // OpenSSL does not load UTF8String that is none; TeletexString may have any bytes.
            if der[at - 2] == UTF8_STRING {
                der[at - 2] = TELETEX_STRING;
            }
        }
    }
    let folder = Testbed::shared().folder("hostile-certificate")?;
    let (certificate, private) = (folder.join(format!("{file}.der")), folder.join(format!("{file}-key.pem")));
    std::fs::write(&certificate, der)?;
    std::fs::write(&private, key.serialize_pem())?;
    Ok((certificate, private))
}

#[test]
fn hostile_names_in_certificates_and_hellos_harm_nobody() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let (table, port) = (watch()?, testbed.port());
    let own = |command: &mut Command, file: &str| -> Result<()> {
        let (certificate, key) = hostile_certificate(file)?;
        command.args(["-tls1_2", "-certform", "DER", "-cert"]).arg(certificate).arg("-key").arg(key);
        Ok(())
    };
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-verify", "1", "-accept", &format!("{}:{port}", Testbed::SERVER)]);
    own(&mut command, "server")?;
    let mut server = Process::spawn("s_server", Some(&testbed.server_side), command)?;
    server.wait_listening(port)?;
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("{}:{port}", Testbed::SERVER), "-servername"]);
    command.arg(OsStr::from_bytes(HARM));
    own(&mut command, "client")?;
    let record = record_of_client(None, command)?;
    // JSON keeps the names, and escapes them; those of a certificate are readable already (RFC 4514).
    assert_eq!(text(&record, "/tls/server_name"), String::from_utf8_lossy(HARM));
    let certificates = Agent::shared().records.others("certificate");
    for side in ["client", "server"] {
        let identity = text(&record, &format!("/{side}/identity"));
        assert!(identity.starts_with("CN=x\\1b[31m\\1b]0\\;owned\\07"), "{side}: {record:#}");
        let shown = text(&record, &format!("/{side}/certificates/0"));
        let certificate = certificates.iter().find(|one| text(one, "/sha256") == shown);
        let certificate = certificate.with_context(|| format!("certificate {shown}"))?;
        assert!(text(certificate, "/san/dns/0").starts_with("x\\1b[31m\\1b]0;owned\\07"), "{certificate:#}");
        assert!(!certificate.to_string().contains(char::is_control));
    }
    assert!(!record.to_string().contains(char::is_control));
    // One of which only the name is known, and that it is long.
    let long = [HARM, "n".repeat(4096).as_bytes()].concat();
    let long_port = testbed.port();
    let listening = testbed.server_side.enter(|| Ok(TcpListener::bind((Testbed::SERVER, long_port))?))?;
    testbed.client_side.enter(|| {
        let mut stream = TcpStream::connect((Testbed::SERVER, long_port))?;
        Ok(stream.write_all(&client_hello(&long)?)?)
    })?;
    drop(listening);
    let record = Agent::shared().records.one_closed_to(long_port)?;
    assert_eq!(text(&record, "/protocol"), "tls", "{record:#}");
    assert!(text(&record, "/tls/server_name").contains("\u{1b}]0;owned\u{7}"), "{record:#}");
    nobody_is_harmed(&table, port)
}

/// A ClientHello (RFC 8446, section 4.1.2) that asks for a server by this name.
fn client_hello(server_name: &[u8]) -> Result<Vec<u8>> {
    let counted = |bytes: &[u8]| -> Result<Vec<u8>> {
        Ok([&u16::try_from(bytes.len())?.to_be_bytes(), bytes].concat())
    };
    // One host_name.
    let names = counted(&[&[0], counted(server_name)?.as_slice()].concat())?;
    let extensions = counted(&[&[0, 0], counted(&names)?.as_slice()].concat())?;
    // Version, random, no session, one suite, no compression.
    let body = [&[3, 3], [7; 32].as_slice(), &[0, 0, 2, 0xc0, 0x2f, 1, 0], &extensions].concat();
    let handshake = [&[1, 0], counted(&body)?.as_slice()].concat();
    Ok([&[0x16, 3, 1], counted(&handshake)?.as_slice()].concat())
}

/// A file of Docker's on a container, removed with the value.
struct DockerState(PathBuf);

impl Drop for DockerState {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn hostile_names_of_containers_harm_nobody() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let table = watch()?;
    let harm = String::from_utf8_lossy(HARM);
    for (number, (name, image)) in
        [(harm.to_string(), format!("{harm}\nfake line")), ("n".repeat(4096), "i".repeat(4096))]
            .into_iter()
            .enumerate()
    {
        let (_server, port) = tls_server()?;
        let id = format!("{number}{}", "c0ffee1".repeat(9));
        let folder = PathBuf::from("/var/lib/docker/containers").join(&id);
        std::fs::create_dir_all(&folder)?;
        let state = DockerState(folder);
        let config = json!({"ID": id, "Name": format!("/{name}"), "Config": {"Image": image}});
        std::fs::write(state.0.join("config.v2.json"), config.to_string())?;
        let cgroup = Cgroup::unified(&format!("/docker/{id}"))?;
        let record = record_of_client(Some(&cgroup), tls_client(port))?;
        assert_eq!(text(&record, "/client/workload/kind"), "container", "{record:#}");
        assert_eq!(text(&record, "/client/workload/container_id"), id);
        let (known, kept) = (text(&record, "/client/workload/name"), name.len() < 4096);
        assert_eq!(known, if kept { name.as_str() } else { &id[..12] }, "what is too long is no name");
        assert_eq!(at(&record, "/client/workload/image").as_str(), kept.then_some(image.as_str()));
        nobody_is_harmed(&table, port)?;
    }
    Ok(())
}
