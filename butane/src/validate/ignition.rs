//! The `ignition` section: other configs, trust, proxies.

use basalt_model::report::{Report, Severity};
use basalt_model::yaml;

use super::{Check, resource, url};
use crate::decode::{Language, decode};
use crate::schema::config::CONFIG;
use crate::tree::{Findings, Origin, Tree};
use crate::version::Spec;

/// Butane: a config that stands in this one is one.
pub(crate) fn inner_configs(section: &Tree, check: &mut Check) {
    for resource in section.items("merge").iter().chain(section.get("replace")) {
        // What was compressed by hand cannot be read here.
        if resource.some_text("compression").is_none()
            && let Some(inline) = resource.get("inline")
            && let Some(text) = inline.as_text()
        {
            inner_config(text, &inline.origin, resource, check);
        }
    }
}

fn inner_config(text: &str, origin: &Origin, resource: &Tree, check: &mut Check) {
    let json: serde_json::Value = match serde_json::from_str(text) {
        Ok(json) => json,
        Err(error) => {
            check.error(origin, format!("this is no Ignition config: {error}"));
            return;
        }
    };
    let version = json.pointer("/ignition/version").and_then(serde_json::Value::as_str);
    let expected = check.spec().as_str();
    if version.is_some_and(|version| version != expected) {
        let message = format!("not checked, as it is not written to version {expected}");
        check.warning(&resource.origin.below("version"), message);
        return;
    }
    // JSON is YAML, and the reader of YAML knows the places; they are inside of the text, so they become words.
    let mut report = Report::new("");
    let Some(yaml) = yaml::parse(text.as_bytes(), &mut report).and_then(|stream| stream.first)
    else {
        check.error(origin, format!("this is no Ignition config: {report}"));
        return;
    };
    let mut inner = Findings::new("");
    let target = check.target();
    let top = Origin::root("", yaml.place);
    let tree = decode(&yaml, &CONFIG, Language::Ignition(target), top, &mut inner);
    super::ignition(&tree, &CONFIG, target, &mut inner);
    if version.is_none() {
        inner.error(&tree.origin.below("ignition").below("version"), "`version` is missing");
    }
    for finding in inner.0.sorted() {
        let message = format!(
            "in this config, line {}: {}: {}",
            finding.place.line, finding.path, finding.message
        );
        match finding.severity {
            Severity::Error => check.error(origin, message),
            Severity::Warning => check.warning(origin, message),
        };
    }
}

pub(crate) fn config(section: &Tree, check: &mut Check) {
    if check.spec() == Spec::V3_0 {
        return;
    }
    for resource in section.items("merge") {
        resource::required_source(resource, check);
    }
}

pub(crate) fn tls(section: &Tree, check: &mut Check) {
    if check.spec() == Spec::V3_0 {
        return;
    }
    for resource in section.items("certificateAuthorities") {
        resource::required_source(resource, check);
    }
}

pub(crate) fn proxy(section: &Tree, check: &mut Check) {
    for name in ["httpProxy", "httpsProxy"] {
        let Some(text) = section.text(name) else { continue };
        let origin = section.place_of(name);
        match url::parse(text) {
            Err(fault) => drop(check.error(&origin, fault)),
            Ok(url) if !url.is_http() => {
                check.error(&origin, "a proxy is reached over HTTP or HTTPS");
            }
            Ok(url) if url.scheme == "http" && name == "httpsProxy" => {
                check.warning(&origin, "requests over HTTPS go to this proxy in the clear");
            }
            Ok(_) => {}
        }
    }
}
