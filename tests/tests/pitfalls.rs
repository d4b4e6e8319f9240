//! What capture from stable hooks gets wrong unless it is told: one test per pitfall.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, AgentOptions, ClientKind, ClientOptions, Expectation, Finished, Matcher, Namespace, PATIENCE,
    Process, RequestCertificate, ServerKind, ServerOptions, Testbed, Version, at, findings_are, in_unit,
    odd_client, odd_server, pair_across, ready, request_over, request_to_self, text,
};
use serde_json::{Value, json};

/// One plaintext request to an odd server: its record, the server and the client.
fn exchange(server_manner: &str, client_manner: &str) -> Result<(Value, Process, Finished)> {
    let (agent, port) = (Agent::shared(), Testbed::shared().port());
    let server = odd_server(server_manner, Testbed::SERVER, port)?;
    let client = odd_client(client_manner, Testbed::SERVER, port)?;
    ensure!(client.status.success(), "no answer: {}{}", client.output, server.output());
    let record = agent.records.one_closed_to(port)?;
    agent.fence()?;
    ensure!(agent.records.so_far_to(port).len() == 1, "a second record for the same connection");
    Ok((record, server, client))
}

/// What holds for each plaintext request of [`exchange`].
fn plaintext(client: &Finished) -> Expectation {
    Expectation::default()
        .is("/protocol", "http/1")
        .is("/encryption", "none")
        .is("/authentication", "none")
        .is("/scope", "east_west")
        .is("/capture_complete", true)
        .is("/client/process/pid", client.pid)
        .with("/findings", findings_are(&["unauthenticated_east_west"]))
}

fn holder_pids(record: &Value, side: &str) -> Vec<u64> {
    let holders = at(record, &format!("/{side}/processes")).as_array();
    holders.into_iter().flatten().filter_map(|holder| at(holder, "/process/pid").as_u64()).collect()
}

#[test]
fn accept_without_an_address_still_names_the_server() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("accept_without_address", "plain")?;
    let sources = ["release", "listener", "iterator"].map(|source| json!(source)).to_vec();
    plaintext(&client)
        .is("/server/process/pid", server.pid())
        .with("/server/owner_source", Matcher::OneOf(sources))
        .assert(&record);
    Ok(())
}

#[test]
fn a_client_that_asks_for_its_peers_name_is_no_server() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("plain", "getpeername")?;
    plaintext(&client)
        .is("/client/owner_source", "connect")
        .is("/server/process/pid", server.pid())
        .is("/server/owner_source", "getpeername")
        .assert(&record);
    assert!(!holder_pids(&record, "server").contains(&u64::from(client.pid)), "{record:#}");
    Ok(())
}

#[test]
fn data_on_the_listening_socket_belongs_to_the_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("defer_accept", "plain")?;
    plaintext(&client).is("/server/process/pid", server.pid()).assert(&record);
    assert!(at(&record, "/cleartext_examined/client").as_u64() > Some(0), "{record:#}");
    Ok(())
}

#[test]
fn a_fork_server_names_both_who_accepted_and_who_served() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("fork", "plain")?;
    server.wait_for_output("child ")?;
    let child: u64 = server.output().trim().rsplit(' ').next().context("pid of the child")?.parse()?;
    plaintext(&client).is("/server/process/pid", server.pid()).assert(&record);
    let holders = holder_pids(&record, "server");
    assert!(holders.contains(&u64::from(server.pid())) && holders.contains(&child), "{child} {record:#}");
    Ok(())
}

#[test]
fn a_passed_socket_belongs_to_the_process_that_accepted_it() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("pass_on", "plain")?;
    plaintext(&client).is("/server/process/pid", server.pid()).assert(&record);
    Ok(())
}

#[test]
fn a_kernel_thread_never_owns_a_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (agent, port) = (Agent::shared(), Testbed::shared().port());
    let server = odd_server("drop_in_flight", Testbed::SERVER, port)?;
    let client = odd_client("plain", Testbed::SERVER, port)?;
    assert!(!client.status.success(), "nobody could answer");
    // The garbage collector of Unix sockets may take its time: decided is enough.
    let record = agent.records.decided_to(port)?;
    Expectation::default().is("/server/process/pid", server.pid()).assert(&record);
    for pid in holder_pids(&record, "server") {
        assert_ne!(std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok().as_deref(), Some(""));
    }
    Ok(())
}

#[test]
fn a_connection_that_nobody_accepts_says_why_or_names_the_listener() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let (agent, port) = (Agent::shared(), testbed.port());
    let server = odd_server("never_accept", Testbed::SERVER, port)?;
    testbed.client_side.enter(|| {
        let mut stream = TcpStream::connect((Testbed::SERVER, port))?;
        Ok(stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?)
    })?;
    let pid = server.pid();
    drop(server);
    let record = agent.records.one_closed_to(port)?;
    let unaccepted =
        at(&record, "/server/process").is_null() && !text(&record, "/server/process_unknown").is_empty();
    let listener = at(&record, "/server/process/pid") == pid
        && ["listener", "release"].contains(&text(&record, "/server/owner_source"));
    assert!(unaccepted || listener, "{record:#}");
    Expectation::default().is("/client/process/pid", std::process::id()).assert(&record);
    Ok(())
}

#[test]
fn ipv6_is_seen_like_ipv4() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (agent, port) = (Agent::shared(), Testbed::shared().port());
    let server = odd_server("plain", Testbed::SERVER6, port)?;
    let client = odd_client("plain", Testbed::SERVER6, port)?;
    let record = agent.records.one_closed_to(port)?;
    plaintext(&client)
        .is("/client/address", Testbed::CLIENT6.to_string())
        .is("/server/address", Testbed::SERVER6.to_string())
        .is("/server/process/pid", server.pid())
        .assert(&record);
    Ok(())
}

#[test]
fn an_ipv4_peer_of_a_dual_stack_socket_is_printed_as_ipv4() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (agent, port) = (Agent::shared(), Testbed::shared().port());
    let server = odd_server("plain", IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)?;
    let client = odd_client("plain", Testbed::SERVER, port)?;
    let record = agent.records.one_closed_to(port)?;
    plaintext(&client)
        .is("/client/address", Testbed::CLIENT.to_string())
        .is("/server/address", Testbed::SERVER.to_string())
        .is("/server/process/pid", server.pid())
        .with("/observed_from", Matcher::Set(vec![json!("client"), json!("server")]))
        .assert(&record);
    Ok(())
}

#[test]
fn mptcp_is_one_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("mptcp", "mptcp")?;
    plaintext(&client).assert(&record);
    let known = at(&record, "/server/process/pid") == server.pid();
    let unknown = text(&record, "/server/process_unknown").contains("mptcp");
    assert!(known || unknown, "{record:#}");
    Ok(())
}

#[test]
fn a_second_subflow_is_no_second_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    for side in [&testbed.client_side, &testbed.server_side] {
        side.ip("mptcp limits set subflow 2 add_addr_accepted 2")?;
    }
    testbed.client_side.ip("addr add 10.77.0.77/24 dev veth-client")?;
    testbed.client_side.ip("mptcp endpoint add 10.77.0.77 dev veth-client subflow")?;
    // The client ends with an error if no subflow joins.
    let outcome = exchange("mptcp", "mptcp_join");
    testbed.client_side.ip("mptcp endpoint flush")?;
    testbed.client_side.ip("addr del 10.77.0.77/24 dev veth-client")?;
    let (record, _, client) = outcome?;
    plaintext(&client).is("/client/address", Testbed::CLIENT.to_string()).assert(&record);
    Ok(())
}

#[test]
fn a_syn_that_claims_to_join_does_not_hide_a_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    // The client's kernel knows of no such connection and would reset it.
    let rules = "table inet forged {
        chain out {
            type filter hook output priority 0
            tcp sport 61000 tcp flags rst drop
        }
    }";
    let client_side = &Testbed::shared().client_side;
    client_side.nft(rules)?;
    let outcome = exchange("plain", "forged_join");
    client_side.nft("delete table inet forged")?;
    let (record, server, _) = outcome?;
    Expectation::default()
        .is("/protocol", "http/1")
        .is("/authentication", "none")
        .is("/client/port", 61000)
        .is("/server/process/pid", server.pid())
        .with("/observed_from", Matcher::Set(vec![json!("server")]))
        .assert(&record);
    Ok(())
}

#[test]
fn data_in_the_syn_is_read() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    // Client and server without a cookie first (Documentation/networking/ip-sysctl.rst, tcp_fastopen).
    testbed.client_side.run("sysctl", &["-qw", "net.ipv4.tcp_fastopen=5"])?;
    testbed.server_side.run("sysctl", &["-qw", "net.ipv4.tcp_fastopen=514"])?;
    // The client ends with an error if the server did not take the data of its SYN.
    let (record, server, client) = exchange("fast_open", "fast_open")?;
    plaintext(&client).is("/server/process/pid", server.pid()).assert(&record);
    Ok(())
}

/// A TLS 1.3 connection of curl to `dialled`, which rules in the client's namespace translate.
fn through_nat(rules: &str, dialled: IpAddr, dialled_port: u16, port: u16) -> Result<Value> {
    let (testbed, agent) = (Testbed::shared(), Agent::shared());
    testbed.client_side.nft(rules)?;
    let _server = ServerKind::Nginx.start(
        testbed,
        ServerOptions {
            address: Testbed::SERVER,
            port,
            version: Some(Version::V1_3),
            request: RequestCertificate::No,
            identity: &testbed.pki.server,
        },
    )?;
    let run = ClientKind::Curl.run(
        testbed,
        ClientOptions {
            address: dialled,
            port: dialled_port,
            version: Some(Version::V1_3),
            identity: None,
            resume: false,
            count: 1,
        },
    )?;
    ensure!(run.answered, "{}", run.output);
    let record = agent.records.one_closed_to(port)?;
    agent.fence()?;
    let found = agent.records.so_far_to(port).len();
    ensure!(found == 1, "{found} records for one connection");
    Expectation::default()
        .is("/authentication", "server_only")
        .is("/scope", "east_west")
        .is("/client/process/pid", run.pids[0])
        .is("/client/address", Testbed::CLIENT.to_string())
        .is("/server/address", Testbed::SERVER.to_string())
        .is("/server/port", port)
        .with("/server/process/pid", Matcher::Present)
        .with("/observed_from", Matcher::Set(vec![json!("client"), json!("server")]))
        .assert(&record);
    Ok(record)
}

#[test]
fn a_dialled_service_address_and_its_translation_are_one_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (dialled_port, port) = (Testbed::shared().port(), Testbed::shared().port());
    let dialled = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 99));
    let rules = format!(
        "table ip service {{ chain out {{ type nat hook output priority -100; \
         ip daddr {dialled} tcp dport {dialled_port} dnat to {}:{port}; }}; }}",
        Testbed::SERVER
    );
    let record = through_nat(&rules, dialled, dialled_port, port)?;
    Expectation::default()
        .is("/server/dialled_address", dialled.to_string())
        .is("/server/dialled_port", dialled_port)
        .assert(&record);
    Ok(())
}

#[test]
fn a_translated_source_is_one_connection() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let port = testbed.port();
    testbed.client_side.ip("addr add 10.77.0.50/24 dev veth-client")?;
    let rules = format!(
        "table ip source {{ chain post {{ type nat hook postrouting priority 100; \
         tcp dport {port} snat to 10.77.0.50; }}; }}"
    );
    let record = through_nat(&rules, Testbed::SERVER, port, port)?;
    let translated = at(&record, "/client/translated").to_string();
    assert!(translated.contains("10.77.0.50:"), "{record:#}");
    Ok(())
}

/// One request between two sockets of this process.
fn own_exchange(namespace: Option<&Namespace>, address: IpAddr) -> Result<Value> {
    let port = request_to_self(namespace, address)?;
    let record = Agent::shared().records.one_closed_to(port)?;
    Expectation::default()
        .is("/protocol", "http/1")
        .is("/client/process/pid", std::process::id())
        .is("/server/process/pid", std::process::id())
        .with("/observed_from", Matcher::Set(vec![json!("client"), json!("server")]))
        .assert(&record);
    Ok(record)
}

#[test]
fn loopback_is_loopback_and_no_finding() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let record = own_exchange(None, address)?;
        Expectation::default()
            .is("/scope", "loopback")
            .is("/authentication", "none")
            .with("/findings", findings_are(&[]))
            .assert(&record);
    }
    Ok(())
}

#[test]
fn own_address_to_own_address_is_east_west() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let record = own_exchange(Some(&Testbed::shared().server_side), Testbed::SERVER)?;
    Expectation::default()
        .is("/scope", "east_west")
        .with("/findings", findings_are(&["unauthenticated_east_west"]))
        .assert(&record);
    Ok(())
}

#[test]
fn sockets_of_two_namespaces_are_told_apart() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (record, server, client) = exchange("plain", "plain")?;
    plaintext(&client)
        .is("/server/process/pid", server.pid())
        .with("/client/netns", Matcher::Present)
        .with("/server/netns", Matcher::Present)
        .assert(&record);
    assert_ne!(at(&record, "/client/netns"), at(&record, "/server/netns"));
    Ok(())
}

#[test]
fn super_packets_are_counted_and_cost_no_verdict() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    const LENGTH: usize = 8 * 1024 * 1024;
    let agent = Agent::shared();
    let (mut client, mut server, listener) = pair_across()?;
    let port = listener.local_addr()?.port();
    let reader = std::thread::spawn(move || std::io::copy(&mut server, &mut std::io::sink()));
    client.write_all(b"POST / HTTP/1.1\r\nHost: server.test\r\n\r\n")?;
    client.write_all(&vec![0x5a; LENGTH])?;
    drop(client);
    reader.join().map_err(|_| anyhow::anyhow!("reader panicked"))??;
    let record = agent.records.one_closed_to(port)?;
    Expectation::default()
        .is("/protocol", "http/1")
        .is("/authentication", "none")
        .is("/bytes/client_to_server", LENGTH + 38)
        .assert(&record);
    Ok(())
}

#[test]
fn a_client_of_a_few_milliseconds_is_named() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (testbed, agent) = (Testbed::shared(), Agent::shared());
    for round in 0..10 {
        let port = testbed.port();
        let _server = odd_server("plain", Testbed::SERVER, port)?;
        let mut command = Command::new("bash");
        let script = format!(
            "exec 3<>/dev/tcp/{}/{port}; printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; read -r line <&3",
            Testbed::SERVER
        );
        command.args(["-c", &script]);
        let client = Process::spawn("bash", Some(&testbed.client_side), command)?.finish(PATIENCE)?;
        let record = agent.records.one_closed_to(port)?;
        Expectation::default()
            .is("/client/process/pid", client.pid)
            .is("/client/process/comm", "bash")
            .with("/client/process/start_time", Matcher::Present)
            .is("/client/process/user", "root")
            .assert(&record);
        assert!(text(&record, "/client/process/executable").ends_with("/bash"), "{round}: {record:#}");
    }
    Ok(())
}

#[test]
fn a_connection_older_than_the_agent_is_unknown_and_owned() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (mut client, mut server, listener) = pair_across()?;
    let port = listener.local_addr()?.port();
    request_over(&mut client, &mut server)?;
    let agent = Agent::start(AgentOptions::default())?;
    request_over(&mut client, &mut server)?;
    drop((client, server));
    let record = agent.records.one_closed_to(port)?;
    Expectation::default()
        .is("/authentication", "unknown")
        .is("/capture_complete", false)
        .is("/capture_reason", "mid_stream")
        .is("/client/process/pid", std::process::id())
        .is("/server/process/pid", std::process::id())
        .is("/client/address", Testbed::CLIENT.to_string())
        .is("/server/address", Testbed::SERVER.to_string())
        .with("/findings", findings_are(&[]))
        .assert(&record);
    Ok(())
}

#[test]
fn a_service_is_named_by_its_systemd_unit() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let unit = format!("countersign-test-{}.service", std::process::id());
    // The server ends before the cgroup goes.
    let (record, server, client) = in_unit(&unit, || {
        let (record, server, client) = exchange("plain", "plain")?;
        Ok((record, server.pid(), client))
    })?;
    plaintext(&client)
        .is("/client/workload/kind", "systemd")
        .is("/client/workload/unit", unit.as_str())
        .is("/server/workload/unit", unit.as_str())
        .is("/server/process/pid", server)
        .is("/client/process/user", "root")
        .assert(&record);
    Ok(())
}
