//! Neighbouring runs without and with the agent.

use std::fmt;

use super::Verdict;
use super::load::Run;

/// Ratios, one per pair: with the agent to without.
#[derive(Default)]
pub struct Pairs {
    rates: Vec<f64>,
    efficiencies: Vec<f64>,
}

impl Pairs {
    /// Takes the two runs of a pair and returns a line about it.
    pub fn add(&mut self, without: Run, with: Run) -> String {
        let rate = with.rate / without.rate;
        let efficiency = with.efficiency / without.efficiency;
        self.rates.push(rate);
        self.efficiencies.push(efficiency);
        format!(
            "pair {:>2}: off {:>14.1}  on {:>14.1}  on/off {rate:.4}  per processor time {efficiency:.4}",
            self.rates.len(),
            without.rate,
            with.rate
        )
    }

    /// Compares the median rate with the part of the work that the agent may cost.
    pub fn verdict(&self, title: &str, limit: f64) -> Verdict {
        let rates = Summary::of(&self.rates);
        let cost = 1.0 - rates.median;
        let within = cost <= limit;
        Verdict {
            text: format!(
                "{title}: cost {:.2} % (limit {:.0} %: {}), {} pairs\n  on/off                 {rates}\n  per processor time     {}",
                cost * 100.0,
                limit * 100.0,
                if within { "within" } else { "EXCEEDED" },
                self.rates.len(),
                Summary::of(&self.efficiencies),
            ),
            within,
        }
    }
}

struct Summary {
    median: f64,
    quartiles: (f64, f64),
    extremes: (f64, f64),
}

impl Summary {
    fn of(ratios: &[f64]) -> Self {
        let mut sorted = ratios.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = |quarters: usize| sorted.get(last * quarters / 4).copied().unwrap_or(f64::NAN);
        Self { median: median(&sorted), quartiles: (at(1), at(3)), extremes: (at(0), at(4)) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lower, upper) = self.quartiles;
        let (lowest, highest) = self.extremes;
        write!(
            out,
            "median {:.4}, quartiles {lower:.4} to {upper:.4}, extremes {lowest:.4} to {highest:.4}",
            self.median
        )
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

    fn run(rate: f64) -> Run {
        Run { rate, efficiency: rate }
    }

    #[test]
    fn one_disturbed_run_does_not_decide() {
        let mut pairs = Pairs::default();
        for with in [99.0, 98.0, 20.0, 99.0, 98.0] {
            pairs.add(run(100.0), run(with));
        }
        assert!(pairs.verdict("requests", 0.03).within);
        assert!(!pairs.verdict("requests", 0.01).within);
    }

    #[test]
    fn nothing_measured_is_not_within() {
        assert!(!Pairs::default().verdict("requests", 0.03).within);
    }
}
