//! Real traffic, and then every question: the answer is the expected one, and the same from the daemon and from a copy of its file.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, AgentOptions, Cgroup, ClientKind, ClientOptions, Identity, PATIENCE, RequestCertificate,
    ServerKind, ServerOptions, Testbed, Version, at, output_of, ready, text, until,
};
use serde_json::{Value, json};

use super::asked::{Whom, answer, ask};

const DAY: Duration = Duration::from_secs(86_400);

/// What happened: a client in a unit of its own talks to servers in another one.
struct Story {
    agent: Agent,
    socket: PathBuf,
    /// The SPIFFE ID of the client.
    id: String,
    /// Its two certificates, in the order of their use.
    shown: [Identity; 2],
    client: String,
    server: String,
    /// Mutual twice, with the one certificate and then with the other, and at last in clear.
    port: u16,
    /// Where only the server has a certificate.
    other_port: u16,
    /// In the order of time.
    records: Vec<Value>,
    copy: PathBuf,
}

/// A client, a server and how they talk.
#[derive(Clone, Copy)]
struct Talk<'a> {
    client: ClientKind,
    server: ServerKind,
    version: Option<Version>,
    identity: Option<&'a Identity>,
    port: u16,
}

impl Talk<'_> {
    fn have(self, units: [&Cgroup; 2]) -> Result<()> {
        let Talk { client, server, version, identity, port } = self;
        let (testbed, address) = (Testbed::shared(), Testbed::SERVER);
        let request = if identity.is_some() { RequestCertificate::Require } else { RequestCertificate::No };
        let options = ServerOptions { address, port, version, request, identity: &testbed.pki.server };
        let process = units[1].enter(|| server.start(testbed, options))?;
        let options = ClientOptions { address, port, version, identity, resume: false, count: 1 };
        let run = units[0].enter(|| client.run(testbed, options))?;
        ensure!(run.answered, "{client} got no answer of {server}: {}\n{}", run.output, process.output());
        Ok(())
    }
}

impl Story {
    fn tell() -> Result<Story> {
        let testbed = Testbed::shared();
        let configuration = "[libraries]\nenabled = false\n".to_owned();
        let agent = Agent::start(AgentOptions { configuration, ..AgentOptions::default() })?;
        let name = |role: &str| format!("questions-{role}-{}.service", std::process::id());
        let (client, server) = (name("client"), name("server"));
        let id = format!("spiffe://test/questions-{}", std::process::id());
        let shown = [
            testbed.pki.svid_for("questions-one", &id, 100 * DAY)?,
            testbed.pki.svid_for("questions-two", &id, 5 * DAY)?,
        ];
        let (port, other_port) = (testbed.port(), testbed.port());
        let first = Talk {
            client: ClientKind::OpenSsl,
            server: ServerKind::OpenSsl,
            version: Some(Version::V1_2),
            identity: Some(&shown[0]),
            port,
        };
        let second = Talk { client: ClientKind::Curl, identity: Some(&shown[1]), ..first };
        let clear = Talk { server: ServerKind::Python, version: None, identity: None, ..second };
        let server_only = Talk {
            client: ClientKind::Python,
            server: ServerKind::Nginx,
            identity: None,
            port: other_port,
            ..first
        };
        let units = [&client, &server].map(|unit| Cgroup::new(&format!("system.slice/{unit}")));
        let [client_unit, server_unit] = units;
        let (client_unit, server_unit) = (client_unit?, server_unit?);
        for talk in [first, second, clear, server_only] {
            talk.have([&client_unit, &server_unit])?;
        }
        let mut records = agent.records.closed_to(port, 3)?;
        records.extend(agent.records.closed_to(other_port, 1)?);
        records.sort_by(|one, other| text(one, "/opened").cmp(text(other, "/opened")));
        let copy = testbed.folder("copy")?.join("copied.db");
        let socket = agent.folder.join("socket");
        let story = Story { agent, socket, id, shown, client, server, port, other_port, records, copy };
        story.is_written()?;
        let file = story.agent.folder.join("data/countersign.db");
        output_of(Command::new("sqlite3").arg(file).arg(format!(".backup {}", story.copy.display())))?;
        Ok(story)
    }

    /// Waits until the file has it all: connections, certificates and findings.
    fn is_written(&self) -> Result<()> {
        let server = key(&self.server);
        until("the history to have it all", PATIENCE, || {
            let (lines, _) =
                answer(self.daemon(), &["connections", "--workload", &server, "--where", "final=true"])?;
            let (certificates, _) = answer(self.daemon(), &["certificates", "--identity", &self.id])?;
            let known = certificates.iter().filter(|one| one["parse_error"].is_null()).count();
            let (findings, _) = answer(self.daemon(), &["findings", "--where", &self.regressed()])?;
            let is_all = lines.len() == 4 && known == 2 && findings.len() == 2;
            if !is_all {
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(is_all.then_some(()))
        })
        .with_context(|| self.agent.log())
    }

    fn daemon(&self) -> Whom<'_> {
        Whom::Daemon(&self.socket)
    }

    /// A condition on findings: those of the connection in clear.
    fn regressed(&self) -> String {
        format!("connection={}", text(&self.records[2], "/id"))
    }

    /// What daemon and copy answer, which is the same.
    fn both(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        self.both_of(arguments, |_| true)
    }

    /// The same of those lines alone that are about the story: what else happens on this host goes on.
    fn both_of(&self, arguments: &[&str], is_meant: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
        let mut answers = Vec::new();
        for whom in [self.daemon(), Whom::File(&self.copy)] {
            let (mut lines, page) = answer(whom, arguments).with_context(|| format!("{arguments:?}"))?;
            ensure!(page["cut"].is_null() && page["next"].is_null(), "{arguments:?}: {page}");
            lines.retain(&is_meant);
            answers.push(lines);
        }
        let [live, copied]: [Vec<Value>; 2] = answers.try_into().unwrap_or_default();
        ensure!(live == copied, "{arguments:?}: the daemon says {live:#?}, and its file {copied:#?}");
        Ok(live)
    }
}

fn key(unit: &str) -> String {
    format!("systemd:{unit}")
}

fn all<'a>(lines: &'a [Value], pointer: &str) -> Vec<&'a Value> {
    lines.iter().map(|line| at(line, pointer)).collect()
}

#[test]
fn every_question_has_its_answer_from_the_daemon_and_from_a_copied_file() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let story = Story::tell()?;
    lists(&story)?;
    certificates(&story)?;
    subjects(&story)?;
    changes(&story)?;
    reports(&story)
}

/// Connections, edges, workloads and findings.
fn lists(story: &Story) -> Result<()> {
    let (client, server) = (key(&story.client), key(&story.server));
    let lines = story.both(&["connections", "--server", &server])?;
    let newest: Vec<&Value> = story.records.iter().rev().collect();
    ensure!(lines.iter().collect::<Vec<_>>() == newest, "{lines:#?} is not {newest:#?}");
    let answers = ["server_only", "none", "mutual", "mutual"];
    ensure!(all(&lines, "/authentication") == answers, "{lines:#?}");

    let lines = story.both(&["edges", "--client", &client])?;
    ensure!(all(&lines, "/port") == [story.other_port, story.port], "{lines:#?}");
    ensure!(lines[1]["authentication"] == json!({"mutual": 2, "none": 1}), "{lines:#?}");
    ensure!(lines[0]["server"]["key"] == format!("workload:{server}"), "{lines:#?}");

    let lines = story.both(&["workloads", "--history", "--workload", &client, "--workload", &server])?;
    ensure!(all(&lines, "/key") == [client.as_str(), server.as_str()], "{lines:#?}");
    let as_client = json!({"mutual": 2, "none": 1, "server_only": 1});
    ensure!(lines[0]["client"]["authentication"] == as_client, "{lines:#?}");
    ensure!(lines[1]["server"]["authentication"] == as_client, "{lines:#?}");
    let shown: Vec<&str> = story.shown.iter().rev().map(|one| one.fingerprints[0].as_str()).collect();
    let presented = lines[0]["presented"].as_array().context("what it presented")?;
    ensure!(all(presented, "/certificate") == shown, "the latest first: {lines:#?}");
    ensure!(all(presented, "/identity") == [story.id.as_str(); 2], "{lines:#?}");
    // Without --history the daemon's table answers, in its own words.
    let output = ask(story.daemon(), &["workloads", "--workload", &client, "--json"])?;
    let table: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(table["schema"] == "countersign.workload/1", "{table}");
    ensure!(table["client"]["authentication"] == as_client, "{table}");

    let lines = story.both(&["findings", "--where", &story.regressed()])?;
    let mut codes = all(&lines, "/code");
    codes.sort_by_key(|code| code.to_string());
    ensure!(codes == ["authentication_regressed", "unauthenticated_east_west"], "{lines:#?}");
    ensure!(all(&lines, "/count") == [1, 1], "{lines:#?}");
    Ok(())
}

/// What a filter by time, by issuer and by any other field finds among certificates that peers really presented.
fn certificates(story: &Story) -> Result<()> {
    let own = ["certificates", "--identity", &story.id];
    let found = |filter: &[&str]| -> Result<Vec<String>> {
        let lines = story.both(&[&own[..], filter].concat())?;
        Ok(lines.iter().map(|line| text(line, "/sha256").to_owned()).collect())
    };
    let [hundred_days, five_days] = [0, 1].map(|one: usize| story.shown[one].fingerprints[0].clone());
    let both = [five_days.clone(), hundred_days.clone()];
    ensure!(found(&[])? == both, "the next to expire first");
    ensure!(found(&["--expiring", "14d"])? == both[..1]);
    ensure!(found(&["--expiring", "200d"])? == both);
    ensure!(found(&["--expired"])?.is_empty());
    ensure!(found(&["--issuer", "Test Intermediate"])? == both);
    ensure!(found(&["--issuer", "Foreign"])?.is_empty());
    ensure!(found(&["--unused", "1d"])?.is_empty());
    // So that they are unused for as long when either of the two is asked.
    std::thread::sleep(Duration::from_millis(1_500));
    ensure!(found(&["--unused", "1s"])? == both);
    ensure!(found(&["--role", "client", "--workload", &key(&story.client)])? == both);
    ensure!(found(&["--role", "server"])?.is_empty());
    ensure!(found(&["--where", &format!("sha256={hundred_days}")])? == [hundred_days]);
    ensure!(found(&["--certificate", &five_days[..8], "--where", "connections=1"])? == [five_days]);
    Ok(())
}

/// All that is known of somebody, and the evidence of one connection.
fn subjects(story: &Story) -> Result<()> {
    let mutual = &story.records[1];
    let owner = at(mutual, "/client/process/pid").to_string();
    let socket = format!("{}:{}", Testbed::SERVER, story.port);
    let sha256 = &story.shown[1].fingerprints[0];
    for (subject, understood, connections) in [
        (story.client.as_str(), "workload", 4),
        (&key(&story.server), "workload", 4),
        (&story.id, "identity", 2),
        (&sha256[..16], "fingerprint", 1),
        (&socket, "address_and_port", 3),
        (&owner, "pid", 1),
        (text(mutual, "/session_id"), "session_id", 1),
    ] {
        let lines = story.both(&["who", subject])?;
        let (first, found) = (&lines[0], &lines[lines.len() - connections..]);
        ensure!(first["understood_as"].to_string().contains(understood), "{subject}: {first}");
        let ids = all(found, "/id");
        ensure!(!ids.contains(&&Value::Null) && ids.len() == connections, "{subject}: {lines:#?}");
    }
    let lines = story.both(&["explain", text(mutual, "/id")])?;
    let told = lines[0].to_string();
    ensure!(lines[0]["kept"] == "whole" && told.contains(&story.id) && told.contains(sha256), "{told}");
    Ok(())
}

/// Whom the identity reached, what happened to it, and what changed.
fn changes(story: &Story) -> Result<()> {
    let nodes = [&story.client, &story.server].map(|unit| format!("workload:{}", key(unit)));
    let lines = story.both(&["blast-radius", &story.id])?;
    ensure!((&lines[0]["holders"], &lines[0]["reached_directly"]) == (&json!(1), &json!(1)), "{lines:#?}");
    ensure!(all(&lines[1..], "/relation") == ["holds", "reached"], "{lines:#?}");
    ensure!(all(&lines[1..], "/node") == [nodes[0].as_str(), nodes[1].as_str()], "{lines:#?}");

    let lines = story.both(&["timeline", &story.id])?;
    let rotations: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "rotation").collect();
    ensure!(rotations.len() == 1, "{lines:#?}");
    ensure!(rotations[0]["certificate"] == story.shown[1].fingerprints[0], "{lines:#?}");
    ensure!(rotations[0]["rotation"]["replaces"] == story.shown[0].fingerprints[0], "{lines:#?}");
    let (client, server, port) = (key(&story.client), key(&story.server), story.port.to_string());
    let lines = story.both(&["timeline", "--client", &client, "--server", &server, "--port", &port])?;
    let weaker: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "regression").collect();
    ensure!(weaker.len() == 1 && weaker[0]["at"] == story.records[2]["opened"], "{lines:#?}");
    ensure!(weaker[0]["regression"]["to"] == "none", "{lines:#?}");

    // Before the connection in clear and after it.
    let (before, after) = (text(&story.records[1], "/closed"), text(&story.records[3], "/closed"));
    let is_meant = |line: &Value| at(line, "/edge/client") == &Value::String(nodes[0].clone());
    let arguments = ["diff", "--before", before, "--after", after, "--limit", "100000"];
    let mut changes: Vec<(Value, Value)> = Vec::new();
    for line in story.both_of(&arguments, is_meant)? {
        changes.push((line["change"].clone(), line["edge"]["port"].clone()));
    }
    ensure!(
        changes == [(json!("weaker"), json!(story.port)), (json!("appeared"), json!(story.other_port))],
        "{changes:?}"
    );
    Ok(())
}

/// The page for people has them, whoever makes it.
fn reports(story: &Story) -> Result<()> {
    let folder = Testbed::shared().folder("report")?;
    for (number, whom) in [story.daemon(), Whom::File(&story.copy)].into_iter().enumerate() {
        let file = folder.join(format!("{number}.html"));
        let path = file.to_str().context("a path that is text")?;
        let output = ask(whom, &["report", "--output", path])?;
        ensure!(output.status.success(), "{output:?}");
        let page = std::fs::read_to_string(&file)?;
        ensure!(page.ends_with("</html>") && page.contains(&story.server), "{page}");
        ensure!(page.contains(&story.id), "{page}");
    }
    Ok(())
}
