//! Certificates in the hands of workloads: which they may present, who else presents them, what for, and whose they are.

use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, AgentOptions, Cgroup, ClientKind, ClientOptions, Expectation, Identity, PATIENCE,
    RequestCertificate, ServerKind, ServerOptions, Signal, Testbed, Version, at, findings_are, ready, text,
    until,
};
use serde_json::{Value, json};

/// Cgroups are of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const OWNERS: &str = "[[owner]]\nworkload = \"unit:cs-db-*.service\"\nowner = \"team-storage\"\npurpose = \"orders\"\n\
    environment = \"test\"\n[[owner]]\nworkload = \"unit:cs-*.service\"\nowner = \"team-web\"\n\
    [[owner]]\nidentity = \"spiffe://test/*\"\nowner = \"team-mesh\"\npurpose = \"mesh\"\n";

/// The daemon, with rules on identities and a file of owners.
fn agent() -> Result<&'static Agent> {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    if let Some(agent) = AGENT.get() {
        return Ok(agent);
    }
    let folder = Testbed::shared().folder("identities")?;
    let owners = folder.join("owners.toml");
    std::fs::write(&owners, OWNERS)?;
    let configuration = format!(
        "[libraries]\nenabled = false\n[ownership]\nfile = {:?}\n\
         [[identity]]\nworkload = \"unit:cs-db-*.service\"\nmay_present = [\"server.test\"]\n\
         [[identity]]\nworkload = \"unit:cs-*.service\"\nmay_present = [\"spiffe://test/{{unit}}\", \"client.test\"]\n",
        owners.to_str().context("a path")?
    );
    let agent =
        Agent::start(AgentOptions { configuration, folder: Some(folder), ..AgentOptions::default() })?;
    Ok(AGENT.get_or_init(|| agent))
}

fn unit(name: &str) -> String {
    format!("cs-{name}-{}", std::process::id())
}

/// A client in a unit talks TLS 1.2 to a server in another one, which takes any certificate.
fn talk(client: &str, client_shows: &Identity, server: &str, server_shows: &Identity) -> Result<Value> {
    let (testbed, agent) = (Testbed::shared(), agent()?);
    let port = testbed.port();
    let (address, version) = (Testbed::SERVER, Some(Version::V1_2));
    Cgroup::new(&format!("system.slice/{server}.service"))?.enter(|| {
        let request = RequestCertificate::Optional;
        let options = ServerOptions { address, port, version, request, identity: server_shows };
        let _server = ServerKind::OpenSsl.start(testbed, options)?;
        let options =
            ClientOptions { address, port, version, identity: Some(client_shows), resume: false, count: 1 };
        let unit = Cgroup::new(&format!("system.slice/{client}.service"))?;
        let run = unit.enter(|| ClientKind::OpenSsl.run(testbed, options))?;
        ensure!(run.answered, "no answer: {}", run.output);
        agent.records.one_closed_to(port)
    })
}

/// The finding of a connection, once it is handed out.
fn finding(record: &Value, code: &str) -> Result<Value> {
    let agent = agent()?;
    let edge = format!(
        "{} → {}:{}",
        text(record, "/client/workload/name"),
        text(record, "/server/workload/name"),
        at(record, "/server/port")
    );
    until("a finding", PATIENCE, || {
        let findings = agent.records.others("finding");
        Ok(findings
            .into_iter()
            .find(|finding| text(finding, "/code") == code && text(finding, "/edge") == edge))
    })
}

#[test]
fn an_identity_that_does_not_fit_its_workload_is_found() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (pki, web, db) = (&Testbed::shared().pki, unit("web"), unit("db"));
    let own_id = format!("spiffe://test/{web}");
    let own = pki.svid("own", &own_id)?;
    let record = talk(&web, &own, &db, &pki.server)?;
    Expectation::default()
        .is("/authentication", "mutual")
        .is("/client/identity", own_id.as_str())
        .is("/client/identity_fit/status", "fits")
        .is("/client/identity_fit/rule", "unit:cs-*.service")
        .is("/client/identity_fit/expected", json!([own_id, "client.test"]))
        .is("/server/identity_fit/status", "fits")
        .is("/client/labels/owner", "team-web")
        .is("/client/labels/purpose", Value::Null)
        .is("/server/labels", json!({"owner": "team-storage", "purpose": "orders", "environment": "test"}))
        .with("/findings", findings_are(&[]))
        .assert(&record);
    let certificates = agent()?.records.others("certificate");
    let certificate = certificates.iter().find(|one| text(one, "/sha256") == own.fingerprints[0]);
    let certificate = certificate.context("the certificate of the client")?;
    Expectation::default()
        .is("/spiffe_id", own_id.as_str())
        .is("/svid_problem", Value::Null)
        .is("/owner", "team-mesh")
        .is("/purpose", "mesh")
        .assert(certificate);

    let stolen = pki.svid("stolen", "spiffe://test/cs-admin")?;
    let record = talk(&web, &stolen, &db, &pki.server)?;
    Expectation::default()
        .is("/client/identity", "spiffe://test/cs-admin")
        .is("/client/identity_fit/status", "does_not_fit")
        .with("/findings", findings_are(&["identity_does_not_fit_workload"]))
        .assert(&record);
    let finding = finding(&record, "identity_does_not_fit_workload")?;
    Expectation::default()
        .is("/severity", "high")
        .is("/certificate", stolen.fingerprints[0].as_str())
        .is("/workload", format!("{web}.service"))
        .assert(&finding);
    let summary = text(&finding, "/summary");
    assert!(summary.contains("presented spiffe://test/cs-admin;") && summary.contains(&own_id), "{summary}");
    Ok(())
}

#[test]
fn a_certificate_that_two_workloads_present_is_found() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (pki, one, other, db) = (&Testbed::shared().pki, unit("one"), unit("other"), unit("db"));
    let record = talk(&one, &pki.client, &db, &pki.server)?;
    Expectation::default().with("/findings", findings_are(&[])).assert(&record);
    // The same workload may present it as often as it likes.
    let record = talk(&one, &pki.client, &db, &pki.server)?;
    Expectation::default().with("/findings", findings_are(&[])).assert(&record);
    let record = talk(&other, &pki.client, &db, &pki.server)?;
    Expectation::default()
        .with("/findings", findings_are(&["certificate_shared_by_workloads"]))
        .assert(&record);
    let finding = finding(&record, "certificate_shared_by_workloads")?;
    Expectation::default()
        .is("/certificate", pki.client.fingerprints[0].as_str())
        .is("/workload", format!("{other}.service"))
        .assert(&finding);
    let summary = text(&finding, "/summary");
    assert!(summary.ends_with(&format!("the certificate of client.test, as did {one}.service")), "{summary}");
    let kept = until("the table of keys", PATIENCE, || {
        let kept = agent()?.metric("countersign_table_entries", "table=\"keys\"")?;
        Ok((kept > 0.0).then_some(kept))
    })?;
    assert!(kept <= agent()?.metric("countersign_table_bound", "table=\"keys\"")?);
    Ok(())
}

#[test]
fn a_servers_certificate_used_by_a_client_is_found() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (pki, client, db) = (&Testbed::shared().pki, unit("db-client"), unit("db-purpose"));
    let record = talk(&client, &pki.server_rsa, &db, &pki.server_rsa)?;
    let codes = ["certificate_shared_by_workloads", "certificate_used_against_its_purpose"];
    Expectation::default().with("/findings", findings_are(&codes)).assert(&record);
    let summary = finding(&record, codes[1])?;
    let summary = text(&summary, "/summary");
    assert!(summary.ends_with("as a client, and its extended key usage allows only serverAuth"), "{summary}");
    Ok(())
}

#[test]
fn a_changed_file_of_owners_counts_after_a_reload() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (pki, agent, web, db) = (&Testbed::shared().pki, agent()?, unit("reload"), unit("db"));
    let identity = pki.svid("reload", &format!("spiffe://test/{web}"))?;
    let owners = agent.folder.join("owners.toml");
    let reloads = |result: &str| agent.metric("countersign_config_reload_total", result);
    let (applied, refused) = (reloads("applied")?, reloads("refused")?);

    std::fs::write(&owners, "[[owner]]\nworkload = 5\n")?;
    agent.signal(Signal::SIGHUP)?;
    until("a refusal", PATIENCE, || Ok((reloads("refused")? > refused).then_some(())))?;
    agent.wait_for_log("owners.toml:2:12: owner[0].workload")?;
    let record = talk(&web, &identity, &db, &pki.server)?;
    Expectation::default().is("/client/labels/owner", "team-web").assert(&record);

    std::fs::write(&owners, OWNERS.replace("team-web", "team-shop"))?;
    agent.signal(Signal::SIGHUP)?;
    until("the new owners", PATIENCE, || Ok((reloads("applied")? > applied).then_some(())))?;
    let record = talk(&web, &identity, &db, &pki.server)?;
    Expectation::default().is("/client/labels/owner", "team-shop").assert(&record);
    std::fs::write(&owners, OWNERS)?;
    agent.signal(Signal::SIGHUP)?;
    until("the old owners", PATIENCE, || Ok((reloads("applied")? > applied + 1.0).then_some(())))?;
    Ok(())
}
