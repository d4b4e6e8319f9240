//! The replay, held against independent witnesses on captures that nobody of this project made.
//!
//! In: a folder of captures with what tshark, Zeek and nDPI say about them (`COUNTERSIGN_CORPUS`, else
//! `../shared/corpus` beside the workspace), and the agent's binary. Each capture is replayed as a user
//! would, by `countersign replay --json FILE`, and the records are compared with each witness. No witness is
//! an oracle: every difference is either a defect or stands in `tests/corpus/decided.tsv` with its reason,
//! read from the bytes; a difference that is in no table fails, and so does a row that nothing needs.
//! Nothing of the folder is part of the project: without it these tests are skipped, and say so.
#![expect(clippy::print_stdout, reason = "a test program; clippy's exemption covers test functions only")]

mod connection;
mod damage;
mod folder;
mod ledger;
mod modes;
mod names;
mod ndpi;
mod replay;
mod tshark;
mod zeek;

use std::path::Path;

use anyhow::{Context, Result, ensure};

use folder::Folder;
use ledger::Ledger;
use replay::{Ending, Replays};

/// The corpus, or `None` where it is not: then the test has said that it is skipped.
fn corpus() -> Option<Folder> {
    match Folder::find() {
        Ok(folder) => Some(folder),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

fn decided() -> Result<Ledger> {
    Ledger::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/decided.tsv"))
}

/// A replay that crashes or hangs is a defect whatever its answers are.
#[test]
fn every_capture_is_read_to_its_end() -> Result<()> {
    let Some(folder) = corpus() else { return Ok(()) };
    let replays = Replays::intact(&folder)?;
    let mut faults = Vec::new();
    for (file, replay) in replays.iter() {
        if let Some(fault) = replay.fault() {
            faults.push(format!("{file}: {fault}\n{}", replay.errors));
        }
        if replay.ending != Ending::Code(0) {
            println!("{file}: {}: {}", replay.ending, replay.errors.lines().last().unwrap_or_default());
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// What a resumed session inherits is what its first connection showed.
#[test]
fn chains_are_inherited_from_connections_that_showed_them() -> Result<()> {
    let Some(folder) = corpus() else { return Ok(()) };
    let mut inherited = 0;
    for (file, replay) in Replays::intact(&folder)?.iter() {
        for connection in replay.connections() {
            let Some(id) = connection.inherited_from() else { continue };
            let origin = replay.connections().find(|origin| origin.text("/id") == id);
            let origin = origin.with_context(|| format!("{file}: there is no connection {id}"))?;
            for side in ["client", "server"] {
                let (ours, theirs) = (connection.chain(side), origin.shown_chain(side));
                ensure!(ours == theirs, "{file}: {} inherits {ours:?} of {theirs:?}", connection.stream());
            }
            inherited += 1;
        }
    }
    println!("{inherited} connections inherit");
    Ok(())
}

/// Version, cipher suite, server name, chains, certificate request: stream by stream.
#[test]
fn tshark_agrees_or_is_decided() -> Result<()> {
    let Some(folder) = corpus() else { return Ok(()) };
    let (replays, mut ledger) = (Replays::intact(&folder)?, decided()?);
    tshark::compare(&folder, replays, &mut ledger)?;
    ledger.conclude(tshark::WITNESS)
}

/// The logs that Zeek's own tests expect for the same captures.
#[test]
fn zeek_agrees_or_is_decided() -> Result<()> {
    let Some(folder) = corpus() else { return Ok(()) };
    let (replays, mut ledger) = (Replays::intact(&folder)?, decided()?);
    zeek::compare(&folder, replays, &mut ledger)?;
    ledger.conclude(zeek::WITNESS)
}

/// A protocol is never called by another's name; not to know it is no mistake.
#[test]
fn names_are_right_or_unknown() -> Result<()> {
    let Some(folder) = corpus() else { return Ok(()) };
    let (replays, mut ledger) = (Replays::intact(&folder)?, decided()?);
    names::compare(&folder, replays, &mut ledger)?;
    ledger.conclude(names::WITNESS)
}

/// Every way to authenticate, with the truth in the port number.
#[test]
fn every_mode_is_told() -> Result<()> {
    let Some(folder) = corpus() else { return Ok(()) };
    modes::compare(&folder)
}

/// Damage may cost facts; it may not crash, swell, or invent a client's certificate.
#[test]
fn damage_never_makes_a_false_mutual() -> Result<()> {
    let Some(folder) = corpus() else { return Ok(()) };
    damage::inflict_all(&folder, Replays::intact(&folder)?)
}
