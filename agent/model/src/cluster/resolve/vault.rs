//! What a node asks of the core Vault.

use super::{joining, kubernetes, port, values};
use crate::decode::Located;
use crate::input::{
    CertificateInput, ClusterInput, NodeIdentityInput, NodeInput, ReloadInput, SecretFileInput,
    VaultAgentInput, VaultAuthInput, VaultInput, VaultTemplateInput,
};
use crate::names::{AbsolutePath, ClusterName, Host, RoleName};
use crate::node::{
    ActivationWindow, Certificate, Network, NodeIdentity, Reload, SecretFile, Vault, VaultAgent,
    VaultAuth, VaultTemplate,
};

/// The folder of a certificate that names none.
pub(super) const CERTIFICATE_DIRECTORY: &str = "/var/lib/basalt/certificates";

pub(super) fn vault(
    cluster: &ClusterInput,
    input: &VaultInput,
    node: &NodeInput,
    network: &Network,
) -> Vault {
    let is_mine =
        |roles: &[Located<RoleName>]| roles.iter().any(|role| role.value == node.role.value);
    let certificates = input.certificates.iter().filter(|item| is_mine(&item.roles));
    let of_kubelet = joining(cluster, &node.role.value)
        .and_then(|kubernetes| kubernetes.identity.vault.as_ref())
        .map(|pki| kubernetes::certificates(cluster, pki, node, network));
    let secrets = input.secrets.iter().filter(|item| is_mine(&item.roles));
    Vault {
        addresses: values(&[&input.addresses]),
        ca: input.ca.value.clone(),
        auth: auth(&input.auth, &cluster.name, node)
            .expect("the check found exactly one way to log in"),
        pki_mount: input.pki.mount.value.clone(),
        pki_role: input.pki.role.value.clone(),
        certificates: certificates
            .map(|item| certificate(item, node, network))
            .chain(of_kubelet.into_iter().flatten())
            .collect(),
        secrets: secrets.map(|item| secret_file(item)).collect(),
    }
}

fn auth(input: &VaultAuthInput, cluster: &ClusterName, node: &NodeInput) -> Option<VaultAuth> {
    let own = input.node.as_ref().map(|auth| VaultAuth::Node(identity(auth, cluster, node)));
    let app_role = input.app_role.as_ref().map(|auth| VaultAuth::AppRole {
        mount: auth.mount.value.clone(),
        role_id: auth.role_id.value.clone(),
        secret_id_file: auth.secret_id_file.value.clone(),
    });
    let cert = input.cert.as_ref().map(|auth| VaultAuth::Cert {
        mount: auth.mount.value.clone(),
        role: auth.role.clone(),
        certificate_file: auth.certificate_file.value.clone(),
        key_file: auth.key_file.value.clone(),
    });
    let jwt = input.jwt.as_ref().map(|auth| VaultAuth::Jwt {
        mount: auth.mount.value.clone(),
        role: auth.role.value.clone(),
        token_file: auth.token_file.value.clone(),
    });
    let token = (input.token.as_ref())
        .map(|auth| VaultAuth::Token { token_file: auth.token_file.value.clone() });
    own.or(app_role).or(cert).or(jwt).or(token)
}

fn identity(input: &NodeIdentityInput, cluster: &ClusterName, node: &NodeInput) -> NodeIdentity {
    let prefix = identity_prefix(input, cluster);
    let app_role = format!("{prefix}-{}", *node.name);
    NodeIdentity {
        app_role_mount: input.app_role_mount.value.clone(),
        role_id: app_role.clone(),
        app_role,
        cert_mount: input.cert_mount.value.clone(),
        cert_role: Some(format!("{prefix}-nodes-{}", *node.role)),
        pki_mount: input.pki.mount.value.clone(),
        pki_role: input.pki.role.value.clone(),
        ttl_hours: input.ttl_hours.0,
    }
}

/// What the names of a cluster's objects in Vault begin with.
pub(in crate::cluster) fn identity_prefix(
    input: &NodeIdentityInput,
    cluster: &ClusterName,
) -> String {
    input.prefix.as_ref().map_or_else(|| format!("basalt-{cluster}"), |prefix| prefix.value.clone())
}

fn certificate(input: &CertificateInput, node: &NodeInput, network: &Network) -> Certificate {
    let host = |text: String| text.parse::<Host>().expect("node names and addresses are hosts");
    let mut names = input.subject_alternative_names.clone();
    if input.include_node_name {
        names.push(host(node.name.to_string()));
    }
    if input.include_node_addresses {
        let addresses = network.interfaces.iter().flat_map(|interface| &interface.addresses);
        names.extend(addresses.map(|address| host(address.address().to_string())));
    }
    Certificate {
        name: input.name.value.clone(),
        pki_mount: input.pki_mount.as_ref().map(|mount| mount.value.clone()),
        pki_role: input.pki_role.as_ref().map(|role| role.value.clone()),
        common_name: input
            .common_name
            .as_ref()
            .map_or_else(|| node.name.to_string(), Host::to_string),
        subject_alternative_names: names,
        key: input.key,
        usages: input.usages.clone(),
        ttl_hours: input.ttl_hours.0,
        survive_outage_hours: survive_outage_hours(input),
        activation: input.activation.as_ref().map(|window| ActivationWindow {
            from: window.from.clone(),
            until: window.until.clone(),
        }),
        directory: directory_of(input),
        layouts: input.layouts.value.clone(),
        owner: input.owner.value.clone(),
        group: input.group.value.clone(),
        mode: input.mode.value.clone(),
        reload: reloads(&input.reload),
        prove: input.prove.clone(),
    }
}

/// How long Vault may be away.
pub(in crate::cluster) fn survive_outage_hours(input: &CertificateInput) -> u32 {
    match &input.survive_outage_hours {
        Some(hours) => hours.value.0,
        None => input.ttl_hours.0 / 2,
    }
}

fn secret_file(input: &SecretFileInput) -> SecretFile {
    SecretFile {
        name: input.name.value.clone(),
        template: input.template.value.clone(),
        destination: input.destination.value.clone(),
        mode: input.mode.value.clone(),
        owner: input.owner.value.clone(),
        group: input.group.value.clone(),
        refresh_minutes: input.refresh_minutes.0,
        reload: reloads(&input.reload),
    }
}

fn reloads(input: &[Located<ReloadInput>]) -> Vec<Reload> {
    let reload = |item: &Located<ReloadInput>| match (&item.pod, &item.unit) {
        (Some(pod), None) => Some(Reload::Pod(pod.clone())),
        (None, Some(unit)) => Some(Reload::Unit(unit.clone())),
        _ => None,
    };
    input.iter().filter_map(reload).collect()
}

/// The folder a certificate is kept in.
pub(in crate::cluster) fn directory_of(input: &CertificateInput) -> AbsolutePath {
    match &input.directory {
        Some(directory) => directory.value.clone(),
        None => format!("{CERTIFICATE_DIRECTORY}/{}", *input.name)
            .parse()
            .expect("a label makes a path"),
    }
}

pub(super) fn vault_agent(input: &VaultAgentInput) -> VaultAgent {
    let template = |item: &Located<VaultTemplateInput>| VaultTemplate {
        name: item.name.value.clone(),
        contents: item.contents.clone(),
        destination: item.destination.value.clone(),
        mode: item.mode.clone(),
        user_id: item.user_id.0,
        group_id: item.group_id.0,
    };
    VaultAgent {
        image: input.image.clone(),
        metrics_port: port(input.metrics_port.value.0),
        templates: input.templates.iter().map(template).collect(),
    }
}
