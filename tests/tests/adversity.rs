//! Loss, reordering, odd segmentation, crowds, hostile and broken clients, and a full ring buffer.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use countersign_tests::{
    Agent, AgentOptions, ByteWiseProxy, ClientKind, ClientOptions, ClientRun, Expectation, Identity, Matcher,
    Mode, PATIENCE, Process, RequestCertificate, ServerKind, ServerOptions, Signal, Testbed, Version, at,
    pair_across, ready, request_over, text, until,
};
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use serde_json::{Value, json};

/// A TLS server with a certificate of choice.
fn server(
    testbed: &Testbed,
    kind: ServerKind,
    port: u16,
    version: Version,
    mode: Mode,
    identity: &Identity,
) -> Result<Process> {
    let request = mode.request();
    kind.start(
        testbed,
        ServerOptions { address: Testbed::SERVER, port, version: Some(version), request, identity },
    )
}

/// `count` connections at once by the Go client; all must be answered.
fn crowd(testbed: &Testbed, port: u16, version: Version, mode: Mode, count: usize) -> Result<ClientRun> {
    let identity = (mode == Mode::Mutual).then_some(&testbed.pki.client);
    let address = Testbed::SERVER;
    let options = ClientOptions { address, port, version: Some(version), identity, resume: false, count };
    let run = ClientKind::Go.run(testbed, options)?;
    ensure!(run.answered, "{}", run.output);
    Ok(run)
}

fn mutual(version: Version) -> Expectation {
    let evidence = if version == Version::V1_2 { "certificate" } else { "inferred" };
    Expectation::default()
        .is("/protocol", "tls")
        .is("/authentication", "mutual")
        .is("/tls/version", version.as_str())
        .is("/tls/client_authentication", "presented")
        .is("/tls/client_authentication_outcome", "accepted")
        .is("/evidence/client", evidence)
        .is("/capture_complete", true)
}

fn assert_all(expectation: &Expectation, records: &[Value]) {
    let wrong: Vec<_> = records
        .iter()
        .map(|record| (expectation.mismatches(record), record))
        .filter(|(m, _)| !m.is_empty())
        .collect();
    let first = wrong.first().map(|(mismatches, record)| format!("{}\nin {record:#}", mismatches.join("\n")));
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong, the first:\n{}",
        wrong.len(),
        records.len(),
        first.unwrap_or_default()
    );
}

#[test]
fn loss_reordering_and_a_small_mtu_cost_no_verdict() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    const CONNECTIONS: usize = 30;
    let agent = Agent::shared();
    // A testbed of its own: its link is bad.
    let testbed = Testbed::new()?;
    for (side, device) in [(&testbed.client_side, "veth-client"), (&testbed.server_side, "veth-server")] {
        // No super-packets, so that single packets of a flight are lost and the rest overtakes them.
        side.ip(&format!("link set {device} mtu 1500 gso_max_segs 1"))?;
        side.nft(
            "table inet loss { chain in { type filter hook input priority 0; \
             meta l4proto tcp numgen random mod 100 < 5 drop; }; }",
        )?;
    }
    for (version, mode) in [
        (Version::V1_2, Mode::Mutual),
        (Version::V1_3, Mode::Mutual),
        (Version::V1_2, Mode::ServerOnly),
        (Version::V1_3, Mode::ServerOnly),
    ] {
        let port = testbed.port();
        let identity = &testbed.pki.server_large;
        let _server = server(&testbed, ServerKind::Go, port, version, mode, identity)?;
        crowd(&testbed, port, version, mode, CONNECTIONS)?;
        let records = agent.records.closed_to(port, CONNECTIONS)?;
        assert_eq!(records.len(), CONNECTIONS);
        let expectation = match mode {
            Mode::Mutual => mutual(version),
            _ => Expectation::default().is("/authentication", "server_only").is("/capture_complete", true),
        };
        assert_all(&expectation, &records);
    }
    Ok(())
}

#[test]
fn a_chain_of_25_kilobytes_is_read_whole() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (testbed, agent) = (Testbed::shared(), Agent::shared());
    let identity = &testbed.pki.server_large;
    assert!(std::fs::metadata(&identity.leaf)?.len() > 30_000, "25 kB are 33 kB as PEM");
    for version in [Version::V1_2, Version::V1_3] {
        for kind in [ServerKind::OpenSsl, ServerKind::Go] {
            let port = testbed.port();
            let _server = server(testbed, kind, port, version, Mode::Mutual, identity)?;
            crowd(testbed, port, version, Mode::Mutual, 1)?;
            let shown = if version == Version::V1_2 { json!(identity.fingerprints) } else { json!([]) };
            mutual(version).is("/server/certificates", shown).assert(&agent.records.one_closed_to(port)?);
        }
    }
    Ok(())
}

#[test]
fn a_handshake_in_segments_of_one_byte_is_read() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (testbed, agent) = (Testbed::shared(), Agent::shared());
    for version in [Version::V1_2, Version::V1_3] {
        let port = testbed.port();
        let _server = server(testbed, ServerKind::OpenSsl, port, version, Mode::Mutual, &testbed.pki.server)?;
        let target = SocketAddr::new(Testbed::SERVER, port);
        let proxy = ByteWiseProxy::start(&testbed.server_side, Testbed::SERVER, target)?;
        crowd(testbed, proxy.port, version, Mode::Mutual, 1)?;
        for port in [proxy.port, port] {
            mutual(version).assert(&agent.records.one_closed_to(port)?);
        }
    }
    Ok(())
}

#[test]
fn five_hundred_connections_at_once_are_five_hundred_records() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    const CONNECTIONS: usize = 500;
    let (testbed, agent) = (Testbed::shared(), Agent::shared());
    let port = testbed.port();
    let version = Version::V1_3;
    let server = server(testbed, ServerKind::Go, port, version, Mode::Mutual, &testbed.pki.server)?;
    let run = crowd(testbed, port, version, Mode::Mutual, CONNECTIONS)?;
    let records = agent.records.closed_to(port, CONNECTIONS)?;
    assert_eq!(records.len(), CONNECTIONS);
    let expectation =
        mutual(version).is("/client/process/pid", run.pids[0]).is("/server/process/pid", server.pid());
    assert_all(&expectation, &records);
    Ok(())
}

/// Sends `bytes` from the client, ends both sides gracefully, and gives the record.
fn record_of(agent: &Agent, bytes: &[u8]) -> Result<Value> {
    let (mut client, mut server, listener) = pair_across()?;
    let port = listener.local_addr()?.port();
    let reader = std::thread::spawn(move || std::io::copy(&mut server, &mut std::io::sink()));
    client.write_all(bytes)?;
    drop(client);
    reader.join().map_err(|_| anyhow::anyhow!("reader panicked"))??;
    let record = agent.records.one_closed_to(port)?;
    Expectation::default()
        .is("/client/process/pid", std::process::id())
        .is("/server/process/pid", std::process::id())
        .assert(&record);
    Ok(record)
}

/// The first bytes of a ClientHello: record and handshake headers, version, and a part of the random.
const CUT_CLIENT_HELLO: [u8; 17] =
    [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a];

#[test]
fn a_client_that_never_sends_is_silent() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let record = record_of(Agent::shared(), &[])?;
    Expectation::default()
        .is("/protocol", "silent")
        .is("/tls", Value::Null)
        .with("/findings", Matcher::Set(vec![]))
        .assert(&record);
    assert!(["none", "unknown", "not_established"].contains(&text(&record, "/authentication")), "{record:#}");
    Ok(())
}

#[test]
fn a_silent_connection_that_stays_open_is_listed_and_never_called_plaintext() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    let (client, server, listener) = pair_across()?;
    // Reported as it stands after a while.
    let record = agent.records.decided_to(listener.local_addr()?.port())?;
    Expectation::default()
        .is("/protocol", "silent")
        .is("/final", false)
        .is("/encryption", "unknown")
        .is("/authentication", "unknown")
        .with("/findings", Matcher::Set(vec![]))
        .assert(&record);
    drop((client, server));
    Ok(())
}

#[test]
fn a_peer_that_vanishes_ends_the_connection_by_timeout() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (agent, testbed) = (Agent::shared(), Testbed::shared());
    let (mut client, mut server, listener) = pair_across()?;
    request_over(&mut client, &mut server)?;
    let port = listener.local_addr()?.port();
    setsockopt(&client, TcpUserTimeout, &1000)?;
    let table = format!("vanish_{port}");
    testbed.server_side.nft(&format!(
        "table inet {table} {{ chain in {{ type filter hook input priority 0; tcp dport {port} drop; }}; }}"
    ))?;
    client.write_all(b"are you there?")?;
    until("the client to give up", PATIENCE, || Ok(client.read(&mut [0; 1]).is_err().then_some(())))?;
    testbed.server_side.nft(&format!("delete table inet {table}"))?;
    // The server hears of it when it speaks: the client's host knows no such connection any more.
    server.write_all(b"yes")?;
    until("the server to hear of it", PATIENCE, || Ok(server.write_all(b"?").is_err().then_some(())))?;
    drop((client, server));
    let record = agent.records.one_closed_to(port)?;
    Expectation::default().is("/close_reason", "timeout").is("/protocol", "http/1").assert(&record);
    Ok(())
}

#[test]
fn half_a_client_hello_is_no_plaintext() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let record = record_of(Agent::shared(), &CUT_CLIENT_HELLO)?;
    assert!(["unknown", "not_established"].contains(&text(&record, "/authentication")), "{record:#}");
    assert_ne!(text(&record, "/encryption"), "none", "{record:#}");
    Ok(())
}

#[test]
fn a_reset_in_the_handshake_is_not_established() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    let (mut client, mut server, listener) = pair_across()?;
    let port = listener.local_addr()?.port();
    client.write_all(&CUT_CLIENT_HELLO)?;
    server.write_all(b"unread")?;
    server.read_exact(&mut [0; CUT_CLIENT_HELLO.len()])?;
    until("the answer to arrive", PATIENCE, || Ok((client.peek(&mut [0; 6])? == 6).then_some(())))?;
    // Closing with unread bytes sends a reset (RFC 2525 section 2.17).
    drop(client);
    ensure!(server.read(&mut [0; 1]).is_err(), "the server was not reset");
    drop(server);
    let record = agent.records.one_closed_to(port)?;
    Expectation::default().is("/close_reason", "reset").assert(&record);
    assert!(["unknown", "not_established"].contains(&text(&record, "/authentication")), "{record:#}");
    Ok(())
}

#[test]
fn garbage_is_neither_tls_nor_a_reason_to_fail() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    // A fixed linear congruential generator (Knuth): the same garbage in each run.
    let mut state = 42_u64;
    let mut garbage = Vec::new();
    for _ in 0..64 * 1024 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        garbage.push(state.to_be_bytes()[0]);
    }
    for bytes in [&garbage[..], &[0; 4096], &[0xff; 4096], b"\x16", b"\x16\x03", b"\x80\x2e\x01"] {
        let record = record_of(Agent::shared(), bytes)?;
        let authentication = text(&record, "/authentication");
        assert!(["none", "unknown", "not_established"].contains(&authentication), "{record:#}");
        assert_ne!(text(&record, "/tls/handshake"), "complete", "{record:#}");
    }
    Expectation::default().is("/protocol", "unknown").assert(&record_of(Agent::shared(), &garbage)?);
    Ok(())
}

#[test]
fn a_handshake_length_of_16_megabytes_is_not_believed() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    // One of its own: what other tests make the shared one remember is none of this.
    let agent = Agent::start(AgentOptions::default())?;
    let before = agent.metric("process_resident_memory_bytes", "")?;
    // Records of 16 KiB that together would be one ClientHello of 2^24 - 1 bytes.
    let mut bytes = Vec::new();
    for number in 0..64 {
        let mut body = vec![0x41; 16_384];
        if number == 0 {
            body[..6].copy_from_slice(&[1, 0xff, 0xff, 0xff, 3, 3]);
        }
        bytes.extend([0x16, 3, 1, 0x40, 0]);
        bytes.extend(body);
    }
    for _ in 0..20 {
        let record = record_of(&agent, &bytes)?;
        Expectation::default()
            .is("/authentication", "unknown")
            .is("/capture_complete", false)
            .assert(&record);
    }
    let after = agent.metric("process_resident_memory_bytes", "")?;
    assert!(after - before < 16.0 * 1024.0 * 1024.0, "memory went from {before} to {after} bytes");
    Ok(())
}

#[test]
fn a_full_ring_is_counted_and_invents_no_verdict() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    const CONNECTIONS: usize = 300;
    let testbed = Testbed::shared();
    let configuration = "[capture]\nring_bytes = 65536\n".to_owned();
    let agent = Agent::start(AgentOptions { configuration, ..AgentOptions::default() })?;
    let port = testbed.port();
    let (version, identity) = (Version::V1_2, &testbed.pki.server);
    let _server = server(testbed, ServerKind::Go, port, version, Mode::Mutual, identity)?;
    // A stopped reader is the surest way to a full ring.
    agent.signal(Signal::SIGSTOP)?;
    let burst = crowd(testbed, port, version, Mode::Mutual, CONNECTIONS);
    agent.signal(Signal::SIGCONT)?;
    burst?;
    let lost = until("lost events to be counted", PATIENCE, || {
        let lost = agent.metric("countersign_events_lost_total", "ring_full")?;
        Ok((lost > 0.0).then_some(lost))
    })?;
    let gap = until("a gap record", PATIENCE, || {
        Ok(agent.records.others("gap").into_iter().find(|gap| text(gap, "/cause") == "ring_full"))
    })?;
    assert!(at(&gap, "/lost").as_f64().is_some_and(|count| count > 0.0 && count <= lost), "{gap:#}");
    // After the gap everything is seen again, and was reported up to here.
    agent.fence()?;
    let records = agent.records.so_far_to(port);
    assert!(records.len() <= CONNECTIONS, "{} records", records.len());
    for record in &records {
        let authentication = text(record, "/authentication");
        assert!(["mutual", "unknown"].contains(&authentication), "{record:#}");
        let known = authentication == "mutual" || !text(record, "/evidence/reason").is_empty();
        assert!(known, "unknown without a reason: {record:#}");
    }
    let fresh = testbed.port();
    let _second = server(testbed, ServerKind::Go, fresh, version, Mode::Mutual, identity)?;
    crowd(testbed, fresh, version, Mode::Mutual, 1)?;
    mutual(version).assert(&agent.records.one_closed_to(fresh)?);
    Ok(())
}

#[test]
fn a_connection_that_stays_open_is_reported_while_it_is() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::shared();
    let (mut client, mut server, listener) = pair_across()?;
    let port = listener.local_addr()?.port();
    request_over(&mut client, &mut server)?;
    let open = agent.records.wait_for("the open connection", Duration::from_secs(10), |all| {
        all.iter().find(|record| at(record, "/server/port") == port).map(|record| (*record).clone())
    })?;
    Expectation::default()
        .is("/final", false)
        .is("/closed", Value::Null)
        .is("/authentication", "none")
        .assert(&open);
    drop((client, server));
    let closed = agent.records.one_closed_to(port)?;
    assert_eq!(at(&closed, "/id"), at(&open, "/id"));
    assert!(at(&closed, "/revision").as_u64() > at(&open, "/revision").as_u64());
    Ok(())
}

#[test]
fn an_optional_request_is_told_from_none_in_a_crowd() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    const CONNECTIONS: usize = 50;
    let (testbed, agent) = (Testbed::shared(), Agent::shared());
    for (mode, state) in
        [(Mode::ServerOnly, "not_requested"), (Mode::RequestedNoneSent, "requested_none_sent")]
    {
        assert_ne!(mode.request(), RequestCertificate::Require);
        let (port, version) = (testbed.port(), Version::V1_3);
        let _server = server(testbed, ServerKind::OpenSsl, port, version, mode, &testbed.pki.server)?;
        crowd(testbed, port, version, mode, CONNECTIONS)?;
        let records = agent.records.closed_to(port, CONNECTIONS)?;
        let expectation = Expectation::default()
            .is("/authentication", "server_only")
            .is("/tls/client_authentication", state);
        assert_all(&expectation, &records);
    }
    Ok(())
}
