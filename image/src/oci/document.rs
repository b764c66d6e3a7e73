//! The config and manifest of a derived image: takes the base's documents, gives ours, touches nothing.
//!
//! Documents are edited as plain JSON, so that fields which this program does not know survive. Annotations and
//! labels of the base stay; `ostree.final-diffid` above all, by which nodes tell the base's layers from ours.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::io::digest::Digest;
use crate::oci::layer::{Layer, MEDIA_TYPE};
use crate::oci::layout::{CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, REF_NAME};

/// Label with the version of an image; nodes show it in `rpm-ostree status`.
pub const VERSION: &str = "org.opencontainers.image.version";
/// Label with the name of an image.
pub const TITLE: &str = "org.opencontainers.image.title";
/// Annotation with the time of an image; nodes give their deployment this time.
pub const CREATED: &str = "org.opencontainers.image.created";
/// Annotation with the digest of the base's manifest.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// Annotation with the reference of the base.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// Label with the names of our components in the order of their layers, separated by commas.
pub const COMPONENTS: &str = "dev.basalt.components";
/// Annotation of a layer with the name of its component.
pub const COMPONENT: &str = "dev.basalt.component";

/// The last time that RFC 3339 can write, the end of the year 9999, in seconds since the Unix epoch.
pub const MAX_TIME: u64 = 253_402_300_799;

/// What is said about the new image as a whole.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its name.
    pub title: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its time in seconds since the Unix epoch, at most [`MAX_TIME`].
    pub created: u64,
    /// Labels beside those that are always set.
    pub labels: &'a BTreeMap<String, String>,
    /// The digest of the base's manifest, when there is a base.
    pub base: Option<&'a Digest>,
}

/// Derives the config from the base's. `base_layers` is how many layers the base has; `layers` are ours, with the
/// names of their components.
///
/// The history gets one entry a layer, since nodes pair the two in order. A base with fewer entries than layers is
/// filled up first.
pub fn config(
    base: &Value,
    base_layers: usize,
    about: &About<'_>,
    layers: &[(&str, Layer)],
) -> Value {
    let mut config = base.clone();
    let created = rfc3339(about.created);
    config["created"] = json!(created);
    for (key, value) in about.labels {
        config["config"]["Labels"][key] = json!(value);
    }
    let names: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
    config["config"]["Labels"][VERSION] = json!(about.version);
    config["config"]["Labels"][TITLE] = json!(about.title);
    config["config"]["Labels"][COMPONENTS] = json!(names.join(","));

    let mut history = config["history"].as_array().cloned().unwrap_or_default();
    let is_layer = |entry: &&Value| entry["empty_layer"] != json!(true);
    let missing = base_layers.saturating_sub(history.iter().filter(is_layer).count());
    let base_entry = json!({"created": created, "created_by": "layer of the base image"});
    history.extend(std::iter::repeat_n(base_entry, missing));
    history.extend(layers.iter().map(
        |(name, _)| json!({"created": created, "created_by": format!("basalt: component {name}")}),
    ));
    config["history"] = Value::Array(history);

    let mut diff_ids = config["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
    diff_ids.extend(layers.iter().map(|(_, layer)| json!(layer.diff_id)));
    config["rootfs"]["diff_ids"] = Value::Array(diff_ids);
    config
}

/// Derives the manifest from the base's, for the config with this digest and size.
pub fn manifest(
    base: &Value,
    about: &About<'_>,
    config: (&Digest, usize),
    layers: &[(&str, Layer)],
) -> Value {
    let mut manifest = base.clone();
    manifest["mediaType"] = json!(MANIFEST_TYPE);
    manifest["config"] = json!({"mediaType": CONFIG_TYPE, "digest": config.0, "size": config.1});
    let mut all = manifest["layers"].as_array().cloned().unwrap_or_default();
    all.extend(layers.iter().map(|(name, layer)| {
        json!({
            "mediaType": MEDIA_TYPE,
            "digest": layer.digest,
            "size": layer.size,
            "annotations": {COMPONENT: name},
        })
    }));
    manifest["layers"] = Value::Array(all);

    let mut annotations = manifest["annotations"].as_object().cloned().unwrap_or_default();
    // They speak of the base's own base.
    annotations.shift_remove(BASE_NAME);
    annotations.shift_remove(BASE_DIGEST);
    annotations.insert(CREATED.to_owned(), json!(rfc3339(about.created)));
    annotations.insert(VERSION.to_owned(), json!(about.version));
    annotations.insert(TITLE.to_owned(), json!(about.title));
    if let Some(digest) = about.base {
        annotations.insert(BASE_DIGEST.to_owned(), json!(digest));
    }
    manifest["annotations"] = Value::Object(annotations);
    if let Some(fields) = manifest.as_object_mut() {
        // A manifest with a subject is a statement about another image.
        fields.shift_remove("subject");
    }
    manifest
}

/// The `index.json` of a layout with one image.
pub fn index(manifest: (&Digest, usize), architecture: &str, reference: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [{
            "mediaType": MANIFEST_TYPE,
            "digest": manifest.0,
            "size": manifest.1,
            "annotations": {REF_NAME: reference},
            "platform": {"architecture": architecture, "os": "linux"},
        }],
    })
}

fn rfc3339(seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(MAX_TIME));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn layer(text: &str) -> Layer {
        let digest = Digest::of(text.as_bytes());
        Layer { diff_id: Digest::of(digest.hex().as_bytes()), digest, size: 7 }
    }

    fn about(labels: &BTreeMap<String, String>) -> About<'_> {
        About { title: "lab", version: "42.1", created: 86_400, labels, base: None }
    }

    #[test]
    fn config_keeps_the_base_and_adds_ours() {
        let base = json!({
            "os.version": "kept",
            "architecture": "amd64",
            "config": {"Labels": {"ostree.final-diffid": "kept", VERSION: "42"}, "Cmd": ["/sbin/init"]},
            "rootfs": {"type": "layers", "diff_ids": ["one", "two"]},
            "history": [{"created_by": "one"}, {"created_by": "env", "empty_layer": true}],
        });
        let labels = BTreeMap::from([("dev.basalt.cluster".to_owned(), "lab".to_owned())]);
        let config = config(&base, 2, &about(&labels), &[("agent", layer("a"))]);
        expect![[r#"
            {
              "os.version": "kept",
              "architecture": "amd64",
              "config": {
                "Labels": {
                  "ostree.final-diffid": "kept",
                  "org.opencontainers.image.version": "42.1",
                  "dev.basalt.cluster": "lab",
                  "org.opencontainers.image.title": "lab",
                  "dev.basalt.components": "agent"
                },
                "Cmd": [
                  "/sbin/init"
                ]
              },
              "rootfs": {
                "type": "layers",
                "diff_ids": [
                  "one",
                  "two",
                  "sha256:da3811154d59c4267077ddd8bb768fa9b06399c486e1fc00485116b57c9872f5"
                ]
              },
              "history": [
                {
                  "created_by": "one"
                },
                {
                  "created_by": "env",
                  "empty_layer": true
                },
                {
                  "created": "1970-01-02T00:00:00Z",
                  "created_by": "layer of the base image"
                },
                {
                  "created": "1970-01-02T00:00:00Z",
                  "created_by": "basalt: component agent"
                }
              ],
              "created": "1970-01-02T00:00:00Z"
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&config).unwrap());
    }

    #[test]
    fn manifest_keeps_the_base_and_adds_ours() {
        let base = json!({
            "schemaVersion": 2,
            "config": {"digest": "old", "data": "old"},
            "layers": [{"digest": "one", "annotations": {"ostree.components": "kept"}}],
            "annotations": {"ostree.commit": "kept", CREATED: "old", BASE_NAME: "old"},
            "subject": {},
            "future": "kept",
        });
        let digest = Digest::of(b"base");
        let labels = BTreeMap::new();
        let about = About { base: Some(&digest), ..about(&labels) };
        let manifest = manifest(&base, &about, (&Digest::of(b"c"), 9), &[("agent", layer("a"))]);
        expect![[r#"
            {
              "schemaVersion": 2,
              "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": "sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6",
                "size": 9
              },
              "layers": [
                {
                  "digest": "one",
                  "annotations": {
                    "ostree.components": "kept"
                  }
                },
                {
                  "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                  "digest": "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
                  "size": 7,
                  "annotations": {
                    "dev.basalt.component": "agent"
                  }
                }
              ],
              "annotations": {
                "ostree.commit": "kept",
                "org.opencontainers.image.created": "1970-01-02T00:00:00Z",
                "org.opencontainers.image.version": "42.1",
                "org.opencontainers.image.title": "lab",
                "org.opencontainers.image.base.digest": "sha256:cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2"
              },
              "future": "kept",
              "mediaType": "application/vnd.oci.image.manifest.v1+json"
            }"#]].assert_eq(&serde_json::to_string_pretty(&manifest).unwrap());
    }

    #[test]
    fn every_layer_has_its_history() {
        for (entries, base_layers) in [(0, 0), (0, 3), (2, 3), (3, 3), (4, 3)] {
            let history = vec![json!({"created_by": "x"}); entries];
            let base = json!({"config": null, "rootfs": {"diff_ids": []}, "history": history});
            let labels = BTreeMap::new();
            let layers = [("a", layer("a")), ("b", layer("b"))];
            let config = config(&base, base_layers, &about(&labels), &layers);
            let history = config["history"].as_array().unwrap();
            assert_eq!(history.len(), entries.max(base_layers) + 2);
            assert_eq!(history.last().unwrap()["created_by"], "basalt: component b");
        }
    }

    #[test]
    fn times() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_709_164_799), "2024-02-28T23:59:59Z");
        assert_eq!(rfc3339(MAX_TIME), "9999-12-31T23:59:59Z");
    }
}
