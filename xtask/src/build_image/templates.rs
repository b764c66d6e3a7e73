//! The templates of secret files, read as the agent will: what is wrong with one is told where it stands, not by a node.
//!
//! The settings are those with which the agent renders (its `secret_files::template`): both have the same crate with the
//! same features, so what compiles here compiles there.

use std::io;
use std::sync::Arc;

use basalt_model::decode::Located;
use basalt_model::report::{Finding, Place, Report};
use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use crate::template_calls::{Call, JINJA, calls};

/// What a template may name, besides what it defines itself: where secrets come from, and what the language brings.
const KNOWN: [&str; 5] = ["kv", "read", "range", "dict", "namespace"];
/// Instructions that the agent lets one template take.
const FUEL: u64 = 200_000;

/// Looks at the syntax of one template, at the names it uses and at the places in Vault that it names. `source` is the
/// text of the file that it stands in.
pub(super) fn check(template: &Located<String>, source: &str, report: &mut Report) {
    Check { template, source, report }.run();
}

struct Check<'c> {
    template: &'c Located<String>,
    source: &'c str,
    report: &'c mut Report,
}

impl Check<'_> {
    /// Reports an error in a line of the template, at a byte of that line where it is known.
    fn error(&mut self, line: usize, at: Option<usize>, message: String) -> &mut Finding {
        let place = place_in(self.source, self.template, line, at);
        self.report.error(place, &self.template.path, message)
    }

    fn refused(&mut self, error: &Error) {
        let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
        self.error(error.line().unwrap_or(1), None, format!("{}{detail}", error.kind()));
    }

    fn run(&mut self) {
        let template = self.template;
        if template.trim().is_empty() {
            self.error(1, None, "the template is empty".to_owned())
                .hint("say what the file holds, or remove it");
            return;
        }
        for call in calls(template, JINJA, &["kv", "read"]) {
            let Some((message, hint)) = unusable(&call) else { continue };
            let before = &template[..call.at];
            let start = before.rfind('\n').map_or(0, |end| end + 1);
            let line = before.matches('\n').count() + 1;
            self.error(line, Some(call.at - start), message).hint(hint);
        }
        let environment = environment();
        let parsed = match environment.template_from_str(template) {
            Ok(parsed) => parsed,
            Err(error) => return self.refused(&error),
        };
        let mut unknown: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !KNOWN.contains(&name.as_str()));
        unknown.sort();
        for name in &unknown {
            self.error(1, None, format!("nothing is called `{name}`"))
                .hint("secrets come from `kv(\"MOUNT\", \"PATH\")` and `read(\"PATH\")`");
        }
        // Filters and tests are looked up when they are reached. What a secret looks like nobody knows here, so nothing
        // else that goes wrong says anything.
        if let Err(error) = parsed.render_captured_to((), io::sink()) {
            match error.kind() {
                ErrorKind::UnknownFilter | ErrorKind::UnknownTest => self.refused(&error),
                ErrorKind::OutOfFuel => {
                    let line = error.line().unwrap_or(1);
                    self.error(line, None, "the template does not come to an end".to_owned());
                }
                _ => {}
            }
        }
    }
}

/// What is wrong with a call whose words are written out, and what to do.
fn unusable(call: &Call<'_>) -> Option<(String, &'static str)> {
    let arguments = call.arguments().filter(|arguments| !arguments.is_empty())?;
    let (wanted, hint) = match call.name {
        "kv" => (2, "write `kv(\"MOUNT\", \"PATH\")`, without `data/` in the path"),
        _ => (1, "write `read(\"PATH\")`, without `/v1/`"),
    };
    if arguments.len() != wanted {
        return Some((
            format!("`{}` takes {wanted} texts, not {}", call.name, arguments.len()),
            hint,
        ));
    }
    arguments.iter().find_map(|path| {
        let what = match *path {
            "" => "an empty text".to_owned(),
            path if path.starts_with('/') => format!("`{path}`, which begins with a slash"),
            path if path.ends_with('/') => format!("`{path}`, which ends with a slash"),
            path if path.split('/').any(str::is_empty) => format!("`{path}`, with an empty part"),
            path if path.split('/').any(|part| [".", ".."].contains(&part)) => {
                format!("`{path}`, which has `.` or `..` in it")
            }
            _ => return None,
        };
        Some((format!("`{}` is given {what}: Vault has nothing there", call.name), hint))
    })
}

/// As the agent's; secrets are [`Anything`].
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.add_function("kv", |_: String, _: String| Value::from_object(Anything));
    environment.add_function("read", |_: String| Value::from_object(Anything));
    environment
}

/// A secret that nobody knows yet: it has whatever is asked for.
#[derive(Debug)]
struct Anything;

impl Object for Anything {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        // A map would be printed with all that is in it, and so on without end.
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_object(Anything))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(vec![Value::from_object(Anything)])
    }
}

/// Where a line of a template stands in its file: at a byte of the line, or else at its first letter. A template that is
/// not written line by line, as one in quotes may be, is pointed at as a whole.
fn place_in(source: &str, template: &Located<String>, line: usize, at: Option<usize>) -> Place {
    let Place { line: first, column } = template.place;
    let line_of = |number: usize| source.lines().nth(number.checked_sub(1)?);
    let Some(begin) = line_of(first as usize) else { return template.place };
    let value: String = begin.chars().skip(column as usize - 1).collect();
    let text = template.lines().nth(line - 1).unwrap_or_default();
    let is_block = value.starts_with('|');
    if text.trim().is_empty() || (!is_block && line > 1) {
        return template.place;
    }
    let number = first as usize + if is_block { line } else { 0 };
    let written = line_of(number).unwrap_or_default();
    let after = if is_block { 0 } else { begin.len() - value.len() };
    let Some(found) = written[after..].find(text) else { return template.place };
    let letter = text.len() - text.trim_start().len();
    let before = &written[..after + found + at.unwrap_or(letter)];
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: count(number), column: count(before.chars().count() + 1) }
}

#[cfg(test)]
mod tests {
    use basalt_model::cluster::Reading;

    use super::*;

    const LAB: &str = include_str!("../../../tests/clusters/lab/cluster.yaml");

    /// A template as it may be written in the lab's file, and what is said of it; `L` is the line of `template:`.
    #[track_caller]
    fn check(template: &str, expected: &[&str]) {
        let fields = "name: a\n      roles: [controller]\n      destination: /srv/a/b";
        let secret = format!("  secrets:\n    - {fields}\n      template: {template}\n");
        let source = LAB.replace("  certificates:\n", &format!("{secret}  certificates:\n"));
        let reading = Reading::of("f", source.as_bytes());
        assert!(!reading.report.has_errors(), "{}", reading.report);
        let [template] = &reading.templates[..] else { panic!("one template") };
        let mut report = Report::new("f");
        super::check(template, &source, &mut report);
        let at = source.lines().position(|line| line.starts_with("      template: ")).unwrap() + 1;
        let found: Vec<String> = report.sorted().into_iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            let place = (0..9).fold((*expected).to_owned(), |text, offset| {
                text.replace(&format!("L+{offset}:"), &format!("{}:", at + offset))
            });
            assert!(found.starts_with(&place), "{found}, not {place}");
        }
    }

    #[test]
    fn templates() {
        check("\"{% for u in kv('a', 'b').users %}{{ u }} {{ loop.index }}{% endfor %}\"", &[]);
        check("\"{% set x = read('a') %}{{ x.y | join(',') }}{{ range(3) }}\"", &[]);
        check("\"{{ kv('a', kv('b', 'c').next).port | int + 1 }}\"", &[]);
        check(
            "|\n        a\n          {{ kv('a' }}",
            &["f:L+2:11: vault.secrets[0].template: syntax error: "],
        );
        check("'{% if %}'", &["f:L+0:18: vault.secrets[0].template: syntax error: "]);
        check("\"a\\n{% if %}\"", &["f:L+0:17: vault.secrets[0].template: syntax error: "]);
        check(
            "\"{{ password }} {{ secret('x') }}\"",
            &[
                "f:L+0:18: vault.secrets[0].template: nothing is called `password`",
                "f:L+0:18: vault.secrets[0].template: nothing is called `secret`",
            ],
        );
        check(
            "|\n        {{ kv('a', 'b').c\n        | upper | base64 }}",
            &["f:L+1:9: vault.secrets[0].template: unknown filter: "],
        );
        check(
            "\"{% for u in kv('a', 'b').users %}{{ u.x }}{{ u | base64 }}{% endfor %}\"",
            &["f:L+0:18: vault.secrets[0].template: unknown filter: "],
        );
        check("\"{{ kv('a', 'b') == kv('a', 'c') }}{{ kv('a', 'b') | list }}\"", &[]);
        let range = "{% for x in range(9999) %}";
        check(
            &format!("\"{range}{range}{{% endfor %}}{{% endfor %}}\""),
            &["f:L+0:18: vault.secrets[0].template: the template does not come to an end"],
        );
        check("\"\"", &["f:L+0:17: vault.secrets[0].template: the template is empty"]);
        check("\" \\n\"", &["f:L+0:17: vault.secrets[0].template: the template is empty"]);
    }

    #[test]
    fn places_in_vault() {
        check(
            "|\n        x\n        é {{ kv('a', '../b').c }} {% if kv('a', 'b/').c %}{% endif %}\n",
            &[
                "f:L+2:14: vault.secrets[0].template: `kv` is given `../b`, which has `.` or `..` in it",
                "f:L+2:41: vault.secrets[0].template: `kv` is given `b/`, which ends with a slash",
            ],
        );
        for (call, what) in [
            ("kv('a', '/b')", "`kv` is given `/b`, which begins with a slash"),
            ("kv('a', 'b//c')", "`kv` is given `b//c`, with an empty part"),
            ("kv('', 'b')", "`kv` is given an empty text"),
            ("kv('a/./b', 'c')", "`kv` is given `a/./b`, which has `.` or `..` in it"),
            ("read('../sys/x')", "`read` is given `../sys/x`, which has"),
            ("kv('a/b')", "`kv` takes 2 texts, not 1"),
            ("read('a', 'b')", "`read` takes 1 texts, not 2"),
        ] {
            let template = format!("\"{{{{ {call}.x }}}}\"");
            check(&template, &[&format!("f:L+0:21: vault.secrets[0].template: {what}")]);
        }
    }
}
