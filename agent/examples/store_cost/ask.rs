//! What responders ask, and how long it takes.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use countersign::question::{Asker, Question};
use countersign::record::WallTime;
use countersign::store::Reader;
use serde_json::json;

use crate::host::{WORKLOADS, address, fingerprint, id, identity, mix, opened, skewed, visitor, workload};

/// Times that each question is asked, fewer where it takes long.
const ASKED: u64 = 200;
const LEAST_ASKED: u64 = 20;
const LONG: Duration = Duration::from_secs(10);

/// What is asked, with what number; the number of connections.
type Asking = fn(u64, u64) -> String;

const QUESTIONS: &[(&str, &str, Asking)] = &[
    ("explain", "explain", |turn, all| format!("id={}", id(mix(turn) % all))),
    ("connections", "connections", |_, _| String::new()),
    ("who an address", "who", |turn, _| format!("subject={}", address(skewed(turn, WORKLOADS)))),
    ("who a visitor", "who", |turn, all| format!("subject={}", visitor(mix(turn) % all / 10 * 10))),
    ("who a workload", "who", |turn, _| format!("subject={}", workload(skewed(turn, WORKLOADS)))),
    ("who an identity", "who", |turn, _| format!("subject={}", identity(skewed(turn, WORKLOADS)))),
    ("who a fingerprint", "who", |turn, _| format!("subject={}", fingerprint(mix(turn) % 4_800))),
    ("who a pid", "who", |turn, _| format!("subject={}", 1_000 + mix(turn) % WORKLOADS)),
    ("edges", "edges", |_, _| String::new()),
    ("edges of a workload", "edges", |turn, _| format!("workload={}", workload(skewed(turn, WORKLOADS)))),
    ("certificates", "certificates", |_, _| String::new()),
    ("certificates --expiring", "certificates", |_, _| "expiring=14d".to_owned()),
    ("findings", "findings", |_, _| String::new()),
    ("blast-radius", "blast-radius", |turn, _| format!("subject={}", identity(skewed(turn, WORKLOADS)))),
    ("timeline", "timeline", |turn, _| format!("subject={}", workload(skewed(turn, WORKLOADS)))),
    ("diff", "diff", |_, all| format!("before={}&after={}", time(all / 1_000), time(all * 2 / 3))),
];

fn time(number: u64) -> WallTime {
    WallTime(opened(number))
}

/// How long questions take: name, and median and 99th percentile in seconds.
pub fn ask(file: &Path, connections: u64) -> Result<serde_json::Value> {
    let now = time(connections);
    let mut answers = Vec::new();
    for (name, question, asking) in QUESTIONS {
        let (mut times, mut processor, began) = (Vec::new(), Vec::new(), Instant::now());
        for turn in 0..ASKED {
            if turn >= LEAST_ASKED && began.elapsed() > LONG {
                break;
            }
            let query = asking(turn, connections);
            let question = Question::parse(question, &query)?;
            let (before, began) = (crate::processor()?, Instant::now());
            // As in the daemon: a reader for each question.
            let mut reader = Reader::open(file)?;
            let mut lines = Lines(0);
            let page = question.answer(&mut reader, now, &mut lines)?;
            times.push(began.elapsed());
            processor.push(crate::processor()? - before);
            anyhow::ensure!(
                page.count > 0 && matches!(page.cut.as_deref(), None | Some("limit")),
                "{name}: {query}: {page:?}"
            );
        }
        times.sort();
        processor.sort();
        let (median, p99) = (of(&times, 50), of(&times, 99));
        eprintln!("{name}: median {median:?}, p99 {p99:?}, processor {:?}", of(&processor, 50));
        answers.push(json!({
            "name": name,
            "asked": times.len(),
            "median_seconds": median.as_secs_f64(),
            "p99_seconds": p99.as_secs_f64(),
        }));
    }
    Ok(answers.into())
}

/// So many hundredths took no longer.
fn of(sorted: &[Duration], hundredths: usize) -> Duration {
    sorted.get(sorted.len() * hundredths / 100).or(sorted.last()).copied().unwrap_or_default()
}

/// Takes lines, as a reader would.
struct Lines(usize);

impl Asker for Lines {
    fn line(&mut self, line: Vec<u8>) -> ControlFlow<()> {
        self.0 += line.len();
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _: f64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
