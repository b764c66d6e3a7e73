//! A node's logins, and the PKIs that sign for it.

use anyhow::{Context, Result};
use basalt_model::node::{NodeIdentity, REPORT_MOUNT, VaultAuth, WRAPPED_SECRET_ID_PATH};
use serde_json::{Value as Json, json};

use super::VaultNode;
use crate::vault_server::signing::{
    MOUNT, POLICY, ROLE, introduce, role, set_pki_up, set_policy_up, sign_for,
};

/// Where the PKI of the node's identity is mounted.
pub const IDENTITY_MOUNT: &str = "identity-pki";
const APP_ROLE: &str = "lab-n1";

/// How long certificates live that a PKI signs.
#[derive(Clone, Copy, Debug)]
pub enum Issuing {
    /// As long as the node asks for.
    AsAsked,
    /// So many seconds at most.
    Seconds(u64),
}

impl VaultNode {
    /// A PKI with a root of its own and the role of nodes.
    ///
    /// # Errors
    /// When Vault refuses.
    pub fn set_pki_up(&self, mount: &str, name: &str) -> Result<()> {
        set_pki_up(&self.vault, mount, name)?;
        self.issue(mount, Issuing::AsAsked)
    }

    /// How long certificates of a PKI live from now on.
    ///
    /// # Errors
    /// When Vault refuses.
    pub fn issue(&self, mount: &str, issuing: Issuing) -> Result<()> {
        let max_ttl = match issuing {
            Issuing::AsAsked => "8760h".to_owned(),
            Issuing::Seconds(seconds) => format!("{seconds}s"),
        };
        let mut role = role(&max_ttl);
        if mount == IDENTITY_MOUNT {
            role["server_flag"] = Json::from(false);
        }
        self.vault.write(&format!("{mount}/roles/{ROLE}"), &role).map(drop)
    }

    /// A secret id in a file, good for ever.
    pub(super) fn set_login_up(&mut self) -> Result<()> {
        let login = sign_for(&self.vault, &mut self.node)?;
        self.write(&login.path, &login.secret_id, 0o600);
        Ok(())
    }

    /// As `cargo xtask vault` sets nodes up that have an identity: a first login that is good once, and the cert method.
    pub(super) fn set_identity_up(&mut self) -> Result<()> {
        introduce(&self.vault, &mut self.node)?;
        self.set_pki_up(MOUNT, "Lab CA")?;
        set_policy_up(&self.vault, POLICY)?;
        self.set_pki_up(IDENTITY_MOUNT, "Lab identities")?;
        let reports = json!({"type": "kv", "options": {"version": "2"}});
        self.vault.write(&format!("sys/mounts/{REPORT_MOUNT}"), &reports)?;
        self.vault.write("sys/auth/cert", &json!({"type": "cert"}))?;
        let role = json!({"role_id": APP_ROLE, "token_policies": ROLE, "token_ttl": "15m", "secret_id_num_uses": 1});
        self.vault.write(&format!("auth/approle/role/{APP_ROLE}"), &role)?;
        let ca =
            self.vault.read(&format!("{IDENTITY_MOUNT}/cert/ca"))?["data"]["certificate"].clone();
        let name = self.node.name.to_string();
        let role = json!({"certificate": ca, "allowed_common_names": name, "token_policies": ROLE, "token_ttl": "1h"});
        self.vault.write("auth/cert/certs/lab-nodes", &role)?;
        let own = self.node.vault.as_mut().context("the lab's node has a Vault")?;
        own.auth = VaultAuth::Node(NodeIdentity {
            app_role_mount: "approle".to_owned(),
            app_role: APP_ROLE.to_owned(),
            role_id: APP_ROLE.to_owned(),
            cert_mount: "cert".to_owned(),
            cert_role: Some("lab-nodes".to_owned()),
            pki_mount: IDENTITY_MOUNT.to_owned(),
            pki_role: ROLE.to_owned(),
            ttl_hours: 48,
        });
        Ok(())
    }

    /// Brings the node the wrapped secret for its first login, as Ignition does, and gives it.
    ///
    /// # Errors
    /// When Vault refuses.
    pub fn deliver(&self) -> Result<String> {
        let path = format!("auth/approle/role/{APP_ROLE}/secret-id");
        let token = text(&self.vault.wrap(&path, "600s")?["wrap_info"]["token"])?;
        self.write(WRAPPED_SECRET_ID_PATH, &token, 0o600);
        Ok(token)
    }

    /// The folders that are made for private keys.
    pub(super) fn certificate_folders(&self) -> Vec<String> {
        let certificates = self.node.vault.iter().flat_map(|vault| &vault.certificates);
        let own = certificates.map(|certificate| certificate.directory.to_string());
        // Those of certificates that the node does not want any more, too.
        own.chain(["/var/lib/basalt/certificates".to_owned(), "/srv".to_owned()]).collect()
    }

    /// The files that are made for secret ids.
    pub(super) fn secret_files(&self) -> Vec<String> {
        match self.node.vault.as_ref().map(|vault| &vault.auth) {
            Some(VaultAuth::AppRole { secret_id_file, .. }) => vec![secret_id_file.to_string()],
            _ => Vec::new(),
        }
    }
}

fn text(value: &Json) -> Result<String> {
    value.as_str().map(str::to_owned).context("Vault's answer lacks a text")
}
