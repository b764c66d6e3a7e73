//! Calls that stand in the tags of templates: takes a template, gives what it calls with which words, without running it.

/// How tags of Jinja begin and end; comments (`{# #}`) are none.
pub(crate) const JINJA: &[(&str, &str)] = &[("{{", "}}"), ("{%", "%}")];
/// How tags of vault-agent begin and end.
pub(crate) const VAULT_AGENT: &[(&str, &str)] = &[("{{", "}}")];

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'t> {
    /// What is called.
    pub(crate) name: &'t str,
    /// Where that begins in the template, in bytes.
    pub(crate) at: usize,
    /// What stands between the marks of the tag.
    pub(crate) tag: &'t str,
    /// What follows the name in the tag.
    rest: &'t str,
}

impl<'t> Call<'t> {
    /// The string literals in the parentheses; an empty list when there is anything else among them. `None` without
    /// parentheses.
    pub(crate) fn arguments(&self) -> Option<Vec<&'t str>> {
        self.rest.trim_start().strip_prefix('(').map(literals)
    }

    /// The string literal that follows the name.
    pub(crate) fn first_literal(&self) -> Option<&'t str> {
        literal(self.rest.trim_start()).map(|(text, _)| text)
    }
}

/// The calls of `names` in the tags of a template, in the order written.
pub(crate) fn calls<'t>(
    template: &'t str,
    marks: &[(&str, &str)],
    names: &[&str],
) -> Vec<Call<'t>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (start, tag) in tags(template, marks) {
        let starts = tag.char_indices().filter(|(at, c)| {
            is_word(*c) && !tag[..*at].ends_with(|before: char| is_word(before) || before == '.')
        });
        for (at, _) in starts {
            let word = &tag[at..];
            let end = word.find(|c: char| !is_word(c)).unwrap_or(word.len());
            let (name, rest) = word.split_at(end);
            if names.contains(&name) {
                found.push(Call { name, at: start + at, tag, rest });
            }
        }
    }
    found
}

/// What stands between the marks of a template's tags, each with where it begins.
fn tags<'t>(template: &'t str, marks: &[(&str, &str)]) -> Vec<(usize, &'t str)> {
    let mut found = Vec::new();
    let mut reached = 0;
    loop {
        let rest = &template[reached..];
        let starts = marks.iter().filter_map(|mark| Some((rest.find(mark.0)?, *mark)));
        let Some((at, (open, close))) = starts.min_by_key(|(at, _)| *at) else { return found };
        let start = reached + at + open.len();
        let inside = &template[start..];
        let Some(end) = inside.find(close) else { return found };
        found.push((start, &inside[..end]));
        reached = start + end + close.len();
    }
}

/// The string literals of an argument list up to its end; none when there is anything else among them.
fn literals(arguments: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = arguments.trim_start();
    loop {
        let Some((text, after)) = literal(rest) else { return Vec::new() };
        found.push(text);
        let after = after.trim_start();
        match (after.strip_prefix(','), after.starts_with(')')) {
            (Some(more), _) => rest = more.trim_start(),
            (None, true) => return found,
            (None, false) => return Vec::new(),
        }
    }
}

/// A string literal at the start, and what follows it.
fn literal(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| "\"'`".contains(*c))?;
    text[1..].split_once(quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_where_they_stand() {
        let template =
            "é {{ kv('a', 'b').x }}\n{% set y = read(\"c\") %}{{ kv(y) }} {{ x.kv('d') }}";
        let found = calls(template, JINJA, &["kv", "read"]);
        let seen: Vec<_> =
            found.iter().map(|call| (&template[call.at..call.at + 3], call.arguments())).collect();
        assert_eq!(
            seen,
            [("kv(", Some(vec!["a", "b"])), ("rea", Some(vec!["c"])), ("kv(", Some(vec![]))]
        );
        let [secret] = calls("{{ with secret \"a/b\" }}", VAULT_AGENT, &["secret"])[..] else {
            panic!("one call")
        };
        assert_eq!(secret.first_literal(), Some("a/b"));
    }
}
