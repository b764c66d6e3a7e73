//! The templates of secret files, read as the agent will: what is wrong with one is told where it stands, not by a node.

use basalt_model::decode::Located;
use basalt_model::report::Report;
use minijinja::Environment;

/// What a template may name, besides what it defines itself: where secrets come from, and what the language brings.
const KNOWN: [&str; 5] = ["kv", "read", "range", "dict", "namespace"];

/// Looks at the syntax of one template, and at the names it uses.
pub(super) fn check(template: &Located<String>, report: &mut Report) {
    let environment = Environment::new();
    let parsed = match environment.template_from_str(&template.value) {
        Ok(parsed) => parsed,
        Err(error) => {
            let line = error.line().map_or(String::new(), |line| format!("line {line}: "));
            let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
            let message = format!("{line}{}{detail}", error.kind());
            report.error(template.place, &template.path, message);
            return;
        }
    };
    let mut unknown: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
    unknown.retain(|name| !KNOWN.contains(&name.as_str()));
    unknown.sort();
    for name in unknown {
        report
            .error(template.place, &template.path, format!("nothing is called `{name}`"))
            .hint("secrets come from `kv(\"MOUNT\", \"PATH\")` and `read(\"PATH\")`");
    }
}

#[cfg(test)]
mod tests {
    use basalt_model::report::Place;

    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &[&str]) {
        let mut report = Report::new("f");
        let mut located = Located::default_of(template.to_owned());
        (located.place, located.path) =
            (Place { line: 7, column: 3 }, "vault.secrets[0].template".into());
        super::check(&located, &mut report);
        let found: Vec<String> = report.sorted().into_iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn templates() {
        check("{% for u in kv('a', 'b').users %}{{ u }} {{ loop.index }}{% endfor %}", &[]);
        check("{% set x = read('a') %}{{ x.y | join(',') }}{{ range(3) }}", &[]);
        check("a\n{{ kv('a' }}", &["f:7:3: vault.secrets[0].template: line 2: syntax error"]);
        check(
            "{{ password }} {{ secret('x') }}",
            &["nothing is called `password`", "nothing is called `secret`"],
        );
    }
}
