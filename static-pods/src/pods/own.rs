//! People's own pods: manifests as they were written, with their config files beside ours.
//!
//! Nobody knows whether a program of theirs notices a new file, so a changed file replaces the pod: the manifest says of
//! which files it is.

use basalt_model::node::{Node, OwnPod};
use basalt_model::report::{Report, Severity};
use basalt_model::yaml::{Value, Yaml, parse};
use serde_json::Value as Json;

use super::{haproxy, keepalived, vault_agent};
use crate::lint::{File, Policy, Rules, lint};
use crate::parts::{Findings, config_digest, config_file};
use crate::{CONFIG_DIGEST_ANNOTATION, StaticPod};

/// The pods of `node` that somebody wrote, in the order written.
pub(crate) fn pods(node: &Node, findings: &mut Findings) -> Vec<StaticPod> {
    let place = |index: usize| format!("pods[{index}]");
    findings.add_duplicates(
        |index| format!("{}.name", place(index)),
        node.pods.iter().map(|pod| &pod.name),
    );
    for (index, pod) in node.pods.iter().enumerate() {
        if [haproxy::NAME, keepalived::NAME, vault_agent::NAME].contains(&pod.name.as_str()) {
            let message = format!("`{}` is the name of a pod of ours", pod.name);
            findings.add(format!("{}.name", place(index)), message);
        }
        findings.add_duplicates(
            |file| format!("{}.files[{file}].name", place(index)),
            pod.files.iter().map(|file| &file.name),
        );
    }
    node.pods.iter().map(static_pod).collect()
}

fn static_pod(pod: &OwnPod) -> StaticPod {
    let mut files: Vec<_> = pod
        .files
        .iter()
        .map(|file| {
            let (name, contents) = (file.name.as_str(), file.contents.clone());
            config_file(pod.name.as_str(), name, file.mode.bits(), contents)
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = match files.is_empty() {
        true => pod.manifest.clone(),
        false => with_digest(&pod.manifest, &config_digest(&files)),
    };
    StaticPod { name: pod.name.clone(), manifest, files }
}

/// `manifest` as another text for another digest, which means the same to the kubelet.
fn with_digest(manifest: &str, digest: &str) -> String {
    // The kubelet reads a text that begins like this as JSON, which has no comments.
    if manifest.trim_start().starts_with('{') {
        return annotated(manifest, digest).unwrap_or_else(|| manifest.to_owned());
    }
    // A comment at the end could become part of what is written there. A byte order mark has to stay the first.
    let (mark, text) = match manifest.strip_prefix('\u{feff}') {
        Some(text) => ("\u{feff}", text),
        None => ("", manifest),
    };
    format!("{mark}# {CONFIG_DIGEST_ANNOTATION}: {digest}\n{text}")
}

/// A manifest in JSON, with the annotation. `None` when it is none, which the linter says with its place.
fn annotated(manifest: &str, digest: &str) -> Option<String> {
    let mut pod: Json = serde_json::from_str(manifest).ok()?;
    let metadata = pod.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.entry("annotations").or_insert(Json::Null);
    if annotations.is_null() {
        *annotations = Json::Object(serde_json::Map::new());
    }
    annotations.as_object_mut()?.insert(CONFIG_DIGEST_ANNOTATION.to_owned(), digest.into());
    // Whatever else the program is built with, so that every program of ours makes the same text of it.
    pod.sort_all_objects();
    Some(format!("{pod:#}\n"))
}

/// Looks at all manifests of the node together, as the kubelet will see them in one folder.
pub(crate) fn check(node: &Node, all: &[StaticPod], findings: &mut Findings) {
    let names: Vec<String> = all.iter().map(|pod| format!("{}.yaml", pod.name)).collect();
    // As it was written, so that places are those in the person's file.
    let file = |(name, pod): (&String, &StaticPod)| {
        let own = node.pods.iter().find(|own| own.name == pod.name);
        (name.clone(), own.map_or(&pod.manifest, |own| &own.manifest).clone())
    };
    let files: Vec<(String, String)> = names.iter().zip(all).map(file).collect();
    let files: Vec<File<'_>> =
        files.iter().map(|(name, text)| File { name, bytes: text.as_bytes() }).collect();
    let policy = Policy::of_node(&node.pods);
    for found in lint(&files, Rules::Basalt(&policy)) {
        if found.severity() == Severity::Error {
            let own = node.pods.iter().find(|pod| found.file == format!("{}.yaml", pod.name));
            let file = own.map_or(found.file.as_str(), |pod| pod.source.as_str());
            let place = match found.path.as_str() {
                "" => format!("{file}:{}", found.place),
                path => format!("{file}:{}: {path}", found.place),
            };
            let message = format!("{} [{}]; {}", found.message, found.rule, found.remedy);
            findings.add(place, message);
        }
    }
    for pod in &node.pods {
        let name = pod_name(&pod.manifest);
        if name.as_deref().is_some_and(|name| name != pod.name.as_str()) {
            let message = format!(
                "the pod is called `{}` here and `{}` in the cluster",
                name.unwrap_or_default().escape_debug(),
                pod.name
            );
            findings.add(format!("{}: metadata.name", pod.source), message);
        }
    }
}

/// The name that the manifest gives to its pod.
fn pod_name(manifest: &str) -> Option<String> {
    let stream = parse(manifest.as_bytes(), &mut Report::new("manifest"))?;
    let root = stream.first?;
    let name = field(field(&root, "metadata")?, "name")?;
    name.as_scalar().map(|scalar| scalar.text.clone())
}

fn field<'y>(yaml: &'y Yaml, name: &str) -> Option<&'y Yaml> {
    let Value::Map(entries) = &yaml.resolved().value else { return None };
    let is_it = |key: &Yaml| key.as_scalar().is_some_and(|scalar| scalar.text == name);
    entries.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(manifest: &str, expected: &str) {
        assert_eq!(with_digest(manifest, "5e"), expected);
    }

    #[test]
    fn the_digest_is_in_the_text_and_changes_nothing_else() {
        check("kind: Pod\n", "# basalt.dev/config-sha256: 5e\nkind: Pod\n");
        check("# a\n{a: b}\n", "# basalt.dev/config-sha256: 5e\n# a\n{a: b}\n");
        check("\u{feff}a: b\n", "\u{feff}# basalt.dev/config-sha256: 5e\na: b\n");
        check("%YAML 1.1\n---\na: b", "# basalt.dev/config-sha256: 5e\n%YAML 1.1\n---\na: b");
        for metadata in [r#"{"name": "a"}"#, r#"{"name": "a", "annotations": null}"#] {
            check(
                &format!(r#" {{"metadata": {metadata}}}"#),
                "{\n  \"metadata\": {\n    \"annotations\": {\n      \"basalt.dev/config-sha256\": \"5e\"\n    },\n    \"name\": \"a\"\n  }\n}\n",
            );
        }
        // Left for the linter to refuse.
        for broken in ["{", r#"{"metadata": []}"#, r#"{"metadata": {"annotations": "a"}}"#] {
            check(broken, broken);
        }
    }

    /// The digest neither hides a finding nor makes one.
    #[test]
    fn the_linter_finds_the_same() {
        let rules = |text: &str| -> Vec<&'static str> {
            let file = File { name: "a.yaml", bytes: text.as_bytes() };
            lint(&[file], Rules::Kubelet).iter().map(|found| found.rule).collect()
        };
        let yaml = include_str!("../../../tests/clusters/lab/pods/exporter.yaml");
        let ends_in_text = format!("{yaml}  hostname: |-\n    a");
        let json = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a.example/a:1", "terminationGracePeriodSeconds": 1}]}}"#;
        for manifest in [yaml, &ends_in_text, json] {
            assert_eq!(rules(&with_digest(manifest, "5e")), rules(manifest), "{manifest}");
        }
    }
}
