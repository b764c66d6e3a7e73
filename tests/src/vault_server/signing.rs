//! What Vault needs so that a node can log in and have its certificates signed.
//!
//! Read [`sign_for`] first, which is all of it for a node that logs in by AppRole. The others are its parts, for who logs
//! in or is signed for otherwise.

use anyhow::{Context, Result, bail};
use basalt_model::node::{Node, VaultAuth};
use serde_json::{Value as Json, json};

use super::{VaultServer, make_root_path};

/// Where the PKI of the node's certificates is mounted.
pub const MOUNT: &str = "pki";
/// The role of nodes, in every engine, and the policy that it has.
pub const ROLE: &str = "node";

/// What nodes may do: have their requests signed and see by whom, and report.
pub(crate) const POLICY: &str = r#"
path "pki/sign/node" { capabilities = ["update"] }
path "pki/issuers" { capabilities = ["list"] }
path "pki/issuer/*" { capabilities = ["read"] }
path "other-pki/sign/node" { capabilities = ["update"] }
path "identity-pki/sign/node" { capabilities = ["update"] }
path "basalt/data/lab/nodes/n1" { capabilities = ["create", "update"] }
"#;

/// Where the first login's secret belongs on the node, and the secret.
pub struct Login {
    /// Path on the node.
    pub path: String,
    /// What belongs into it, for its owner alone.
    pub secret_id: String,
}

/// What somebody logs in with by AppRole.
pub struct AppRole {
    /// Who it is.
    pub role_id: String,
    /// The secret, good for ever.
    pub secret_id: String,
}

/// Sets `vault` up to sign whatever `node` asks for, at [`MOUNT`] by [`ROLE`], and has the node ask there.
///
/// # Errors
/// When Vault refuses something, or the node has no Vault or logs in by something else than AppRole.
pub fn sign_for(vault: &VaultServer, node: &mut Node) -> Result<Login> {
    introduce(vault, node)?;
    let own = node.vault.as_mut().context("the node has no Vault")?;
    let VaultAuth::AppRole { role_id, secret_id_file, .. } = &mut own.auth else {
        bail!("the node does not log in by AppRole")
    };
    set_pki_up(vault, MOUNT, "Lab CA")?;
    vault.write(&format!("{MOUNT}/roles/{ROLE}"), &role("8760h"))?;
    let app_role = set_app_role_up(vault, POLICY)?;
    *role_id = app_role.role_id;
    Ok(Login { path: secret_id_file.to_string(), secret_id: app_role.secret_id })
}

/// Has the node know the server, and trust it.
///
/// # Errors
/// When the node has no Vault.
pub(crate) fn introduce(vault: &VaultServer, node: &mut Node) -> Result<()> {
    let own = node.vault.as_mut().context("the node has no Vault")?;
    own.addresses = vec![vault.address()];
    node.trust_anchors.insert(own.ca.clone(), vault.ca_pem().to_owned());
    Ok(())
}

/// A PKI with a root of its own. It has no roles yet.
///
/// # Errors
/// When Vault refuses.
pub fn set_pki_up(vault: &VaultServer, mount: &str, name: &str) -> Result<()> {
    let engine = json!({"type": "pki", "config": {"max_lease_ttl": "87600h"}});
    vault.write(&format!("sys/mounts/{mount}"), &engine)?;
    let root = json!({"common_name": name, "ttl": "87000h", "key_type": "ec", "key_bits": 256});
    vault.write(&make_root_path(mount), &root).map(drop)
}

/// The role of a PKI that signs whatever it is asked for, for as long as `max_ttl` at most. Certificates begin a second
/// before they are signed, so that short ones live as long as they say.
pub(crate) fn role(max_ttl: &str) -> Json {
    json!({
        "allow_any_name": true, "enforce_hostnames": false, "key_type": "any", "max_ttl": max_ttl,
        "not_before_duration": "1s", "key_usage": ["DigitalSignature"], "use_csr_common_name": true,
        "use_csr_sans": true,
    })
}

/// Lets whoever logs in by the AppRole [`ROLE`] do what `policy` says.
///
/// # Errors
/// When Vault refuses.
pub fn set_app_role_up(vault: &VaultServer, policy: &str) -> Result<AppRole> {
    set_policy_up(vault, policy)?;
    let path = format!("auth/approle/role/{ROLE}");
    vault.write(&path, &json!({"token_policies": ROLE}))?;
    let text = |id: &Json| id.as_str().map(str::to_owned).context("Vault gave no id");
    let role_id = text(&vault.read(&format!("{path}/role-id"))?["data"]["role_id"])?;
    let secret = vault.write(&format!("{path}/secret-id"), &json!({}))?;
    Ok(AppRole { role_id, secret_id: text(&secret["data"]["secret_id"])? })
}

/// Gives the policy [`ROLE`] its text and lets AppRoles log in; there are none yet.
///
/// # Errors
/// When Vault refuses.
pub(crate) fn set_policy_up(vault: &VaultServer, policy: &str) -> Result<()> {
    vault.write(&format!("sys/policies/acl/{ROLE}"), &json!({"policy": policy}))?;
    vault.write("sys/auth/approle", &json!({"type": "approle"})).map(drop)
}
