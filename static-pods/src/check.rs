//! The rules a manifest obeys before the kubelet may see it.
//!
//! The kubelet's own checks come too late and are not enough: a file that stops being valid takes its running pod
//! down, an unknown capability is dropped in silence, a runtime class ends a standalone kubelet, a projected volume
//! passes and never mounts. So [`check`] reads the manifest as a tree, the way the kubelet reads the file, and tells
//! everything that is wrong at once. It knows nothing of how the manifest was made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use basalt_model::names::{AbsolutePath, ImageReference, PodName};
use serde_json::Value;

use crate::Finding;
use crate::parts::{PRIORITY, PRIORITY_CLASS};

mod ports;

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
    let mut findings = Vec::new();
    for manifest in manifests {
        let mut report = Report { file: &manifest.file, findings: &mut findings };
        identity(manifest, &mut report);
        frame(&manifest.value, &mut report);
        api_references("spec", &manifest.value["spec"], &mut report);
        let volumes = volumes(&manifest.value, &mut report);
        containers(manifest, &volumes, &mut report);
    }
    same_names(manifests, &mut findings);
    ports::clashes(manifests, &mut findings);
    findings
}

/// Fields that refer to an object of the Kubernetes API, or that a standalone kubelet does not survive, with what
/// happens.
const REFUSED_FIELDS: [(&str, &str); 19] = [
    ("clusterTrustBundle", REFERENCE),
    ("configMap", REFERENCE),
    ("configMapKeyRef", REFERENCE),
    ("configMapRef", REFERENCE),
    ("csi", REFERENCE),
    ("ephemeral", REFERENCE),
    ("ephemeralContainers", "the kubelet refuses it in a static pod"),
    ("imagePullSecrets", REFERENCE),
    ("persistentVolumeClaim", REFERENCE),
    (
        "projected",
        "a standalone kubelet accepts it and never mounts it; use `downwardAPI` or `hostPath`",
    ),
    ("readinessGates", "nobody opens the gate of a static pod, so it never becomes ready"),
    ("resourceClaims", REFERENCE),
    ("runtimeClassName", "it ends a standalone kubelet, at every start while the file is there"),
    ("secret", REFERENCE),
    ("secretKeyRef", REFERENCE),
    ("secretRef", REFERENCE),
    ("serviceAccount", REFERENCE),
    ("serviceAccountName", REFERENCE),
    ("sysctls", "the kubelet refuses network sysctls in the host's network; set them on the host"),
];

const REFERENCE: &str =
    "a static pod cannot refer to an object of the Kubernetes API; mount a host path";

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

fn identity(manifest: &Manifest, report: &mut Report<'_>) {
    let value = &manifest.value;
    report.want(value, "/apiVersion", "v1");
    report.want(value, "/kind", "Pod");
    let name = text(&value["metadata"]["name"]);
    if let Err(error) = name.parse::<PodName>() {
        report.add("metadata.name", error.to_string());
    } else if manifest.file != format!("{name}.yaml") {
        report.add("metadata.name", format!("`{name}` must live in a file `{name}.yaml`"));
    }
    if let Err(error) = text(&value["metadata"]["namespace"]).parse::<PodName>() {
        report.add("metadata.namespace", error.to_string());
    }
    for field in ["uid", "deletionTimestamp"] {
        if value["metadata"].get(field).is_some() {
            report.add(&format!("metadata.{field}"), "is the kubelet's own to set");
        }
    }
    for annotation in ["kubernetes.io/config.mirror", "kubernetes.io/config.hash"] {
        if value["metadata"]["annotations"].get(annotation).is_some() {
            let message = "the kubelet takes the pod for a mirror of another and never starts it";
            report.add(&format!("metadata.annotations[{annotation}]"), message);
        }
    }
}

fn frame(value: &Value, report: &mut Report<'_>) {
    report.want(value, "/spec/hostNetwork", true);
    report.want(value, "/spec/automountServiceAccountToken", false);
    report.want(value, "/spec/priorityClassName", PRIORITY_CLASS);
    report.want(value, "/spec/priority", PRIORITY);
}

fn api_references(place: &str, value: &Value, report: &mut Report<'_>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let place = format!("{place}.{name}");
                match REFUSED_FIELDS.iter().find(|(refused, _)| refused == name) {
                    Some((_, why)) => report.add(&place, *why),
                    None => api_references(&place, inner, report),
                }
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                api_references(&format!("{place}[{index}]"), inner, report);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Checks the volumes and gives their names.
fn volumes(manifest: &Value, report: &mut Report<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, volume) in items(&manifest["spec"]["volumes"]).iter().enumerate() {
        let place = format!("spec.volumes[{index}]");
        let name = text(&volume["name"]);
        if let Err(error) = name.parse::<PodName>() {
            report.add(&format!("{place}.name"), error.to_string());
        }
        if !names.insert(name.to_owned()) {
            report.add(&format!("{place}.name"), format!("`{name}` is used twice"));
        }
        let known = ["hostPath", "emptyDir", "downwardAPI"];
        if !known.iter().any(|source| volume.get(source).is_some()) {
            // The kubelet would make an emptyDir of it.
            report.add(&place, "has no source that a static pod can use (`hostPath`, `emptyDir`)");
        }
        if let Some(host_path) = volume.get("hostPath")
            && let Err(error) = text(&host_path["path"]).parse::<AbsolutePath>()
        {
            report.add(&format!("{place}.hostPath.path"), error.to_string());
        }
        if let Some(medium) = volume.pointer("/emptyDir/medium")
            && !["", "Memory"].contains(&text(medium))
        {
            report.add(&format!("{place}.emptyDir.medium"), "must be `Memory` or absent");
        }
    }
    names
}

fn containers(manifest: &Manifest, volumes: &BTreeSet<String>, report: &mut Report<'_>) {
    let spec = &manifest.value["spec"];
    if items(&spec["containers"]).is_empty() {
        report.add("spec.containers", "is empty");
    }
    let mut names = BTreeSet::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in items(&spec[list]).iter().enumerate() {
            let place = format!("spec.{list}[{index}]");
            let name = text(&container["name"]);
            if let Err(error) = name.parse::<PodName>() {
                report.add(&format!("{place}.name"), error.to_string());
            }
            if !names.insert(name) {
                report.add(&format!("{place}.name"), format!("`{name}` is used twice"));
            }
            if let Err(error) = text(&container["image"]).parse::<ImageReference>() {
                report.add(&format!("{place}.image"), error.to_string());
            }
            mounts(&place, container, volumes, report);
            declared_ports(&place, container, report);
            security(&place, container, &manifest.allowed_capabilities, report);
            resources(&place, container, report);
        }
    }
}

fn mounts(place: &str, container: &Value, volumes: &BTreeSet<String>, report: &mut Report<'_>) {
    let mut paths = BTreeSet::new();
    for (index, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let place = format!("{place}.volumeMounts[{index}]");
        let (name, path) = (text(&mount["name"]), text(&mount["mountPath"]));
        if !volumes.contains(name) {
            report.add(&format!("{place}.name"), format!("there is no volume `{name}`"));
        }
        let place = format!("{place}.mountPath");
        if let Err(error) = path.parse::<AbsolutePath>() {
            report.add(&place, error.to_string());
        } else if path.contains(':') {
            report.add(&place, format!("`{path}` holds a `:`, which the kubelet refuses"));
        } else if IMAGE_FOLDERS.contains(&path) || path.starts_with("/proc/") {
            let message = format!("would hide the image's own `{path}`; use a folder of its own");
            report.add(&place, message);
        }
        if !paths.insert(path) {
            report.add(&place, format!("`{path}` is used twice"));
        }
    }
}

fn declared_ports(place: &str, container: &Value, report: &mut Report<'_>) {
    for (index, port) in items(&container["ports"]).iter().enumerate() {
        let place = format!("{place}.ports[{index}]");
        let number = port["containerPort"].as_u64().unwrap_or(0);
        if !(1..=65_535).contains(&number) {
            report.add(&format!("{place}.containerPort"), "must be between 1 and 65535");
        }
        if port.get("hostPort").is_some_and(|host| *host != port["containerPort"]) {
            let message = "must be the container's port, since the pod lives in the host's network";
            report.add(&format!("{place}.hostPort"), message);
        }
        let host_ip = text(&port["hostIP"]);
        if !host_ip.is_empty() && host_ip.parse::<IpAddr>().is_err() {
            report.add(&format!("{place}.hostIP"), format!("`{host_ip}` is not an IP address"));
        }
    }
}

fn security(place: &str, container: &Value, allowed: &[&str], report: &mut Report<'_>) {
    let place = format!("{place}.securityContext");
    let context = &container["securityContext"];
    if context["privileged"] == true {
        report.add(&format!("{place}.privileged"), "name the capabilities that are needed instead");
    }
    if !items(&context["capabilities"]["drop"]).iter().any(|dropped| dropped == "ALL") {
        report.add(&format!("{place}.capabilities.drop"), "must hold `ALL`");
    }
    for (index, added) in items(&context["capabilities"]["add"]).iter().enumerate() {
        let name = text(added);
        let place = format!("{place}.capabilities.add[{index}]");
        if name.starts_with("CAP_") {
            // The runtime drops it in silence.
            report.add(&place, format!("`{name}` must be written without `CAP_`"));
        } else if !allowed.contains(&name) {
            report.add(&place, format!("`{name}` is not among {allowed:?}"));
        }
    }
    if context["runAsNonRoot"] == true && context["runAsUser"] == 0 {
        report.add(&format!("{place}.runAsNonRoot"), "contradicts `runAsUser: 0`");
    }
}

fn resources(place: &str, container: &Value, report: &mut Report<'_>) {
    for kind in ["requests", "limits"] {
        if text(&container["resources"][kind]["memory"]).ends_with('m') {
            let message = "`m` is thousandths of a byte; write `Mi`";
            report.add(&format!("{place}.resources.{kind}.memory"), message);
        }
    }
}

/// Two files with one pod name silently become one pod.
fn same_names(manifests: &[Manifest], findings: &mut Vec<Finding>) {
    let mut seen = BTreeMap::new();
    for manifest in manifests {
        let metadata = &manifest.value["metadata"];
        let key = (text(&metadata["namespace"]), text(&metadata["name"]));
        if let Some(first) = seen.insert(key, &manifest.file) {
            let place = format!("{}: metadata.name", manifest.file);
            let message = format!("`{}` is also the pod of `{first}`", key.1);
            findings.push(Finding { place, message });
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

    /// Sets the field at `pointer`, making objects on the way, and wants these findings.
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
        let found: Vec<String> =
            check(&[manifest(changed)]).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_manifest_without_fault() {
        assert_eq!(check(&[manifest(pod("a"))]), []);
    }

    #[test]
    fn identity() {
        check_with(
            "/metadata/name",
            json!("A"),
            &[
                "A.yaml: metadata.name: `A` is not an RFC 1123 label (a-z, 0-9 and `-`, at most 63 characters)",
            ],
        );
        check_with(
            "/metadata/uid",
            json!("0"),
            &["a.yaml: metadata.uid: is the kubelet's own to set"],
        );
        check_with(
            "/metadata/annotations/kubernetes.io~1config.mirror",
            json!("x"),
            &[
                "a.yaml: metadata.annotations[kubernetes.io/config.mirror]: the kubelet takes the pod for a mirror of another and never starts it",
            ],
        );
        check_with(
            "/kind",
            json!("Deployment"),
            &["a.yaml: kind: must be `\"Pod\"`, not `\"Deployment\"`"],
        );
        let mut misnamed = manifest(pod("a"));
        misnamed.file = "b.yaml".to_owned();
        let found = check(&[misnamed]);
        assert_eq!(found[0].to_string(), "b.yaml: metadata.name: `a` must live in a file `a.yaml`");
    }

    #[test]
    fn frame() {
        check_with(
            "/spec/hostNetwork",
            json!(false),
            &["a.yaml: spec.hostNetwork: must be `true`, not `false`"],
        );
        check_with(
            "/spec/priority",
            Value::Null,
            &["a.yaml: spec.priority: must be `2000001000`, not `null`"],
        );
        check_with(
            "/spec/automountServiceAccountToken",
            Value::Null,
            &["a.yaml: spec.automountServiceAccountToken: must be `false`, not `null`"],
        );
    }

    #[test]
    fn api_references() {
        let expected = |place: &str| format!("a.yaml: {place}: {REFERENCE}");
        check_with(
            "/spec/serviceAccountName",
            json!("default"),
            &[&expected("spec.serviceAccountName")],
        );
        check_with(
            "/spec/containers/0/env",
            json!([{ "name": "A", "valueFrom": { "secretKeyRef": { "optional": true } } }]),
            &[&expected("spec.containers[0].env[0].valueFrom.secretKeyRef")],
        );
        check_with(
            "/spec/containers/0/envFrom",
            json!([{ "configMapRef": {} }]),
            &[&expected("spec.containers[0].envFrom[0].configMapRef")],
        );
        check_with(
            "/spec/runtimeClassName",
            json!("kata"),
            &[
                "a.yaml: spec.runtimeClassName: it ends a standalone kubelet, at every start while the file is there",
            ],
        );
        // A label of that name is only a label.
        check_with("/metadata/labels/secret", json!("x"), &[]);
    }

    #[test]
    fn volumes_and_mounts() {
        check_with(
            "/spec/volumes/0",
            json!({ "name": "config", "hostpath": { "path": "/a" } }),
            &[
                "a.yaml: spec.volumes[0]: has no source that a static pod can use (`hostPath`, `emptyDir`)",
            ],
        );
        check_with(
            "/spec/volumes/0/hostPath/path",
            json!("etc/a"),
            &[
                "a.yaml: spec.volumes[0].hostPath.path: `etc/a` is not an absolute path without `..`, `//` or a final `/`",
            ],
        );
        check_with(
            "/spec/volumes/0/emptyDir",
            json!({ "medium": "memory" }),
            &["a.yaml: spec.volumes[0].emptyDir.medium: must be `Memory` or absent"],
        );
        check_with(
            "/spec/volumes/0/name",
            json!("other"),
            &["a.yaml: spec.containers[0].volumeMounts[0].name: there is no volume `config`"],
        );
        for (path, message) in [
            ("/", "`/` is not an absolute path without `..`, `//` or a final `/`"),
            ("/a:b", "`/a:b` holds a `:`, which the kubelet refuses"),
            ("/usr", "would hide the image's own `/usr`; use a folder of its own"),
        ] {
            let expected =
                format!("a.yaml: spec.containers[0].volumeMounts[0].mountPath: {message}");
            check_with("/spec/containers/0/volumeMounts/0/mountPath", json!(path), &[&expected]);
        }
    }

    #[test]
    fn containers() {
        check_with("/spec/containers", json!([]), &["a.yaml: spec.containers: is empty"]);
        check_with(
            "/spec/containers/0/image",
            json!("registry.lab.example/a:1"),
            &[
                "a.yaml: spec.containers[0].image: `registry.lab.example/a:1` is not an image reference with a digest (`registry/name@sha256:` and 64 hex digits)",
            ],
        );
        check_with(
            "/spec/containers/0/ports/0/hostPort",
            json!(81),
            &[
                "a.yaml: spec.containers[0].ports[0].hostPort: must be the container's port, since the pod lives in the host's network",
            ],
        );
        check_with(
            "/spec/containers/0/resources/limits/memory",
            json!("512m"),
            &[
                "a.yaml: spec.containers[0].resources.limits.memory: `m` is thousandths of a byte; write `Mi`",
            ],
        );
        let context = "/spec/containers/0/securityContext";
        check_with(
            &format!("{context}/capabilities/add"),
            json!(["CAP_NET_RAW", "NET_ADMIN"]),
            &[
                "a.yaml: spec.containers[0].securityContext.capabilities.add[0]: `CAP_NET_RAW` must be written without `CAP_`",
                "a.yaml: spec.containers[0].securityContext.capabilities.add[1]: `NET_ADMIN` is not among [\"NET_RAW\"]",
            ],
        );
        check_with(
            &format!("{context}/capabilities"),
            json!({}),
            &["a.yaml: spec.containers[0].securityContext.capabilities.drop: must hold `ALL`"],
        );
        check_with(
            &format!("{context}/privileged"),
            json!(true),
            &[
                "a.yaml: spec.containers[0].securityContext.privileged: name the capabilities that are needed instead",
            ],
        );
    }

    #[test]
    fn one_name_in_two_files() {
        let mut second = manifest(pod("a"));
        second.file = "b.yaml".to_owned();
        second.value["spec"]["containers"][0]["ports"] = json!([]);
        let found: Vec<String> =
            check(&[manifest(pod("a")), second]).iter().map(ToString::to_string).collect();
        let expected = [
            "b.yaml: metadata.name: `a` must live in a file `a.yaml`",
            "b.yaml: metadata.name: `a` is also the pod of `a.yaml`",
        ];
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_ports(first: Value, second: Value, clash: bool) {
        let (mut a, mut b) = (pod("a"), pod("b"));
        a["spec"]["containers"][0]["ports"] = json!([first]);
        b["spec"]["containers"][0]["ports"] = json!([second]);
        let found: Vec<String> =
            check(&[manifest(a), manifest(b)]).iter().map(ToString::to_string).collect();
        let expected = "b.yaml: spec.containers[0].ports[0]: port 80 is already taken by a.yaml: spec.containers[0].ports[0]";
        assert_eq!(found, if clash { vec![expected] } else { vec![] });
    }

    #[test]
    fn ports_clash_by_address() {
        let at = |address: &str| json!({ "containerPort": 80, "hostIP": address });
        check_ports(at("192.0.2.1"), at("192.0.2.1"), true);
        check_ports(at("0.0.0.0"), at("192.0.2.1"), true);
        check_ports(at("2001:db8::1"), at("::"), true);
        check_ports(json!({ "containerPort": 80 }), at("2001:db8::1"), true);
        check_ports(at("192.0.2.1"), at("192.0.2.2"), false);
        check_ports(at("0.0.0.0"), at("::"), false);
        check_ports(at("::"), at("192.0.2.1"), false);
        check_ports(at("192.0.2.1"), json!({ "containerPort": 81, "hostIP": "192.0.2.1" }), false);
        let udp = json!({ "containerPort": 80, "hostIP": "192.0.2.1", "protocol": "UDP" });
        check_ports(at("192.0.2.1"), udp, false);
    }
}
