//! Findings in the form that code hosts and editors show.
//!
//! Format: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use std::collections::BTreeMap;

use basalt_static_pods::lint::LintFinding;
use serde_json::{Value, json};

use super::lint::word;

/// The document with all findings.
pub(super) fn document(findings: &[LintFinding]) -> Value {
    let rules: BTreeMap<&str, usize> = findings.iter().map(|finding| (finding.rule, 0)).collect();
    let rules: Vec<&str> = rules.into_keys().collect();
    let descriptors: Vec<Value> = rules.iter().map(|rule| json!({ "id": rule })).collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, &rules)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "basalt-pods-lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": descriptors,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &LintFinding, rules: &[&str]) -> Value {
    let LintFinding { rule, file, place, path, message, effect, remedy } = finding;
    let text = format!("{message}; {}; {remedy}", effect.sentence());
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(file) },
            "region": { "startLine": place.line, "startColumn": place.column },
        },
    });
    if !path.is_empty() {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": path }]);
    }
    json!({
        "ruleId": rule,
        "ruleIndex": rules.iter().position(|known| known == rule),
        "level": word(effect.severity()),
        "message": { "text": text },
        "locations": [location],
    })
}

/// A path as a reference to a resource (RFC 3986).
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encode = |byte: u8| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}
