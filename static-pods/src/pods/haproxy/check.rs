//! What is wrong with a node's haproxy before haproxy sees it.

use basalt_model::names::{AbsolutePath, ItemName};
use basalt_model::node::{Ask, Certificate, CheckTls, Frontend, Haproxy, Node, ProxyMode};

use super::OWN_PREFIX;
use crate::parts::Findings;

/// Each connection takes two file descriptors, and the kernel's `fs.nr_open` gives a process 1,048,576.
const MOST_CONNECTIONS: u32 = 500_000;
/// haproxy counts milliseconds in 31 bits.
const LONGEST_TIMEOUT_SECONDS: u32 = 2_147_483;
/// Nothing takes the ports meanwhile.
const LONGEST_DRAIN_SECONDS: u32 = 60;

/// Finds what haproxy would refuse, or take for something else than was meant.
pub(super) fn check(node: &Node, haproxy: &Haproxy, findings: &mut Findings) {
    let frontends = &haproxy.frontends;
    if frontends.is_empty() {
        findings.add("haproxy.frontends", "is empty");
    }
    findings.add_duplicates(
        |index| format!("haproxy.frontends[{index}].name"),
        frontends.iter().map(|frontend| &frontend.name),
    );
    for (index, frontend) in frontends.iter().enumerate() {
        check_frontend(&format!("haproxy.frontends[{index}]"), node, frontend, findings);
        rules(&format!("haproxy.frontends[{index}]"), haproxy, frontend, findings);
    }
    findings.add_duplicates(
        |index| format!("haproxy.files[{index}].name"),
        haproxy.files.iter().map(|file| &file.name),
    );
    let numbers = [
        ("connect_timeout_seconds", haproxy.connect_timeout_seconds, LONGEST_TIMEOUT_SECONDS),
        ("queue_timeout_seconds", haproxy.queue_timeout_seconds, LONGEST_TIMEOUT_SECONDS),
        ("request_timeout_seconds", haproxy.request_timeout_seconds, LONGEST_TIMEOUT_SECONDS),
        ("idle_timeout_seconds", haproxy.idle_timeout_seconds, LONGEST_TIMEOUT_SECONDS),
        ("tunnel_timeout_seconds", haproxy.tunnel_timeout_seconds, LONGEST_TIMEOUT_SECONDS),
        ("reload_drain_seconds", haproxy.reload_drain_seconds, LONGEST_TIMEOUT_SECONDS),
        ("max_connections", haproxy.max_connections, MOST_CONNECTIONS),
    ];
    for (name, number, most) in numbers {
        if !(1..=most).contains(&number) {
            let message = format!("must be between 1 and {most}, not {number}");
            findings.add(format!("haproxy.{name}"), message);
        }
    }
    if haproxy.drain_seconds > LONGEST_DRAIN_SECONDS {
        let message =
            format!("must be at most {LONGEST_DRAIN_SECONDS}, not {}", haproxy.drain_seconds);
        findings.add("haproxy.drain_seconds", message);
    }
    for (name, port) in
        [("monitor_port", haproxy.monitor_port), ("witness_port", haproxy.witness_port)]
    {
        if port == 0 {
            findings.add(format!("haproxy.{name}"), "must be between 1 and 65535");
        }
    }
}

fn check_frontend(place: &str, node: &Node, frontend: &Frontend, findings: &mut Findings) {
    if frontend.name.as_str().starts_with(OWN_PREFIX) {
        let message = format!("names that begin with `{OWN_PREFIX}` are taken by health answers");
        findings.add(format!("{place}.name"), message);
    }
    for (list, is_empty) in
        [("binds", frontend.binds.is_empty()), ("servers", frontend.servers.is_empty())]
    {
        if is_empty {
            findings.add(format!("{place}.{list}"), "is empty");
        }
    }
    findings.add_duplicates(
        |index| format!("{place}.servers[{index}].name"),
        frontend.servers.iter().map(|server| &server.name),
    );
    check_health(place, frontend, findings);
    for anchor in super::anchors(frontend) {
        if !node.trust_anchors.contains_key(anchor) {
            findings.add(place, format!("the node has no trust anchor `{anchor}`"));
        }
    }
}

fn check_health(place: &str, frontend: &Frontend, findings: &mut Findings) {
    let check = &frontend.check;
    if let Ask::Http { path, status, .. } = &check.ask {
        if !is_request_path(path) {
            let message = format!(
                "`{}` is not an absolute path of a request (begin with `/`, write other characters as `%20`)",
                path.escape_debug()
            );
            findings.add(format!("{place}.check.path"), message);
        }
        if status.is_empty() || !status.chars().all(|c| c.is_ascii_digit() || "-,".contains(c)) {
            let message = format!("`{}` is not a list of HTTP statuses", status.escape_debug());
            findings.add(format!("{place}.check.status"), message);
        }
    }
    let sees_plain_bytes = frontend.mode == ProxyMode::Http || frontend.certificate.is_some();
    if check.tls != CheckTls::Off && sees_plain_bytes && frontend.server_tls.is_none() {
        let message = "the servers expect TLS, but haproxy would send them plain bytes; use mode `tcp` without a certificate, or `server_tls`";
        findings.add(format!("{place}.check.tls"), message);
    }
    for (name, number) in [
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
        ("rise", check.rise),
        ("fall", check.fall),
    ] {
        if !(1..=3600).contains(&number) {
            let message = format!("must be between 1 and 3600, not {number}");
            findings.add(format!("{place}.check.{name}"), message);
        }
    }
}

fn rules(place: &str, haproxy: &Haproxy, frontend: &Frontend, findings: &mut Findings) {
    let files: Vec<_> = haproxy.files.iter().map(|file| &file.name).collect();
    for (index, rule) in frontend.rules.iter().enumerate() {
        if let Err(error) = basalt_model::rules::check(rule, &files) {
            findings.add(format!("{place}.rules[{index}]"), error.to_string());
        }
    }
    for (index, error) in basalt_model::rules::unknown_acls(&frontend.rules) {
        findings.add(format!("{place}.rules[{index}]"), error.to_string());
    }
}

/// A path with query by RFC 3986, less `'`, `"`, `$`, `#` and `\`: none of it means anything to haproxy inside
/// single quotes, and none of it ends them.
fn is_request_path(path: &str) -> bool {
    path.starts_with('/')
        && path.chars().all(|c| c.is_ascii_alphanumeric() || "/-._~!&()*+,;=:@%?".contains(c))
}

/// The certificates that frontends end TLS with, in the order of the node's, each once.
pub(super) fn used_certificates<'a>(
    node: &'a Node,
    haproxy: &Haproxy,
    findings: &mut Findings,
) -> Vec<&'a Certificate> {
    let known = node.vault.as_ref().map_or(&[][..], |vault| &vault.certificates);
    let is_used = |name: &ItemName| {
        haproxy.frontends.iter().any(|frontend| frontend.certificate.as_ref() == Some(name))
    };
    for (index, frontend) in haproxy.frontends.iter().enumerate() {
        if let Some(name) = &frontend.certificate
            && !known.iter().any(|certificate| certificate.name == *name)
        {
            let place = format!("haproxy.frontends[{index}].certificate");
            findings.add(place, format!("`{name}` is not a certificate of this node"));
        }
    }
    let used = || known.iter().enumerate().filter(|(_, certificate)| is_used(&certificate.name));
    for (index, certificate) in used() {
        let place = format!("vault.certificates[{index}]");
        if !is_plain_word(&certificate.directory) {
            let message = format!(
                "haproxy cannot read from `{}`: use letters, digits, `.`, `_`, `-`",
                certificate.directory.as_str().escape_debug()
            );
            findings.add(format!("{place}.directory"), message);
        }
        if !is_readable_by_root_without_capabilities(certificate) {
            let message = format!(
                "belongs to `{}` with mode {}: haproxy runs as root without the capability to read other users' files; let `root` own it",
                certificate.owner, certificate.mode
            );
            findings.add(format!("{place}.owner"), message);
        }
    }
    used().map(|(_, certificate)| certificate).collect()
}

/// Root keeps no `DAC_OVERRIDE` in the container, so the mode counts for root too.
fn is_readable_by_root_without_capabilities(certificate: &Certificate) -> bool {
    let mode = certificate.mode.bits();
    match (certificate.owner.as_str(), certificate.group.as_str()) {
        ("root", _) => mode & 0o400 != 0,
        (_, "root") => mode & 0o040 != 0,
        _ => mode & 0o004 != 0,
    }
}

fn is_plain_word(path: &AbsolutePath) -> bool {
    path.as_str().chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
}
