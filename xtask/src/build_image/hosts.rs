//! Whether nodes have what people's own pods ask of their host, as far as an image can tell: what lies below `/usr` and
//! `/etc`, and which container images are baked in. The rest is looked at on the node, before a set of pods begins.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use basalt_image::oci::tree::{Node as Name, Tree};
use basalt_model::cluster::Cluster;
use basalt_model::node::OwnPod;
use basalt_model::report::Report;
use basalt_static_pods::lint::policy::{HostPath, HostPathKind};
use basalt_static_pods::lint::{self, File, Host, Policy, Rules, lint};
use camino::Utf8Path;
use serde_json::Value;

use super::dist::{Built, Kind};

/// What is judged; elsewhere things come and go while a node runs.
const OF_THE_IMAGE: [&str; 2] = ["/usr", "/etc"];

/// Made when a machine boots.
const MADE_AT_BOOT: [&str; 6] = [
    "/etc/hostname",
    "/etc/hosts",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/mtab",
    "/etc/resolv.conf",
];

/// The paths that the nodes' Ignition configs put on their disks.
///
/// # Errors
/// When a config cannot be read.
pub(super) fn laid_by_ignition(built: &Built) -> Result<BTreeSet<String>> {
    let rows = built.manifest.artefacts.iter().filter(|row| row.kind == Kind::Ignition);
    let mut paths = BTreeSet::new();
    for row in rows {
        let path = built.dist.join(&row.path);
        let text = fs::read(&path).with_context(|| format!("cannot read `{path}`"))?;
        let Ok(config) = serde_json::from_slice::<Value>(&text) else { continue };
        for kind in ["files", "directories", "links"] {
            let items = config["storage"][kind].as_array().into_iter().flatten();
            paths.extend(items.filter_map(|item| Some(item["path"].as_str()?.to_owned())));
        }
    }
    Ok(paths)
}

/// Warns of what nodes will lack: of what is in neither `base`, nor the image's own files, nor `ignition`, the paths of
/// [`laid_by_ignition`].
pub(super) fn can_pods_start(
    base: &Tree,
    cluster: &Cluster,
    folder: &Utf8Path,
    mut ignition: BTreeSet<String>,
    report: &mut Report,
) {
    let files = cluster.image.files.iter().map(|file| format!("/{}", file.value.path.value));
    ignition.extend(files);
    check(base, cluster, folder, &ignition, report);
}

fn check(
    base: &Tree,
    cluster: &Cluster,
    folder: &Utf8Path,
    laid: &BTreeSet<String>,
    report: &mut Report,
) {
    let preloaded: BTreeSet<String> =
        cluster.image.preload.iter().map(|item| item.value.reference.value.to_string()).collect();
    // A pod is the same on each of its nodes.
    let mut looked_at = BTreeSet::new();
    for node in &cluster.nodes {
        for pod in node.pods.iter().filter(|pod| looked_at.insert(&pod.source)) {
            let files =
                [File { name: &format!("{}.yaml", pod.name), bytes: pod.manifest.as_bytes() }];
            let asked = lint::asked(&files);
            let mut given = laid.clone();
            given.extend(lint::laid_down(node, &asked));
            given.extend(MADE_AT_BOOT.map(str::to_owned));
            let is_of_the_image = |path: &&String| {
                OF_THE_IMAGE.iter().any(|top| Utf8Path::new(path).starts_with(top))
            };
            let paths = asked
                .paths
                .iter()
                .filter(is_of_the_image)
                .filter_map(|path| Some((path.clone(), at(base, &given, path)?)));
            let host = Host {
                paths: paths.collect(),
                // Where nothing is baked in, all images come from a registry.
                images: (!preloaded.is_empty()).then(|| preloaded.clone()),
            };
            tell(pod, host, &files, folder, report);
        }
    }
}

fn tell(pod: &OwnPod, host: Host, files: &[File<'_>], folder: &Utf8Path, report: &mut Report) {
    let policy = Policy { host: Some(host), ..Policy::of_node([pod]) };
    let unknown = Policy { host: None, ..policy.clone() };
    // What is wrong on every host was told before.
    let told = lint(files, Rules::Basalt(&unknown));
    let mut own = Report::new(folder.join(pod.source.as_str()).as_str());
    for finding in lint(files, Rules::Basalt(&policy)) {
        if !told.contains(&finding) {
            let message = format!("{} [{}]", finding.message, finding.rule);
            own.warning(finding.place, finding.path, message).hint(finding.remedy);
        }
    }
    report.absorb(own);
}

/// What a node has at `path`; `None` when the image does not say.
fn at(base: &Tree, given: &BTreeSet<String>, path: &str) -> Option<HostPath> {
    let is_given = |given: &String| {
        Utf8Path::new(path).starts_with(given) || Utf8Path::new(given).starts_with(path)
    };
    if given.iter().any(is_given) {
        return None;
    }
    let name = path.trim_matches('/');
    let found = |kind| Some(HostPath::Found { kind, label: None });
    match base.get(name) {
        Some(Name::Directory(_)) => found(HostPathKind::Folder),
        Some(Name::File) => found(HostPathKind::File),
        // Where it leads is for the node to see.
        Some(Name::Symlink(_)) => None,
        None => {
            let is_link = |parent: &str| matches!(base.get(parent), Some(Name::Symlink(_)));
            let leads_elsewhere = Utf8Path::new(name).ancestors().any(|it| is_link(it.as_str()));
            (!leads_elsewhere).then_some(HostPath::Missing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::prepare::prepare;
    use super::*;

    /// The lab, whose exporter mounts this as well; and what was warned of.
    fn warnings(kind: &str, path: &str, laid: &[&str], change: impl Fn(&mut Cluster)) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/clusters/lab");
        let text = include_bytes!("../../../tests/clusters/lab/cluster.yaml");
        let mut cluster = prepare("f".into(), text, folder.into()).0.cluster.unwrap();
        for pod in cluster.nodes.iter_mut().flat_map(|node| &mut node.pods) {
            let mount = "    - name: data\n      mountPath: /data\n  volumes:\n";
            let volume =
                format!("  - name: data\n    hostPath: {{path: {path}, type: \"{kind}\"}}\n");
            pod.manifest = pod.manifest.replace("  volumes:\n", mount) + &volume;
        }
        change(&mut cluster);
        let laid = laid.iter().map(|path| (*path).to_owned()).collect();
        let mut report = Report::new("f");
        check(&Tree::default(), &cluster, "lab".into(), &laid, &mut report);
        assert!(!report.has_errors());
        report.to_string()
    }

    #[test]
    fn what_no_image_and_no_config_puts_there_is_warned_of_once() {
        let found = warnings("Directory", "/etc/app", &[], |_| {});
        assert!(found.contains("lab/pods/exporter.yaml:47:22: "), "{found}");
        assert!(found.contains("there is nothing at this path of the host [basalt-host-path]"));
        assert_eq!(found.matches("basalt-host-path").count(), 1, "{found}");
        let is_fine = |kind: &str, path: &str, laid: &[&str]| {
            assert_eq!(warnings(kind, path, laid, |_| {}), "", "{path}");
        };
        is_fine("DirectoryOrCreate", "/etc/app", &[]);
        is_fine("Directory", "/etc/app", &["/etc/app/app.conf"]);
        is_fine("File", "/etc/app/app.conf", &["/etc/app"]);
        // Not of the image.
        is_fine("Directory", "/srv/data", &[]);
        is_fine("File", "/etc/resolv.conf", &[]);
        is_fine("Directory", "/etc/basalt/trust", &[]);
    }

    #[test]
    fn an_image_that_is_not_baked_in_beside_others_is_warned_of() {
        let digest = "5b5a1f8f3d0b7f5a3c44bb4e0b6f0a2e1d93b1b7c1a7d2f06c4f1e9b8a7d6c55";
        let preload = |digest: &str| {
            let text = include_str!("../../../tests/clusters/lab/cluster.yaml");
            let item = format!(
                "\n  preload:\n    - reference: a.example/a@sha256:{digest}\n      archive: a.tar\n      sha256: {digest}\n"
            );
            let text = text.trim_end().to_owned() + &item;
            let plan = basalt_model::cluster::Reading::of("f", text.as_bytes()).image.unwrap();
            plan.preload
        };
        let with = |digest: &str| {
            let items = preload(digest);
            warnings("Directory", "/srv/data", &[], |cluster| cluster.image.preload = items.clone())
        };
        assert_eq!(with(digest), "");
        let found = with(&digest.replace('5', "6"));
        assert_eq!(found.matches("[basalt-image-missing]").count(), 1, "{found}");
    }
}
