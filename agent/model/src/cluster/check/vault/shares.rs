//! What certificates and identities have in common in Vault: mounts, and roles that sign.

use std::collections::BTreeSet;

use crate::decode::Located;
use crate::input::{CertificateInput, VaultInput};
use crate::report::Report;

pub(super) fn check(vault: &VaultInput, report: &mut Report) {
    let identity = vault.auth.node.as_ref().map(|node| &node.pki.mount);
    let own = vault.certificates.iter().filter_map(|item| item.pki_mount.as_ref());
    let mounts: Vec<&Located<String>> = [&vault.pki.mount].into_iter().chain(own).collect();
    if let Some(identity) = identity
        && let Some(mount) = mounts.iter().find(|mount| mount.value == identity.value)
    {
        let at =
            if mount.path == "vault.pki.mount" && is_default(mount) { identity } else { mount };
        report
            .error(
                at.place,
                &at.path,
                format!("`{}` signs identities, and certificates too", at.value),
            )
            .hint("identities want a mount of their own: whoever has a certificate of it can log in as that node");
    }
    nested(&mounts.iter().copied().chain(identity).collect::<Vec<_>>(), report);
    roles(vault, report);
}

/// A default has no place in the file.
fn is_default(mount: &Located<String>) -> bool {
    mount.place == crate::report::Place::START
}

/// Vault has no mount inside a mount.
fn nested(mounts: &[&Located<String>], report: &mut Report) {
    let mut told = BTreeSet::new();
    for inner in mounts {
        let is_outer = |outer: &&&Located<String>| {
            inner.strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(outer) = mounts.iter().find(is_outer)
            && told.insert(inner.as_str())
        {
            report
                .error(
                    inner.place,
                    &inner.path,
                    format!("`{}` is inside the mount `{}`", inner.value, outer.value),
                )
                .hint("Vault has no mount inside a mount; give them different names");
        }
    }
}

/// One role that signs lets each node that may use it have all the names it allows.
fn roles(vault: &VaultInput, report: &mut Report) {
    let role_of = |item: &CertificateInput| {
        let mount = item.pki_mount.as_ref().unwrap_or(&vault.pki.mount);
        let role = item.pki_role.as_ref().unwrap_or(&vault.pki.role);
        (mount.value.clone(), role.value.clone())
    };
    for (index, item) in vault.certificates.iter().enumerate() {
        let same = |other: &&Located<CertificateInput>| role_of(other) == role_of(item);
        let Some(first) = vault.certificates[..index].iter().find(same) else { continue };
        let nodes = |item: &CertificateInput| -> BTreeSet<String> {
            item.roles.iter().map(|role| role.to_string()).collect()
        };
        let usages = |item: &CertificateInput| item.usages.iter().copied().collect::<BTreeSet<_>>();
        let differing: Vec<&str> = [
            (nodes(first) != nodes(item), "nodes"),
            (usages(first) != usages(item), "usages"),
            (first.key != item.key, "keys"),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect();
        if !differing.is_empty() {
            let (mount, role) = role_of(item);
            let message = format!(
                "shares the role `{role}` of `{mount}` with `{}`, which has other {}",
                *first.name,
                differing.join(" and ")
            );
            report.warning(item.place, &item.path, message).hint(
                "each node gets what either needs; give it a `pki_role` of its own to keep them apart",
            );
        }
    }
}
