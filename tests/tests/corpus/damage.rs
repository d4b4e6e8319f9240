//! Every capture, damaged in every way: fewer facts are fine, a crash or a false one is not.

use std::collections::{BTreeSet, HashSet};
use std::env;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use countersign_tests::Damage;
use sha2::{Digest, Sha256};

use crate::connection::Ends;
use crate::folder::Folder;
use crate::replay::{Replay, Replays, in_parallel};

/// Seeds per capture and damage with `COUNTERSIGN_FULL=1`; one otherwise, which is over three thousand replays.
const FULL_SEEDS: u64 = 8;

/// One damaged capture.
struct Case<'a> {
    file: &'a str,
    damage: Damage,
    seed: u64,
}

/// Replays every damaged capture.
pub fn inflict_all(folder: &Folder, intact: &Replays) -> Result<()> {
    let started = Instant::now();
    let full = env::var("COUNTERSIGN_FULL").is_ok_and(|value| value == "1");
    let seeds = if full { FULL_SEEDS } else { 1 };
    let mut cases = Vec::new();
    for (file, _) in intact.iter() {
        for damage in Damage::ALL {
            cases.extend((0..seeds).map(|seed| Case { file, damage, seed }));
        }
    }
    let scratch = env::temp_dir().join(format!("countersign-damage-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let results = in_parallel(&cases, |case| {
        let path = scratch.join(format!("{}.capture", case.seed_of_its_own()));
        let result = case.run(folder, intact, &path);
        // Not there if the damage could not be done.
        let _ = fs::remove_file(&path);
        result.with_context(|| format!("{} {:?}", case.file, case.damage))
    });
    fs::remove_dir_all(&scratch)?;
    let (mut replayed, mut peak, mut mutual, mut faults) = (0, 0, 0, Vec::new());
    for result in results {
        if let Some(outcome) = result? {
            replayed += 1;
            peak = peak.max(outcome.peak_kib);
            mutual += outcome.mutual;
            faults.extend(outcome.faults);
        }
    }
    println!(
        "{replayed} damaged captures, {mutual} connections still mutual, at most {peak} KiB each, {:.1?}",
        started.elapsed()
    );
    ensure!(mutual > 0, "no connection is mutual any more: this test shows nothing");
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

struct Outcome {
    peak_kib: u64,
    /// How many connections are mutual in the damaged capture.
    mutual: usize,
    faults: Vec<String>,
}

impl Case<'_> {
    /// The same on every machine and for every run, another for every case.
    fn seed_of_its_own(&self) -> u64 {
        let name = format!("{} {} {}", self.file, self.damage.name(), self.seed);
        Sha256::digest(name).iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
    }

    fn run(&self, folder: &Folder, intact: &Replays, path: &Path) -> Result<Option<Outcome>> {
        let capture = fs::read(folder.capture(self.file))?;
        let Some(damaged) = self.damage.inflict(&capture, self.seed_of_its_own()) else { return Ok(None) };
        fs::write(path, damaged)?;
        let replay = Replay::of(path)?;
        let name = format!("{} {:?} seed {}", self.file, self.damage, self.seed);
        let mut faults = Vec::new();
        if let Some(fault) = replay.fault() {
            faults.push(format!("{name}: {fault}\n{}", replay.errors));
        }
        let before = intact.get(self.file).context("no intact replay")?;
        let (known, mutual) = (all_ends(before, false), all_ends(before, true));
        let still_mutual = all_ends(&replay, true);
        let false_ones = still_mutual.iter().filter(|ends| known.contains(ends) && !mutual.contains(ends));
        for (one, other) in false_ones.collect::<BTreeSet<_>>() {
            faults.push(format!("{name}: {one} and {other} are mutual only in the damaged capture"));
        }
        Ok(Some(Outcome { peak_kib: replay.peak_kib(), mutual: still_mutual.len(), faults }))
    }
}

/// The ends of all connections, or of the mutual ones.
fn all_ends(replay: &Replay, only_mutual: bool) -> HashSet<Ends> {
    replay
        .connections()
        .filter(|connection| !only_mutual || connection.text("/authentication") == "mutual")
        .filter_map(|connection| connection.ends())
        .collect()
}
