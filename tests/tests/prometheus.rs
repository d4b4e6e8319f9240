//! What a real Prometheus makes of a running agent: the page, the alert rules and the queries of the dashboard in `packaging`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use countersign_tests::{
    Agent, AgentOptions, ClientKind, ClientOptions, Identity, PATIENCE, Process, RequestCertificate,
    ServerKind, ServerOptions, Signal, Testbed, Version, at, output_of, pair_across, ready, text, until,
};
use serde_json::Value;

/// Prometheus scrapes and evaluates once a second: what it says is some seconds old.
const SLOW: Duration = Duration::from_secs(60);

/// Between two questions to Prometheus: each is a connection that the agent sees.
const PAUSE: Duration = Duration::from_millis(300);

/// Asks until there is an answer.
fn patiently<T>(what: &str, mut question: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until(what, SLOW, || {
        let answer = question()?;
        if answer.is_none() {
            std::thread::sleep(PAUSE);
        }
        Ok(answer)
    })
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// Whether Prometheus is here. Where it is not the test is skipped, and CI may not skip it.
fn installed() -> bool {
    let here = ["prometheus", "promtool"].iter().all(|program| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(here || !ci, "prometheus and promtool are not installed: run `cargo xtask setup`");
    if !here {
        eprintln!("skipped: prometheus and promtool are not installed");
    }
    here
}

/// A Prometheus that scrapes one agent and evaluates the rules.
struct Prometheus {
    _process: Process,
    port: u16,
}

impl Prometheus {
    fn start(agent: &Agent) -> Result<Self> {
        let (testbed, port) = (Testbed::shared(), Testbed::shared().port());
        let folder = testbed.folder("prometheus")?;
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{:?}]\n\
             scrape_configs: [{{job_name: countersign, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]\n",
            packaging().join("prometheus/countersign.rules.yml"),
            agent.metrics_port(),
        );
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, configuration)?;
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.args(["--storage.tsdb.retention.time=1h", "--log.level=warn"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut process = Process::spawn("prometheus", None, command)?;
        process.wait_listening(port)?;
        let prometheus = Self { _process: process, port };
        patiently("Prometheus to scrape the agent", || {
            let healthy = prometheus.query("countersign_healthy == 1");
            Ok(healthy.ok().filter(|samples| !samples.is_empty()).map(drop))
        })?;
        Ok(prometheus)
    }

    /// What its API answers; in HTTP/1.0, which has no chunks.
    fn get(&self, path: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
        let answer: Value = serde_json::from_str(body).with_context(|| body.to_owned())?;
        ensure!(text(&answer, "/status") == "success", "{path}: {answer}");
        Ok(at(&answer, "/data").clone())
    }

    /// The samples that a query gives now.
    fn query(&self, query: &str) -> Result<Vec<Value>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let data = self.get(&format!("/api/v1/query?query={encoded}"))?;
        Ok(at(&data, "/result").as_array().context("no result")?.clone())
    }

    /// All rules with their state.
    fn rules(&self) -> Result<Vec<Value>> {
        let data = self.get("/api/v1/rules")?;
        let groups = at(&data, "/groups").as_array().context("no groups")?;
        Ok(groups
            .iter()
            .flat_map(|group| at(group, "/rules").as_array().into_iter().flatten())
            .cloned()
            .collect())
    }

    /// Waits until these alerts are pending or firing.
    fn wait_for_alerts(&self, names: &[&str]) -> Result<()> {
        for name in names {
            patiently(&format!("the alert {name}"), || {
                let rules = self.rules()?;
                let rule = rules.iter().find(|rule| text(rule, "/name") == *name).context("no such alert")?;
                Ok((text(rule, "/state") != "inactive").then_some(()))
            })?;
        }
        Ok(())
    }
}

/// A client talks to a server; `None` for the version is plaintext. Gives the record of this, the connection `number` to that port.
fn talk(
    agent: &Agent,
    (port, number): (u16, usize),
    version: Option<Version>,
    client: Option<&Identity>,
) -> Result<Value> {
    let kind = if version.is_some() { ClientKind::OpenSsl } else { ClientKind::Curl };
    let options =
        ClientOptions { address: Testbed::SERVER, port, version, identity: client, resume: false, count: 1 };
    let run = kind.run(Testbed::shared(), options)?;
    ensure!(run.answered, "{}", run.output);
    agent.records.closed_to(port, number)?.pop().context("no record")
}

fn server(kind: ServerKind, version: Option<Version>) -> Result<(Process, u16)> {
    let testbed = Testbed::shared();
    let (address, port, request) = (Testbed::SERVER, testbed.port(), RequestCertificate::Optional);
    let options = ServerOptions { address, port, version, request, identity: &testbed.pki.server };
    Ok((kind.start(testbed, options)?, port))
}

/// Mutual TLS, then only the server's, an expired certificate, plaintext, and what nobody understands. Gives the records.
fn make_traffic(agent: &Agent) -> Result<Vec<Value>> {
    let pki = &Testbed::shared().pki;
    let version = Some(Version::V1_2);
    let (_tls, tls) = server(ServerKind::OpenSsl, version)?;
    let mutual = talk(agent, (tls, 1), version, Some(&pki.client))?;
    let weaker = talk(agent, (tls, 2), version, None)?;
    let expired = talk(agent, (tls, 3), version, Some(&pki.client_expired))?;
    let (_plain, plain) = server(ServerKind::Nginx, None)?;
    let plain = talk(agent, (plain, 1), None, None)?;
    let (mut client, mut server, _listener) = pair_across()?;
    client.write_all(b"\x07\x91nobody knows this")?;
    server.read_exact(&mut [0; 19])?;
    drop((client, server));
    let all = vec![mutual, weaker, expired, plain];
    let answers: Vec<&str> = all.iter().map(|record| text(record, "/authentication")).collect();
    ensure!(answers == ["mutual", "server_only", "mutual", "none"], "{all:#?}");
    Ok(all)
}

/// What Grafana puts in for its variables.
fn filled(expression: &str) -> String {
    expression.replace("$instance", ".*").replace("$__rate_interval", "5m").replace("$__range", "15m")
}

/// The queries of the dashboard, with the titles of their panels.
fn dashboard() -> Result<Vec<(String, String)>> {
    let file = std::fs::read_to_string(packaging().join("grafana/countersign.json"))?;
    let dashboard: Value = serde_json::from_str(&file)?;
    let panels = at(&dashboard, "/panels").as_array().context("no panels")?;
    let mut ids = BTreeSet::new();
    let mut queries = Vec::new();
    for panel in panels {
        let title = text(panel, "/title");
        ensure!(ids.insert(at(panel, "/id").to_string()), "{title} has another panel's id");
        let targets = at(panel, "/targets").as_array().into_iter().flatten();
        queries.extend(targets.map(|target| (title.to_owned(), filled(text(target, "/expr")))));
    }
    Ok(queries)
}

/// Names of metrics in a query: what is quoted are values of labels.
fn metrics_in(query: &str) -> impl Iterator<Item = &str> {
    let unquoted = query.split('"').step_by(2);
    unquoted
        .flat_map(|part| part.split(|character: char| !character.is_ascii_alphanumeric() && character != '_'))
        .filter(|word| word.starts_with("countersign_") || word.starts_with("process_"))
}

#[test]
fn prometheus_scrapes_the_agent_alerts_and_fills_the_dashboard() -> Result<()> {
    if !ready() || !installed() {
        return Ok(());
    }
    // The agent sees what else this host does, too: nothing may be lost by that.
    let configuration = "[libraries]\nenabled = false\n[capture]\nring_bytes = 67108864\n".to_owned();
    let agent = Agent::start(AgentOptions { configuration, ..AgentOptions::default() })?;
    let prometheus = Prometheus::start(&agent)?;
    let records = make_traffic(&agent)?;
    let regressed = at(&records[1], "/findings").as_array().context("findings")?;
    ensure!(regressed.contains(&"authentication_regressed".into()), "{:#}", records[1]);

    // At once, or pending until it has lasted.
    prometheus.wait_for_alerts(&[
        "CountersignAuthenticationRegressed",
        "CountersignUnauthenticatedEastWest",
        "CountersignSevereFinding",
        "CountersignFinding",
        "CountersignCertificateExpired",
    ])?;
    let known: BTreeSet<String> = serde_json::from_value(prometheus.get("/api/v1/label/__name__/values")?)?;
    for rule in prometheus.rules()? {
        let name = text(&rule, "/name");
        ensure!(text(&rule, "/health") == "ok", "{name}: {rule:#}");
        let annotations = at(&rule, "/alerts").to_string();
        ensure!(!annotations.contains("error expanding"), "{name}: {annotations}");
        for metric in metrics_in(text(&rule, "/query")) {
            ensure!(known.contains(metric), "{name} asks for {metric}, which the agent does not export");
        }
    }
    for quiet in
        ["CountersignDown", "CountersignUnhealthy", "CountersignEventsLost", "CountersignConfigReloadRefused"]
    {
        let rules = prometheus.rules()?;
        let rule = rules.iter().find(|rule| text(rule, "/name") == quiet).context("no such alert")?;
        ensure!(text(rule, "/state") == "inactive", "{rule:#}");
    }
    expect_values(&prometheus, &agent, &records)?;
    for (title, query) in dashboard()? {
        // A rate needs two scrapes.
        let samples = patiently(&format!("{title}: data for {query}"), || {
            let samples = prometheus.query(&query)?;
            Ok((!samples.is_empty()).then_some(samples))
        })?;
        for sample in samples {
            let value: f64 = text(&sample, "/value/1").parse()?;
            ensure!(value.is_finite(), "{title}: {sample} for {query}");
        }
    }
    agent.end(Signal::SIGTERM)?;
    prometheus.wait_for_alerts(&["CountersignDown"])
}

/// What the agent says of the traffic, as Prometheus has it.
fn expect_values(prometheus: &Prometheus, agent: &Agent, records: &[Value]) -> Result<()> {
    let (client, server) = (at(&records[0], "/client"), at(&records[0], "/server"));
    let identity = text(client, "/identity");
    for (query, value) in [
        (format!("countersign_identity_blast_radius{{identity=\"{identity}\"}}"), 1.0),
        (
            "sum(countersign_edge_regressions_total{scope=\"east_west\",from=\"mutual\",to=\"server_only\"})"
                .to_owned(),
            1.0,
        ),
        ("sum(countersign_events_lost_total)".to_owned(), 0.0),
        ("countersign_edges{scope=\"east_west\",authentication=\"none\"} >= bool 1".to_owned(), 1.0),
        // The tests' client presents two: one that ended in 2020, and one that lasts until 2080 and was presented beside it.
        (
            format!(
                "countersign_certificate_expiry_timestamp_seconds{{role=\"client\",identity=\"{identity}\"}}"
            ),
            1_577_836_800.0,
        ),
        (
            format!(
                "countersign_certificate_expiry_timestamp_seconds{{role=\"server\",identity=\"{}\"}}",
                text(server, "/identity")
            ),
            3_471_292_800.0,
        ),
    ] {
        let mut last = Vec::new();
        let seen = patiently(&query, || {
            last = prometheus.query(&query)?;
            let values: Vec<&str> = last.iter().map(|sample| text(sample, "/value/1")).collect();
            Ok((values.len() == 1 && values[0].parse() == Ok(value)).then_some(()))
        });
        if let Err(error) = seen {
            bail!("{error:#}, which gives {last:?}\n{}", agent.http("GET", "/metrics")?.1);
        }
    }
    Ok(())
}

#[test]
fn promtool_finds_nothing_to_say_about_a_live_page() -> Result<()> {
    if !ready() || !installed() {
        return Ok(());
    }
    let agent = Agent::start(AgentOptions::default())?;
    agent.fence()?;
    let (_, page) = agent.http("GET", "/metrics")?;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn()?;
    promtool.stdin.take().context("standard input")?.write_all(page.as_bytes())?;
    let output = promtool.wait_with_output()?;
    ensure!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

#[test]
fn each_alert_is_shown_to_fire_and_not_to_fire() -> Result<()> {
    if !installed() {
        return Ok(());
    }
    let folder = packaging().join("prometheus");
    let promtool =
        |arguments: &[&str]| output_of(Command::new("promtool").args(arguments).current_dir(&folder));
    promtool(&["check", "rules", "countersign.rules.yml"])?;
    promtool(&["test", "rules", "countersign.rules.test.yml"])?;
    let rules = std::fs::read_to_string(folder.join("countersign.rules.yml"))?;
    let tests = std::fs::read_to_string(folder.join("countersign.rules.test.yml"))?;
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    ensure!(alerts.len() > 20, "{alerts:?}");
    for alert in alerts {
        let fires = format!("- alertname: {alert}\n");
        ensure!(tests.contains(&fires), "no test has {alert} fire");
        let is_silence =
            |line: &str| line.contains(&format!("{{alertname: {alert},")) && line.contains("exp_alerts: []");
        ensure!(tests.lines().any(is_silence), "no test has {alert} be silent");
    }
    Ok(())
}
