//! Variables in the values of compose files and of their files of variables.
//!
//! Rules: <https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md>

use std::collections::BTreeMap;

/// The deepest nesting of `${A:-${B:-…}}` that is followed.
const MAX_DEPTH: usize = 16;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Nothing sets the variable, and there is no default: empty text stands for it.
    Unset(String),
    /// The text itself demands that the variable is set.
    Required(String),
    /// It is no form of a variable.
    Syntax,
}

/// The value with its variables put in, and what is wrong with it.
pub(super) fn interpolated(
    text: &str,
    variables: &BTreeMap<String, String>,
) -> (String, Vec<Wrong>) {
    let mut wrong = Vec::new();
    let made = at_depth(text, variables, 0, &mut wrong);
    (made, wrong)
}

fn at_depth(
    text: &str,
    variables: &BTreeMap<String, String>,
    depth: usize,
    wrong: &mut Vec<Wrong>,
) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        made.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            made.push('$');
            rest = behind;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let Some(end) = closing(inner).filter(|_| depth < MAX_DEPTH) else {
                wrong.push(Wrong::Syntax);
                return made;
            };
            made.push_str(&braced(&inner[..end], variables, depth, wrong));
            rest = &inner[end + 1..];
        } else {
            let length = name_length(rest);
            if length == 0 {
                wrong.push(Wrong::Syntax);
                made.push('$');
                continue;
            }
            let (name, behind) = rest.split_at(length);
            match variables.get(name) {
                Some(value) => made.push_str(value),
                None => wrong.push(Wrong::Unset(name.to_owned())),
            }
            rest = behind;
        }
    }
    made + rest
}

/// Where the brace is closed that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    for (index, character) in text.char_indices() {
        match character {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
        before = character;
    }
    None
}

fn name_length(text: &str) -> usize {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(is_first) {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// What stands between braces: `NAME`, and what to do when it is not set.
fn braced(
    text: &str,
    variables: &BTreeMap<String, String>,
    depth: usize,
    wrong: &mut Vec<Wrong>,
) -> String {
    let (name, rest) = text.split_at(name_length(text));
    if name.is_empty() {
        wrong.push(Wrong::Syntax);
        return String::new();
    }
    let value = variables.get(name);
    let filled = value.filter(|value| !value.is_empty());
    let mut other = |text: &str| at_depth(text, variables, depth + 1, wrong);
    if rest.is_empty() {
        return value.cloned().unwrap_or_else(|| {
            wrong.push(Wrong::Unset(name.to_owned()));
            String::new()
        });
    }
    let (value, operator, operand) = match rest.strip_prefix(':') {
        Some(rest) => (filled, rest.chars().next(), rest.get(1..)),
        None => (value, rest.chars().next(), rest.get(1..)),
    };
    match (operator, operand, value) {
        (Some('-' | '?'), Some(_), Some(value)) => value.clone(),
        (Some('-'), Some(operand), None) | (Some('+'), Some(operand), Some(_)) => other(operand),
        (Some('+'), Some(_), None) => String::new(),
        (Some('?'), Some(_), None) => {
            wrong.push(Wrong::Required(name.to_owned()));
            String::new()
        }
        _ => {
            wrong.push(Wrong::Syntax);
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str, expected_wrong: &[Wrong]) {
        let variables = [("A", "a"), ("E", "")];
        let variables = variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let (made, wrong) = interpolated(text, &variables);
        assert_eq!((made.as_str(), wrong.as_slice()), (expected, expected_wrong), "{text}");
    }

    #[test]
    fn forms() {
        check("$A ${A} $$A a$", "a a $A a$", &[Wrong::Syntax]);
        check("${E:-d}${E-d}${N-d}${N:-${A}x}", "ddax", &[]);
        check("${A:+y}${E:+y}${E+y}${N+y}", "yy", &[]);
        check("${A:?x}${E?x}", "a", &[]);
        check("$N ${N}", " ", &[Wrong::Unset("N".to_owned()), Wrong::Unset("N".to_owned())]);
        check("${E:?no}", "", &[Wrong::Required("E".to_owned())]);
        check("${A", "", &[Wrong::Syntax]);
        check("${1}", "", &[Wrong::Syntax]);
        check("${A!x}", "", &[Wrong::Syntax]);
    }
}
