//! Contents: where they come from, what they have to be, how they are asked for.

use super::{Check, hash, url};
use crate::tree::Tree;
use crate::version::{Base, Spec};

/// Butane: contents come from one place.
pub(crate) fn one_source(resource: &Tree, check: &mut Check) {
    let set: Vec<&Tree> =
        ["local", "inline", "source"].iter().filter_map(|name| resource.get(name)).collect();
    if let [_, .., last] = set[..] {
        // fcos 1.0.0 has no `local`, and names the other one.
        let origin = match check.target().base {
            Base::V0_1 => &resource.place_of("inline"),
            _ => &last.origin,
        };
        check.error(origin, "only one of `inline`, `local` and `source` can be set");
    }
}

pub(crate) fn resource(resource: &Tree, check: &mut Check) {
    if let Some(compression) = resource.some_text("compression")
        && compression != "gzip"
    {
        check
            .error(
                &resource.place_of("compression"),
                format!("`{compression}` is not a compression"),
            )
            .hint("there is `gzip`");
    }
    let source = resource.get("source");
    let verification = resource.get("verification");
    if let Some(verification) = verification.filter(|section| section.get("hash").is_some())
        && source.is_none()
    {
        check.error(&verification.place_of("hash"), "there are no contents to verify");
    }
    if let Some(source) = written_source(resource).filter(|source| !source.is_empty())
        && let Err(fault) = url::source(source, check.spec())
    {
        check.error(&resource.place_of("source"), fault);
    }
    hash::matches(resource, check);
    if !resource.items("httpHeaders").is_empty() {
        headers_fit(resource, check);
    }
}

/// The URL that a person wrote. Those of contents in the config are made by rule, and may be long.
pub(super) fn written_source(resource: &Tree) -> Option<&str> {
    resource.get("source").filter(|source| !source.is_data())?.as_text()
}

fn headers_fit(resource: &Tree, check: &mut Check) {
    let origin = resource.place_of("httpHeaders");
    match resource.get("source").map(|source| source.as_text().map(url::parse)) {
        Some(None) => {}
        None | Some(Some(Err(_))) => {
            check.error(&origin, "headers need a `source` to be sent to");
        }
        Some(Some(Ok(url))) if resource.lacks("source") || !url.is_http() => {
            check.error(&origin, "headers are sent over HTTP and HTTPS alone");
        }
        Some(Some(Ok(_))) => {}
    }
}

pub(crate) fn header(header: &Tree, check: &mut Check) {
    if header.lacks("name") {
        check.error(&header.place_of("name"), "a header has a name");
    }
    if header.text("value") == Some("") {
        check.error(&header.place_of("value"), "a header's value is not empty").hint(
            "without `value`, a header of the config that this one is merged into is removed",
        );
    }
}

pub(crate) fn verification(section: &Tree, check: &mut Check) {
    let Some(hash) = section.text("hash") else { return };
    let has_sha256 = check.spec() >= Spec::V3_1;
    let fault = match hash.split_once('-') {
        None if has_sha256 => Some("a hash is `sha256-` or `sha512-` and hex digits".to_owned()),
        None => Some("a hash is `sha512-` and hex digits".to_owned()),
        Some(("sha256", _)) if !has_sha256 => {
            Some("SHA-256 is known from Ignition spec 3.1.0 on".to_owned())
        }
        Some((function, digits)) => match (function, digits.len()) {
            ("sha256", 64) | ("sha512", 128) => None,
            ("sha256", found) => Some(format!("SHA-256 has 64 hex digits, not {found}")),
            ("sha512", found) => Some(format!("SHA-512 has 128 hex digits, not {found}")),
            (function, _) => Some(format!("`{function}` is neither `sha256` nor `sha512`")),
        },
    };
    if let Some(fault) = fault {
        check.error(&section.place_of("hash"), fault);
    }
}

/// Spec 3.0.0: a reference to a config.
pub(crate) fn optional_source(reference: &Tree, check: &mut Check) {
    if let Some(source) = written_source(reference).filter(|source| !source.is_empty())
        && let Err(fault) = url::source(source, check.spec())
    {
        check.error(&reference.place_of("source"), fault);
    }
}

/// Spec 3.0.0: a reference to a certificate.
pub(crate) fn certificate(reference: &Tree, check: &mut Check) {
    if let Some(source) = written_source(reference)
        && let Err(fault) = url::source(source, check.spec())
    {
        check.error(&reference.place_of("source"), fault);
    }
}

/// A source that cannot be missing, reported at the whole.
pub(crate) fn required_source(resource: &Tree, check: &mut Check) {
    if resource.lacks("source") {
        check.error(&resource.origin, "`source`, `inline` or `local` is missing");
    } else if let Some(source) = written_source(resource)
        && let Err(fault) = url::source(source, check.spec())
    {
        check.error(&resource.origin, fault);
    }
}
