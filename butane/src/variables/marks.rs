//! Where values were put in, so that findings say where a value is from and do not show secrets.

use std::collections::HashMap;

use basalt_model::report::{Finding, Place, Report, Severity};

use super::substitute::Mark;
use crate::tree::{Findings, Origin};

/// The shortest secret that is looked for in all findings, besides those at its own place. A shorter one is part of
/// many words, and replacing it there would tell it.
const LEAST_SECRET: usize = 6;

/// What is shown in the place of a secret.
pub(crate) const SECRET: &str = "(secret)";

/// All places where something was put in.
#[derive(Default)]
pub(crate) struct Marks {
    files: HashMap<String, HashMap<Place, Mark>>,
    secrets: Vec<String>,
}

impl Marks {
    pub(super) fn add(&mut self, file: &str, marks: HashMap<Place, Mark>) {
        self.files.entry(file.to_owned()).or_default().extend(marks);
    }

    /// Lets no finding show these texts.
    pub(super) fn hide<'s>(&mut self, texts: impl Iterator<Item = &'s String>) {
        self.secrets.extend(texts.filter(|text| text.len() >= LEAST_SECRET).cloned());
    }

    /// Whether nothing was put in anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn at(&self, file: &str, place: Place) -> Option<&Mark> {
        self.files.get(file)?.get(&place)
    }

    /// Whether a secret was put in here.
    pub(crate) fn is_secret(&self, origin: &Origin) -> bool {
        self.at(&origin.file, origin.place).is_some_and(|mark| mark.is_secret)
    }

    /// Says of each finding which variables its value is from, hides secrets, and leaves away what follows from a
    /// reference that could not be resolved.
    pub(crate) fn explain(&self, findings: Findings) -> Findings {
        if self.is_empty() {
            return findings;
        }
        let mut explained = Report::new("");
        for finding in findings.0.sorted() {
            let mark = self.at(&finding.file, finding.place);
            if mark.is_some_and(|mark| mark.is_broken) {
                continue;
            }
            let mut finding = finding.clone();
            if let Some(mark) = mark {
                if mark.is_secret {
                    finding.message = redact(&finding.message);
                    finding.hint = finding.hint.map(|hint| redact(&hint));
                }
                tell(&mut finding, mark);
            }
            for secret in &self.secrets {
                finding.message = finding.message.replace(secret, SECRET);
                finding.hint = finding.hint.map(|hint| hint.replace(secret, SECRET));
            }
            let Finding { severity, file, place, path, message, hint } = finding;
            let new = match severity {
                Severity::Error => explained.error(place, path, message),
                Severity::Warning => explained.warning(place, path, message),
            };
            (new.file, new.hint) = (file, hint);
        }
        findings.with_report(explained)
    }
}

/// Messages have what they quote between backticks.
fn redact(text: &str) -> String {
    match (text.find('`'), text.rfind('`')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}{SECRET}{}", &text[..first], &text[last + 1..])
        }
        _ => text.to_owned(),
    }
}

/// Adds the variables to the hint.
fn tell(finding: &mut Finding, mark: &Mark) {
    let sources: Vec<String> = mark
        .variables
        .iter()
        .map(|(name, origin)| match origin.file.starts_with("--var ") {
            true => format!("`{name}` is from `{}`", origin.file),
            false => format!("`{name}` is from {}:{}", origin.file, origin.place),
        })
        .collect();
    if sources.is_empty() {
        return;
    }
    let sources = format!("the variable {}", sources.join(", "));
    finding.hint = Some(match finding.hint.take() {
        // There may be none: it is the variable that is text.
        Some(hint) if hint != "leave the quotes away" => format!("{hint}; {sources}"),
        _ => sources,
    });
}
