//! Every server × client × mode × version with real peers: the whole record is asserted.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, Case, ClientKind, ClientOptions, ClientRun, Expectation, Mode, Outcome, Process,
    RequestCertificate, ServerKind, ServerOptions, Testbed, Version, cases, expected, findings_are,
    peers_only, ready, text,
};
use serde_json::json;

/// One line of the printed table.
struct Row {
    case: Case,
    expected: String,
    seen: String,
    problems: Vec<String>,
}

#[test]
fn every_peer_in_every_mode_gets_the_right_record() {
    if !ready() {
        return;
    }
    let full = std::env::var("COUNTERSIGN_FULL").is_ok_and(|value| value == "1");
    let only = std::env::var("COUNTERSIGN_ONLY").unwrap_or_default();
    let rows: Vec<Row> = cases(full)
        .into_iter()
        .filter(|case| only.split_whitespace().all(|word| case.to_string().contains(word)))
        .flat_map(|case| {
            play(case).unwrap_or_else(|error| {
                let problems = vec![format!("{error:?}")];
                vec![Row { case, expected: String::new(), seen: String::new(), problems }]
            })
        })
        .collect();
    let failed = rows.iter().filter(|row| !row.problems.is_empty()).count();
    let unknown = rows.iter().filter(|row| row.seen.starts_with("unknown")).count();
    println!("{}", table(&rows));
    println!("{} connections, {failed} wrong, {unknown} unknown", rows.len());
    assert_eq!(failed, 0, "of {} connections (see the table)", rows.len());
}

/// Certificates and versions that a careful peer would not take, and what is said about them.
#[test]
fn what_was_accepted_but_should_not_have_been_is_found() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let agent = (!peers_only()).then(Agent::shared);
    let pki = &testbed.pki;
    let server_only = "server_only_tls_east_west";
    let (expired, future) = ("expired_certificate_accepted", "not_yet_valid_certificate_accepted");
    let (v1_1, v1_2) = (Version::V1_1, Version::V1_2);
    for (version, server, client, findings) in [
        (v1_2, &pki.server_expired, None, vec![server_only, expired]),
        (v1_2, &pki.server_future, None, vec![server_only, future]),
        (v1_2, &pki.server, Some(&pki.client_expired), vec![expired]),
        (v1_2, &pki.server_expired, Some(&pki.client_expired), vec![expired]),
        (v1_1, &pki.server, None, vec![server_only, "deprecated_tls_version"]),
        (v1_1, &pki.server, Some(&pki.client), vec!["deprecated_tls_version"]),
        (v1_2, &pki.server_rsa, Some(&pki.client), vec![]),
    ] {
        let port = testbed.port();
        let request = if client.is_some() { RequestCertificate::Optional } else { RequestCertificate::No };
        let (address, only) = (Testbed::SERVER, Some(version));
        // OpenSSL's test programs go on whatever the certificate is.
        let _server = ServerKind::OpenSsl
            .start(testbed, ServerOptions { address, port, version: only, request, identity: server })?;
        let options =
            ClientOptions { address, port, version: only, identity: client, resume: false, count: 1 };
        let run = ClientKind::OpenSsl.run(testbed, options)?;
        ensure!(run.answered, "{}", run.output);
        let Some(agent) = agent else { continue };
        let shown = client.map_or(json!([]), |client| json!(client.fingerprints));
        Expectation::default()
            .is("/authentication", if client.is_some() { "mutual" } else { "server_only" })
            .is("/tls/version", version.as_str())
            .is("/server/certificates", json!(server.fingerprints))
            .is("/client/certificates", shown)
            .with("/findings", findings_are(&findings))
            .assert(&agent.records.one_closed_to(port)?);
    }
    Ok(())
}

/// Runs the peers of one case and compares the record of each connection.
fn play(case: Case) -> Result<Vec<Row>> {
    let testbed = Testbed::shared();
    let port = testbed.port();
    let server = case.server.start(
        testbed,
        ServerOptions {
            address: Testbed::SERVER,
            port,
            version: case.version,
            request: case.mode.request(),
            identity: &testbed.pki.server,
        },
    )?;
    // Before the client: the agent's first record must not be missed.
    let agent = (!peers_only()).then(Agent::shared);
    let identity = match case.mode {
        Mode::Mutual | Mode::Resumed => Some(&testbed.pki.client),
        Mode::Rejected => Some(&testbed.pki.client_untrusted),
        _ => None,
    };
    let resume = case.mode == Mode::Resumed;
    let options =
        ClientOptions { address: Testbed::SERVER, port, version: case.version, identity, resume, count: 1 };
    let run = case.client.run(testbed, options)?;
    prove_peers(case, &run, &server)?;
    let Some(agent) = agent else {
        return Ok(vec![Row {
            case,
            expected: String::new(),
            seen: run.cipher_suite.unwrap_or_default(),
            problems: Vec::new(),
        }]);
    };
    compare(case, testbed, agent, &server, &run, port)
}

/// What happened is what the case says: else a wrong record would prove nothing.
fn prove_peers(case: Case, run: &ClientRun, server: &Process) -> Result<()> {
    let printed = || format!("client:\n{}\nserver:\n{}", run.output, server.output());
    let answer = case.mode != Mode::Rejected;
    ensure!(run.answered == answer, "answered is {}\n{}", run.answered, printed());
    ensure!(case.mode != Mode::Resumed || run.resumed != Some(false), "not resumed\n{}", printed());
    Ok(())
}

fn compare(
    case: Case,
    testbed: &Testbed,
    agent: &Agent,
    server: &Process,
    run: &ClientRun,
    port: u16,
) -> Result<Vec<Row>> {
    let records = agent.records.closed_to(port, run.pids.len())?;
    ensure!(records.len() == run.pids.len(), "{} records: {records:#?}", records.len());
    let server_pids = server.tree();
    let first = text(records.first().context("no record")?, "/id").to_owned();
    let rows = records.iter().zip(&run.pids).enumerate().map(|(number, (record, &client_pid))| {
        let outcome = Outcome {
            server_pids: &server_pids,
            client_pid,
            port,
            cipher_suite: run.cipher_suite.as_deref(),
            resumes: (number > 0).then_some(first.as_str()),
        };
        let expectation = expected(&case, testbed, &outcome);
        let mut problems = expectation.mismatches(record);
        if !problems.is_empty() {
            problems.push(record.to_string());
        }
        let seen = ["/authentication", "/tls/client_authentication", "/evidence/client", "/evidence/reason"]
            .map(|pointer| text(record, pointer))
            .join(" ");
        let wanted = ["/authentication", "/tls/client_authentication", "/evidence/client"]
            .map(|pointer| expectation.of(pointer).replace('"', ""))
            .join(" ");
        Row { case, expected: wanted, seen, problems }
    });
    Ok(rows.collect())
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{:35} {:48} {}\n", "client   server   TLS mode", "expected", "seen");
    for row in rows {
        let mark = if row.problems.is_empty() { ' ' } else { '✗' };
        let case = row.case.to_string();
        let _ = writeln!(text, "{mark} {case:33} {:48} {}", row.expected, row.seen);
        for problem in &row.problems {
            let _ = writeln!(text, "      {problem}");
        }
    }
    text
}
