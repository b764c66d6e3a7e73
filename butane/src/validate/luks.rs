//! Encrypted volumes and how they are unlocked.

use super::{Check, required_path, url};
use crate::tree::Tree;
use crate::version::Spec;

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
        // Before spec 3.3.0 it was enough to mention it.
        let has_pin = clevis
            .get("custom")
            .is_some_and(|custom| custom.some_text("pin").is_some() || check.spec() < Spec::V3_3);
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
        && url::source(key, check.spec()).is_err()
    {
        check.error(&volume.origin.below("keys"), "the key cannot be fetched");
    }
    if check.spec() >= Spec::V3_5 {
        cex(volume, check);
    }
}

fn cex(volume: &Tree, check: &mut Check) {
    let Some(cex) = volume.get("cex").filter(|cex| cex.flag("enabled") == Some(true)) else {
        return;
    };
    let uses_clevis = volume.get("clevis").is_some_and(|clevis| {
        let has_pin = clevis.get("custom").is_some_and(|custom| custom.some_text("pin").is_some());
        has_pin
            || !clevis.items("tang").is_empty()
            || clevis.flag("tpm2") == Some(true)
            || clevis.integer("threshold").unwrap_or(0) != 0
    });
    if uses_clevis {
        check.error(&cex.origin, "`cex` and `clevis` do not go together");
    }
    if volume.get("keyFile").is_some_and(|key| key.some_text("source").is_some()) {
        check.error(&cex.origin, "`cex` and `key_file` do not go together");
    }
}

pub(crate) fn custom(custom: &Tree, check: &mut Check) {
    let is_used = !custom.lacks("pin")
        || !custom.lacks("config")
        || (custom.flag("needsNetwork") == Some(true) && check.spec() >= Spec::V3_3);
    if !is_used {
        return;
    }
    match custom.some_text("pin") {
        None if custom.lacks("pin") => {
            check.error(&custom.place_of("pin"), "`pin` is missing");
        }
        None | Some("tpm2" | "tang" | "sss") => {}
        // Clevis finds pins that others bring.
        Some(_) if check.spec() >= Spec::V3_6 => {}
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
    if let Some(advertisement) = server.some_text("advertisement")
        && let Err(error) = serde_json::from_str::<serde_json::Value>(advertisement)
    {
        check.error(
            &server.place_of("advertisement"),
            format!("the advertisement is not JSON: {error}"),
        );
    }
    if server.lacks("thumbprint") {
        check.error(&server.place_of("thumbprint"), "`thumbprint` is missing");
    }
}
