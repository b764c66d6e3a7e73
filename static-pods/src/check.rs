//! The rules a rendered manifest obeys before the kubelet may see it: those of the linter, and the frame that all our
//! own pods share.
//!
//! It knows nothing of how the manifest was made, and tells everything that is wrong at once.

use std::collections::{BTreeMap, BTreeSet};

use basalt_model::report::Severity;
use serde_json::Value;

use crate::Finding;
use crate::lint::{self, Policy, Rules};
use crate::parts::{PRIORITY, PRIORITY_CLASS};

/// One manifest of a node, as it will be written.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The name of its file, `NAME.yaml`; findings name it.
    pub file: String,
    /// The tree the kubelet will read.
    pub value: Value,
    /// What its containers may add to their capabilities, named without `CAP_`.
    pub allowed_capabilities: Vec<&'static str>,
}

/// Checks all manifests of one node, each by itself and together. Empty means that they may be written.
pub fn check(manifests: &[Manifest]) -> Vec<Finding> {
    let mut findings = lint(manifests);
    for manifest in manifests {
        let mut report = Report { file: &manifest.file, findings: &mut findings };
        frame(manifest, &mut report);
        mounts(&manifest.value, &mut report);
    }
    findings
}

/// What the linter refuses.
fn lint(manifests: &[Manifest]) -> Vec<Finding> {
    let texts: Vec<String> = manifests.iter().map(|manifest| manifest.value.to_string()).collect();
    let files: Vec<lint::File<'_>> = manifests
        .iter()
        .zip(&texts)
        .map(|(manifest, text)| lint::File { name: &manifest.file, bytes: text.as_bytes() })
        .collect();
    let allowed = |manifest: &Manifest| -> BTreeSet<String> {
        manifest.allowed_capabilities.iter().map(|name| (*name).to_owned()).collect()
    };
    let capabilities: BTreeMap<String, BTreeSet<String>> = manifests
        .iter()
        .map(|manifest| (text(&manifest.value["metadata"]["name"]).to_owned(), allowed(manifest)))
        .collect();
    let policy = Policy { capabilities, privileged: BTreeSet::new(), host: None };
    let found = lint::lint(&files, Rules::Basalt(&policy));
    let errors = found.into_iter().filter(|finding| finding.severity() == Severity::Error);
    errors
        .map(|finding| Finding {
            place: format!("{}: {}", finding.file, finding.path),
            message: format!("{}; {}", finding.message, finding.remedy),
        })
        .collect()
}

/// Folders that an image needs as it brought them: a mount would hide them.
const IMAGE_FOLDERS: [&str; 14] = [
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root", "/sbin",
    "/sys", "/usr", "/var",
];

struct Report<'a> {
    file: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn add(&mut self, place: &str, message: impl Into<String>) {
        let place = format!("{}: {place}", self.file);
        self.findings.push(Finding { place, message: message.into() });
    }

    /// Wants the field at `pointer` (RFC 6901) to be `wanted`.
    fn want(&mut self, value: &Value, pointer: &str, wanted: impl Into<Value>) {
        let (found, wanted) = (value.pointer(pointer).unwrap_or(&Value::Null), wanted.into());
        if *found != wanted {
            let place = pointer.trim_start_matches('/').replace('/', ".");
            self.add(&place, format!("must be `{wanted}`, not `{found}`"));
        }
    }
}

/// What all our own pods have in common.
fn frame(manifest: &Manifest, report: &mut Report<'_>) {
    let value = &manifest.value;
    let name = text(&value["metadata"]["name"]);
    // The agent finds a pod's file by the pod's name.
    if manifest.file != format!("{name}.yaml") {
        report.add("metadata.name", format!("`{name}` must live in a file `{name}.yaml`"));
    }
    report.want(value, "/spec/hostNetwork", true);
    report.want(value, "/spec/automountServiceAccountToken", false);
    report.want(value, "/spec/priorityClassName", PRIORITY_CLASS);
    report.want(value, "/spec/priority", PRIORITY);
}

fn mounts(manifest: &Value, report: &mut Report<'_>) {
    for list in ["initContainers", "containers"] {
        for (index, container) in items(&manifest["spec"][list]).iter().enumerate() {
            for (mount_index, mount) in items(&container["volumeMounts"]).iter().enumerate() {
                let path = text(&mount["mountPath"]);
                if IMAGE_FOLDERS.contains(&path.trim_end_matches('/')) {
                    let place =
                        format!("spec.{list}[{index}].volumeMounts[{mount_index}].mountPath");
                    let message =
                        format!("would hide the image's own `{path}`; use a folder of its own");
                    report.add(&place, message);
                }
            }
        }
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A manifest without fault.
    fn pod(name: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "namespace": "kube-system" },
            "spec": {
                "hostNetwork": true,
                "automountServiceAccountToken": false,
                "priorityClassName": "system-node-critical",
                "priority": 2_000_001_000,
                "containers": [{
                    "name": "main",
                    "image": format!("registry.lab.example/a@sha256:{}", "0".repeat(64)),
                    "ports": [{ "containerPort": 80, "hostPort": 80, "hostIP": "192.0.2.1" }],
                    "readinessProbe": { "tcpSocket": { "port": 80 } },
                    "securityContext": { "capabilities": { "drop": ["ALL"], "add": ["NET_RAW"] } },
                    "volumeMounts": [{ "name": "config", "mountPath": "/etc/a" }],
                }],
                "volumes": [{ "name": "config", "hostPath": { "path": "/etc/a" } }],
            },
        })
    }

    fn manifest(value: Value) -> Manifest {
        let name = value["metadata"]["name"].as_str().unwrap_or("a");
        Manifest { file: format!("{name}.yaml"), value, allowed_capabilities: vec!["NET_RAW"] }
    }

    /// Sets the field at `pointer`, making objects on the way, and wants findings about these fields.
    #[track_caller]
    fn check_with(pointer: &str, value: Value, expected: &[&str]) {
        let mut changed = pod("a");
        let mut place = &mut changed;
        for part in pointer.split('/').skip(1).map(|part| part.replace("~1", "/")) {
            place = match part.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[part],
            };
        }
        *place = value;
        let found = check(&[manifest(changed)]);
        let found: Vec<&str> =
            found.iter().map(|finding| finding.place.split_once(": ").unwrap().1).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_manifest_without_fault() {
        assert_eq!(check(&[manifest(pod("a"))]), []);
    }

    #[test]
    fn the_frame() {
        check_with("/spec/hostNetwork", json!(false), &["spec.hostNetwork"]);
        check_with("/spec/priority", json!(1000), &["spec.priority"]);
        check_with("/spec/priorityClassName", Value::Null, &["spec.priorityClassName"]);
        let account = "/spec/automountServiceAccountToken";
        check_with(account, Value::Null, &["spec.automountServiceAccountToken"]);
        let mut misnamed = manifest(pod("a"));
        misnamed.file = "b.yaml".to_owned();
        let found = check(&[misnamed]);
        assert_eq!(found[0].to_string(), "b.yaml: metadata.name: `a` must live in a file `a.yaml`");
        let mount = "/spec/containers/0/volumeMounts/0/mountPath";
        check_with(mount, json!("/usr"), &["spec.containers[0].volumeMounts[0].mountPath"]);
    }

    #[test]
    fn the_linter() {
        check_with("/spec/hostNetwrk", json!(true), &["spec.hostNetwrk"]);
        check_with("/spec/serviceAccountName", json!("default"), &["spec.serviceAccountName"]);
        check_with("/spec/runtimeClassName", json!("kata"), &["spec.runtimeClassName"]);
        let image = "/spec/containers/0/image";
        check_with(image, json!("registry.lab.example/a:1"), &["spec.containers[0].image"]);
        // A label of that name is only a label.
        check_with("/metadata/labels/secret", json!("x"), &[]);
        let added = "spec.containers[0].securityContext.capabilities.add";
        check_with(
            "/spec/containers/0/securityContext/capabilities/add",
            json!(["NET_RAW", "NET_ADMIN"]),
            &[&format!("{added}[1]")],
        );
    }

    #[track_caller]
    fn check_ports(first: Value, second: Value, clash: bool) {
        let (mut a, mut b) = (pod("a"), pod("b"));
        a["spec"]["containers"][0]["ports"] = json!([first]);
        b["spec"]["containers"][0]["ports"] = json!([second]);
        let found: Vec<String> =
            check(&[manifest(a), manifest(b)]).iter().map(ToString::to_string).collect();
        let meets = |finding: &String| finding.contains("port 80 (TCP)");
        assert_eq!(found.iter().filter(|finding| meets(finding)).count(), usize::from(clash));
        assert_eq!(found.len(), usize::from(clash), "{found:?}");
    }

    #[test]
    fn ports_clash_by_address() {
        let at = |address: &str| json!({ "containerPort": 80, "hostIP": address });
        check_ports(at("192.0.2.1"), at("192.0.2.1"), true);
        check_ports(at("0.0.0.0"), at("192.0.2.1"), true);
        check_ports(at("2001:db8::1"), at("::"), true);
        check_ports(json!({ "containerPort": 80 }), at("2001:db8::1"), true);
        check_ports(at("192.0.2.1"), at("192.0.2.2"), false);
        // For the kubelet, this is every address of both families.
        check_ports(at("0.0.0.0"), at("::"), true);
        check_ports(at("::"), at("192.0.2.1"), false);
        check_ports(at("192.0.2.1"), json!({ "containerPort": 81, "hostIP": "192.0.2.1" }), false);
        let udp = json!({ "containerPort": 80, "hostIP": "192.0.2.1", "protocol": "UDP" });
        check_ports(at("192.0.2.1"), udp, false);
    }
}
