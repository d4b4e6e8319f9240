//! Resident memory of the agent, idle and while many connections are open.
//!
//! The connections are mutual TLS 1.2 with both chains in clear, which leaves most behind. Holding
//! 50,000 of them takes no cryptography: one handshake is recorded and its bytes are played to every
//! connection, with randoms of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Verdict;
use super::agent::{Agent, Probing, Resident};
use super::handshake::record_handshake;
use super::holder::Holder;

const MIB: u64 = 1024 * 1024;
/// Resident limit without connections.
const IDLE_LIMIT: u64 = 40 * MIB;
/// Resident limit with the open connections.
const BUSY_LIMIT: u64 = 100 * MIB;
/// For the tables of an idle agent to reach their size.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// For the agent to have followed every connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures both.
pub fn measure(folder: &Path, connections: usize) -> Result<Vec<Verdict>> {
    let flights = record_handshake(folder)?;
    let agent = Agent::start(folder, Probing::On)?;
    std::thread::sleep(IDLE_TIME);
    let idle = agent.resident()?;
    let opened = Instant::now();
    let open = Holder::open(&flights, folder, connections)?;
    println!("opened {connections} connections in {:?}", opened.elapsed());
    let followed = await_followed(&agent, connections)?;
    let busy = agent.resident()?;
    let page = agent.page()?;
    let lost = page.sum("countersign_events_lost_total", "");
    println!("the agent follows {followed} connections and lost {lost} events");
    drop(open);
    agent.stop()?;
    let complete = followed >= connections as f64;
    Ok(vec![
        verdict("resident memory, idle", &idle, IDLE_LIMIT, true),
        verdict(
            &format!("resident memory, {followed} of {connections} open connections followed"),
            &busy,
            BUSY_LIMIT,
            complete,
        ),
    ])
}

fn verdict(title: &str, resident: &Resident, limit: u64, complete: bool) -> Verdict {
    let within = resident.all <= limit && complete;
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    Verdict {
        text: format!(
            "{title}: {:.1} MiB (limit {} MiB: {}), of it heap {:.1}, program and ring buffer {:.1}",
            mib(resident.all),
            limit / MIB,
            if within { "within" } else { "EXCEEDED" },
            mib(resident.anonymous),
            mib(resident.files),
        ),
        within,
    }
}

/// Returns how many connections the agent follows once that is all of them, or has stopped to grow
/// for too long.
fn await_followed(agent: &Agent, connections: usize) -> Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let followed = agent.page()?.sum("countersign_connections_open", "");
        if followed >= connections as f64 || Instant::now() > deadline {
            return Ok(followed);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
