//! Certificates behind TLS 1.3, read where TLS libraries handle them.

use anyhow::Result;
use countersign_tests::{Agent, AgentOptions, Mode, Sight, Version, play_all, ready};

#[test]
fn every_peer_in_every_mode_shows_its_certificates() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::start(AgentOptions::default())?;
    // What the wire shows in clear is compared with the libraries' word in one mode.
    play_all(Some(&agent), Sight::Libraries, |case| {
        case.version == Some(Version::V1_3) || case.mode == Mode::Mutual
    });
    Ok(())
}
