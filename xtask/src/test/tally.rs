//! Counting in the output of `cargo test`.

use std::fmt;

/// What came out of one suite.
#[derive(Default)]
pub struct Tally {
    /// Tests that passed; for a suite that is not a test program, the suite itself.
    pub passed: u64,
    /// Tests that failed; likewise.
    pub failed: u64,
    /// Names of what failed.
    pub failures: Vec<String>,
    /// Reasons of what was skipped, one each.
    pub skipped: Vec<String>,
    counted: bool,
    /// Names in the list that is being read, between `failures:` and the result; cargo prints the
    /// heading twice, and only the second list is names.
    pending: Vec<String>,
    /// The list is one of failures: with `--show-output` cargo lists successes in the same way.
    lists_failures: bool,
}

impl Tally {
    /// Takes one line of output.
    pub fn read(&mut self, line: &str) {
        if let Some((passed, failed)) = result_line(line) {
            self.passed += passed;
            self.failed += failed;
            self.counted = true;
            self.failures.append(&mut self.pending);
            self.lists_failures = false;
        } else if line == "failures:" || line == "successes:" {
            self.pending.clear();
            self.lists_failures = line == "failures:";
        } else if let Some(name) = listed_name(line).filter(|_| self.lists_failures) {
            self.pending.push(name.to_owned());
        } else if let Some(reason) = skip_reason(line) {
            self.skipped.push(reason.to_owned());
        }
    }

    /// Takes the end of the suite. A command that is no test program counts as one test, and one that
    /// failed without a failed test (it did not compile, or it was killed) as one failure.
    pub fn conclude(&mut self, success: bool) {
        if !success && self.failed == 0 {
            self.failed = 1;
            self.failures.push("the command itself".to_owned());
        }
        if success && !self.counted {
            self.passed = 1;
        }
        // A test that skips itself returns early, and the harness calls that passed.
        self.passed = self.passed.saturating_sub(self.skipped.len() as u64);
    }

    /// Turns what was skipped into failures.
    pub fn forbid_skips(&mut self) {
        self.failed += self.skipped.len() as u64;
        for reason in &self.skipped {
            self.failures.push(format!("skipped where CI is set: {reason}"));
        }
    }

    /// The numbers of several suites together.
    pub fn sum<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
        tallies.fold(Tally::default(), |mut total, tally| {
            total.passed += tally.passed;
            total.failed += tally.failed;
            total
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }
}

/// `test result: ok. 3 passed; 0 failed; …` → (3, 0).
fn result_line(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let (_, rest) = rest.split_once(". ")?;
    let (passed, rest) = rest.split_once(" passed; ")?;
    let (failed, _) = rest.split_once(" failed;")?;
    Some((passed.parse().ok()?, failed.parse().ok()?))
}

/// `    kernel::tests::loads`, as the list of failures has it.
fn listed_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix("    ")?;
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

/// `skipped: not root`, alone or behind the name of its test (as `--nocapture` prints it).
fn skip_reason(line: &str) -> Option<&str> {
    line.strip_prefix("skipped: ")
        .or_else(|| Some(line.strip_prefix("test ")?.split_once(" ... skipped: ")?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_passed_are_not_listed_as_failed() {
        let tally = tally(
            &[
                "successes:",
                "",
                "    a::b",
                "",
                "failures:",
                "",
                "    c::d",
                "",
                "test result: FAILED. 1 passed; 1 failed; 0",
            ],
            false,
        );
        assert_eq!(tally.failures, ["c::d"]);
    }

    fn tally(lines: &[&str], success: bool) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(line);
        }
        tally.conclude(success);
        tally
    }

    #[test]
    fn adds_up_the_test_programs_of_a_suite() {
        let tally = tally(
            &[
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
                "test a::b ... FAILED",
                "failures:",
                "    left: 3",
                "    right",
                "failures:",
                "    a::b",
                "",
                "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            ],
            false,
        );
        assert_eq!((tally.passed, tally.failed), (4, 1));
        assert_eq!(tally.failures, ["a::b"]);
    }

    #[test]
    fn a_suite_that_does_not_compile_is_a_failure() {
        let tally = tally(&["error: could not compile `countersign`"], false);
        assert_eq!((tally.passed, tally.failed), (0, 1));
    }

    #[test]
    fn a_check_without_tests_counts_as_one() {
        assert_eq!(tally(&[], true).passed, 1);
    }

    #[test]
    fn a_test_program_without_tests_counts_as_none() {
        let empty =
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(tally(&[empty], true).passed, 0);
    }

    #[test]
    fn skipped_tests_are_not_passed_and_fail_in_ci() {
        let mut tally = tally(
            &[
                "skipped: not root",
                "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            ],
            true,
        );
        assert_eq!((tally.passed, tally.failed), (1, 0));
        tally.forbid_skips();
        assert_eq!(tally.failed, 1);
    }
}
