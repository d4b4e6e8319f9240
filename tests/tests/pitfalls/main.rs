//! What capture from stable hooks gets wrong unless it is told: one test per pitfall.

mod addresses;
mod holders;
mod packets;

use anyhow::{Result, ensure};
use countersign_tests::{
    Agent, Expectation, Finished, Process, Testbed, findings_are, odd_client, odd_server,
};
use serde_json::Value;

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
