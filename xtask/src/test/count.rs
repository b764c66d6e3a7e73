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
    /// Something else went wrong: a test binary died, or could not be built.
    pub(super) is_incomplete: bool,
}

impl Counts {
    /// Takes one line of output into account.
    pub(super) fn read(&mut self, line: &str) {
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

    #[test]
    fn results_are_summed_up() {
        let mut counts = Counts::default();
        for line in [
            "test peers::a ... ok\n",
            "test peers::b ... \u{1b}[31mFAILED\u{1b}[m\n",
            "test result: \u{1b}[31mFAILED\u{1b}[m. 9 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s\n",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.00s\n",
            "a test printed: test result\n",
        ] {
            counts.read(line);
        }
        let failed_names = BTreeSet::from(["peers::b".to_owned()]);
        let expected =
            Counts { passed: 21, failed: 1, ignored: 2, failed_names, is_incomplete: false };
        assert_eq!(counts, expected);
    }
}
