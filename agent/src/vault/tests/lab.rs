//! The real OpenBao, set up with every way to log in.

use basalt_model::node::{NodeIdentity, VaultAuth};
use camino::Utf8PathBuf;
use e2e::vault_server::{VaultServer, program};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value as Json, json};

use super::{QUICK, node, put, talk};
use crate::host::Host;
use crate::testing::scratch_host;
use crate::vault::transport::Limits;
use crate::vault::{Manners, SignRequest, Vault};

/// What the secret in the lab's Vault says.
pub(super) const PASSWORD: &str = "correct horse battery staple";
const POLICY: &str = r#"
path "pki/sign/web" { capabilities = ["update"] }
path "identity-pki/sign/node" { capabilities = ["update"] }
path "secret/data/registry" { capabilities = ["read"] }
path "secret/data/reports/n1" { capabilities = ["create", "update", "read"] }
path "sys/mounts" { capabilities = ["read"] }
"#;

/// A server and a host that talks to it.
pub(super) struct Lab {
    pub(super) server: VaultServer,
    pub(super) host: Host,
    _keep: tempfile::TempDir,
}

impl Lab {
    /// `None` without the program, which was said then.
    pub(super) fn start() -> Option<Lab> {
        let server = VaultServer::start(&program()?).unwrap();
        set_up(&server);
        let (keep, host) = scratch_host();
        std::fs::create_dir_all(host.path("/var/lib/systemd")).unwrap();
        Some(Lab { server, host, _keep: keep })
    }

    pub(super) fn talk(&self, auth: VaultAuth) -> Vault {
        talk(&self.host, &[self.server.address()], self.server.ca_pem(), auth)
    }

    /// The node as `cargo xtask vault` would set it up.
    pub(super) fn as_node(&self) -> Vault {
        self.talk(VaultAuth::Node(identity()))
    }

    /// The same, for what is asked once only: a busy machine answers late.
    pub(super) fn as_patient_node(&self) -> Vault {
        let auth = VaultAuth::Node(identity());
        let node = node(&[self.server.address()], self.server.ca_pem(), auth);
        Vault::with_manners(&self.host, &node, Manners { limits: Limits::STANDARD, ..QUICK })
            .unwrap()
    }

    /// A token of Vault's for the policy of nodes.
    pub(super) fn token(&self, settings: Json) -> String {
        let made = self.server.write("auth/token/create", &settings).unwrap();
        text(&made["auth"]["client_token"])
    }

    pub(super) fn secret_id(&self) -> String {
        let made = self.server.write("auth/approle/role/lab-n1/secret-id", &json!({})).unwrap();
        text(&made["data"]["secret_id"])
    }

    /// A wrapping token, as it is delivered to the node; also gives it.
    pub(super) fn deliver(&self, ttl: &str) -> String {
        let token = self.wrap("auth/approle/role/lab-n1/secret-id", ttl);
        put(&self.host, basalt_model::node::WRAPPED_SECRET_ID_PATH, &token);
        token
    }

    /// What a `POST` of `path` answers, wrapped.
    pub(super) fn wrap(&self, path: &str, ttl: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("{}/v1/{path}", self.server.address());
        let (ca, token) = (self.server.ca_pem().to_owned(), self.server.root_token().to_owned());
        let ttl = ttl.to_owned();
        let call = std::thread::spawn(move || {
            runtime.block_on(async {
                let _ = rustls::crypto::ring::default_provider().install_default();
                let ca = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
                let client =
                    reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
                let request = client.post(url).body("{}");
                let request =
                    request.header("X-Vault-Token", token).header("X-Vault-Wrap-TTL", ttl);
                let body = request.send().await.unwrap().bytes().await.unwrap();
                serde_json::from_slice::<Json>(&body).unwrap()
            })
        });
        text(&call.join().unwrap()["wrap_info"]["token"])
    }

    /// How often a path was asked with an answer of this status.
    pub(super) fn count(&self, path: &str, status: u16) -> usize {
        let asked = self.server.requests().unwrap();
        asked.iter().filter(|asked| asked.path == path && asked.status == status).count()
    }

    pub(super) fn path(&self, host_path: &str) -> Utf8PathBuf {
        self.host.real(host_path)
    }
}

/// The identity that the lab's Vault gives.
pub(super) fn identity() -> NodeIdentity {
    NodeIdentity {
        app_role_mount: "approle".to_owned(),
        app_role: "lab-n1".to_owned(),
        role_id: "lab-n1".to_owned(),
        cert_mount: "cert".to_owned(),
        cert_role: Some("lab-nodes".to_owned()),
        pki_mount: "identity-pki".to_owned(),
        pki_role: "node".to_owned(),
        ttl_hours: 48,
    }
}

pub(super) fn set_up(server: &VaultServer) {
    let write = |path: &str, body: Json| server.write(path, &body).unwrap();
    write("sys/policies/acl/node", json!({ "policy": POLICY }));
    write("sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}}));
    // A new KV engine refuses everything for a moment.
    let secret = json!({"data": {"password": PASSWORD}});
    e2e::wait::until("the KV engine", std::time::Duration::from_secs(10), || {
        server.write("secret/data/registry", &secret).ok()
    })
    .unwrap();
    for mount in ["pki", "identity-pki"] {
        write(&format!("sys/mounts/{mount}"), json!({"type": "pki"}));
        let root =
            json!({"common_name": format!("Lab {mount}"), "key_type": "ec", "ttl": "87600h"});
        write(&e2e::vault_server::make_root_path(mount), root);
    }
    let usual = json!({"key_type": "ec", "key_bits": 256, "max_ttl": "720h", "allow_any_name": true, "use_csr_sans": false});
    write("pki/roles/web", usual);
    let node = json!({
        "key_type": "ec", "key_bits": 256, "max_ttl": "720h", "allowed_domains": "n1",
        "allow_bare_domains": true, "server_flag": false, "client_flag": true,
    });
    write("identity-pki/roles/node", node);
    for method in ["approle", "cert", "jwt"] {
        write(&format!("sys/auth/{method}"), json!({ "type": method }));
    }
    let role = json!({"role_id": "lab-n1", "token_policies": "node", "token_ttl": "60s", "secret_id_num_uses": 1});
    write("auth/approle/role/lab-n1", role);
    let ca = text(&server.read("identity-pki/cert/ca").unwrap()["data"]["certificate"]);
    let role = json!({"certificate": ca, "allowed_common_names": "n1", "token_policies": "node", "token_ttl": "60s"});
    write("auth/cert/certs/lab-nodes", role);
    // For another node: whoever names no role is tried with this one too.
    let other =
        json!({"certificate": ca, "allowed_common_names": "n2", "token_policies": "default"});
    write("auth/cert/certs/other", other);
}

/// Has Vault take JSON web tokens, and gives one for the role `node`.
pub(super) fn web_token(server: &VaultServer) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

    let key = rcgen::KeyPair::generate().unwrap();
    let config = json!({"jwt_validation_pubkeys": key.public_key_pem()});
    server.write("auth/jwt/config", &config).unwrap();
    let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "token_policies": "node"});
    server.write("auth/jwt/role/node", &role).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": "n1", "aud": "vault", "iat": now, "exp": now + 600});
    let part = |value: &Json| BASE64.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "ES256", "typ": "JWT"})), part(&claims));
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let signer = EcdsaKeyPair::from_pkcs8(algorithm, key.serialized_der(), &random).unwrap();
    let signature = signer.sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64.encode(signature))
}

/// For a certificate `web.lab.example`, and the key it is for.
pub(super) fn web_request() -> (SignRequest, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wanted = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    let request = SignRequest {
        mount: "pki".to_owned(),
        role: "web".to_owned(),
        csr_pem: wanted.serialize_request(&key).unwrap().pem().unwrap(),
        common_name: "web.lab.example".to_owned(),
        alt_names: ["api.lab.example", "192.0.2.7", "2001:db8::7"]
            .map(|host| host.parse().unwrap())
            .to_vec(),
        ttl_hours: 24,
        exclude_cn_from_sans: false,
    };
    (request, key)
}

pub(super) fn text(value: &Json) -> String {
    value.as_str().unwrap().to_owned()
}
