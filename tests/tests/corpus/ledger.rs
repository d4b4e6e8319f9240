//! Differences between a witness and the replay: counted, and looked up among those that are decided.
//!
//! `decided.tsv` has one row per difference: witness, file, stream, field, the witness's value, ours, and the
//! reason, read from the bytes. A row matches only its exact values, so it ends when either side changes;
//! a row that matches nothing any more is stale and fails as an undecided difference does. Where one cause
//! changes one field in every stream of a capture, `*` stands for the stream and for both values.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// What identifies a difference: all columns before the reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Difference {
    witness: String,
    file: String,
    stream: String,
    field: String,
    theirs: String,
    ours: String,
}

impl Difference {
    fn row(&self) -> String {
        [&self.witness, &self.file, &self.stream, &self.field, &self.theirs, &self.ours]
            .map(String::as_str)
            .join("\t")
    }
}

/// How often a field was equal, different for a decided reason, and different without one.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    equal: usize,
    decided: usize,
    undecided: usize,
}

/// All comparisons of one test.
#[derive(Debug)]
pub struct Ledger {
    /// Each decided difference, and whether it was met.
    decided: HashMap<Difference, bool>,
    undecided: Vec<Difference>,
    /// In the order in which the fields were first compared.
    counts: Vec<(String, Count)>,
}

/// What two sides say about one connection; the fields that one side cannot see are left out.
#[derive(Debug, Default)]
pub struct Comparison(Vec<(&'static str, String, String)>);

impl Comparison {
    /// Adds what both say about a field.
    pub fn field(&mut self, name: &'static str, theirs: impl Into<String>, ours: impl Into<String>) {
        self.0.push((name, theirs.into(), ours.into()));
    }

    /// In how many fields they differ: to find which of several connections a witness speaks of.
    pub fn differences(&self) -> usize {
        self.0.iter().filter(|(_, theirs, ours)| theirs != ours).count()
    }
}

impl Ledger {
    /// Reads the table of decided differences.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let mut decided = HashMap::new();
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [witness, file, stream, field, theirs, ours, reason] = fields[..] else {
                bail!("{}:{number}: seven columns are needed, not {}", path.display(), fields.len());
            };
            ensure!(!reason.trim().is_empty(), "{}:{number}: no reason", path.display());
            let difference = difference(witness, file, stream, field, theirs, ours);
            let twice = decided.insert(difference, false).is_some();
            ensure!(!twice, "{}:{number}: a second row for the same difference", path.display());
        }
        Ok(Self { decided, undecided: Vec::new(), counts: Vec::new() })
    }

    /// Takes what a witness and the replay say about one connection.
    pub fn enter(&mut self, witness: &str, file: &str, stream: &str, comparison: &Comparison) {
        for (field, theirs, ours) in &comparison.0 {
            let outcome = if theirs == ours {
                |count: &mut Count| count.equal += 1
            } else {
                let difference = difference(witness, file, stream, field, theirs, ours);
                let everywhere = self::difference(witness, file, "*", field, "*", "*");
                let row = [&difference, &everywhere].into_iter().find(|row| self.decided.contains_key(row));
                match row.cloned().and_then(|row| self.decided.get_mut(&row)) {
                    Some(met) => {
                        *met = true;
                        |count: &mut Count| count.decided += 1
                    }
                    None => {
                        self.undecided.push(difference);
                        |count: &mut Count| count.undecided += 1
                    }
                }
            };
            outcome(self.count(field));
        }
    }

    fn count(&mut self, field: &str) -> &mut Count {
        let place = self.counts.iter().position(|(name, _)| name == field).unwrap_or_else(|| {
            self.counts.push((field.to_owned(), Count::default()));
            self.counts.len() - 1
        });
        &mut self.counts[place].1
    }

    /// Prints the totals; fails if a difference is undecided or a row of this witness is stale.
    pub fn conclude(self, witness: &str) -> Result<()> {
        println!("{witness:<28} {:>7} {:>8} {:>10}", "equal", "decided", "undecided");
        for (field, count) in &self.counts {
            println!("{field:<28} {:>7} {:>8} {:>10}", count.equal, count.decided, count.undecided);
        }
        let mut stale: Vec<String> = self
            .decided
            .iter()
            .filter(|(difference, met)| !**met && difference.witness == witness)
            .map(|(difference, _)| difference.row())
            .collect();
        stale.sort_unstable();
        let mut undecided = self.undecided;
        undecided.sort_unstable();
        for difference in &undecided {
            println!("undecided: {}", difference.row());
        }
        for row in &stale {
            println!("stale: {row}");
        }
        let mut by_field: BTreeMap<&str, usize> = BTreeMap::new();
        for difference in &undecided {
            *by_field.entry(&difference.field).or_default() += 1;
        }
        ensure!(
            undecided.is_empty() && stale.is_empty(),
            "{} undecided differences {by_field:?}, {} stale rows in tests/corpus/decided.tsv",
            undecided.len(),
            stale.len()
        );
        Ok(())
    }
}

fn difference(witness: &str, file: &str, stream: &str, field: &str, theirs: &str, ours: &str) -> Difference {
    Difference {
        witness: witness.to_owned(),
        file: file.to_owned(),
        stream: stream.to_owned(),
        field: field.to_owned(),
        theirs: theirs.to_owned(),
        ours: ours.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(decided: &str, theirs: &str, ours: &str) -> Result<()> {
        let path = std::env::temp_dir().join(format!("countersign-decided-{}", std::process::id()));
        fs::write(&path, decided)?;
        let ledger = Ledger::read(&path);
        fs::remove_file(&path)?;
        let (mut ledger, mut comparison) = (ledger?, Comparison::default());
        comparison.field("version", theirs, ours);
        ledger.enter("zeek", "a.pcap", "1", &comparison);
        ledger.conclude("zeek")
    }

    #[test]
    fn a_difference_has_to_be_decided_and_a_decision_to_be_needed() -> Result<()> {
        let row = "zeek\ta.pcap\t1\tversion\t1.2\t1.3\tthe bytes say so\n";
        concluded("", "1.3", "1.3")?;
        concluded(row, "1.2", "1.3")?;
        assert!(concluded("", "1.2", "1.3").is_err(), "an undecided difference passed");
        assert!(concluded(row, "1.3", "1.3").is_err(), "a stale row passed");
        assert!(concluded(row, "1.1", "1.3").is_err(), "a row covered another value");
        assert!(
            concluded("zeek\ta.pcap\t1\tversion\t1.2\t1.3\t\n", "1.2", "1.3").is_err(),
            "no reason passed"
        );
        Ok(())
    }
}
