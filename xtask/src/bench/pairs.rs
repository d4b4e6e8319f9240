//! Neighbouring runs without and with the agent.

use std::fmt;

use super::Verdict;
use super::accounted::Accounted;
use super::load::Run;

/// Ratios, one per pair: with the agent to without.
#[derive(Default)]
pub struct Pairs {
    rates: Vec<f64>,
    efficiencies: Vec<f64>,
    /// The same by the books.
    pub accounted: Option<Accounted>,
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

    /// What was measured, without a limit.
    pub fn said(&self, title: &str) -> Verdict {
        let rates = Summary::of(&self.rates);
        let text =
            format!("{title}: cost {:.2} %\n  on/off                 {rates}", (1.0 - rates.median) * 100.0);
        Verdict { text, within: true }
    }

    /// Compares the median rate with the part of the work that the agent may cost. Exceeded is only what the noise
    /// between the pairs does not explain.
    pub fn verdict(&self, title: &str, limit: f64) -> Verdict {
        let rates = Summary::of(&self.rates);
        let cost = 1.0 - rates.median;
        let (least, most) = (1.0 - rates.interval.1, 1.0 - rates.interval.0);
        let (within, word) = match () {
            () if most <= limit => (true, "within"),
            () if cost <= limit => (true, "within, but not beyond the noise"),
            () if least <= limit => (true, "not within, but not beyond the noise"),
            () => (false, "EXCEEDED"),
        };
        let mut text = format!(
            "{title}: cost {:.2} %, {:.2} to {:.2} % with 95 % confidence (limit {:.0} %: {word}), {} pairs\n  on/off                 {rates}\n  per processor time     {}",
            cost * 100.0,
            least * 100.0,
            most * 100.0,
            limit * 100.0,
            self.rates.len(),
            Summary::of(&self.efficiencies),
        );
        if let Some(accounted) = &self.accounted {
            text.push_str(&format!("\n  by the books           {accounted}"));
        }
        Verdict { text, within }
    }
}

struct Summary {
    median: f64,
    /// Holds the true median with 95 % confidence, whatever the distribution: by the binomial law of how many ratios lie
    /// below it, in its normal approximation.
    interval: (f64, f64),
    quartiles: (f64, f64),
    extremes: (f64, f64),
}

impl Summary {
    fn of(ratios: &[f64]) -> Self {
        let mut sorted = ratios.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = |quarters: usize| sorted.get(last * quarters / 4).copied().unwrap_or(f64::NAN);
        let count = sorted.len() as f64;
        let outside = ((count - 1.96 * count.sqrt()) / 2.0).floor().max(0.0) as usize;
        let interval = (
            sorted.get(outside).copied().unwrap_or(f64::NAN),
            sorted.get(last - outside.min(last)).copied().unwrap_or(f64::NAN),
        );
        Self { median: median(&sorted), interval, quartiles: (at(1), at(3)), extremes: (at(0), at(4)) }
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
    use std::time::Duration;

    use super::*;

    fn run(rate: f64) -> Run {
        Run { rate, efficiency: rate, spent: Duration::ZERO, agent: Duration::ZERO }
    }

    fn pairs(with: &[f64]) -> Pairs {
        let mut pairs = Pairs::default();
        for with in with {
            pairs.add(run(100.0), run(*with));
        }
        pairs
    }

    #[test]
    fn one_disturbed_run_does_not_decide() {
        let pairs = pairs(&[99.0, 98.0, 98.2, 98.1, 98.3, 20.0, 99.0, 98.0, 98.3, 98.1]);
        assert!(pairs.verdict("requests", 0.03).text.contains("3 %: within)"));
        assert!(!pairs.verdict("requests", 0.005).within);
    }

    #[test]
    fn noise_is_called_noise() {
        let pairs = pairs(&[80.0, 120.0, 95.0, 105.0, 90.0, 110.0, 96.0, 96.0, 95.5, 95.0]);
        let verdict = pairs.verdict("requests", 0.01);
        assert!(
            verdict.within && verdict.text.contains("not within, but not beyond the noise"),
            "{}",
            verdict.text
        );
    }

    #[test]
    fn nothing_measured_is_not_within() {
        assert!(!Pairs::default().verdict("requests", 0.03).within);
    }
}
