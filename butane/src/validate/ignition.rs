//! The `ignition` section: other configs, trust, proxies.

use super::{Check, resource, url};
use crate::tree::Tree;
use crate::version::Spec;

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
