//! Lines of haproxy's own language that people write for a frontend: which ones there may be, and the files they read.
//!
//! haproxy itself reads the rest; it is asked before a config comes into use. What is refused here is what would end
//! the frontend's section, read a file that haproxy's pod does not have, or depend on an ACL that nobody declares.

mod conditions;

pub use conditions::unknown_acls;

use crate::names::FileName;
use crate::node::HAPROXY_FILES;

/// What a rule begins with. Nothing else is a rule: where haproxy listens and sends has fields of its own.
pub const DIRECTIVES: [&str; 7] = [
    "acl",
    "http-after-response",
    "http-request",
    "http-response",
    "tcp-request",
    "tcp-response",
    "use_backend",
];

/// Why a rule cannot be used; reads as the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It would not be one line.
    #[error("is not one line of printable text")]
    NotOneLine,
    /// It begins with another word.
    #[error("begins with `{0}`, which is not a rule of a frontend")]
    Directive(String),
    /// It answers with what haproxy tells of itself.
    #[error("answers with `{0}`: what haproxy tells of itself stays on loopback")]
    Service(String),
    /// It reads a file that the pod does not have.
    #[error("reads `{0}`, which haproxy's pod does not have")]
    File(String),
    /// Its condition names an ACL that is not declared before it.
    #[error("names the ACL `{name}`, which no rule before it declares")]
    Acl {
        /// As the rule says it.
        name: String,
        /// What to do about it.
        hint: String,
    },
}

impl RuleError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            RuleError::NotOneLine => "write each rule as an item of its own".to_owned(),
            RuleError::Directive(_) => {
                format!("rules begin with {}", crate::decode::list(&DIRECTIVES))
            }
            RuleError::Service(_) => {
                "let a scraper on the node ask for `/metrics` at `haproxy.monitor_port`".to_owned()
            }
            RuleError::File(_) => {
                format!("list it under `haproxy.files` and name it `{HAPROXY_FILES}/NAME`")
            }
            RuleError::Acl { hint, .. } => hint.clone(),
        }
    }
}

/// Checks one rule by itself; `files` are those that the pod has. See [`unknown_acls`] for what a rule takes from others.
///
/// # Errors
/// [`RuleError`] is the first thing that is wrong with it.
pub fn check(rule: &str, files: &[&FileName]) -> Result<(), RuleError> {
    if rule.trim() != rule || rule.is_empty() || rule.chars().any(char::is_control) {
        return Err(RuleError::NotOneLine);
    }
    let first = rule.split(' ').next().unwrap_or_default();
    if !DIRECTIVES.contains(&first) {
        return Err(RuleError::Directive(first.to_owned()));
    }
    if let Some(name) = service(rule) {
        return Err(RuleError::Service(name.to_owned()));
    }
    match files_of(rule).find(|path| !is_ours(path, files)) {
        Some(path) => Err(RuleError::File(path.to_owned())),
        None => Ok(()),
    }
}

/// The service that a rule answers with. Without Lua, which the pod has not, haproxy has those alone that tell of itself.
fn service(rule: &str) -> Option<&str> {
    let mut words = rule.split_whitespace();
    let action = match words.next()? {
        "acl" | "use_backend" => return None,
        first if first.starts_with("tcp-") => words.nth(1)?,
        _ => words.next()?,
    };
    (action == "use-service").then(|| words.next().unwrap_or_default())
}

/// Whether a rule reads the file `name`.
pub fn reads(rule: &str, name: &FileName) -> bool {
    files_of(rule).any(|path| is_ours(path, &[name]))
}

fn is_ours(path: &str, files: &[&FileName]) -> bool {
    let name = path.strip_prefix(HAPROXY_FILES).and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| files.iter().any(|file| file.as_str() == name))
}

/// The files that a rule reads: what follows `-f`, what a `map` converter is given, and what else lies in the folder.
fn files_of(rule: &str) -> impl Iterator<Item = &str> {
    let is_end = |c: char| c.is_whitespace() || "(),\"'".contains(c);
    let mut before = "";
    rule.split(is_end).filter(|word| !word.is_empty()).filter(move |word| {
        let is_read = before == "-f" || is_map(before) || word.starts_with(HAPROXY_FILES);
        before = word;
        is_read
    })
}

/// The converters that read a file, by <https://docs.haproxy.org/2.6/configuration.html#7.3.1>: `map`, `map_beg`,
/// `map_str_ip`, …
fn is_map(word: &str) -> bool {
    word == "map" || word.starts_with("map_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: &str, expected: &str) {
        let name: FileName = "hosts.map".parse().unwrap();
        let found = super::check(rule, &[&name]);
        assert_eq!(found.err().map(|error| error.to_string()).unwrap_or_default(), expected);
    }

    #[test]
    fn rules() {
        check("http-request deny if { path_beg /admin }", "");
        check("acl inside src -f /etc/basalt/pods/haproxy/files/hosts.map", "");
        check(
            "use_backend %[req.hdr(host),lower,map(/etc/basalt/pods/haproxy/files/hosts.map,web)]",
            "",
        );
        check("acl a path_sub map", "");
        check("acl a path_sub use-service", "");
        for (rule, name) in [
            (
                "http-request use-service prometheus-exporter if { path /metrics }",
                "prometheus-exporter",
            ),
            ("http-request  use-service  lua.x", "lua.x"),
            ("tcp-request content use-service lua.x", "lua.x"),
        ] {
            let expected =
                format!("answers with `{name}`: what haproxy tells of itself stays on loopback");
            check(rule, &expected);
        }
        for rule in
            ["stats enable", "stats uri /stats", "stats auth admin:admin", "stats admin if TRUE"]
        {
            check(rule, "begins with `stats`, which is not a rule of a frontend");
        }
        check("acl a b\nbackend c", "is not one line of printable text");
        check(" acl a b", "is not one line of printable text");
        check("", "is not one line of printable text");
        check("bind :80", "begins with `bind`, which is not a rule of a frontend");
        check("acl a src -f /etc/shadow", "reads `/etc/shadow`, which haproxy's pod does not have");
        check(
            "acl a src -m ip -f /etc/basalt/pods/haproxy/files/hosts.map -f /etc/basalt/pods/haproxy/files/b",
            "reads `/etc/basalt/pods/haproxy/files/b`, which haproxy's pod does not have",
        );
        check(
            "http-request set-path %[path,map_beg(other.map)]",
            "reads `other.map`, which haproxy's pod does not have",
        );
        check(
            "acl a src /etc/basalt/pods/haproxy/files/../../x",
            "reads `/etc/basalt/pods/haproxy/files/../../x`, which haproxy's pod does not have",
        );
    }

    #[test]
    fn what_is_read() {
        let name: FileName = "a".parse().unwrap();
        assert!(reads("acl a src -f /etc/basalt/pods/haproxy/files/a", &name));
        assert!(!reads("acl a src -f /etc/basalt/pods/haproxy/files/ab", &name));
    }
}
