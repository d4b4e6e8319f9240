//! How much of a connection left the kernel although its handshake was over.

use super::Verdict;
use super::page::Page;

const BEYOND: &str = "countersign_shipped_beyond_handshake_bytes";
const HANDSHAKE: &str = "countersign_handshake_bytes";
/// Largest part of the handshake that the median connection may ship beyond it.
const LIMIT: f64 = 0.10;

/// The agent's histograms, added up over its runs.
#[derive(Default)]
pub struct Shipped {
    beyond: Vec<(f64, f64)>,
    handshake: Vec<(f64, f64)>,
}

impl Shipped {
    /// Adds a page at the end of a run.
    pub fn add(&mut self, page: &Page) {
        add(&mut self.beyond, page.buckets(BEYOND));
        add(&mut self.handshake, page.buckets(HANDSHAKE));
    }

    /// The distribution, and its median against the handshake's.
    pub fn verdict(&self) -> Verdict {
        let (Some(beyond), Some(handshake)) = (quantile(&self.beyond, 0.5), quantile(&self.handshake, 0.5))
        else {
            return Verdict {
                text: "bytes shipped beyond the handshake: the agent reported none".to_owned(),
                within: false,
            };
        };
        let total = self.beyond.last().map_or(0.0, |(_, count)| *count);
        let shares: Vec<String> = self
            .beyond
            .iter()
            .map(|(bound, count)| format!("≤{bound} {:.1} %", count / total * 100.0))
            .collect();
        let within = beyond <= handshake * LIMIT;
        Verdict {
            text: format!(
                "bytes shipped beyond the handshake: median at most {beyond:.0} of {handshake:.0} (limit {:.0} %: {}); {total} connections: {}",
                LIMIT * 100.0,
                if within { "within" } else { "EXCEEDED" },
                shares.join(", ")
            ),
            within,
        }
    }
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
    let total = buckets.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
    buckets.iter().find(|(_, count)| *count >= total * quantile).map(|(bound, _)| *bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_runs_and_finds_the_median() {
        let mut shipped = Shipped::default();
        for beyond in [3, 1] {
            shipped.add(&Page(format!(
                "{BEYOND}_bucket{{le=\"0.0\"}} {beyond}\n{BEYOND}_bucket{{le=\"+Inf\"}} 4\n\
                 {HANDSHAKE}_bucket{{le=\"4096.0\"}} 4\n{HANDSHAKE}_bucket{{le=\"+Inf\"}} 4\n"
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
