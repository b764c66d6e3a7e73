//! The operator bundle: applied by somebody, and checked with a key.

use super::{Item, unique};
use crate::decode::Located;
use crate::input::ClusterInput;
use crate::names::RoleName;
use crate::report::Report;

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    let Some(bundle) = &input.bundle else { return };
    if bundle.roles.is_empty() && report.is_whole("bundle.roles") {
        report
            .error(bundle.place, format!("{}.roles", bundle.path), "no role applies it")
            .hint("name the roles of the control plane, for example");
    }
    unique("role", bundle.roles.iter().map(Item::of), report);
    if bundle.kubeconfig.is_none() && report.is_whole("kubernetes") {
        identity(input, &bundle.roles, report);
    }
    let key = &bundle.public_key;
    let text = key.trim();
    if text.contains("PRIVATE KEY") {
        // The text itself is not repeated.
        report
            .error(key.place, &key.path, "holds a private key")
            .hint("write the public one here, and make a new pair: this one has been seen");
    } else if !text.starts_with("-----BEGIN PUBLIC KEY-----")
        || !text.ends_with("-----END PUBLIC KEY-----")
    {
        report
            .error(key.place, &key.path, "not a PEM public key")
            .hint("write it as a block: `public_key: |` and below it, indented, `-----BEGIN PUBLIC KEY-----` and so on");
    }
}

/// Without a kubeconfig of somebody else's, an agent that applies is known by a certificate that Vault signs.
fn identity(input: &ClusterInput, roles: &[Located<RoleName>], report: &mut Report) {
    let joins = |role: &RoleName| {
        let mut joining = input.kubernetes.iter().flat_map(|kubernetes| &kubernetes.roles);
        joining.any(|item| item.value == *role)
    };
    let is_signed = input.kubernetes.as_ref().is_some_and(|it| it.identity.vault.is_some());
    for role in roles.iter().filter(|role| !is_signed || !joins(&role.value)) {
        let message = format!("nodes of the role `{}` have nothing to apply it with", role.value);
        report.error(role.place, &role.path, message).hint(
            "let the role join by `kubernetes`, with certificates from Vault, or lay out a kubeconfig of your own and name it in `bundle.kubeconfig`",
        );
    }
}
