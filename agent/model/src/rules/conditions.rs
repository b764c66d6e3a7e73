//! The ACLs that a frontend's rules name after `if` and `unless`, by
//! <https://docs.haproxy.org/2.6/configuration.html#7.2>.
//!
//! A rule is refused only when it has a condition without doubt. What a word stands for that haproxy takes from its
//! environment, and what stands between braces, is its own matter.

use std::collections::BTreeSet;

use super::RuleError;
use crate::decode::closest;

/// The ACLs that need no declaration: <https://docs.haproxy.org/2.6/configuration.html#7.4>.
const PREDEFINED: [&str; 23] = [
    "FALSE",
    "HTTP",
    "HTTP_1.0",
    "HTTP_1.1",
    "HTTP_2.0",
    "HTTP_3.0",
    "HTTP_CONTENT",
    "HTTP_URL_ABS",
    "HTTP_URL_SLASH",
    "HTTP_URL_STAR",
    "LOCALHOST",
    "METH_CONNECT",
    "METH_DELETE",
    "METH_GET",
    "METH_HEAD",
    "METH_OPTIONS",
    "METH_POST",
    "METH_PUT",
    "METH_TRACE",
    "RDP_COOKIE",
    "REQ_CONTENT",
    "TRUE",
    "WAIT_END",
];

/// What actions are given before anything that may be left out, where that is more than one word.
const ARGUMENTS: [(&str, usize); 10] = [
    ("add-header", 2),
    ("early-hint", 2),
    ("redirect", 2),
    ("replace-header", 3),
    ("replace-path", 2),
    ("replace-pathq", 2),
    ("replace-uri", 2),
    ("replace-value", 3),
    ("set-header", 2),
    ("set-map", 2),
];

/// Actions that need nothing more.
const BARE: [&str; 10] = [
    "accept",
    "allow",
    "auth",
    "deny",
    "disable-l7-retry",
    "expect-netscaler-cip",
    "reject",
    "return",
    "silent-drop",
    "tarpit",
];

/// What says what the next word is.
const NAMES_OF_VALUES: [&str; 12] = [
    "code",
    "content-type",
    "default-errorfiles",
    "deny_status",
    "errorfile",
    "errorfiles",
    "file",
    "hdr",
    "lf-file",
    "lf-string",
    "realm",
    "string",
];

/// The ACLs that rules name and that no rule before them declares, each with the index of the rule. haproxy reads the
/// rules in their order, and refuses such a one.
pub fn unknown_acls<S: AsRef<str>>(rules: &[S]) -> Vec<(usize, RuleError)> {
    let rules: Vec<Option<Vec<Word>>> = rules.iter().map(|rule| words(rule.as_ref())).collect();
    let mut declared = BTreeSet::new();
    let mut found = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let Some(rule) = rule else { continue };
        if let Some(name) = declares(rule) {
            // A name that haproxy puts together may be any of those that follow.
            let Some(name) = name else { return found };
            declared.insert(name);
            continue;
        }
        for name in unknown(rule, &declared) {
            let is_later = || {
                rules[index..]
                    .iter()
                    .flatten()
                    .any(|rule| declares(rule) == Some(Some(name.as_str())))
            };
            let hint = if is_later() {
                "haproxy reads rules in their order: move the rule that declares it up".to_owned()
            } else if matches!(name.as_str(), "and" | "AND" | "&&") {
                "ACLs that stand side by side have to be true together: leave the word out"
                    .to_owned()
            } else {
                match closest(&name, declared.iter().copied().chain(PREDEFINED)) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("declare it in a rule before: `acl {name} …`"),
                }
            };
            found.push((index, RuleError::Acl { name, hint }));
        }
    }
    found
}

/// The name of the ACL that a rule declares; `Some(None)` when only haproxy knows it.
fn declares(rule: &[Word]) -> Option<Option<&str>> {
    match rule {
        [first, name, ..] if is(first, "acl") => Some(name.as_deref()),
        _ => None,
    }
}

/// A word of a rule; without text when haproxy takes some of it from its environment.
type Word = Option<String>;

fn is(word: &Word, text: &str) -> bool {
    word.as_deref() == Some(text)
}

/// The names in the condition of a rule that stand for nothing.
fn unknown(rule: &[Word], declared: &BTreeSet<&str>) -> Vec<String> {
    let begin = first_optional(rule);
    let begins: Vec<usize> = (begin..rule.len())
        .filter(|index| is(&rule[*index], "if") || is(&rule[*index], "unless"))
        .collect();
    // An argument may be called `if`, too: whatever can be a condition may be the one.
    let names = |at: usize| names(&rule[at + 1..], declared);
    if begins.iter().any(|at| names(*at).is_empty()) {
        return Vec::new();
    }
    let is_value = |at: usize| NAMES_OF_VALUES.iter().any(|name| is(&rule[at - 1], name));
    begins.into_iter().find(|at| !is_value(*at)).map(names).unwrap_or_default()
}

/// The place of the first word that may be left out.
fn first_optional(rule: &[Word]) -> usize {
    let at = |index: usize| rule.get(index).and_then(Option::as_deref).unwrap_or_default();
    let action = match at(0) {
        "use_backend" => return 2,
        "tcp-request" | "tcp-response" => 2,
        _ => 1,
    };
    let name = at(action).split('(').next().unwrap_or_default();
    let listed = ARGUMENTS.iter().find(|(listed, _)| *listed == name).map(|(_, count)| *count);
    action + 1 + listed.unwrap_or(usize::from(!BARE.contains(&name)))
}

/// The names in a condition that are no ACL, each once. Empty also where there is none.
fn names(condition: &[Word], declared: &BTreeSet<&str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut words = condition.iter();
    while let Some(word) = words.next() {
        let Some(word) = word else { continue };
        let name = word.trim_start_matches('!');
        if name == "{" {
            // Without an end it is not a condition at all, which haproxy says better.
            words.by_ref().find(|word| is(word, "}"));
            continue;
        }
        let is_known = name.is_empty()
            || name == "||"
            || name.eq_ignore_ascii_case("or")
            || declared.contains(name)
            || PREDEFINED.contains(&name);
        if !is_known && !found.iter().any(|other| other == name) {
            found.push(name.to_owned());
        }
    }
    found
}

/// The words of a line, by <https://docs.haproxy.org/2.6/configuration.html#2.2>; `None` when a quote has no end.
fn words(line: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_known = true;
    let mut quote = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().push(rest.next()?),
            ('#', None) => break,
            (_, None) if c.is_ascii_whitespace() => {
                words.extend(word.take().map(|word| is_known.then_some(word)));
                is_known = true;
            }
            _ => {
                is_known &= !(c == '$' && quote == Some('"'));
                word.get_or_insert_default().push(c);
            }
        }
    }
    words.extend(word.map(|word| is_known.then_some(word)));
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last rule's finding, with `operator` and `inside` declared before and `later` after it.
    #[track_caller]
    fn check(rule: &str, expected: &[&str]) {
        let rules =
            ["acl operator src 192.0.2.0/24", "acl inside src ::1", rule, "acl later src ::2"];
        let found: Vec<String> = unknown_acls(&rules)
            .into_iter()
            .map(|(index, error)| {
                assert_eq!(index, 2);
                let RuleError::Acl { name, hint } = error else { panic!("{error:?}") };
                format!("{name}: {hint}")
            })
            .collect();
        assert_eq!(found, expected, "{rule}");
    }

    #[test]
    fn what_stands_for_nothing() {
        let meant = "operatr: did you mean `operator`?";
        check("http-request deny if !operatr", &[meant]);
        check("http-request deny unless operatr or !operatr", &[meant]);
        check("http-request deny if { path if } operatr", &[meant]);
        check("http-request set-header X-If if if operatr", &[meant]);
        check("http-request return status 200 string if if operatr", &[meant]);
        check("tcp-request content reject if ! inside || operatr # operator", &[meant]);
        check("use_backend web if METH_GET \"operatr\"", &[meant]);
        check("http-request set-var(txn.a) str(b) if operatr", &[meant]);
        check(
            "http-after-response set-header A b if inside and LOCALHOST",
            &["and: ACLs that stand side by side have to be true together: leave the word out"],
        );
        check(
            "http-request deny if later whatever",
            &[
                "later: haproxy reads rules in their order: move the rule that declares it up",
                "whatever: declare it in a rule before: `acl whatever …`",
            ],
        );
        check("http-request deny if METH_GTE", &["METH_GTE: did you mean `METH_GET`?"]);
        check("http-request deny if Operator", &["Operator: did you mean `operator`?"]);
    }

    #[test]
    fn what_is_let_through() {
        for rule in [
            "http-request deny",
            "http-request deny if operator !inside or ! inside OR TRUE || WAIT_END",
            "http-request deny if { path_beg /if } !{ src 192.0.2.1 } !operator",
            "http-request deny if operator#operatr",
            "http-request set-header if operatr",
            "http-request set-header if operatr if operator",
            "http-request replace-value a if operatr if operator",
            "http-request set-path if if operator",
            "http-request return status 200 string if",
            "http-request return string if hdr a b",
            "http-request deny if \"$OPERATOR\" \"${A}x\"",
            "http-request set-header a \"b if operatr\"",
            "http-request set-header a b\\ if\\ operatr",
            "http-request set-header a 'b",
            "http-request deny if { path /a",
            "tcp-request inspect-delay 5s",
            "use_backend if",
            "use_backend if if operator",
            "acl other path if operatr",
            "",
        ] {
            check(rule, &[]);
        }
        let named_by_haproxy = ["acl \"$NAME\" src ::1", "http-request deny if operatr"];
        assert_eq!(unknown_acls(&named_by_haproxy), []);
    }
}
