//! People's own static pods: names that nobody else has, roles that exist, files that do not collide.
//!
//! What is in a manifest is not looked at here: the linter of manifests does, when a node's pods are rendered.

use super::{Item, unique};
use crate::decode::Located;
use crate::input::{ClusterInput, PodInput};
use crate::names::RoleName;
use crate::report::Report;

/// The pods that Basalt makes by itself.
const OURS: [&str; 3] = ["haproxy", "keepalived", "vault-agent"];

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    unique("pod", input.pods.iter().map(|pod| Item::of(&pod.name)), report);
    for item in &input.pods {
        pod(item, report);
    }
}

fn pod(pod: &Located<PodInput>, report: &mut Report) {
    let name = &pod.name;
    if OURS.contains(&name.as_str()) {
        let message = format!("`{}` is a pod that Basalt makes by itself", name.value);
        report.error(name.place, &name.path, message).hint(format!(
            "choose another name, or set it up under `{}`",
            name.as_str().replace('-', "_")
        ));
    }
    if pod.roles.is_empty() && report.is_whole(&pod.path) {
        let path = format!("{}.roles", pod.path);
        report
            .error(pod.place, path, "no role is named, so nothing runs it")
            .hint("name a role, or remove the pod");
    }
    unique("role", pod.roles.iter().map(Item::of), report);
    unique("file", pod.files.iter().map(|file| Item::of(&file.name)), report);
    for file in pod.files.iter().filter(|file| file.mode.bits() & 0o400 == 0) {
        let message = format!("mode `{}` lets not even root read `{}`", file.mode, *file.name);
        report.error(file.place, &file.path, message).hint("use \"0644\" or \"0600\"");
    }
}

/// The roles that pods are for, to be looked up with all others.
pub(super) fn roles(input: &ClusterInput) -> impl Iterator<Item = &Located<RoleName>> {
    input.pods.iter().flat_map(|pod| &pod.roles)
}
