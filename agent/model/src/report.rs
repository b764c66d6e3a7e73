//! Findings: what is wrong with a text that a person wrote, where, and what to do about it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

/// A place in a text. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Counts from 1.
    pub line: u32,
    /// Counts from 1, in characters.
    pub column: u32,
}

impl Place {
    /// The first character of a text; what concerns the whole of it is reported here.
    pub const START: Place = Place { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The text cannot be used.
    Error,
    /// The text can be used, and likely does not do what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// The file as the person named it.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// The value concerned, `nodes[1].addresses`; empty for the whole document.
    pub path: String,
    /// What is wrong, as a sentence without a final stop.
    pub message: String,
    /// What to do, when that can be said.
    pub hint: Option<String>,
}

impl fmt::Display for Finding {
    /// `cluster.yaml:14:9: nodes[1].addresses: not a CIDR address`, with the hint on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.place)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The most findings that a report keeps. Nobody reads as many; a file that is something else altogether may have
/// millions, with paths and hints.
pub const MAX_FINDINGS: usize = 10_000;

/// The longest message or path, in bytes: a text of megabytes that stands where a word should is not repeated in full.
const MAX_TEXT_BYTES: usize = 2000;

/// The findings about one file, in the order they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    file: String,
    findings: Vec<Finding>,
    is_cut_short: bool,
    /// The last one that there was no room for, for its maker to finish.
    left_out: Option<Box<Finding>>,
    unread: BTreeSet<String>,
    places: BTreeMap<String, Place>,
}

impl Report {
    /// An empty report about `file`, named as the person named it.
    pub fn new(file: impl Into<String>) -> Report {
        Report {
            file: file.into(),
            findings: Vec::new(),
            is_cut_short: false,
            left_out: None,
            unread: BTreeSet::new(),
            places: BTreeMap::new(),
        }
    }

    /// The file the report is about, named as the person named it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Adds an error.
    pub fn error(
        &mut self,
        place: Place,
        path: impl fmt::Display,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.push(Severity::Error, place, path, message)
    }

    /// Adds a warning.
    pub fn warning(
        &mut self,
        place: Place,
        path: impl fmt::Display,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.push(Severity::Warning, place, path, message)
    }

    fn push(
        &mut self,
        severity: Severity,
        place: Place,
        path: impl fmt::Display,
        message: impl Into<String>,
    ) -> &mut Finding {
        let finding = Finding {
            severity,
            file: self.file.clone(),
            place,
            path: shortened(path.to_string()),
            message: shortened(message.into()),
            hint: None,
        };
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
            return self.findings.last_mut().expect("a finding was just added");
        }
        self.is_cut_short = true;
        let left_out = self.left_out.insert(Box::new(finding));
        // There is always an error to be seen when there was one.
        match self.findings.last_mut() {
            Some(last) if severity == Severity::Error && last.severity == Severity::Warning => {
                last.clone_from(left_out);
                last
            }
            _ => left_out,
        }
    }

    /// Whether there were more findings than a report keeps.
    pub fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// Says that there were more findings than those that are here.
    pub fn cut_short(&mut self) {
        self.is_cut_short = true;
    }

    /// Notes that nothing is known of the value at `path`, so that nobody takes it for absent.
    pub fn unread(&mut self, path: impl Into<String>) {
        self.unread.insert(path.into());
    }

    /// Notes where the value at `path` stands, for those who miss something in it.
    pub fn stands(&mut self, path: impl Into<String>, place: Place) {
        self.places.insert(path.into(), place);
    }

    /// Where the value at `path` stands, or else what it would be in: the place for a finding about what is missing.
    pub fn place_of(&self, path: &str) -> Place {
        let above = std::iter::successors(Some(path), |path| {
            path.rfind(['.', '[']).map(|end| &path[..end])
        });
        let mut noted = above.filter_map(|path| self.places.get(path));
        noted.next().copied().unwrap_or(Place::START)
    }

    /// Whether the value at `path` was read with everything in it. What is missing in one that was not may be there.
    pub fn is_whole(&self, path: &str) -> bool {
        let is_below = |lower: &str, upper: &str| {
            let rest = lower.strip_prefix(upper);
            rest.is_some_and(|rest| {
                upper.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])
            })
        };
        !self.unread.iter().any(|unread| is_below(unread, path) || is_below(path, unread))
    }

    /// Takes over the findings of a report about another file.
    pub fn absorb(&mut self, other: Report) {
        for finding in other.findings {
            self.push(finding.severity, finding.place, "", "").clone_from(&finding);
        }
        self.is_cut_short |= other.is_cut_short;
    }

    /// Takes findings over; those that are there already are left out: a file that many nodes share is looked at for each
    /// of them.
    pub fn absorb_once(&mut self, findings: impl IntoIterator<Item = Finding>) {
        let mut there: HashSet<Finding> = self.findings.iter().cloned().collect();
        for finding in findings {
            if there.insert(finding.clone()) {
                self.push(finding.severity, finding.place, "", "").clone_from(&finding);
            }
        }
    }

    /// The findings themselves, in the order they were made.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Whether the text cannot be used.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// All findings by file and place; those of one place stay in the order they were made.
    pub fn sorted(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
        findings
    }
}

impl Finding {
    /// Says what to do.
    pub fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }
}

/// The beginning of a long text.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let most = MAX_TEXT_BYTES / 4;
        let end = (0..=most).rfind(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

impl fmt::Display for Report {
    /// One finding after the other, each on its own lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.sorted().into_iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{finding}")?;
        }
        if self.is_cut_short() {
            write!(f, "\nthere is more: only {MAX_FINDINGS} findings are shown")?;
        }
        Ok(())
    }
}

/// A report that has errors: a text that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub Report);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_bounded() {
        let mut report = Report::new("a.yaml");
        for line in 0..MAX_FINDINGS as u32 + 5 {
            report.warning(Place { line, column: 1 }, "a", "é".repeat(5000)).hint("shorter");
        }
        assert!(report.is_cut_short() && !report.has_errors());
        assert!(report.sorted()[0].message.len() < 1000);
        report.error(Place::START, "b", "wrong").hint("right");
        report.error(Place::START, "c", "wrong").hint("right");
        assert!(report.has_errors());
        assert_eq!(report.sorted().len(), MAX_FINDINGS);
        assert!(report.to_string().ends_with("there is more: only 10000 findings are shown"));
    }

    #[test]
    fn shared_findings_are_told_once() {
        let mut one = Report::new("a.bu");
        one.error(Place::START, "x", "wrong");
        let mut report = Report::new("a.bu");
        report.absorb_once([one.clone(), one.clone()].into_iter().flat_map(Report::into_findings));
        report.absorb_once(one.clone().into_findings());
        assert_eq!(report, one);
    }

    #[test]
    fn whole_is_what_was_read_with_everything_in_it() {
        let mut report = Report::new("a.yaml");
        assert!(report.is_whole(""));
        report.unread("nodes[1].role");
        for (path, expected) in [
            ("", false),
            ("nodes", false),
            ("nodes[1]", false),
            ("nodes[1].role.x", false),
            ("nodes[10]", true),
            ("nodes[1].roles", true),
            ("node", true),
        ] {
            assert_eq!(report.is_whole(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_missing_is_missed_where_it_would_be() {
        let mut report = Report::new("a.yaml");
        report.stands("api", Place { line: 3, column: 3 });
        report.stands("api.servers", Place { line: 4, column: 12 });
        for (path, line) in [("api.servers", 4), ("api.host", 3), ("api.servers[0]", 4), ("x.y", 1)]
        {
            assert_eq!(report.place_of(path).line, line, "{path}");
        }
    }

    #[test]
    fn sorted_by_place_with_hint() {
        let mut report = Report::new("a.yaml");
        report.warning(Place { line: 9, column: 1 }, "b", "later");
        report.error(Place { line: 2, column: 3 }, "a[0]", "not a number").hint("write one");
        assert_eq!(
            report.to_string(),
            "a.yaml:2:3: a[0]: not a number\n  hint: write one\na.yaml:9:1: warning: b: later"
        );
        assert!(report.has_errors());
    }
}
