//! Roles: each is used, each reference is to one that exists.

use crate::decode::{Located, closest, list};
use crate::input::ClusterInput;
use crate::names::RoleName;
use crate::report::{Place, Report};

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    for (name, role) in &input.roles {
        let is_used = input.nodes.iter().any(|node| node.role.value == *name);
        if !is_used && report.is_whole("nodes") {
            report
                .error(role.place, &role.path, format!("no node has the role `{name}`"))
                .hint("give it to a node or remove it");
        }
    }
    let haproxy = input.haproxy.iter().flat_map(|haproxy| &haproxy.roles);
    let vault_agent = input.vault_agent.iter().flat_map(|agent| &agent.roles);
    let kubernetes = input.kubernetes.iter().flat_map(|kubernetes| &kubernetes.roles);
    let certificates =
        input.vault.iter().flat_map(|vault| &vault.certificates).flat_map(|item| &item.roles);
    let secrets = input.vault.iter().flat_map(|vault| &vault.secrets).flat_map(|item| &item.roles);
    let nodes = input.nodes.iter().map(|node| &node.role);
    let pods = super::pods::roles(input);
    let bundle = input.bundle.iter().flat_map(|bundle| &bundle.roles);
    let all = nodes.chain(haproxy).chain(vault_agent).chain(kubernetes).chain(certificates);
    let all = all.chain(secrets).chain(pods).chain(bundle);
    for role in all {
        known(input, &role.value, role.place, &role.path, report);
    }
    for instance in input.keepalived.iter().flat_map(|keepalived| &keepalived.instances) {
        for (role, priority) in &instance.priorities {
            known(input, role, priority.place, &priority.path, report);
        }
    }
    let lists = [
        input.haproxy.as_ref().map(|haproxy| ("haproxy.roles", &haproxy.roles)),
        input.vault_agent.as_ref().map(|agent| ("vault_agent.roles", &agent.roles)),
        input.kubernetes.as_ref().map(|item| ("kubernetes.roles", &item.roles)),
    ];
    for (path, roles) in lists.into_iter().flatten() {
        if roles.is_empty() && report.is_whole(path) {
            report
                .error(report.place_of(path), path, "no role is named, so nothing runs it")
                .hint("name a role, or remove the section");
        }
    }
    doubles(input.haproxy.iter().map(|haproxy| &haproxy.roles), report);
    doubles(input.vault_agent.iter().map(|agent| &agent.roles), report);
    doubles(input.kubernetes.iter().map(|item| &item.roles), report);
}

fn known(input: &ClusterInput, role: &RoleName, place: Place, path: &str, report: &mut Report) {
    if input.roles.contains_key(role) || !report.is_whole("roles") {
        return;
    }
    let names: Vec<&str> = input.roles.keys().map(RoleName::as_str).collect();
    let hint = match closest(role.as_str(), names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => "add it under `roles`".to_owned(),
        None => format!("the roles are {}", list(&names)),
    };
    report.error(place, path, format!("there is no role `{role}`")).hint(hint);
}

fn doubles<'a>(lists: impl Iterator<Item = &'a Vec<Located<RoleName>>>, report: &mut Report) {
    for roles in lists {
        super::unique("role", roles.iter().map(super::Item::of), report);
    }
}
