//! What the test binaries' output says about their tests.

use std::collections::BTreeSet;

/// The sums over all test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Tests that libtest says passed; those that returned early for lack of a peer are among them.
    pub(super) passed: usize,
    /// Tests that failed.
    pub(super) failed: usize,
    /// Tests that are marked `#[ignore]`.
    pub(super) ignored: usize,
    /// Names of the tests that failed, without their binary.
    pub(super) failed_names: BTreeSet<String>,
    /// Tests that failed beside others and passed alone, with their binary; they are among those that passed.
    pub(super) unsteady: Vec<String>,
    /// Something else went wrong: a test binary died, or could not be built.
    pub(super) is_incomplete: bool,
}

impl Counts {
    /// The counts of what one test binary, or several, printed.
    pub(super) fn of(output: &[u8]) -> Self {
        let mut counts = Self::default();
        String::from_utf8_lossy(output).lines().for_each(|line| counts.read(line));
        counts
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.failed_names.extend(other.failed_names);
        self.unsteady.extend(other.unsteady);
        self.is_incomplete |= other.is_incomplete;
    }

    /// A test that failed in `binary` has passed alone since.
    pub(super) fn passed_alone(&mut self, binary: &str, name: &str) {
        if self.failed_names.remove(name) {
            self.failed -= 1;
            self.passed += 1;
            self.unsteady.push(format!("{binary}::{name}"));
        }
    }

    /// Takes one line of output into account.
    fn read(&mut self, line: &str) {
        let line = without_colors(line);
        if let Some(result) = line.strip_prefix("test result: ") {
            let number = |what: &str| {
                let parts = result.split(['.', ';']).map(str::trim);
                parts.filter_map(|part| part.strip_suffix(what)?.trim().parse::<usize>().ok()).sum()
            };
            let (passed, failed, ignored): (usize, usize, usize) =
                (number(" passed"), number(" failed"), number(" ignored"));
            self.passed += passed;
            self.failed += failed;
            self.ignored += ignored;
        } else if let Some(name) = failed_test(&line) {
            self.failed_names.insert(name.to_owned());
        }
    }
}

fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.trim_end().strip_suffix(" ... FAILED")
}

/// Removes the escape sequences that color text (ECMA-48, `ESC [ … m`).
fn without_colors(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
test peers::a ... ok
test peers::b ... \u{1b}[31mFAILED\u{1b}[m
test result: \u{1b}[31mFAILED\u{1b}[m. 9 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.00s
a test printed: test result
";

    #[test]
    fn results_are_summed_up() {
        let counts = Counts::of(OUTPUT.as_bytes());
        let failed_names = BTreeSet::from(["peers::b".to_owned()]);
        let expected =
            Counts { passed: 21, failed: 1, ignored: 2, failed_names, ..Counts::default() };
        assert_eq!(counts, expected);
        let mut sum = Counts { is_incomplete: true, ..Counts::default() };
        sum.add(counts);
        assert_eq!(sum, Counts { is_incomplete: true, ..expected });
    }

    #[test]
    fn a_test_that_passes_alone_counts_as_passed_and_is_named() {
        let mut counts = Counts::of(OUTPUT.as_bytes());
        counts.passed_alone("pods", "peers::c");
        assert_eq!((counts.passed, counts.failed), (21, 1));
        counts.passed_alone("pods", "peers::b");
        counts.passed_alone("pods", "peers::b");
        assert_eq!((counts.passed, counts.failed), (22, 0));
        assert_eq!(counts.failed_names, BTreeSet::new());
        assert_eq!(counts.unsteady, ["pods::peers::b"]);
    }
}
