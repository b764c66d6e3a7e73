//! What this host has of what the pods that people wrote ask for: the linter's rules about hosts, with real answers.
//!
//! Images are not asked for here: whether they are there, and pinned, is known from the runtime. Neither is what our own
//! pods mount, which wait until it is there.

use basalt_model::node::Node;
use basalt_model::report::Severity;
use basalt_static_pods::lint::policy::HostPath;
use basalt_static_pods::lint::{self, File, LintFinding, Policy, Rules, lint};
use camino::Utf8Path;

use super::files::LABEL_ATTRIBUTE;
use super::{Host, RUN_DIRECTORY, STATE_DIRECTORY};

/// The longest label that is read.
const MAX_LABEL_BYTES: usize = 256;

/// What the host lacks, one line each, with the place in the manifest that asks for it.
pub(crate) fn lacking(host: &Host, node: &Node) -> Vec<String> {
    let names: Vec<String> = node.pods.iter().map(|pod| format!("{}.yaml", pod.name)).collect();
    let files: Vec<File<'_>> = (names.iter().zip(&node.pods))
        .map(|(name, pod)| File { name, bytes: pod.manifest.as_bytes() })
        .collect();
    let asked = lint::asked(&files);
    let mut given = lint::laid_down(node, &asked);
    given.extend([STATE_DIRECTORY, RUN_DIRECTORY].map(str::to_owned));
    let paths = (asked.paths.iter())
        .filter(|path| !given.iter().any(|given| is_within(path, given) || is_within(given, path)))
        .filter_map(|path| Some((path.clone(), at(host, path)?)))
        .collect();
    let mut policy = Policy::of_node(&node.pods);
    policy.host = Some(lint::Host { paths, images: None });
    let findings = lint(&files, Rules::Basalt(&policy));
    let severe = findings.iter().filter(|finding| finding.severity() == Severity::Error);
    let source = |finding: &LintFinding| {
        let index = names.iter().position(|name| *name == finding.file);
        index.map_or(finding.file.as_str(), |index| node.pods[index].source.as_str()).to_owned()
    };
    let line = |finding: &LintFinding| {
        let LintFinding { place, path, message, rule, remedy, .. } = finding;
        format!("{}:{place}: {path}: {message} [{rule}]; {remedy}", source(finding))
    };
    severe.map(line).collect()
}

/// Whether `path` is `folder` or below it.
fn is_within(path: &str, folder: &str) -> bool {
    Utf8Path::new(path).starts_with(folder)
}

/// What is at a path; `None` when that cannot be found out.
fn at(host: &Host, path: &str) -> Option<HostPath> {
    let real = host.real(path);
    match real.metadata() {
        Ok(metadata) => {
            let label = if host.labels { label(&real) } else { None };
            Some(HostPath::Found { kind: metadata.file_type().into(), label })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(HostPath::Missing),
        Err(_) => None,
    }
}

fn label(path: &Utf8Path) -> Option<String> {
    let mut bytes = vec![0; MAX_LABEL_BYTES];
    let length = rustix::fs::getxattr(path.as_std_path(), LABEL_ATTRIBUTE, &mut bytes).ok()?;
    bytes.truncate(length);
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use basalt_model::node::OwnPod;

    use super::*;
    use crate::testing::{node_json, scratch_host};

    /// A node with a pod that mounts `/srv/data` as a folder, which somebody else has to put there.
    fn node(path: &str, kind: &str) -> Node {
        let manifest = include_str!("../../../tests/clusters/lab/pods/exporter.yaml");
        let volume = format!("  - name: data\n    hostPath: {{path: {path}, type: {kind}}}\n");
        let mount = "    - name: data\n      mountPath: /data\n  volumes:\n";
        let manifest = manifest.replace("  volumes:\n", mount) + &volume;
        let mut node = Node::from_json("", &node_json(1, "lab")).unwrap();
        node.pods = vec![OwnPod {
            name: "exporter".parse().unwrap(),
            source: "pods/exporter.yaml".parse().unwrap(),
            manifest,
            files: Vec::new(),
            capabilities: Vec::new(),
            is_privileged: false,
        }];
        node
    }

    #[track_caller]
    fn check(host: &Host, path: &str, kind: &str, expected: &[&str]) {
        let lines = lacking(host, &node(path, kind));
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with("pods/exporter.yaml:") && line.contains(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_its_place() {
        let (_keep, mut host) = scratch_host();
        let missing = "spec.volumes[1].hostPath.path: there is nothing at this path of the host \
                       [basalt-host-path]";
        check(&host, "/srv/data", "Directory", &[missing]);
        check(&host, "/srv/data", "DirectoryOrCreate", &[]);
        fs::create_dir_all(host.path("/srv")).unwrap();
        fs::write(host.path("/srv/data"), "").unwrap();
        check(&host, "/srv/data", "File", &[]);
        check(&host, "/srv/data", "Directory", &["is no `Directory` [basalt-host-path]"]);
        // A link leads where it would on the host.
        fs::create_dir_all(host.path("/usr/share/data")).unwrap();
        std::os::unix::fs::symlink("/usr/share/data", host.path("/srv/link")).unwrap();
        check(&host, "/srv/link", "Directory", &[]);
        // Where there are labels, they count. Not every file system takes one.
        host.labels = true;
        let (path, label) = (host.path("/usr/share/data"), b"system_u:object_r:shadow_t:s0\0");
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(path.as_std_path(), LABEL_ATTRIBUTE, label, flags).is_ok() {
            let unreadable = "`system_u:object_r:shadow_t:s0` is not for containers to read \
                              [basalt-host-path-label]";
            check(&host, "/srv/link", "Directory", &[unreadable]);
        } else {
            println!("skipped: no SELinux label can be set here");
        }
    }

    #[test]
    fn what_the_agent_lays_down_itself_is_not_looked_for() {
        let (_keep, host) = scratch_host();
        for path in ["/etc/basalt/pods/exporter", "/etc/basalt/trust", "/var/lib/basalt/x", "/run"]
        {
            check(&host, path, "Directory", &[]);
        }
        let mut node = node("/etc/app", "Directory");
        let of_lab = include_str!("../../../static-pods/tests/lab/n1.json");
        node.vault = Node::from_json("", of_lab).unwrap().vault;
        assert_eq!(lacking(&host, &node).len(), 1);
        node.vault.as_mut().unwrap().certificates[0].directory = "/etc/app/tls".parse().unwrap();
        assert_eq!(lacking(&host, &node), [] as [String; 0]);
    }

    #[test]
    fn what_one_pod_makes_another_may_mount() {
        let (_keep, host) = scratch_host();
        let mut node = node("/srv/data/below", "Directory");
        assert_eq!(lacking(&host, &node).len(), 1);
        let mut maker = self::node("/srv/data", "DirectoryOrCreate").pods.remove(0);
        maker.name = "maker".parse().unwrap();
        maker.manifest = maker.manifest.replace("name: exporter", "name: maker");
        maker.manifest = maker.manifest.replace("Port: 9100", "Port: 9101");
        node.pods.push(maker);
        assert_eq!(lacking(&host, &node), [] as [String; 0]);
    }
}
