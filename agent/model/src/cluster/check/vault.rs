//! Vault, its certificates and vault-agent: names that exist, files that do not collide, nothing fetched in vain.

use super::texts::{url, word};
use super::{Item, unique};
use crate::cluster::resolve::directory_of;
use crate::decode::{Located, closest};
use crate::input::{CertificateInput, ClusterInput, VaultInput};
use crate::names::FileMode;
use crate::report::{Place, Report};

/// What the owner of a file may be called: the portable set that `useradd` takes.
fn is_user_name(text: &str) -> bool {
    let is_tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(is_tail)
}

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    if let Some(agent) = &input.vault_agent {
        if input.vault.is_none() && report.is_whole("vault") {
            report
                .error(agent.place, &agent.path, "vault-agent needs a Vault")
                .hint("add the section `vault`");
        }
        if agent.templates.is_empty() && report.is_whole("vault_agent") {
            report.error(
                agent.place,
                format!("{}.templates", agent.path),
                "vault-agent needs at least one template",
            );
        }
        unique("template", agent.templates.iter().map(|template| Item::of(&template.name)), report);
        unique(
            "destination",
            agent.templates.iter().map(|template| Item::of(&template.destination)),
            report,
        );
    }
    if let Some(vault) = &input.vault {
        self::vault(input, vault, report);
    }
}

fn vault(input: &ClusterInput, vault: &VaultInput, report: &mut Report) {
    if vault.addresses.is_empty() && report.is_whole("vault.addresses") {
        report.error(Place::START, "vault.addresses", "at least one address is wanted");
    }
    for address in &vault.addresses {
        self::address(address, report);
    }
    let is_known = input.trust_anchors.contains_key(&vault.ca.value);
    if !is_known && report.is_whole("trust_anchors") && report.is_whole("vault.ca") {
        let finding = report.error(
            vault.ca.place,
            &vault.ca.path,
            format!("there is no trust anchor `{}`", vault.ca.value),
        );
        match closest(vault.ca.as_str(), input.trust_anchors.keys().map(|name| name.as_str())) {
            Some(name) => finding.hint(format!("did you mean `{name}`?")),
            None => finding.hint("add it under `trust_anchors`"),
        }
    }
    let ways = [vault.auth.app_role.is_some(), vault.auth.cert.is_some()];
    if ways == [true, true] || (ways == [false, false] && report.is_whole("vault.auth")) {
        report.error(
            vault.auth.place,
            &vault.auth.path,
            "exactly one of `app_role` and `cert` is wanted",
        );
    }
    let app_role = vault.auth.app_role.iter().map(|auth| &auth.mount);
    for auth in app_role.chain(vault.auth.cert.iter().map(|auth| &auth.mount)) {
        if auth.starts_with("auth/") {
            report
                .error(auth.place, &auth.path, format!("`{}` would become `auth/{0}`", auth.value))
                .hint("leave out `auth/`");
        } else {
            mount(auth, report);
        }
    }
    if let Some(auth) = &vault.auth.app_role {
        word(&auth.role_id, "a role id", report);
    }
    mount(&vault.pki.mount, report);
    let own_roles = vault.certificates.iter().filter_map(|item| item.pki_role.as_ref());
    for role in own_roles.chain([&vault.pki.role]) {
        if role.is_empty() || !role.chars().all(is_name_character) {
            report.error(role.place, &role.path, "not the name of a role").hint(NAME_HINT);
        }
    }
    unique("certificate", vault.certificates.iter().map(|item| Item::of(&item.name)), report);
    let directories = vault.certificates.iter().map(|item| {
        let (place, path) =
            item.directory.as_ref().map_or((item.place, &item.path), |own| (own.place, &own.path));
        Item { key: directory_of(item).to_string(), place, path }
    });
    unique("directory", directories, report);
    for item in &vault.certificates {
        certificate(input, item, report);
    }
}

/// `https://host:port`. Requests add their own path, so one that is there already would lead nowhere.
fn address(address: &Located<String>, report: &mut Report) {
    let has_path = address.strip_prefix("https://").is_some_and(|rest| rest.contains('/'));
    if has_path {
        report
            .error(address.place, &address.path, "the address of a Vault server has no path")
            .hint("write `https://host:port`");
    } else {
        url(address, &["https://"], report);
    }
}

/// The path of a mount, as requests put it into a URL: `pki/lab`.
fn mount(mount: &Located<String>, report: &mut Report) {
    let is_part =
        |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(is_name_character);
    if !mount.split('/').all(is_part) {
        report
            .error(mount.place, &mount.path, "not a mount path")
            .hint(format!("{NAME_HINT}, with `/` only between names"));
    }
}

/// What a URL carries as it is.
fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

const NAME_HINT: &str = "use letters, digits, `.`, `_` and `-`";

fn certificate(input: &ClusterInput, item: &Located<CertificateInput>, report: &mut Report) {
    if item.roles.is_empty() && report.is_whole(&item.path) {
        report.error(item.place, format!("{}.roles", item.path), "no role fetches it");
    }
    let frontends = input.haproxy.iter().flat_map(|haproxy| &haproxy.frontends);
    let is_served = frontends
        .filter_map(|frontend| frontend.certificate.as_ref())
        .any(|name| name.value == item.name.value);
    let is_known = report.is_whole("haproxy") && report.is_whole(&item.path);
    if !is_served && item.reload.is_empty() && is_known {
        report
            .error(item.place, &item.path, format!("nobody uses the certificate `{}`", *item.name))
            .hint("name it in a frontend, say under `reload` what uses it, or remove it");
    }
    for reload in &item.reload {
        let targets = [reload.pod.is_some(), reload.unit.is_some()];
        let is_none = targets == [false, false] && report.is_whole(&reload.path);
        if targets == [true, true] || is_none {
            report.error(reload.place, &reload.path, "exactly one of `pod` and `unit` is wanted");
        }
        if let Some(pod) = &reload.pod {
            known_pod(input, item, pod.as_str(), reload.place, &reload.path, report);
        }
    }
    for name in [&item.owner, &item.group] {
        if !is_user_name(name) {
            report.error(
                name.place,
                &name.path,
                format!("`{}` is not the name of a user or group", name.value),
            );
        }
    }
    readable(&item.mode, report);
}

/// The pods that a node may have to be told.
fn known_pod(
    input: &ClusterInput,
    item: &CertificateInput,
    pod: &str,
    place: Place,
    path: &str,
    report: &mut Report,
) {
    let haproxy = input.haproxy.as_ref().map(|haproxy| ("haproxy", haproxy.roles.as_slice()));
    let vault_agent =
        input.vault_agent.as_ref().map(|agent| ("vault-agent", agent.roles.as_slice()));
    let keepalived = input.keepalived.as_ref().map(|_| ("keepalived", [].as_slice()));
    let own = input.pods.iter().map(|pod| (pod.name.as_str(), pod.roles.as_slice()));
    let pods: Vec<_> =
        [haproxy, vault_agent, keepalived].into_iter().flatten().chain(own).collect();
    let is_known =
        ["haproxy", "vault_agent", "keepalived", "pods"].iter().all(|part| report.is_whole(part));
    match pods.iter().find(|(name, _)| *name == pod) {
        None if !is_known => {}
        None => {
            let names: Vec<&str> = pods.iter().map(|(name, _)| *name).collect();
            let finding =
                report.error(place, path, format!("there is no pod `{pod}` in this cluster"));
            match closest(pod, names.iter().copied()) {
                Some(name) => finding.hint(format!("did you mean `{name}`?")),
                None => finding.hint(format!("the pods are {}", crate::decode::list(&names))),
            }
        }
        Some((_, roles)) if !roles.is_empty() && is_known => {
            let runs = |role: &Located<crate::names::RoleName>| {
                roles.iter().any(|item| item.value == role.value)
            };
            for role in item.roles.iter().filter(|role| !runs(role)) {
                report.warning(
                    place,
                    path,
                    format!("nodes of the role `{}` do not run `{pod}`", role.value),
                );
            }
        }
        Some(_) => {}
    }
}

/// A private key that everybody may read is no private key, and one that nobody may read is none either.
fn readable(mode: &Located<FileMode>, report: &mut Report) {
    if mode.bits() & 0o400 == 0 {
        let message = format!("mode `{}` lets not even the owner read the files", mode.value);
        report
            .error(mode.place, &mode.path, message)
            .hint("use \"0600\", or \"0640\" with a group");
    }
    if mode.bits() & 0o007 != 0 {
        report
            .error(
                mode.place,
                &mode.path,
                format!("mode `{}` lets every user of the node read the private key", mode.value),
            )
            .hint("use \"0600\", or \"0640\" with a group");
    }
}
