//! Ten certificates from a real Vault: the agent beside OpenBao's own, on the same server in the same run.
//!
//! Both log in by AppRole and get ten certificates with keys on P-256. The agent makes the keys itself and has requests
//! signed; OpenBao's agent has the server make them (`pkiCert` knows no other way). Only the agent can be told to renew.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use basalt_model::node::{Node, VaultAuth};
use e2e::peers::PeerSpec;
use e2e::vault_server::VaultServer;
use e2e::vault_server::signing::{AppRole, MOUNT, ROLE, set_app_role_up, set_pki_up};
use serde_json::json;

use super::agent::{Resident, Running, SETTLE};
use super::cost::{mebibytes, seconds};
use crate::output;
use crate::progress::Progress;
use crate::table::table;

const COUNT: usize = 10;
const LIMIT: Duration = Duration::from_secs(60);
/// `status` is quick: more runs of it than of the rest.
const STATUS_RUNS: u16 = 20;

/// What one program took.
#[derive(Default)]
struct Figures {
    /// From its start until all certificates are there.
    starts: Vec<Duration>,
    renewals: Vec<Duration>,
    statuses: Vec<Duration>,
    /// When nothing is to be done.
    resident: Resident,
}

/// Measures and prints. `node` is any node with a Vault and a certificate.
pub(super) fn run(agent: &Path, node: &Node, runs: u16, progress: &Progress) -> Result<()> {
    let Some(bao) = PeerSpec::named("bao").and_then(PeerSpec::find) else {
        progress.step("not measured: certificates, for which `cargo xtask peers bao` is needed");
        return Ok(());
    };
    progress.step("measuring ten certificates from Vault");
    let vault = VaultServer::start(&bao)?;
    let login = set_up(&vault)?;
    let mut ours = Figures::default();
    let mut theirs = Figures::default();
    for _ in 0..runs {
        run_agent(agent, node, &vault, &login, &mut ours)?;
        run_bao(&bao.program, &vault, &login, &mut theirs)?;
    }
    output::print(show(&mut ours, &mut theirs))
}

fn set_up(vault: &VaultServer) -> Result<AppRole> {
    let role = json!({
        "allowed_domains": ["lab.example"],
        "allow_subdomains": true,
        "key_type": "ec",
        "key_bits": 256,
        "ttl": "720h",
        "max_ttl": "720h",
    });
    let policy = "path \"pki/sign/node\" { capabilities = [\"update\"] }\n\
                  path \"pki/issue/node\" { capabilities = [\"update\"] }\n";
    set_pki_up(vault, MOUNT, "Bench CA")?;
    vault.write(&format!("{MOUNT}/roles/{ROLE}"), &role)?;
    set_app_role_up(vault, policy)
}

fn host(index: usize) -> String {
    format!("c{index}.lab.example")
}

fn run_agent(
    program: &Path,
    node: &Node,
    vault: &VaultServer,
    login: &AppRole,
    figures: &mut Figures,
) -> Result<()> {
    let root = tempfile::tempdir()?;
    let node = node_of(node, vault, login)?;
    let file = |path: &str, text: &str| -> Result<()> { write(root.path(), path, text) };
    file("etc/basalt/node.json", &node.to_json())?;
    // Whether pods are well is not what is measured.
    file("etc/basalt/agent.conf.d/50-bench.json", "{\"generations\": {\"proof\": \"none\"}}\n")?;
    file("etc/passwd", "root:x:0:0::/root:/bin/sh\n")?;
    file("etc/group", "root:x:0:\n")?;
    file("etc/machine-id", "0123456789abcdef0123456789abcdef\n")?;
    file("var/lib/bench/secret-id", &login.secret_id)?;
    let certificates = node.vault.iter().flat_map(|vault| &vault.certificates);
    let files: Vec<PathBuf> = certificates
        .map(|it| it.directory.as_str().trim_start_matches('/'))
        .map(|folder| root.path().join(folder).join("certificate.pem"))
        .collect();

    let command = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.arg("--root").arg(root.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let start = Instant::now();
    let mut running = Running::start(&mut command(&["run"]))?;
    figures.starts.push(wait_for_files("the agent", &mut running, &files, start)?);
    std::thread::sleep(SETTLE);
    figures.resident = figures.resident.max(running.resident()?);

    let before = contents(&files)?;
    let renewal = Instant::now();
    let rotated = command(&["rotate", "--all", "--now"]).status()?;
    figures.renewals.push(renewal.elapsed());
    let after = contents(&files)?;
    if !rotated.success() || before.iter().zip(&after).any(|(before, after)| before == after) {
        bail!("`basalt-agent rotate --all --now` has not renewed every certificate");
    }
    for _ in 0..STATUS_RUNS {
        let status = Instant::now();
        command(&["status"]).status()?;
        figures.statuses.push(status.elapsed());
    }
    Ok(())
}

/// The node with ten certificates and nothing to use them.
fn node_of(node: &Node, vault: &VaultServer, login: &AppRole) -> Result<Node> {
    let mut node = node.clone();
    (node.haproxy, node.keepalived, node.vault_agent) = (None, None, None);
    node.pods.clear();
    let own = node.vault.as_mut().context("the lab's node has no Vault")?;
    own.addresses = vec![vault.address()];
    own.auth = VaultAuth::AppRole {
        mount: "approle".to_owned(),
        role_id: login.role_id.clone(),
        secret_id_file: "/var/lib/bench/secret-id".parse()?,
    };
    (own.pki_mount, own.pki_role) = ("pki".to_owned(), "node".to_owned());
    own.secrets.clear();
    node.trust_anchors.insert(own.ca.clone(), vault.ca_pem().to_owned());
    let pattern = own.certificates.first().context("the lab's node has no certificate")?.clone();
    own.certificates.clear();
    for index in 0..COUNT {
        let mut certificate = pattern.clone();
        certificate.name = format!("c{index}").parse()?;
        certificate.directory = format!("/var/lib/basalt/certificates/c{index}").parse()?;
        certificate.common_name = host(index);
        certificate.subject_alternative_names = vec![host(index).parse()?];
        certificate.reload.clear();
        certificate.prove.clear();
        own.certificates.push(certificate);
    }
    Ok(node)
}

fn run_bao(
    program: &Path,
    vault: &VaultServer,
    login: &AppRole,
    figures: &mut Figures,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    write(folder.path(), "role-id", &login.role_id)?;
    write(folder.path(), "secret-id", &login.secret_id)?;
    let files: Vec<PathBuf> = (0..COUNT).map(|index| at(&format!("c{index}.pem"))).collect();
    let templates: String = files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let host = host(index);
            let fields = "{{ .Key }}{{ .Cert }}{{ .CA }}";
            format!(
                "template {{\n  destination = \"{}\"\n  contents = \"{{{{ with pkiCert \\\"pki/issue/node\\\" \\\"common_name={host}\\\" \\\"alt_names={host}\\\" }}}}{fields}{{{{ end }}}}\"\n}}\n",
                file.display()
            )
        })
        .collect();
    let config = format!(
        "vault {{
  address = \"{address}\"
  ca_cert = \"{ca}\"
}}
auto_auth {{
  method \"approle\" {{
    config {{
      role_id_file_path = \"{role_id}\"
      secret_id_file_path = \"{secret_id}\"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
{templates}",
        address = vault.address(),
        ca = vault.ca_file().display(),
        role_id = at("role-id").display(),
        secret_id = at("secret-id").display(),
    );
    write(folder.path(), "agent.hcl", &config)?;
    let mut command = Command::new(program);
    command.arg("agent").arg(format!("-config={}", at("agent.hcl").display()));
    command.env_clear().env("HOME", folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut running = Running::start(&mut command)?;
    figures.starts.push(wait_for_files("OpenBao's agent", &mut running, &files, start)?);
    std::thread::sleep(SETTLE);
    figures.resident = figures.resident.max(running.resident()?);
    Ok(())
}

/// Waits until every file has a certificate that somebody has signed.
fn wait_for_files(
    who: &str,
    running: &mut Running,
    files: &[PathBuf],
    start: Instant,
) -> Result<Duration> {
    let is_there = |file: &PathBuf| {
        let is_certificate =
            |text: String| text.contains("-----END CERTIFICATE-----") && !is_self_signed(&text);
        fs::read_to_string(file).is_ok_and(is_certificate)
    };
    while !files.iter().all(is_there) {
        if start.elapsed() > LIMIT || running.has_ended()? {
            bail!("{who} wrote no {COUNT} certificates");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(start.elapsed())
}

/// Whether it is what the agent lays out until Vault signs one.
fn is_self_signed(pem: &str) -> bool {
    let parsed = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).flatten();
    let mut certificates = parsed.filter(|block| block.label == "CERTIFICATE");
    certificates
        .next()
        .is_some_and(|block| block.parse_x509().is_ok_and(|leaf| leaf.subject() == leaf.issuer()))
}

fn contents(files: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    files.iter().map(|file| Ok(fs::read(file)?)).collect()
}

/// Writes a file that its owner alone may read, in its folder.
fn write(root: &Path, path: &str, text: &str) -> Result<()> {
    let path = root.join(path);
    fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn show(ours: &mut Figures, theirs: &mut Figures) -> String {
    let median = |durations: &mut Vec<Duration>| {
        durations.sort();
        durations.get(durations.len() / 2).map_or_else(|| "-".to_owned(), |it| seconds(*it))
    };
    let row = |name: &str, ours: String, theirs: String| [name.to_owned(), ours, theirs];
    table(&[
        row("ten certificates from Vault", "ours".to_owned(), "bao agent".to_owned()),
        row("start to ten certificates", median(&mut ours.starts), median(&mut theirs.starts)),
        row("renewal of ten", median(&mut ours.renewals), median(&mut theirs.renewals)),
        row("`status`", median(&mut ours.statuses), median(&mut theirs.statuses)),
        row("resident when idle", mebibytes(ours.resident.all), mebibytes(theirs.resident.all)),
        row(
            "without its program file",
            mebibytes(ours.resident.own),
            mebibytes(theirs.resident.own),
        ),
    ])
}
