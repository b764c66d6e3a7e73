//! vault-agent: renders templates with secrets for programs on the host, nothing else.
//!
//! The agent of this project fetches certificates by itself; this pod is for secrets that consumers want as files.
//! It asks Vault by its direct addresses, never by the haproxy of this node. The program takes one address only: where
//! there are several, [`choice`] finds the one that answers. While Vault is away it keeps running, keeps what it has
//! rendered and tries again with growing pauses.
//!
//! It runs as root, to whom the node's identity belongs, without any capability as long as the rendered files are
//! root's too. Giving a file to somebody else takes `CHOWN`, setting its mode after that `FOWNER`, and comparing it
//! with what it should be, when it is theirs alone, `DAC_READ_SEARCH`. The
//! image's binary must not carry file capabilities (`setcap`), or the kernel refuses to start it; Vault's and
//! OpenBao's images set them only in their entry point, which is not used. OpenBao's image has `vault` as another
//! name of `bao`.

mod choice;

use std::collections::BTreeSet;

use basalt_model::names::AbsolutePath;
use basalt_model::node::{
    IDENTITY_CERTIFICATE_PATH, IDENTITY_KEY_PATH, Node, Vault, VaultAgent, VaultAuth, VaultTemplate,
};

use crate::manifest::{Capability, HostPathType, Requests};
use crate::parts::{
    CONFIG_HEADER, Draft, Findings, LIVENESS, Mount, PodParts, Probes, READINESS, STARTUP,
    absolute, config_directory, config_file, loopback_port, parent, shell,
};
use crate::{ConfigFile, TRUST_DIRECTORY};

pub(crate) const NAME: &str = "vault-agent";

/// Answered by the agent's own listener, so by a process that serves.
const METRICS_PATH: &str = "/agent/v1/metrics";

/// Writing a file beside its destination and renaming it takes no time; logging out takes none either.
const GRACE_SECONDS: u32 = 15;

/// What it takes to give rendered files to others than root.
pub(crate) const ALLOWED_CAPABILITIES: [Capability; 3] =
    [Capability::Chown, Capability::DacReadSearch, Capability::Fowner];

pub(crate) fn draft(
    node: &Node,
    vault: &Vault,
    agent: &VaultAgent,
    findings: &mut Findings,
) -> Draft {
    check(node, vault, agent, findings);
    let ask = |timing: crate::parts::Timing| timing.http(agent.metrics_port, METRICS_PATH);
    let mut files = vec![config_file(NAME, "agent.hcl", 0o600, config(vault, agent))];
    files.extend(role_id_file(&vault.auth));
    files.extend(agent.templates.iter().map(template_file));
    let parts = PodParts {
        name: NAME,
        component: "secrets",
        cluster: &node.cluster,
        image: &agent.image,
        command: command(vault),
        ports: vec![loopback_port(agent.metrics_port)],
        requests: Requests { cpu: "50m", memory: "128Mi" },
        user: 0,
        capabilities: capabilities(agent),
        probes: Probes {
            startup: ask(STARTUP),
            liveness: ask(LIVENESS),
            readiness: ask(READINESS),
        },
        mounts: mounts(vault, agent),
        grace_seconds: GRACE_SECONDS,
        files,
        takes_config: false,
    };
    Draft::new(parts, &ALLOWED_CAPABILITIES)
}

fn command(vault: &Vault) -> Vec<String> {
    let config = format!("{}/agent.hcl", config_directory(NAME));
    match vault.addresses.as_slice() {
        several @ [_, _, ..] => {
            shell(&choice::start_script(several, &trust_anchor(vault), &config))
        }
        _ => ["vault", "agent", &format!("-config={config}")].map(str::to_owned).to_vec(),
    }
}

/// Where the trust anchor of Vault's own certificate lies.
fn trust_anchor(vault: &Vault) -> String {
    format!("{TRUST_DIRECTORY}/{}.pem", vault.ca)
}

fn capabilities(agent: &VaultAgent) -> Vec<Capability> {
    let is_root_s = |template: &VaultTemplate| template.user_id == 0 && template.group_id == 0;
    match agent.templates.iter().all(is_root_s) {
        true => Vec::new(),
        false => ALLOWED_CAPABILITIES.to_vec(),
    }
}

/// Folders, not files: a file that is replaced by renaming would stay the old one inside the container.
fn mounts(vault: &Vault, agent: &VaultAgent) -> Vec<Mount> {
    let mut mounts = vec![
        Mount::config(NAME),
        Mount::host("trust", absolute(TRUST_DIRECTORY), HostPathType::Directory),
    ];
    let folders = |files: Vec<AbsolutePath>| -> BTreeSet<AbsolutePath> {
        files.iter().filter_map(parent).collect()
    };
    for (index, folder) in folders(identity_files(&vault.auth)).into_iter().enumerate() {
        mounts.push(Mount::host(&format!("identity-{index}"), folder, HostPathType::Directory));
    }
    let destinations =
        agent.templates.iter().map(|template| template.destination.clone()).collect();
    for (index, folder) in folders(destinations).into_iter().enumerate() {
        mounts.push(Mount::host_writable(&format!("destination-{index}"), folder));
    }
    mounts
}

/// The files that prove who the node is.
fn identity_files(auth: &VaultAuth) -> Vec<AbsolutePath> {
    match auth {
        VaultAuth::Node(_) => {
            vec![absolute(IDENTITY_CERTIFICATE_PATH), absolute(IDENTITY_KEY_PATH)]
        }
        VaultAuth::AppRole { secret_id_file, .. } => vec![secret_id_file.clone()],
        VaultAuth::Cert { certificate_file, key_file, .. } => {
            vec![certificate_file.clone(), key_file.clone()]
        }
        VaultAuth::Jwt { token_file, .. } | VaultAuth::Token { token_file } => {
            vec![token_file.clone()]
        }
    }
}

/// The program wants the role id in a file.
fn role_id_file(auth: &VaultAuth) -> Option<ConfigFile> {
    match auth {
        VaultAuth::AppRole { role_id, .. } => {
            Some(config_file(NAME, "role-id", 0o600, format!("{role_id}\n")))
        }
        VaultAuth::Node(_)
        | VaultAuth::Cert { .. }
        | VaultAuth::Jwt { .. }
        | VaultAuth::Token { .. } => None,
    }
}

fn template_file(template: &VaultTemplate) -> ConfigFile {
    config_file(NAME, &template_name(template), 0o600, template.contents.clone())
}

fn template_name(template: &VaultTemplate) -> String {
    format!("templates/{}.ctmpl", template.name)
}

fn check(node: &Node, vault: &Vault, agent: &VaultAgent, findings: &mut Findings) {
    if vault.addresses.is_empty() {
        findings.add("vault.addresses", "is empty");
    }
    for (index, address) in vault.addresses.iter().enumerate() {
        if !is_https_address(address) {
            let message = format!("`{}` is not `https://host:port`", address.escape_debug());
            findings.add(format!("vault.addresses[{index}]"), message);
        }
    }
    if !node.trust_anchors.contains_key(&vault.ca) {
        findings.add("vault.ca", format!("the node has no trust anchor `{}`", vault.ca));
    }
    if agent.metrics_port == 0 {
        findings.add("vault_agent.metrics_port", "must be between 1 and 65535");
    }
    if let VaultAuth::AppRole { role_id, .. } = &vault.auth
        && (role_id.trim() != role_id || role_id.is_empty() || role_id.contains(char::is_control))
    {
        findings.add("vault.auth.role_id", "must be one word in one line");
    }
    for file in identity_files(&vault.auth) {
        check_folder("vault.auth", &file, findings);
    }
    if agent.templates.is_empty() {
        findings.add("vault_agent.templates", "is empty");
    }
    let place = |index: usize| format!("vault_agent.templates[{index}]");
    let templates = || agent.templates.iter();
    findings.add_duplicates(
        |index| format!("{}.name", place(index)),
        templates().map(|template| &template.name),
    );
    findings.add_duplicates(
        |index| format!("{}.destination", place(index)),
        templates().map(|template| &template.destination),
    );
    for (index, template) in templates().enumerate() {
        check_folder(&format!("{}.destination", place(index)), &template.destination, findings);
    }
}

fn check_folder(place: &str, file: &AbsolutePath, findings: &mut Findings) {
    if parent(file).is_none() {
        findings.add(place, format!("`{file}` must lie in a folder, which is mounted"));
    }
}

fn is_https_address(address: &str) -> bool {
    address.strip_prefix("https://").is_some_and(|rest| {
        !rest.is_empty()
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || "-.:[]_~/%".contains(c))
    })
}

fn config(vault: &Vault, agent: &VaultAgent) -> String {
    let address = vault.addresses.first().map_or("", String::as_str);
    let ca = trust_anchor(vault);
    let mut blocks = vec![
        CONFIG_HEADER.to_owned(),
        block("vault", &[("address", quoted(address)), ("ca_cert", quoted(&ca))], ""),
        auto_auth(&vault.auth, &ca),
        // Without it the program ends when Vault is away for long, and a restart would not bring Vault back.
        block("template_config", &[("exit_on_retry_failure", "false".to_owned())], ""),
        block(
            "listener \"tcp\"",
            &[
                ("address", quoted(&format!("127.0.0.1:{}", agent.metrics_port))),
                ("tls_disable", "true".to_owned()),
                // No secret can be asked for here.
                ("role", quoted("metrics_only")),
            ],
            "",
        ),
        block(
            "telemetry",
            &[
                ("disable_hostname", "true".to_owned()),
                ("prometheus_retention_time", quoted("10m")),
            ],
            "",
        ),
    ];
    blocks.extend(agent.templates.iter().map(template_block));
    blocks.join("\n")
}

fn auto_auth(auth: &VaultAuth, ca: &str) -> String {
    let (kind, mount, config) = match auth {
        VaultAuth::AppRole { mount, secret_id_file, .. } => {
            let role_id_file = format!("{}/role-id", config_directory(NAME));
            let config = vec![
                ("role_id_file_path", quoted(&role_id_file)),
                ("secret_id_file_path", quoted(secret_id_file.as_str())),
                // Removed, nothing would be left to log in with after a restart.
                ("remove_secret_id_file_after_reading", "false".to_owned()),
            ];
            ("approle", Some(mount), config)
        }
        VaultAuth::Node(identity) => {
            let config = cert_config(
                ca,
                IDENTITY_CERTIFICATE_PATH,
                IDENTITY_KEY_PATH,
                identity.cert_role.as_ref(),
            );
            ("cert", Some(&identity.cert_mount), config)
        }
        VaultAuth::Cert { mount, role, certificate_file, key_file } => {
            let config =
                cert_config(ca, certificate_file.as_str(), key_file.as_str(), role.as_ref());
            ("cert", Some(mount), config)
        }
        VaultAuth::Jwt { mount, role, token_file } => {
            let config = vec![
                ("path", quoted(token_file.as_str())),
                ("role", quoted(role)),
                ("remove_jwt_after_reading", "false".to_owned()),
            ];
            ("jwt", Some(mount), config)
        }
        VaultAuth::Token { token_file } => {
            ("token_file", None, vec![("token_file_path", quoted(token_file.as_str()))])
        }
    };
    let config = block("config", &config, "");
    let mount_path: Vec<_> =
        (mount.iter()).map(|mount| ("mount_path", quoted(&format!("auth/{mount}")))).collect();
    let method = block(&format!("method \"{kind}\""), &mount_path, &config);
    block("auto_auth", &[], &method)
}

/// What the method of TLS certificates is told.
fn cert_config(
    ca: &str,
    certificate: &str,
    key: &str,
    role: Option<&String>,
) -> Vec<(&'static str, String)> {
    let mut config = vec![
        // This method has a client of its own, which knows nothing of the block `vault`.
        ("ca_cert", quoted(ca)),
        ("client_cert", quoted(certificate)),
        ("client_key", quoted(key)),
        // A renewed pair is read at the next login.
        ("reload", "true".to_owned()),
    ];
    config.extend(role.map(|role| ("name", quoted(role))));
    config
}

fn template_block(template: &VaultTemplate) -> String {
    let source = format!("{}/{}", config_directory(NAME), template_name(template));
    let settings = [
        ("source", quoted(&source)),
        ("destination", quoted(template.destination.as_str())),
        ("perms", quoted(&template.mode.to_string())),
        ("user", quoted(&template.user_id.to_string())),
        ("group", quoted(&template.group_id.to_string())),
        // A missing key would otherwise be written as `<no value>`.
        ("error_on_missing_key", "true".to_owned()),
    ];
    block("template", &settings, "")
}

/// A block with settings, then the text of blocks inside it.
fn block(head: &str, settings: &[(&str, String)], inner: &str) -> String {
    let settings: String =
        settings.iter().map(|(name, value)| format!("  {name} = {value}\n")).collect();
    let inner: String = inner.lines().map(|line| format!("  {line}\n")).collect();
    format!("{head} {{\n{settings}{inner}}}\n")
}

/// A string of HCL 1 and 2. `$` and `%` are written by number, since `${` and `%{` begin an expression in either.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '$' | '%' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hcl_strings() {
        assert_eq!(quoted("/a b"), r#""/a b""#);
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
        assert_eq!(quoted("${a}%{b}\n"), r#""\u0024{a}\u0025{b}\u000a""#);
    }
}
