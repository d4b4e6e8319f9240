//! What reading certificates at TLS libraries costs by the books: what is added to one operation of a load, against the
//! processor time that the operation takes without an agent.
//!
//! Rates of neighbouring runs differ by more than the limits here. Each part of this is counted, or measured by itself. Of
//! several runs the least of each counts: whatever else the host does only adds to it, and the agent sees that, too. What
//! it leaves out are the caches that the agent displaces.

use super::super::Verdict;
use super::super::accounted::{Spent, floor};
use super::super::load::Run;
use super::prices::Prices;

/// `BPF_PROG_TYPE_KPROBE` (linux/bpf.h), of which uprobes are.
const KPROBE: u32 = 2;
/// `BPF_PROG_TYPE_TRACING`: the tracepoint of receives.
const TRACING: u32 = 26;

/// What was counted about one load.
#[derive(Default)]
pub struct Books {
    /// Processor time of an operation without an agent, one number per round, as all times in nanoseconds.
    operation: Vec<f64>,
    /// The agent's part of an operation where it looks at the wire alone.
    agent_on_wire: Vec<f64>,
    /// The same with libraries.
    agent_with_libraries: Vec<f64>,
    /// One per run with the kernel's statistics on.
    counted: Vec<Counted>,
}

/// Of one operation, by the kernel's statistics.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    hits: f64,
    receives: f64,
    /// Time of the programs of both, without what the statistics charge a run that does nothing.
    libraries: f64,
    /// The same of the programs for the wire.
    wire: f64,
}

impl Books {
    /// Takes a run without an agent, one with the wire alone and one with libraries.
    pub fn add(&mut self, [off, wire, with]: [Run; 3]) {
        let agent = |run: Run| run.agent.as_nanos() as f64 / run.operations();
        self.operation.push(off.spent.as_nanos() as f64 / off.operations());
        self.agent_on_wire.push(agent(wire));
        self.agent_with_libraries.push(agent(with));
    }

    /// Takes what the agent's programs did in a run with libraries.
    pub fn count(&mut self, run: Run, programs: &[Spent]) {
        let floor = floor(programs);
        let mut counted = Counted::default();
        for program in programs {
            let runs = program.runs as f64 / run.operations();
            let time = (program.time.as_nanos() as f64 / run.operations() - runs * floor).max(0.0);
            match program.kind {
                KPROBE => {
                    counted.hits += runs;
                    counted.libraries += time;
                }
                TRACING => {
                    counted.receives += runs;
                    counted.libraries += time;
                }
                _ => counted.wire += time,
            }
        }
        self.counted.push(counted);
    }

    /// The sum with its parts, held against the limit.
    pub fn verdict(&self, title: &str, limit: f64, prices: Prices) -> Verdict {
        let counted = |part: fn(&Counted) -> f64| least(self.counted.iter().map(part));
        let (hits, receives) = (counted(|counted| counted.hits), counted(|counted| counted.receives));
        let (programs, wire_programs) =
            (counted(|counted| counted.libraries), counted(|counted| counted.wire));
        let agent_on_wire = least(self.agent_on_wire.iter().copied());
        // Noise below nothing pays for nothing else.
        let agent = (least(self.agent_with_libraries.iter().copied()) - agent_on_wire).max(0.0);
        let operation = least(self.operation.iter().copied());
        let sum = hits * prices.hit + receives * prices.receive + programs + agent;
        let cost = sum / operation;
        let percent = |part: f64| part / operation * 100.0;
        let within = cost <= limit;
        let word = if within { "within" } else { "EXCEEDED" };
        let text = format!(
            "{title}, libraries by the books: {:.2} % of {:.1} µs (limit {:.0} %: {word})\n  \
             {:.2} % are {hits:.2} hits of uprobes at {:.0} ns, {:.2} % {receives:.2} receives at {:.0} ns, \
             {:.2} % what their programs do, {:.2} % the agent's own time\n  \
             the wire alone: {:.2} %, of which {:.2} % are the agent's own time and {:.2} % its programs",
            cost * 100.0,
            operation / 1e3,
            limit * 100.0,
            percent(hits * prices.hit),
            prices.hit,
            percent(receives * prices.receive),
            prices.receive,
            percent(programs),
            percent(agent),
            percent(agent_on_wire + wire_programs),
            percent(agent_on_wire),
            percent(wire_programs),
        );
        Verdict { text, within }
    }
}

/// Not a number if there is none.
fn least(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.reduce(f64::min).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(spent: u64, agent: u64) -> Run {
        let spent = Duration::from_micros(spent);
        Run { rate: 10.0, efficiency: 10.0 / spent.as_secs_f64(), spent, agent: Duration::from_micros(agent) }
    }

    fn program(kind: u32, runs: u64, nanoseconds: u64) -> Spent {
        Spent { kind, runs, time: Duration::from_nanos(nanoseconds) }
    }

    /// Ten operations of 1 ms. Of each, 20 hits of 1 µs (2 %), whose programs take 0.5 µs more than nothing does (1 %), 100
    /// receives of 30 ns (0.3 %), whose program takes 20 ns more (0.2 %), and 10 µs of the agent (1 %).
    fn books() -> Books {
        let mut books = Books::default();
        // Another program had the processor meanwhile.
        books.add([run(19_000, 0), run(11_500, 700), run(14_900, 900)]);
        books.add([run(10_000, 0), run(10_500, 500), run(10_900, 600)]);
        let nothing = program(8, 10_000, 500_000);
        books.count(
            run(10_900, 600),
            &[nothing, program(KPROBE, 200, 200 * 550), program(TRACING, 1_000, 1_000 * 70)],
        );
        books
    }

    const PRICES: Prices = Prices { hit: 1_000.0, receive: 30.0 };

    #[test]
    fn the_sum_of_the_parts_is_held_against_the_limit() {
        let verdict = books().verdict("connections", 0.05, PRICES);
        assert!(verdict.within, "{}", verdict.text);
        assert!(verdict.text.contains("4.50 % of 1000.0 µs (limit 5 %: within)"), "{}", verdict.text);
        assert!(!books().verdict("connections", 0.042, PRICES).within);
    }

    #[test]
    fn nothing_counted_is_not_within() {
        assert!(!Books::default().verdict("connections", 0.05, PRICES).within);
    }
}
