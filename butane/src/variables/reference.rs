//! References in a text: `${{ name }}`.
//!
//! Nothing else that a config carries is written so: systemd has `%i`, `$VAR` and `${VAR}`, shells have those and
//! `$(…)`, Jinja, Go and Helm have `{{ … }}` without a dollar sign, and for every shell `${{` is a mistake. The form is
//! known from the workflows of forges, and it can stand without quotes wherever YAML is written in lines.
//!
//! Where it is meant as it stands, as in such a workflow, the dollar sign is doubled, and doubled only there: of the
//! `$` directly before `{{` each pair is one, and an odd one over starts a reference. Everywhere else a `$` is a `$`.

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Characters that stand for themselves.
    Text(String),
    /// The name of a variable.
    Reference(&'t str),
}

/// A reference that has no name, or no end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Whether a text may have references or doubled dollar signs in it.
pub(super) fn is_touched(text: &str) -> bool {
    text.contains("${{")
}

/// Whether `name` can be the name of a variable.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Takes a text apart. Pieces of text are not empty and do not follow each other.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Malformed> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(braces) = rest.find("{{") {
        let before = &rest[..braces];
        let start = before.trim_end_matches('$').len();
        let dollars = braces - start;
        literal.push_str(&before[..start]);
        literal.push_str(&"$".repeat(dollars / 2));
        rest = &rest[braces + 2..];
        if dollars.is_multiple_of(2) {
            literal.push_str("{{");
            continue;
        }
        let (inside, behind) = rest.split_once("}}").ok_or(Malformed)?;
        let name = inside.trim_matches([' ', '\t']);
        if !is_name(name) {
            return Err(Malformed);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Reference(name));
        rest = behind;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces as text: references in angle brackets.
    #[track_caller]
    fn check(text: &str, expected: Result<&str, Malformed>) {
        let found = pieces(text).map(|pieces| {
            pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Reference(name) => format!("<{name}>"),
                })
                .collect::<String>()
        });
        assert_eq!(found.as_deref(), expected.as_ref().copied(), "{text:?}");
    }

    #[test]
    fn references_and_doubled_dollars() {
        for (text, expected) in [
            ("", ""),
            ("${{ a }}", "<a>"),
            ("${{a}}${{\tb-1_c }}", "<a><b-1_c>"),
            ("x ${{ a }} y", "x <a> y"),
            ("$${{ a }}", "${{ a }}"),
            ("$$${{ a }}", "$<a>"),
            ("$$$${{ a }}", "$${{ a }}"),
            ("{{ a }} $ $$ ${a} $(a) %i", "{{ a }} $ $$ ${a} $(a) %i"),
            ("${{ a }}}}", "<a>}}"),
            ("${{{ a }}", "!"),
            ("${{ a", "!"),
            ("${{ }}", "!"),
            ("${{ a b }}", "!"),
            ("${{ 1a }}", "!"),
            ("${{\na }}", "!"),
        ] {
            check(text, if expected == "!" { Err(Malformed) } else { Ok(expected) });
        }
    }

    proptest! {
        #[test]
        fn doubling_says_any_text(text in "[$\\{\\}a \\n]{0,12}") {
            // What a person does who wants the text as it is.
            let mut doubled = String::new();
            let mut rest = text.as_str();
            while let Some(braces) = rest.find("{{") {
                let start = rest[..braces].trim_end_matches('$').len();
                doubled += &rest[..braces];
                doubled += &"$".repeat(braces - start);
                doubled += "{{";
                rest = &rest[braces + 2..];
            }
            doubled += rest;
            let expected = if text.is_empty() { vec![] } else { vec![Piece::Text(text)] };
            prop_assert_eq!(pieces(&doubled), Ok(expected));
        }
    }
}
