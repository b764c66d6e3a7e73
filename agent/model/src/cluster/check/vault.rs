//! Vault, its certificates and vault-agent: names that exist, files that do not collide, nothing fetched in vain.

mod shares;

use super::texts::{url, word};
use super::{Item, unique};
use crate::cluster::resolve::{directory_of, survive_outage_hours};
use crate::decode::{Between, Located, closest};
use crate::input::{CertificateInput, ClusterInput, ReloadInput, VaultAuthInput, VaultInput};
use crate::names::{FileMode, RoleName};
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
            let path = "vault_agent.templates";
            report.error(report.place_of(path), path, "vault-agent needs at least one template");
        }
        unique("template", agent.templates.iter().map(|template| Item::of(&template.name)), report);
    }
    // The agent and vault-agent would write one file in turn.
    let templates = input.vault_agent.iter().flat_map(|agent| &agent.templates);
    let secrets = input.vault.iter().flat_map(|vault| &vault.secrets);
    let destinations = secrets
        .map(|item| Item::of(&item.destination))
        .chain(templates.map(|template| Item::of(&template.destination)));
    unique("destination", destinations, report);
    if let Some(vault) = &input.vault {
        self::vault(input, vault, report);
    }
}

fn vault(input: &ClusterInput, vault: &VaultInput, report: &mut Report) {
    if vault.addresses.is_empty() && report.is_whole("vault.addresses") {
        let path = "vault.addresses";
        report.error(report.place_of(path), path, "at least one address is wanted");
    }
    // Written in two ways it is one server all the same.
    let servers = vault.addresses.iter().map(|address| Item {
        key: address.strip_suffix(":443").unwrap_or(address).to_owned(),
        place: address.place,
        path: &address.path,
    });
    unique("server", servers, report);
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
    auth(&vault.auth, report);
    let identity = vault.auth.node.as_ref();
    let own_mounts = vault.certificates.iter().filter_map(|item| item.pki_mount.as_ref());
    let of_identity = identity.map(|identity| &identity.pki.mount);
    for pki in own_mounts.chain(of_identity).chain([&vault.pki.mount]) {
        mount(pki, report);
    }
    let own_roles = vault.certificates.iter().filter_map(|item| item.pki_role.as_ref());
    let of_identity = identity.map(|identity| &identity.pki.role);
    for role in own_roles.chain(of_identity).chain([&vault.pki.role]) {
        role_name(role, report);
    }
    shares::check(vault, report);
    unique("certificate", vault.certificates.iter().map(|item| Item::of(&item.name)), report);
    let directories = vault.certificates.iter().map(|item| {
        let (place, path) =
            item.directory.as_ref().map_or((item.place, &item.path), |own| (own.place, &own.path));
        Item { key: directory_of(item).to_string(), place, path }
    });
    unique("directory", directories, report);
    let secrets = || vault.secrets.iter();
    unique("secret", secrets().map(|item| Item::of(&item.name)), report);
    for item in secrets() {
        if item.roles.is_empty() && report.is_whole(&item.path) {
            report.error(item.place, format!("{}.roles", item.path), "no role has it");
        }
        reloads(input, &item.reload, &item.roles, report);
        owners([&item.owner, &item.group], report);
        readable(&item.mode, "secrets", report);
    }
    for item in &vault.certificates {
        certificate(input, item, report);
    }
}

fn auth(auth: &Located<VaultAuthInput>, report: &mut Report) {
    let ways = [
        auth.node.is_some(),
        auth.app_role.is_some(),
        auth.cert.is_some(),
        auth.jwt.is_some(),
        auth.token.is_some(),
    ];
    let count = ways.iter().filter(|way| **way).count();
    if count > 1 || (count == 0 && report.is_whole("vault.auth")) {
        report.error(
            auth.place,
            &auth.path,
            "exactly one of `node`, `app_role`, `cert`, `jwt` and `token` is wanted",
        );
    }
    let node = auth.node.iter().flat_map(|node| [&node.app_role_mount, &node.cert_mount]);
    let others = (auth.app_role.iter().map(|way| &way.mount))
        .chain(auth.cert.iter().map(|way| &way.mount))
        .chain(auth.jwt.iter().map(|way| &way.mount));
    for path in node.chain(others) {
        if path.starts_with("auth/") {
            report
                .error(path.place, &path.path, format!("`{}` would become `auth/{0}`", path.value))
                .hint("leave out `auth/`");
        } else {
            mount(path, report);
        }
    }
    for node in auth.node.iter().filter(|node| node.app_role_mount.value == node.cert_mount.value) {
        // One of the two may be a default, which has no place in the file.
        let is_written = node.cert_mount.place != Place::START;
        let at = if is_written { &node.cert_mount } else { &node.app_role_mount };
        report
            .error(
                at.place,
                &at.path,
                format!("`{}` is the mount of the AppRole and of the certificate method", at.value),
            )
            .hint("Vault has one method at a mount; give them different paths");
    }
    for role_id in auth.app_role.iter().map(|way| &way.role_id) {
        word(role_id, "a role id", report);
    }
    let prefixes = auth.node.iter().filter_map(|node| node.prefix.as_ref());
    for role in prefixes.chain(auth.jwt.iter().map(|way| &way.role)) {
        role_name(role, report);
    }
}

pub(super) fn role_name(role: &Located<String>, report: &mut Report) {
    if role.is_empty() || !role.chars().all(is_name_character) {
        report.error(role.place, &role.path, "not the name of a role").hint(NAME_HINT);
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
pub(super) fn mount(mount: &Located<String>, report: &mut Report) {
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
    if item.usages.is_empty() {
        report
            .error(item.place, format!("{}.usages", item.path), "the certificate is for nothing")
            .hint("leave `usages` out for `server`, or name `server`, `client` or both");
    }
    life(item, report);
    reloads(input, &item.reload, &item.roles, report);
    owners([&item.owner, &item.group], report);
    readable(&item.mode, "the private key", report);
}

/// What is told after a change exists where the change happens.
fn reloads(
    input: &ClusterInput,
    reloads: &[Located<ReloadInput>],
    roles: &[Located<RoleName>],
    report: &mut Report,
) {
    for reload in reloads {
        let targets = [reload.pod.is_some(), reload.unit.is_some()];
        let is_none = targets == [false, false] && report.is_whole(&reload.path);
        if targets == [true, true] || is_none {
            report.error(reload.place, &reload.path, "exactly one of `pod` and `unit` is wanted");
        }
        if let Some(pod) = &reload.pod {
            known_pod(input, roles, pod.as_str(), reload.place, &reload.path, report);
        }
    }
}

fn owners(names: [&Located<String>; 2], report: &mut Report) {
    for name in names {
        if !is_user_name(name) {
            report.error(
                name.place,
                &name.path,
                format!("`{}` is not the name of a user or group", name.value),
            );
        }
    }
}

/// A certificate lives longer than Vault may be away.
pub(super) fn outage<const LEAST: u32, const MOST: u32>(
    survive: Option<&Located<Between<LEAST, MOST>>>,
    ttl_hours: u32,
    report: &mut Report,
) {
    let Some(survive) = survive.filter(|survive| survive.value.0 >= ttl_hours) else { return };
    let message = format!(
        "{} hours are not less than the {ttl_hours} hours of life that are asked for",
        survive.value.0
    );
    report
        .error(survive.place, &survive.path, message)
        .hint("ask for a longer life with `ttl_hours`, or for a shorter outage");
}

/// How long it lives, when it is renewed and when the renewed one is taken into use.
fn life(item: &CertificateInput, report: &mut Report) {
    outage(item.survive_outage_hours.as_ref(), item.ttl_hours.0, report);
    if let Some(window) = &item.activation {
        if window.from == window.until {
            report
                .error(window.place, &window.path, "the window has no length")
                .hint("leave `activation` out to take a new certificate into use at once");
        } else if survive_outage_hours(item) < 24 {
            report
                .error(window.place, &window.path, "a day may pass before the window opens")
                .hint("`survive_outage_hours` of 24 or more leaves the time to wait for it");
        }
    }
    if item.layouts.is_empty() {
        report
            .error(item.layouts.place, &item.layouts.path, "no file is asked for")
            .hint("leave `layouts` out for the usual files");
    }
}

/// The pods that a node may have to be told.
fn known_pod(
    input: &ClusterInput,
    at: &[Located<RoleName>],
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
            let runs = |role: &Located<RoleName>| roles.iter().any(|item| item.value == role.value);
            for role in at.iter().filter(|role| !runs(role)) {
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

/// A secret that everybody may read is no secret, and one that nobody may read is none either.
fn readable(mode: &Located<FileMode>, what: &str, report: &mut Report) {
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
                format!("mode `{}` lets every user of the node read {what}", mode.value),
            )
            .hint("use \"0600\", or \"0640\" with a group");
    }
}
