//! People's own pods: manifests as they were written, with their config files beside ours.

use basalt_model::node::{Node, OwnPod};
use basalt_model::report::{Report, Severity};
use basalt_model::yaml::{Value, Yaml, parse};

use super::{haproxy, keepalived, vault_agent};
use crate::StaticPod;
use crate::lint::{File, Policy, Rules, lint};
use crate::parts::{Findings, config_file};

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
    StaticPod { name: pod.name.clone(), manifest: pod.manifest.clone(), files }
}

/// Looks at all manifests of the node together, as the kubelet will see them in one folder.
pub(crate) fn check(node: &Node, all: &[StaticPod], findings: &mut Findings) {
    let names: Vec<String> = all.iter().map(|pod| format!("{}.yaml", pod.name)).collect();
    let file = |(name, pod): (&String, &StaticPod)| (name.clone(), pod.manifest.clone());
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
