//! Configs as other tools write them say the same.

use super::*;

/// Another tool's way to write the same config: keys in another order, and texts in base64 with a media type.
fn foreign(json: &Json) -> Json {
    match json {
        Json::Object(entries) => {
            let mut changed: serde_json::Map<String, Json> =
                entries.iter().rev().map(|(key, value)| (key.clone(), foreign(value))).collect();
            if let Some(contents) = data(entries) {
                let encoded = BASE64_STANDARD.encode(contents);
                let source = format!("data:text/plain;charset=utf-8;base64,{encoded}");
                changed.insert("source".to_owned(), source.into());
                changed.remove("compression");
            }
            Json::Object(changed)
        }
        Json::Array(items) => items.iter().map(foreign).collect(),
        other => other.clone(),
    }
}

/// The contents of a resource, when they are in the config.
fn data(resource: &serde_json::Map<String, Json>) -> Option<Vec<u8>> {
    let source = resource.get("source")?.as_str()?.strip_prefix("data:")?;
    let (head, body) = source.split_once(',')?;
    let bytes = if head.ends_with(";base64") {
        BASE64_STANDARD.decode(body).unwrap()
    } else {
        let mut bytes = Vec::new();
        let mut rest = body.as_bytes();
        while let Some((first, more)) = rest.split_first() {
            if *first == b'%' {
                let digits = std::str::from_utf8(&more[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &more[2..];
            } else {
                bytes.push(*first);
                rest = more;
            }
        }
        bytes
    };
    match resource.get("compression").and_then(Json::as_str) {
        Some("gzip") => {
            let mut text = Vec::new();
            let is_gzip = GzDecoder::new(bytes.as_slice()).read_to_end(&mut text).is_ok();
            Some(if is_gzip { text } else { bytes })
        }
        _ => Some(bytes),
    }
}

/// A config whose resources show their contents instead of how those are encoded.
fn decoded(json: &Json) -> Json {
    match json {
        Json::Object(entries) => {
            let mut changed: serde_json::Map<String, Json> =
                entries.iter().map(|(key, value)| (key.clone(), decoded(value))).collect();
            if let Some(contents) = data(entries) {
                changed.insert("source".to_owned(), contents.into());
                changed.remove("compression");
            }
            Json::Object(changed)
        }
        Json::Array(items) => items.iter().map(decoded).collect(),
        other => other.clone(),
    }
}

#[test]
fn foreign_configs_say_the_same() {
    let json = |text: &str| serde_json::from_str::<Json>(text).unwrap();
    for entry in corpus().join("good").read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        let Ok(butane) = fs::read_to_string(&path) else { continue };
        let config = compiled(path.as_str(), butane.as_bytes(), Output::Ignition).unwrap();
        let mut other = foreign(&json(&config));
        if other["ignition"].get("timeouts").is_none() {
            other["ignition"]["timeouts"] = Json::Null;
        }
        if other.get("passwd").is_none() {
            other["passwd"] = serde_json::json!({ "users": [], "groups": null });
        }
        let other = serde_json::to_string_pretty(&other).unwrap();
        let text = reversed("foreign.ign", &other, None);
        let again = compiled(path.as_str(), text.as_bytes(), Output::Variant).unwrap();
        assert_eq!(decoded(&json(&again)), decoded(&json(&config)), "{path}\n{text}");
    }
}
