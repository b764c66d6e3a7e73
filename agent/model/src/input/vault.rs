//! What `cluster.yaml` may say about the core Vault, and what nodes ask of it.

use serde_json::{Map, Value as Json, json};

use crate::decode::{Between, Decode, Decoder, Located, word};
use crate::names::{
    AbsolutePath, Endpoint, FileMode, Host, ImageReference, ItemName, PodName, RoleName, TimeOfDay,
    UnitName,
};
use crate::node::{CertificateLayout, KeyKind, KeyUsage};
use crate::record;
use crate::yaml::Yaml;

record! {
    /// The core Vault, or OpenBao.
    pub struct VaultInput {
        /// `https://host:port` of every server, reached directly and not through haproxy. Where there are several, the image
        /// of vault-agent needs `/bin/sh` and `sleep`, which choose the one that answers.
        addresses: Vec<Located<String>>,
        /// Name of the trust anchor that signs Vault's own certificate.
        ca: Located<ItemName>,
        /// How a node proves who it is.
        auth: Located<VaultAuthInput>,
        /// Where certificates are signed.
        pki: PkiInput,
        /// The certificates that nodes fetch and keep fresh.
        certificates: Vec<Located<CertificateInput>>,
        /// The files with secrets that nodes render and keep fresh.
        secrets: Vec<Located<SecretFileInput>>,
    }

    /// Exactly one way to log in.
    pub struct VaultAuthInput {
        /// A lasting identity that each node earns at its first login.
        node: Option<NodeIdentityInput>,
        /// AppRole with a secret id in a file.
        app_role: Option<AppRoleInput>,
        /// A TLS client certificate.
        cert: Option<CertAuthInput>,
        /// A JSON web token, or the Kubernetes auth method.
        jwt: Option<JwtAuthInput>,
        /// A Vault token in a file.
        token: Option<TokenAuthInput>,
    }

    /// A client certificate from Vault's PKI, its key made on the node and sealed there. `cargo xtask vault apply` makes
    /// what Vault needs for it, `cargo xtask vault wrap` the secret for a node's first login, which works once.
    pub struct NodeIdentityInput {
        /// What its names in Vault begin with, `basalt-CLUSTER` when absent: each node has an AppRole `PREFIX-NODE` whose
        /// role id is the same text, each role of nodes a certificate role `PREFIX-nodes-ROLE`.
        prefix: Option<Located<String>>,
        /// Mount path of the AppRole auth method, for the first login.
        app_role_mount: Located<String> = Located::default_of("approle".to_owned()),
        /// Mount path of the TLS certificate auth method, for every later login.
        cert_mount: Located<String> = Located::default_of("cert".to_owned()),
        /// Where identities are signed: in a mount of their own, since whoever has a certificate of it can log in.
        pki: PkiInput,
        /// Wanted life of an identity in hours; Vault may give less. A node that was off for longer needs a new first login.
        ttl_hours: Between<24, 175200> = Between(26280),
    }

    /// AppRole with a secret id in a file.
    pub struct AppRoleInput {
        /// Mount path of the auth method.
        mount: Located<String> = Located::default_of("approle".to_owned()),
        /// The role id.
        role_id: Located<String>,
        /// The file on the node that holds the secret id, in a folder of its own.
        secret_id_file: Located<AbsolutePath>,
    }

    /// A TLS client certificate.
    pub struct CertAuthInput {
        /// Mount path of the auth method.
        mount: Located<String> = Located::default_of("cert".to_owned()),
        /// Name of the role; Vault tries all when absent.
        role: Option<String>,
        /// The file on the node with the certificate and its chain, in a folder of its own.
        certificate_file: Located<AbsolutePath>,
        /// The file on the node with its private key, in a folder of its own.
        key_file: Located<AbsolutePath>,
    }

    /// A JSON web token (RFC 7519), or the Kubernetes auth method.
    pub struct JwtAuthInput {
        /// Mount path of the auth method: `jwt`, `kubernetes`, or another.
        mount: Located<String> = Located::default_of("jwt".to_owned()),
        /// Name of the role.
        role: Located<String>,
        /// The file on the node that holds the token, in a folder of its own.
        token_file: Located<AbsolutePath>,
    }

    /// A Vault token in a file.
    pub struct TokenAuthInput {
        /// The file on the node that holds the token, in a folder of its own.
        token_file: Located<AbsolutePath>,
    }

    /// Where certificates are signed.
    pub struct PkiInput {
        /// Mount path of the secrets engine.
        mount: Located<String> = Located::default_of("pki".to_owned()),
        /// The role that signs, unless a certificate names another.
        role: Located<String>,
    }

    /// One certificate, fetched by every node of its roles with a key made there.
    pub struct CertificateInput {
        /// Unique; frontends refer to it.
        name: Located<ItemName>,
        /// The roles whose nodes fetch it.
        roles: Vec<Located<RoleName>>,
        /// PKI mount instead of the default one.
        pki_mount: Option<Located<String>>,
        /// PKI role instead of the default one.
        pki_role: Option<Located<String>>,
        /// Subject common name; the node's name when absent.
        common_name: Option<Host>,
        /// Subject alternative names, the same on every node.
        subject_alternative_names: Vec<Host>,
        /// Adds the node's own name to the subject alternative names.
        include_node_name: bool = false,
        /// Adds the node's own addresses to the subject alternative names.
        include_node_addresses: bool = false,
        /// The private key: `ecdsa-p256`, `ecdsa-p384`, `rsa-2048`, `rsa-3072` or `rsa-4096`.
        key: KeyKind = KeyKind::EcdsaP256,
        /// What the certificate is for: `server`, `client` or both.
        usages: Vec<KeyUsage> = vec![KeyUsage::Server],
        /// Wanted life in hours; Vault may give less.
        ttl_hours: Between<1, 87600> = Between(720),
        /// How long Vault may be away without the certificate running out; half of the wanted life when absent.
        survive_outage_hours: Option<Located<Between<1, 87600>>>,
        /// When a renewed certificate may be taken into use; at once when absent.
        activation: Option<Located<ActivationWindowInput>>,
        /// The folder for certificate, key and CA; `/var/lib/basalt/certificates/NAME` when absent.
        directory: Option<Located<AbsolutePath>>,
        /// The files besides `ca.pem`: `separate` is `certificate.pem` and `key.pem`, `combined` is `combined.pem`, `pkcs12` is
        /// `bundle.p12` with its password in `p12.password`.
        layouts: Located<Vec<CertificateLayout>> =
            Located::default_of(vec![CertificateLayout::Separate, CertificateLayout::Combined]),
        /// User that owns the files.
        owner: Located<String> = Located::default_of("root".to_owned()),
        /// Group that owns the files.
        group: Located<String> = Located::default_of("root".to_owned()),
        /// Mode of the files with the key.
        mode: Located<FileMode> = Located::default_of("0600".parse().expect("a file mode")),
        /// What is told after a change.
        reload: Vec<Located<ReloadInput>>,
        /// Where a TLS handshake has to show the new certificate after a change, `address:port`. Frontends of haproxy that
        /// serve it are asked without being named.
        prove: Vec<Endpoint>,
    }

    /// A part of every day, in UTC; it may pass midnight.
    pub struct ActivationWindowInput {
        /// Not before this time.
        from: TimeOfDay,
        /// Not from this time on.
        until: TimeOfDay,
    }

    /// One file that nodes render from secrets in Vault.
    pub struct SecretFileInput {
        /// Unique.
        name: Located<ItemName>,
        /// The roles whose nodes have it.
        roles: Vec<Located<RoleName>>,
        /// Template text in Jinja's language. `kv(\"MOUNT\", \"PATH\")` is the data of a secret in a KV version 2 engine,
        /// `read(\"PATH\")` what any other path answers. It names secrets by path and never holds one.
        template: Located<String>,
        /// The file it becomes on the node.
        destination: Located<AbsolutePath>,
        /// Mode of the file.
        mode: Located<FileMode> = Located::default_of("0600".parse().expect("a file mode")),
        /// User that owns the file.
        owner: Located<String> = Located::default_of("root".to_owned()),
        /// Group that owns the file.
        group: Located<String> = Located::default_of("root".to_owned()),
        /// Minutes between two looks at Vault.
        refresh_minutes: Between<1, 10080> = Between(60),
        /// What is told after a change.
        reload: Vec<Located<ReloadInput>>,
    }

    /// A static pod or a systemd unit, exactly one of the two.
    pub struct ReloadInput {
        /// A static pod of the node.
        pod: Option<PodName>,
        /// A systemd unit.
        unit: Option<UnitName>,
    }

    /// The vault-agent static pod.
    pub struct VaultAgentInput {
        /// Container image, by digest.
        image: ImageReference,
        /// The roles whose nodes run it.
        roles: Vec<Located<RoleName>>,
        /// Loopback port of its metrics, which the probes ask.
        metrics_port: Located<Between<1, 65535>> = Located::default_of(Between(8101)),
        /// At least one.
        templates: Vec<Located<VaultTemplateInput>>,
    }

    /// One file that vault-agent renders.
    pub struct VaultTemplateInput {
        /// Unique.
        name: Located<ItemName>,
        /// Template text in consul-template's language. It names secrets by path and never holds one.
        contents: String,
        /// The file it becomes on the node.
        destination: Located<AbsolutePath>,
        /// Mode of the file.
        mode: FileMode = "0600".parse().expect("a file mode"),
        /// Number of the user that owns the file. Numbers, since the pod's image has users of its own.
        user_id: Between<0, 4294967294> = Between(0),
        /// Number of the group that owns the file.
        group_id: Between<0, 4294967294> = Between(0),
    }
}

impl Decode for KeyKind {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &KEY_KINDS)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": KEY_KINDS.map(|(name, _)| name)})
    }
}

const KEY_KINDS: [(&str, KeyKind); 5] = [
    ("ecdsa-p256", KeyKind::EcdsaP256),
    ("ecdsa-p384", KeyKind::EcdsaP384),
    ("rsa-2048", KeyKind::Rsa2048),
    ("rsa-3072", KeyKind::Rsa3072),
    ("rsa-4096", KeyKind::Rsa4096),
];

impl Decode for KeyUsage {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &KEY_USAGES)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": KEY_USAGES.map(|(name, _)| name)})
    }
}

const KEY_USAGES: [(&str, KeyUsage); 2] =
    [("server", KeyUsage::Server), ("client", KeyUsage::Client)];

impl Decode for CertificateLayout {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &LAYOUTS)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": LAYOUTS.map(|(name, _)| name)})
    }
}

const LAYOUTS: [(&str, CertificateLayout); 3] = [
    ("separate", CertificateLayout::Separate),
    ("combined", CertificateLayout::Combined),
    ("pkcs12", CertificateLayout::Pkcs12),
];
