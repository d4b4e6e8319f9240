//! How much of a connection left the kernel although its handshake was over.

use super::Verdict;
use super::page::Page;

const BYTES: &str = "countersign_shipped_beyond_handshake_bytes";
const RATIO: &str = "countersign_shipped_beyond_handshake_ratio";
/// Largest part of the handshake that the median connection may ship beyond it.
const LIMIT: f64 = 0.10;

/// The agent's histograms, added up over its runs.
#[derive(Default)]
pub struct Shipped {
    bytes: Vec<(f64, f64)>,
    ratio: Vec<(f64, f64)>,
}

impl Shipped {
    /// Adds a page at the end of a run.
    pub fn add(&mut self, page: &Page) {
        add(&mut self.bytes, page.buckets(BYTES));
        add(&mut self.ratio, page.buckets(RATIO));
    }

    /// The distribution, and its median against the handshake.
    pub fn verdict(&self) -> Verdict {
        let Some(median) = quantile(&self.ratio, 0.5) else {
            return Verdict {
                text: "bytes shipped beyond the handshake: the agent reported none".to_owned(),
                within: false,
            };
        };
        let within = median <= LIMIT;
        Verdict {
            text: format!(
                "bytes shipped beyond the handshake: the median is at most {:.0} % of it (limit {:.0} %: {}), {} connections\n  part of the handshake  {}\n  bytes                  {}",
                median * 100.0,
                LIMIT * 100.0,
                if within { "within" } else { "EXCEEDED" },
                total(&self.ratio),
                distribution(&self.ratio),
                distribution(&self.bytes),
            ),
            within,
        }
    }
}

fn distribution(buckets: &[(f64, f64)]) -> String {
    let share = |count: f64| count / total(buckets) * 100.0;
    let shares: Vec<String> =
        buckets.iter().map(|(bound, count)| format!("≤{bound} {:.1} %", share(*count))).collect();
    shares.join(", ")
}

fn total(buckets: &[(f64, f64)]) -> f64 {
    buckets.last().map_or(0.0, |(_, count)| *count)
}

fn add(total: &mut Vec<(f64, f64)>, run: Vec<(f64, f64)>) {
    if total.is_empty() {
        *total = run;
        return;
    }
    for ((_, sum), (_, count)) in total.iter_mut().zip(run) {
        *sum += count;
    }
}

/// Upper bound of the bucket that holds the quantile; nothing if nothing was counted.
fn quantile(buckets: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let total = Some(total(buckets)).filter(|total| *total > 0.0)?;
    buckets.iter().find(|(_, count)| *count >= total * quantile).map(|(bound, _)| *bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_runs_and_finds_the_median() {
        let mut shipped = Shipped::default();
        for count in [3, 1] {
            shipped.add(&Page(format!(
                "{RATIO}_bucket{{le=\"0.1\"}} {count}\n{RATIO}_bucket{{le=\"+Inf\"}} 4\n"
            )));
        }
        let verdict = shipped.verdict();
        assert!(verdict.within, "{}", verdict.text);
        assert!(verdict.text.contains("8 connections"), "{}", verdict.text);
    }

    #[test]
    fn no_histogram_is_not_within() {
        assert!(!Shipped::default().verdict().within);
    }
}
