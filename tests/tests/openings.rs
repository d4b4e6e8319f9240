//! Protocols that begin in clear: TLS behind their switch is read like any other, and a credential in clear is found.

use std::process::Command;

use anyhow::{Result, ensure};
use countersign_tests::{
    Agent, Expectation, PATIENCE, Process, Testbed, at, findings_are, peer_script, python, ready, text,
};
use serde_json::{Value, json};

fn server(protocol: &str, port: u16) -> Result<Process> {
    // Before the first connection.
    Agent::shared();
    let testbed = Testbed::shared();
    let mut command = Command::new(python()?);
    command.arg(peer_script("opening_server.py")).args([
        protocol,
        &Testbed::SERVER.to_string(),
        &port.to_string(),
    ]);
    command.args([&testbed.pki.server.chain, &testbed.pki.server.key, &testbed.pki.ca]);
    let mut server = Process::spawn(protocol, Some(&testbed.server_side), command)?;
    server.wait_listening(port)?;
    Ok(server)
}

/// `program` with `arguments` in the client's namespace; `input` goes to its standard input, which is then closed.
/// Both answer "hello"; whether they also say goodbye as TLS wants it does not matter.
fn client(program: &str, arguments: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", "printf '%b' \"$0\" | timeout 15 \"$@\"", input, program]).args(arguments);
    let finished =
        Process::spawn(program, Some(&Testbed::shared().client_side), command)?.finish(PATIENCE)?;
    ensure!(finished.output.contains("hello"), "{program} was not answered: {}", finished.output);
    Ok(())
}

fn one_closed(port: u16) -> Result<Value> {
    let agent = Agent::shared();
    let record = agent.records.one_closed_to(port)?;
    agent.fence()?;
    ensure!(agent.records.so_far_to(port).len() == 1, "a second record for the same connection");
    Ok(record)
}

/// What holds for each mutual connection that was upgraded.
fn upgraded(from: &str, version: &str) -> Expectation {
    let pki = &Testbed::shared().pki;
    let expectation = Expectation::default()
        .is("/protocol", "tls")
        .is("/upgraded_from", from)
        .is("/encryption", "tls")
        .is("/authentication", "mutual")
        .is("/credential_in_clear", Value::Null)
        .is("/tls/version", version)
        .is("/tls/handshake", "complete")
        .is("/tls/client_authentication", "presented")
        .is("/capture_complete", true)
        .with("/findings", findings_are(&[]));
    match version {
        "1.2" => expectation
            .is("/client/certificates", json!(pki.client.fingerprints))
            .is("/server/certificates", json!(pki.server.fingerprints)),
        _ => expectation,
    }
}

#[test]
fn tls_behind_an_opening_is_read_like_any_other() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let pki = &Testbed::shared().pki;
    for (protocol, starttls) in [
        ("smtp", "smtp"),
        ("imap", "imap"),
        ("pop3", "pop3"),
        ("ftp", "ftp"),
        ("ldap", "ldap"),
        ("postgresql", "postgres"),
        ("mysql", "mysql"),
        ("xmpp", "xmpp"),
    ] {
        for (version, flag) in [("1.2", "-tls1_2"), ("1.3", "-tls1_3")] {
            let port = Testbed::shared().port();
            let _server = server(protocol, port)?;
            let address = format!("{}:{port}", Testbed::SERVER);
            let (intermediates, key) =
                (pki.client.intermediates.to_string_lossy(), pki.client.key.to_string_lossy());
            let leaf = pki.client.leaf.to_string_lossy();
            client(
                "openssl",
                &[
                    "s_client",
                    "-quiet",
                    "-starttls",
                    starttls,
                    "-connect",
                    &address,
                    flag,
                    "-cert",
                    &leaf,
                    "-cert_chain",
                    &intermediates,
                    "-key",
                    &key,
                    "-ign_eof",
                ],
                "GET / HTTP/1.1\\r\\n\\r\\n",
            )?;
            let record = one_closed(port)?;
            println!("{protocol:<12} {version}  {}", text(&record, "/tls/history"));
            upgraded(protocol, version).assert(&record);
            let examined = at(&record, "/cleartext_examined/client").as_u64();
            assert!(examined.is_some_and(|bytes| bytes > 0), "{protocol}: nothing was looked at: {record:#}");
        }
    }
    Ok(())
}

#[test]
fn tls_through_a_proxy_is_read_like_any_other() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let pki = &Testbed::shared().pki;
    for (protocol, scheme) in [("http_connect", "http"), ("socks", "socks5h")] {
        let port = Testbed::shared().port();
        let _server = server(protocol, port)?;
        let proxy = format!("{scheme}://{}:{port}", Testbed::SERVER);
        let (chain, key) = (pki.client.chain.to_string_lossy(), pki.client.key.to_string_lossy());
        let authority = pki.ca.to_string_lossy();
        client(
            "curl",
            &[
                "-sS",
                "--max-time",
                "15",
                "-p",
                "-x",
                &proxy,
                "--cacert",
                &authority,
                "--cert",
                &chain,
                "--key",
                &key,
                "--tlsv1.3",
                "https://server.test/",
            ],
            "",
        )?;
        upgraded(protocol, "1.3").is("/tls/server_name", "server.test").assert(&one_closed(port)?);
    }
    Ok(())
}

#[test]
fn a_credential_in_clear_is_named_and_never_shown() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    const SECRET: &str = "correct-horse-battery";
    let found = findings_are(&["unauthenticated_east_west", "credential_in_clear"]);
    let none = findings_are(&["unauthenticated_east_west"]);
    let server_address = Testbed::SERVER.to_string();
    for (protocol, name, credential, program, arguments) in [
        (
            "http",
            "http/1",
            Some("http_basic"),
            "curl",
            vec!["-sS", "-u", "alice:correct-horse-battery", "http://ADDRESS/"],
        ),
        (
            "http",
            "http/1",
            Some("http_bearer"),
            "curl",
            vec!["-sS", "-H", "Authorization: Bearer correct-horse-battery", "http://ADDRESS/"],
        ),
        (
            "http",
            "http/1",
            Some("http_api_key"),
            "curl",
            vec!["-sS", "-H", "X-API-Key: correct-horse-battery", "http://ADDRESS/"],
        ),
        ("http", "http/1", None, "curl", vec!["-sS", "http://ADDRESS/correct-horse-battery"]),
        (
            "ftp_login",
            "ftp",
            Some("ftp_password"),
            "curl",
            vec!["-s", "-u", "alice:correct-horse-battery", "-Q", "QUIT", "ftp://ADDRESS/"],
        ),
    ] {
        let port = Testbed::shared().port();
        let _server = server(protocol, port)?;
        let address = format!("{server_address}:{port}");
        let arguments: Vec<String> =
            arguments.into_iter().map(|argument| argument.replace("ADDRESS", &address)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let outcome = client(program, &arguments, "");
        if protocol == "http" {
            outcome?;
        }
        let record = one_closed(port)?;
        Expectation::default()
            .is("/protocol", name)
            .is("/authentication", "none")
            .is("/credential_in_clear", credential)
            .with("/findings", if credential.is_some() { found.clone() } else { none.clone() })
            .assert(&record);
        assert!(!record.to_string().contains(SECRET), "the record shows the credential: {record}");
    }
    let findings = Agent::shared().records.others("finding");
    assert!(findings.iter().any(|finding| text(finding, "/code") == "credential_in_clear"));
    assert!(findings.iter().all(|finding| !finding.to_string().contains(SECRET)));
    Ok(())
}
