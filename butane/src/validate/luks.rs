//! Encrypted volumes and how they are unlocked.

use super::{Check, required_path, url};
use crate::tree::Tree;

pub(crate) fn luks(volume: &Tree, check: &mut Check) {
    if volume.text("name").is_some_and(|name| name.contains('/')) {
        check.error(&volume.place_of("name"), "the name has no `/`");
    }
    // LUKS2 has 48 bytes for it, the last of which is 0.
    if volume.text("label").is_some_and(|label| label.len() > 47) {
        check.error(&volume.place_of("label"), "the label has at most 47 bytes");
    }
    if volume.lacks("device") {
        check.error(&volume.place_of("device"), "`device` is missing");
    } else {
        required_path(volume, "device", check);
    }
    if let Some(clevis) = volume.get("clevis") {
        let has_pin = clevis.get("custom").is_some_and(|custom| custom.some_text("pin").is_some());
        let has_other = !clevis.items("tang").is_empty()
            || clevis.flag("tpm2") == Some(true)
            || clevis.integer("threshold").unwrap_or(0) != 0;
        if has_pin && has_other {
            check.error(
                &clevis.origin,
                "`custom` stands alone, without `tang`, `tpm2` and `threshold`",
            );
        }
    }
    if let Some(key) = volume.get("keyFile").and_then(|key| key.some_text("source"))
        && url::source(key).is_err()
    {
        check.error(&volume.origin.below("keys"), "the key cannot be fetched");
    }
}

pub(crate) fn custom(custom: &Tree, check: &mut Check) {
    let is_used = !custom.lacks("pin")
        || !custom.lacks("config")
        || custom.flag("needsNetwork") == Some(true);
    if !is_used {
        return;
    }
    match custom.some_text("pin") {
        None if custom.lacks("pin") => {
            check.error(&custom.place_of("pin"), "`pin` is missing");
        }
        None | Some("tpm2" | "tang" | "sss") => {}
        Some(pin) => {
            check
                .error(&custom.place_of("pin"), format!("there is no pin `{pin}`"))
                .hint("there are `tpm2`, `tang` and `sss`");
        }
    }
    if custom.lacks("config") {
        check.error(&custom.place_of("config"), "`config` is missing");
    }
}

pub(crate) fn tang(server: &Tree, check: &mut Check) {
    let is_broken = server.get("url").is_some_and(|url| url.as_text().is_none());
    match url::parse(server.text("url").unwrap_or_default()) {
        Ok(url) if url.is_http() => {}
        _ if is_broken => {}
        Ok(_) => drop(
            check.error(&server.place_of("url"), "a Tang server is reached over HTTP or HTTPS"),
        ),
        Err(fault) => drop(check.error(&server.place_of("url"), fault)),
    }
    if server.lacks("thumbprint") {
        check.error(&server.place_of("thumbprint"), "`thumbprint` is missing");
    }
}
