//! What a node asks of the core Vault: its identity, certificates, and files that hold secrets.

use serde::{Deserialize, Serialize};

use super::{
    BUNDLE_APPLIER_CERTIFICATE, BUNDLE_APPLIERS_GROUP, KUBELET_CLIENT_CERTIFICATE,
    KUBELET_SERVING_CERTIFICATE,
};
use crate::names::{
    AbsolutePath, Endpoint, FileMode, Host, ImageReference, ItemName, PodName, TimeOfDay, UnitName,
};

/// Where Ignition puts the response-wrapping token that the node logs in with for the first time. Nothing is left of it
/// afterwards.
pub const WRAPPED_SECRET_ID_PATH: &str = "/var/lib/basalt/enrolment/wrapped-secret-id";

/// Where the agent lays the certificate of the node's lasting identity with its chain, for the time that the node runs.
pub const IDENTITY_CERTIFICATE_PATH: &str = "/run/basalt/identity/certificate.pem";

/// Where the agent lays the unsealed key of that identity.
pub const IDENTITY_KEY_PATH: &str = "/run/basalt/identity/key.pem";

/// The core Vault (or OpenBao), reached directly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// `https://host:port` of each server.
    pub addresses: Vec<String>,
    /// Name of the trust anchor that signs Vault's own certificate.
    pub ca: ItemName,
    /// How the node proves who it is.
    pub auth: VaultAuth,
    /// Mount path of the PKI secrets engine, unless a certificate names another.
    pub pki_mount: String,
    /// PKI role that signs, unless a certificate names another.
    pub pki_role: String,
    /// The certificates this node fetches and keeps fresh.
    pub certificates: Vec<Certificate>,
    /// The files with secrets that this node renders and keeps fresh.
    #[serde(default)]
    pub secrets: Vec<SecretFile>,
}

/// How a node logs in to Vault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VaultAuth {
    /// A lasting identity of the node, earned at its first login.
    Node(NodeIdentity),
    /// AppRole, with a secret id in a file.
    AppRole {
        /// Mount path of the auth method.
        mount: String,
        /// The role id; not a secret by itself.
        role_id: String,
        /// The file that holds the secret id.
        secret_id_file: AbsolutePath,
    },
    /// TLS certificates.
    Cert {
        /// Mount path of the auth method.
        mount: String,
        /// Name of the role; Vault tries all when absent.
        role: Option<String>,
        /// The file with the client certificate and its chain.
        certificate_file: AbsolutePath,
        /// The file with its private key.
        key_file: AbsolutePath,
    },
    /// A JSON web token (RFC 7519), which also serves the Kubernetes auth method.
    Jwt {
        /// Mount path of the auth method.
        mount: String,
        /// Name of the role.
        role: String,
        /// The file that holds the token; read anew at each login.
        token_file: AbsolutePath,
    },
    /// A Vault token in a file.
    Token {
        /// The file that holds the token; read anew when Vault refuses the last one.
        token_file: AbsolutePath,
    },
}

/// The lasting identity of a node: a client certificate from Vault's PKI, its key made on the node and sealed there. The
/// first login is by AppRole, with the response-wrapped secret id at [`WRAPPED_SECRET_ID_PATH`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeIdentity {
    /// Mount path of the AppRole auth method.
    pub app_role_mount: String,
    /// Name of the AppRole, which the wrapping token's creation path must carry.
    pub app_role: String,
    /// The role id; not a secret by itself.
    pub role_id: String,
    /// Mount path of the TLS certificate auth method.
    pub cert_mount: String,
    /// Name of its role; Vault tries all when absent.
    pub cert_role: Option<String>,
    /// Mount path of the PKI that signs identities.
    pub pki_mount: String,
    /// The role that signs them.
    pub pki_role: String,
    /// Wanted life in hours; Vault may give less. A node that was off for longer needs a new first login.
    pub ttl_hours: u32,
}

/// What sort of private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
}

/// What a certificate is for (RFC 5280, 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUsage {
    /// `id-kp-serverAuth`.
    Server,
    /// `id-kp-clientAuth`.
    Client,
}

/// Which files a certificate becomes, besides `ca.pem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateLayout {
    /// `certificate.pem` (with its chain) and `key.pem`.
    Separate,
    /// `combined.pem`: certificate, chain, key.
    Combined,
    /// `bundle.p12` (PKCS#12, RFC 7292), whose password is the text of `p12.password` beside it.
    Pkcs12,
}

/// When a new certificate may be taken into use, every day, in UTC. It may pass midnight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationWindow {
    /// Not before.
    pub from: TimeOfDay,
    /// Not from here on.
    pub until: TimeOfDay,
}

/// One certificate that Vault signs for this node; the key is made here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Unique on this node.
    pub name: ItemName,
    /// Mount path of the PKI when it is not the Vault's default one.
    pub pki_mount: Option<String>,
    /// PKI role when it is not the Vault's default one.
    pub pki_role: Option<String>,
    /// Subject common name.
    pub common_name: String,
    /// Subject alternative names, already filled in for this node.
    pub subject_alternative_names: Vec<Host>,
    /// What the key is.
    pub key: KeyKind,
    /// What the signed certificate has to allow.
    pub usages: Vec<KeyUsage>,
    /// Wanted life in hours; Vault may give less.
    pub ttl_hours: u32,
    /// How long Vault may be away without the certificate running out: it is renewed at least this long before.
    pub survive_outage_hours: u32,
    /// When a renewed certificate is taken into use; at once when absent.
    pub activation: Option<ActivationWindow>,
    /// The folder that holds `ca.pem` and what [`Certificate::layouts`] names.
    pub directory: AbsolutePath,
    /// The files it becomes; at least one.
    pub layouts: Vec<CertificateLayout>,
    /// User that owns the files.
    pub owner: String,
    /// Group that owns the files.
    pub group: String,
    /// Mode of the files with the key.
    pub mode: FileMode,
    /// What is told after a change.
    pub reload: Vec<Reload>,
    /// Where a TLS handshake has to show the new certificate afterwards, besides the frontends of haproxy that serve it.
    pub prove: Vec<Endpoint>,
}

impl Certificate {
    /// The organization in its subject, by which Kubernetes knows a group. The role that signs gives it, whatever a
    /// request says.
    pub fn organization(&self) -> Option<&'static str> {
        match self.name.as_str() {
            KUBELET_CLIENT_CERTIFICATE | KUBELET_SERVING_CERTIFICATE => Some("system:nodes"),
            BUNDLE_APPLIER_CERTIFICATE => Some(BUNDLE_APPLIERS_GROUP),
            _ => None,
        }
    }
}

/// One file that holds secrets, rendered from what Vault has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    /// Unique on this node.
    pub name: ItemName,
    /// Template text in Jinja's language; names secrets by path and never holds one.
    pub template: String,
    /// The file it becomes.
    pub destination: AbsolutePath,
    /// Mode of the file.
    pub mode: FileMode,
    /// User that owns the file.
    pub owner: String,
    /// Group that owns the file.
    pub group: String,
    /// Minutes between two looks at Vault.
    pub refresh_minutes: u32,
    /// What is told after a change.
    pub reload: Vec<Reload>,
}

/// What is told that a file has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reload {
    /// A static pod of this node.
    Pod(PodName),
    /// A systemd unit.
    Unit(UnitName),
}

/// The vault-agent static pod: renders templates for consumers, nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultAgent {
    /// Container image, by digest.
    pub image: ImageReference,
    /// Loopback port of its metrics, which the probes ask.
    pub metrics_port: u16,
    /// At least one; destinations are unique.
    pub templates: Vec<VaultTemplate>,
}

/// One file that vault-agent renders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultTemplate {
    /// Unique on this node.
    pub name: ItemName,
    /// Template text in consul-template's language; holds paths of secrets, never their values.
    pub contents: String,
    /// The file it becomes, on the host.
    pub destination: AbsolutePath,
    /// Mode of the file.
    pub mode: FileMode,
    /// The user that owns the file.
    pub user_id: u32,
    /// The group that owns the file.
    pub group_id: u32,
}
