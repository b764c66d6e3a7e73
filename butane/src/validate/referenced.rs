//! Configs that a config merges in or gives way to, as far as they are at hand: inline, in a local file, in a data URL.
//!
//! Ignition reads them on the machine, brings each from its own specification to the newest it knows, and stops the
//! boot at the first one that is wrong. So they are held against the rules of their own specification here. What is
//! fetched from elsewhere is not looked at.

use basalt_model::report::{Finding, Severity};
use camino::Utf8Path;

use super::inner::{self, Inner};
use crate::local;
use crate::tree::{Findings, Origin, Tree};
use crate::version::Target;

/// How many configs may stand in each other. A packed one can hold itself.
const MAX_DEPTH: usize = 8;

/// Checks all configs that `written` refers to; `lowered` is made from it and has their contents.
pub(crate) fn configs(
    written: &Tree,
    lowered: &Tree,
    target: &'static Target,
    files_dir: Option<&Utf8Path>,
    findings: &mut Findings,
) {
    let mut referenced = Referenced { root: written, target, files_dir, findings };
    for (written, lowered) in references(written).zip(references(lowered)) {
        referenced.config(written, lowered);
    }
}

/// The resources in `merge` and `replace`.
fn references(config: &Tree) -> impl Iterator<Item = &Tree> {
    let section = config.get("ignition").and_then(|ignition| ignition.get("config"));
    section
        .into_iter()
        .flat_map(|section| section.items("merge").iter().chain(section.get("replace")))
}

struct Referenced<'r> {
    root: &'r Tree,
    target: &'static Target,
    files_dir: Option<&'r Utf8Path>,
    findings: &'r mut Findings,
}

impl Referenced<'_> {
    fn config(&mut self, written: &Tree, lowered: &Tree) {
        let mut set =
            ["inline", "local", "source"].into_iter().filter(|name| written.get(name).is_some());
        match (set.next(), set.next()) {
            (Some("inline"), None) => {
                if let Some(text) = written.text("inline") {
                    self.inline(text, written);
                }
            }
            (Some("local"), None) => {
                if let (Some(path), Some(bytes)) = (written.text("local"), inner::contents(lowered))
                {
                    self.local(path, &bytes, &written.place_of("local"));
                }
            }
            (Some("source"), None) => {
                nested(lowered, &written.place_of("source"), 1, self.target, self.findings);
            }
            _ => {}
        }
    }

    /// Findings have the paths and places of the reference: the path is the one in the inner config, the place that of
    /// what has this path in the outer one. The words say where to look.
    fn inline(&mut self, text: &str, resource: &Tree) {
        let origin = resource.place_of("inline");
        let mut inner = match Inner::parse(text, "", self.target) {
            Ok(inner) => inner,
            Err(fault) => {
                return self.no_config(&format!("line {}: {}", fault.line, fault.message), &origin);
            }
        };
        if inner.findings.0.has_errors() {
            let errors = inner.findings.0.sorted().into_iter();
            let said: Vec<String> =
                errors.filter(|said| said.severity == Severity::Error).map(in_words).collect();
            return self.no_config(&said.join("; "), &origin);
        }
        if inner.is_written_to_another_version(self.target) {
            let expected = self.target.spec.as_str();
            let message = format!("not checked, as it is not written to version {expected}");
            self.findings.warning(&resource.origin.below("version"), message);
            return;
        }
        inner.judge(self.target);
        let line = origin.place.line;
        for finding in inner.findings.0.sorted() {
            let place = nearest(self.root, &finding.path).place;
            let at = Origin { place, path: finding.path.as_str().into(), ..origin.clone() };
            let message = format!(
                "in line {} of the config at line {line}: {}",
                finding.place.line, finding.message
            );
            pass_on(finding, &at, message, self.findings);
        }
        for reference in references(&inner.tree) {
            nested(reference, &origin, 1, self.target, self.findings);
        }
    }

    /// The reference says it twice: at the top, with the reason, and at the text.
    fn no_config(&mut self, fault: &str, origin: &Origin) {
        let whole = self.root.origin.clone();
        let message = format!("in the config at line {}: {fault}", origin.place.line);
        self.findings.error(&whole, message);
        self.findings.error(origin, "this cannot be read as an Ignition config");
    }

    /// Findings are in the local file.
    fn local(&mut self, path: &str, bytes: &[u8], origin: &Origin) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.findings.error(origin, format!("`{path}` is no Ignition config: it is not text"));
            return;
        };
        let file = match self.files_dir {
            Some(files_dir) => local::name(files_dir, path),
            None => path.into(),
        };
        match Inner::parse(text, file.as_str(), self.target) {
            Ok(mut inner) => {
                inner.judge_by_its_version(self.target);
                let Inner { tree, findings, .. } = inner;
                self.findings.0.absorb(findings.0);
                for reference in references(&tree) {
                    let at = reference.place_of("source");
                    nested(reference, &at, 1, self.target, self.findings);
                }
            }
            Err(_) if inner::is_butane(bytes) => {
                let message = format!("`{path}` is a Butane config, and Ignition reads its own");
                self.findings.error(origin, message).hint(
                    "compile it first, or give both files to the compiler, which merges them",
                );
            }
            Err(fault) => {
                let at = Origin::root(file.as_str(), fault.place());
                self.findings.error(&at, format!("this is no Ignition config: {}", fault.message));
            }
        }
    }
}

/// A config in a data URL. Findings are at `at`, and their words say where in the config. All are warnings: another
/// program may have made it, for an Ignition that takes it.
fn nested(
    resource: &Tree,
    at: &Origin,
    depth: usize,
    target: &'static Target,
    findings: &mut Findings,
) {
    let Some(bytes) = inner::contents(resource) else { return };
    if depth > MAX_DEPTH {
        let message = format!("more than {MAX_DEPTH} configs stand in each other here");
        findings.warning(at, message).hint("they are not checked from there on");
        return;
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        findings.warning(at, "this is no Ignition config: it is not text");
        return;
    };
    let mut inner = match Inner::parse(text, "", target) {
        Ok(inner) => inner,
        Err(fault) => {
            let message =
                format!("this is no Ignition config: line {}: {}", fault.line, fault.message);
            findings.warning(at, message);
            return;
        }
    };
    inner.judge_by_its_version(target);
    for finding in inner.findings.0.sorted() {
        let message = format!("in this config, {}", in_words(finding));
        findings.warning(at, message).hint.clone_from(&finding.hint);
    }
    for reference in references(&inner.tree) {
        nested(reference, at, depth + 1, target, findings);
    }
}

/// `line 3: $.storage.files.0: message`.
fn in_words(finding: &Finding) -> String {
    format!("line {}: {}: {}", finding.place.line, finding.path, finding.message)
}

/// Reports a finding in an inner text at `at`, in other words.
fn pass_on(finding: &Finding, at: &Origin, message: String, findings: &mut Findings) {
    let new = match finding.severity {
        Severity::Error => findings.error(at, message),
        Severity::Warning => findings.warning(at, message),
    };
    new.hint.clone_from(&finding.hint);
}

/// The deepest value that there is on the way down `path`.
fn nearest<'t>(root: &'t Tree, path: &str) -> &'t Origin {
    let mut tree = root;
    for part in path.split('.').skip(1) {
        let next = match part.parse::<usize>() {
            Ok(index) => tree.list().get(index),
            Err(_) => tree.get(part),
        };
        match next {
            Some(next) => tree = next,
            None => break,
        }
    }
    &tree.origin
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Options, Output, Warnings, compile};

    /// What is said of a config that merges `base.ign`, which has this text, without the name of its folder.
    fn said_of(local: impl AsRef<[u8]>, more: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let files = Utf8Path::from_path(folder.path()).unwrap();
        fs::write(files.join("base.ign"), local).unwrap();
        let text = format!(
            "variant: fcos\nversion: 1.4.0\nignition:\n  config:\n    merge:\n    - local: /base.ign\n{more}"
        );
        let options = Options {
            files_dir: Some(files),
            warnings: Warnings::Allowed,
            output: Output::Variant,
        };
        let (config, report) = compile("a.bu", text.as_bytes(), &options);
        assert_eq!(config.is_none(), report.has_errors());
        let strip = |text: String| text.replace(&format!("{files}/"), "");
        report.sorted().into_iter().map(|finding| strip(finding.to_string())).collect()
    }

    #[track_caller]
    fn check(local: impl AsRef<[u8]>, expected: &[&str]) {
        assert_eq!(said_of(local, ""), expected);
    }

    #[test]
    fn local_configs_are_checked_in_place() {
        check(r#"{"ignition": {"version": "3.3.0"}}"#, &[]);
        check(
            "{\"ignition\": {\"version\": \"3.3.0\"},\n \"storage\": {\"files\": [\n\t{\"path\": \"a\", \"mod\": 1}]}}",
            &[
                "base.ign:3:11: $.storage.files.0.path: the path is not absolute",
                "base.ign:3:16: warning: $.storage.files.0.mod: a file has no `mod`\n  hint: did you mean `mode`?",
            ],
        );
        check(
            "{\"ignition\": {\"version\": \"3.3.0\"},\n \"storage\": {\"files\": [{\"path\": 1}]}}",
            &["base.ign:2:33: $.storage.files.0.path: text is wanted here, not `1`"],
        );
        check("{}", &["base.ign:1:1: $.ignition.version: `version` is missing"]);
    }

    #[test]
    fn what_is_no_config() {
        check(
            "{\"ignition\":\n {,}}",
            &["base.ign:2:3: $: this is no Ignition config: key must be a string"],
        );
        check(
            "variant: fcos\nversion: 1.4.0\n",
            &[
                "a.bu:6:14: $.ignition.config.merge.0.local: `/base.ign` is a Butane config, and Ignition reads its own\n  hint: compile it first, or give both files to the compiler, which merges them",
            ],
        );
        check(
            b"\xff\xfe",
            &[
                "a.bu:6:14: $.ignition.config.merge.0.local: `/base.ign` is no Ignition config: it is not text",
            ],
        );
        check("[]", &["base.ign:1:1: $: a mapping is wanted here, not a list"]);
    }

    #[test]
    fn each_config_is_held_against_its_own_version() {
        // Special modes were not refused, nor warned of, in every version.
        let with = |version: &str, rest: &str| {
            format!(r#"{{"ignition": {{"version": "{version}"}}{rest}}}"#)
        };
        let keyed = r#", "kernelArguments": {"shouldExist": ["a"]}"#;
        check(with("3.3.0", keyed), &[]);
        check(
            with("3.2.0", keyed),
            &[
                "base.ign:1:36: warning: $.kernelArguments: a config has no `kernelArguments`\n  hint: version 3.3.0 of the specification has it",
            ],
        );
        check(
            with("3.4.0", ""),
            &[
                "base.ign:1:26: warning: $.ignition.version: version 3.4.0 is newer than 3.3.0, which this config is compiled to\n  hint: Ignition on every machine has to know it",
            ],
        );
        check(
            with("2.2.0", ""),
            &[
                "base.ign:1:26: $.ignition.version: Ignition 2 reads version 3 of the specification only",
            ],
        );
        check(
            with("3.99.0", ""),
            &[
                "base.ign:1:26: warning: $.ignition.version: not checked, as version 3.99.0 is not known",
            ],
        );
        check(
            with("3", ""),
            &[
                "base.ign:1:26: $.ignition.version: `3` is not a version\n  hint: it has three numbers, like `3.3.0`",
            ],
        );
    }

    #[test]
    fn configs_in_configs() {
        let data = |text: &str| {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            format!(
                r#"{{"ignition":{{"version":"3.3.0","config":{{"merge":[{{"source":"data:,{escaped}"}}]}}}}}}"#
            )
        };
        let bad = r#"{"ignition":{"version":"3.3.0"},"passwd":{"users":[{"name":1}]}}"#;
        check(
            data(bad),
            &[
                "base.ign:1:61: warning: $.ignition.config.merge.0.source: in this config, line 1: $.passwd.users.0.name: text is wanted here, not `1`",
            ],
        );
        let more = format!(
            "    - source: {}\n",
            serde_json::from_str::<serde_json::Value>(&data(bad)).unwrap()["ignition"]["config"]["merge"][0]["source"].as_str().unwrap()
        );
        let said = said_of(r#"{"ignition": {"version": "3.3.0"}}"#, &more);
        assert_eq!(
            said,
            [
                "a.bu:7:15: warning: $.ignition.config.merge.1.source: in this config, line 1: $.passwd.users.0.name: text is wanted here, not `1`"
            ]
        );
        // Deeper than anybody goes; each level makes the text three times as long.
        let mut deep = bad.to_owned();
        for _ in 0..3 {
            deep = data(&deep);
        }
        assert_eq!(said_of(&deep, "").len(), 1);
    }
}
