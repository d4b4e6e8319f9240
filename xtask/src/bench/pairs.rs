//! Neighbouring runs without and with the agent.

use super::Verdict;

/// Ratios of rates, one per pair: with the agent to without.
#[derive(Default)]
pub struct Pairs(Vec<f64>);

impl Pairs {
    /// Takes the two rates of a pair (any unit, more is better) and returns a line about it.
    pub fn add(&mut self, without: f64, with: f64) -> String {
        let ratio = with / without;
        self.0.push(ratio);
        format!("pair {:>2}: off {without:>14.1}  on {with:>14.1}  on/off {ratio:.4}", self.0.len())
    }

    /// Compares the median with the part of the work that the agent may cost.
    pub fn verdict(&self, title: &str, limit: f64) -> Verdict {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let cost = 1.0 - median(&sorted);
        let within = cost <= limit;
        let (lowest, highest) = (sorted.first(), sorted.last());
        Verdict {
            text: format!(
                "{title}: cost {:.2} % (limit {:.0} %: {}); on/off median {:.4}, lowest {:.4}, highest {:.4}, {} pairs",
                cost * 100.0,
                limit * 100.0,
                if within { "within" } else { "EXCEEDED" },
                1.0 - cost,
                lowest.unwrap_or(&f64::NAN),
                highest.unwrap_or(&f64::NAN),
                sorted.len()
            ),
            within,
        }
    }
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_run_does_not_decide() {
        let mut pairs = Pairs::default();
        for with in [99.0, 98.0, 20.0, 99.0, 98.0] {
            pairs.add(100.0, with);
        }
        assert!(pairs.verdict("requests", 0.03).within);
        assert!(!pairs.verdict("requests", 0.01).within);
    }

    #[test]
    fn nothing_measured_is_not_within() {
        assert!(!Pairs::default().verdict("requests", 0.03).within);
    }
}
