//! Brokers of messages, and remote calls.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use countersign_tests::{Agent, Process, Testbed, at, output_of, ready};
use serde_json::Value;

use crate::conversation::{PASSWORD, USER, assert_conversations, assert_said, connections};
use crate::peers::{ask, ask_from, ask_script, configured, curl, script, script_by, serve, serve_script};

/// An Erlang node starts for eight seconds on two idle cores.
const BROKER_PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn nats_server_and_its_client() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (protected, open) = (Testbed::shared().port(), Testbed::shared().port());
    let command = |port: u16| {
        let mut command = Command::new("nats-server");
        command.args(["--addr", &Testbed::SERVER.to_string(), "--port", &port.to_string()]);
        command
    };
    let mut with_user = command(protected);
    with_user.args(["--user", USER, "--pass", PASSWORD]);
    let _servers = [serve("nats-server", with_user, protected)?, serve("nats-server", command(open), open)?];
    ask_script("nats", protected, Some(USER))?;
    ask_script("nats", open, None)?;
    assert_conversations(protected, "nats", &[Some("nats_password")])?;
    assert_conversations(open, "nats", &[None])
}

#[test]
fn rabbitmq_with_a_client_of_each_generation() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let testbed = Testbed::shared();
    let (port, mapper_port) = (testbed.port(), testbed.port());
    // The port mapper that a node would start outlives it.
    let mut mapper = Command::new("epmd");
    mapper.args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()]);
    let _mapper = serve("epmd", mapper, mapper_port)?;
    let (folder, configuration) = configured(
        "rabbitmq",
        &format!(
            "listeners.tcp.1 = {}:{port}\ndefault_user = {USER}\ndefault_pass = {PASSWORD}\n\
             loopback_users = none\nlog.console = true\n",
            Testbed::SERVER
        ),
    )?;
    std::fs::write(folder.join("plugins"), "[rabbitmq_amqp1_0].\n")?;
    // Not the one of the path, which changes to a user of its own.
    let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    command.envs([
        ("HOME", folder.clone()),
        ("RABBITMQ_CONFIG_FILE", configuration.with_extension("conf")),
        ("RABBITMQ_CONF_ENV_FILE", folder.join("environment")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins")),
        ("RABBITMQ_LOG_BASE", folder.join("log")),
        ("RABBITMQ_MNESIA_BASE", folder.join("mnesia")),
        ("RABBITMQ_PID_FILE", folder.join("pid")),
    ]);
    std::fs::rename(&configuration, configuration.with_extension("conf"))?;
    command.envs([
        ("ERL_EPMD_PORT", mapper_port.to_string()),
        ("RABBITMQ_LOGS", "-".to_owned()),
        ("RABBITMQ_NODENAME", "countersign@localhost".to_owned()),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-start_epmd false".to_owned()),
    ]);
    Agent::shared();
    let mut broker = Process::spawn("rabbitmq", Some(&testbed.server_side), command)?;
    broker.wait_listening_for(port, BROKER_PATIENCE)?;
    ask_script("amqp", port, Some(USER))?;
    // Proton's library has no package for another Python than Debian's.
    let proton =
        script_by(Path::new("/usr/bin/python3"), "client.py", "amqp1", (Testbed::SERVER, port), Some(USER));
    ask("proton", proton, "answered")?;
    assert_conversations(port, "amqp", &[Some("amqp_plain"), Some("amqp_plain")])
}

#[test]
fn mosquitto_and_curl() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for (user, credential) in [(Some(USER), Some("mqtt_password")), (None, None)] {
        let port = Testbed::shared().port();
        let (folder, configuration) = configured("mosquitto", "")?;
        let passwords = folder.join("passwords");
        let mut command = Command::new("mosquitto_passwd");
        output_of(command.args(["-c", "-b"]).arg(&passwords).args([USER, PASSWORD]))?;
        std::fs::write(
            &configuration,
            format!(
                "user root\nlistener {port} {}\nallow_anonymous {}\npassword_file {}\n",
                Testbed::SERVER,
                user.is_none(),
                passwords.display()
            ),
        )?;
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(configuration);
        let broker = serve("mosquitto", command, port)?;
        let mut publish = curl(&format!("mqtt://{}:{port}/greetings", Testbed::SERVER), user);
        publish.args(["--data", "hello"]);
        ask("curl", publish, "Connected to")?;
        // curl does not say whether it was let in.
        broker.wait_for_output("New client connected from")?;
        assert_conversations(port, "mqtt", &[credential])?;
    }
    Ok(())
}

/// The mock broker of the library takes no credentials, and listens on the loopback device only.
#[test]
fn kafka_by_librdkafka_and_its_mock_broker() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    Agent::shared();
    let side = &Testbed::shared().server_side;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let command = script("server.py", "kafka_mock", (loopback, 0), None)?;
    let server = Process::spawn("kafka_mock", Some(side), command)?;
    server.wait_for_output("listens on port ")?;
    let output = server.output();
    let port = output.lines().find_map(|line| line.strip_prefix("listens on port ")).context("no port")?;
    let port: u16 = port.parse()?;
    ask_from(side, "kafka", script("client.py", "kafka", (loopback, port), None)?, "answered")?;
    // It keeps a connection to itself.
    drop(server);
    let records = connections(port)?;
    ensure!(records.len() > 1, "the client's is missing: {records:#?}");
    for record in &records {
        assert_eq!(at(record, "/protocol"), "kafka", "{record:#}");
        assert_eq!(at(record, "/encryption"), "none", "{record:#}");
        assert_eq!(at(record, "/credential_in_clear"), &Value::Null, "{record:#}");
    }
    Ok(())
}

/// A real client; the broker is scripted, since those in reach know no SASL.
#[test]
fn kafka_by_librdkafka_with_a_password() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let server = serve_script("kafka_sasl", port)?;
    ask_script("kafka", port, Some(USER))?;
    drop(server);
    // It may have connected to the bootstrap address and to the broker.
    for record in connections(port)? {
        assert_said(&record, "kafka", Some("kafka_plain"));
    }
    Ok(())
}

#[test]
fn grpc_in_clear() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let _server = serve_script("grpc", port)?;
    ask_script("grpc", port, None)?;
    ask_script("grpc", port, Some(USER))?;
    assert_conversations(port, "grpc", &[None, Some("http_bearer")])
}
