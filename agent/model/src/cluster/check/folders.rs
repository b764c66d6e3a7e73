//! Folders that pods and certificates get on the node: their own, and nobody else's.

use super::Item;
use crate::cluster::resolve::directory_of;
use crate::input::ClusterInput;
use crate::report::{Place, Report};

/// What others rely on, whole. A pod that may write there could change the node.
const TAKEN: [&str; 13] = [
    "/boot",
    "/dev",
    "/etc/basalt",
    "/etc/kubernetes",
    "/etc/systemd",
    "/ostree",
    "/proc",
    "/root",
    "/run/basalt",
    "/sys",
    "/sysroot",
    "/usr",
    "/var/lib/kubelet",
];

/// Folders that hold those of many programs: a folder inside is fine, the folder itself is not.
const SHARED: [&str; 10] =
    ["/", "/etc", "/home", "/mnt", "/opt", "/run", "/srv", "/var", "/var/lib", "/var/lib/basalt"];

/// The only place besides its defaults that the agent's unit lets it write manifests to.
const KUBERNETES: &str = "/etc/kubernetes/";

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    for template in input.vault_agent.iter().flat_map(|agent| &agent.templates) {
        let destination = &template.destination;
        let folder = destination.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
        own(folder, destination.place, &destination.path, report);
    }
    for item in input.vault.iter().flat_map(|vault| &vault.certificates) {
        if let Some(directory) = &item.directory {
            own(directory_of(item).as_str(), directory.place, &directory.path, report);
        }
    }
    if let Some(kubelet) = &input.kubelet {
        let folder = &kubelet.static_pod_directory;
        if !folder.as_str().starts_with(KUBERNETES) {
            report
                .error(
                    folder.place,
                    &folder.path,
                    format!("`{}` is not below `{KUBERNETES}`", folder.value),
                )
                .hint("the agent owns the folder and may write there alone");
        }
    }
    let templates = input.vault_agent.iter().flat_map(|agent| &agent.templates);
    let folders = templates.filter_map(|template| {
        let (folder, _) = template.destination.as_str().rsplit_once('/')?;
        let mut certificates = input.vault.iter().flat_map(|vault| &vault.certificates);
        let taken = certificates.any(|item| directory_of(item).as_str() == folder);
        taken.then(|| Item::of(&template.destination))
    });
    for item in folders {
        report.error(
            item.place,
            item.path,
            format!("`{}` is in the folder of a certificate", item.key),
        );
    }
}

fn own(folder: &str, place: Place, path: &str, report: &mut Report) {
    let is_inside = |taken: &&str| {
        folder == *taken || folder.strip_prefix(*taken).is_some_and(|rest| rest.starts_with('/'))
    };
    let hint = "use a folder of its own, like `/var/lib/basalt/secrets`";
    if let Some(taken) = TAKEN.iter().find(|taken| is_inside(taken)) {
        report.error(place, path, format!("`{taken}` belongs to the node itself")).hint(hint);
    } else if SHARED.contains(&folder) || folder.is_empty() {
        report.error(place, path, "the folder is shared with other programs").hint(hint);
    }
}
