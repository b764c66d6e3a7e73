//! What each verb is told about Vault: which cluster, which server, which token.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Error, Result, bail};
use basalt_model::cluster::{Cluster, Reading};
use basalt_model::names::RelativePath;
use basalt_model::names::reference::is_registry;
use basalt_model::node::Vault;
use basalt_model::secret_value::looks_secret_alone;
use camino::{Utf8Path, Utf8PathBuf};
use zeroize::Zeroizing;

use super::client::{CallError, Client, Token};
use crate::output::say;
use crate::{checkout, source};

/// Holds the token where no file is named, as for Vault's own program.
const TOKEN_VARIABLE: &str = "VAULT_TOKEN";

/// The cluster that is meant when none is named.
const DEFAULT_CLUSTER: &str = "tests/clusters/lab/cluster.yaml";

/// No token is nearly as long; what is longer is cut off and then refused by Vault.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// Which Vault, and as whom.
#[derive(Debug, clap::Args)]
pub(super) struct Connection {
    /// The cluster that Vault is for.
    ///
    /// The default is the lab, `tests/clusters/lab/cluster.yaml` of the checkout.
    #[arg(long, value_name = "FILE")]
    cluster: Option<Utf8PathBuf>,

    /// The server to ask, `https://host:port`, instead of the ones that the cluster names.
    ///
    /// Its certificate is verified with the trust anchor that the cluster names in any case.
    #[arg(long, value_name = "URL")]
    address: Option<String>,

    /// A file with the token; `-` is standard input.
    ///
    /// The default is what the environment variable VAULT_TOKEN holds. A token has no place on a command line, where
    /// every user of the machine sees it.
    #[arg(long, value_name = "FILE")]
    token_file: Option<Utf8PathBuf>,
}

impl Connection {
    /// Reads the cluster. Its findings are printed.
    ///
    /// # Errors
    /// When it cannot be read, has errors, or needs no Vault.
    pub(super) fn cluster(&self) -> Result<Cluster> {
        let file = match &self.cluster {
            Some(file) => file.clone(),
            None => checkout_folder()?.join(DEFAULT_CLUSTER),
        };
        let bytes =
            source::read(&file).with_context(|| format!("cannot read the cluster `{file}`"))?;
        let folder = match file.parent() {
            Some(parent) if !parent.as_str().is_empty() => parent,
            _ => Utf8Path::new("."),
        };
        let mut text = |name: &RelativePath| source::text(folder, name);
        let reading = Reading::with(file.as_str(), &bytes, &mut text);
        if !reading.report.is_empty() {
            say(&reading.report);
        }
        let cluster = reading.cluster.with_context(|| format!("`{file}` has errors"))?;
        if vault_of(&cluster).is_none() {
            bail!("`{file}` has no section `vault`");
        }
        Ok(cluster)
    }

    /// The first server that is ready.
    ///
    /// # Errors
    /// When there is no token, or no server is ready: with what each said.
    pub(super) fn client(&self, cluster: &Cluster) -> Result<Client> {
        let vault = vault_of(cluster).context("the cluster has no Vault")?;
        let anchors = cluster.nodes.iter().find_map(|node| node.trust_anchors.get(&vault.ca));
        let ca_pem = anchors.with_context(|| format!("there is no trust anchor `{}`", vault.ca))?;
        if self.address.as_deref().is_some_and(|address| !is_server(address)) {
            // It is not repeated: somebody may have put a password into it.
            bail!(
                "what `--address` says is not the address of a server; write `https://host:port`"
            );
        }
        let token = self.token()?;
        let addresses = match &self.address {
            Some(address) => std::slice::from_ref(address),
            None => &vault.addresses,
        };
        let mut failures: Vec<CallError> = Vec::new();
        for address in addresses {
            match Client::connect(address, ca_pem, &token) {
                Ok(client) => return Ok(client),
                Err(failure) => failures.push(failure),
            }
        }
        let Some(last) = failures.pop() else { bail!("no address is named") };
        for failure in failures {
            say(format_args!("{:#}", Error::from(failure)));
        }
        Err(last.into())
    }

    fn token(&self) -> Result<Token> {
        let (text, place) = match &self.token_file {
            Some(file) if file == "-" => {
                let text = text(io::stdin()).context("cannot read standard input")?;
                (text, "standard input".to_owned())
            }
            Some(file) if looks_secret_alone(file.as_str()).is_some() && !file.exists() => {
                bail!(
                    "what `--token-file` says looks like the secret itself; give the path of a file that holds it, and take this token for known: revoke it"
                );
            }
            Some(file) => {
                let opened = File::open(file).and_then(|opened| {
                    Ok((opened.metadata()?.permissions().mode(), text(opened)?))
                });
                let (mode, text) =
                    opened.with_context(|| format!("cannot read the token file `{file}`"))?;
                if let Some(warning) = exposed(file, mode) {
                    say(warning);
                }
                (text, format!("`{file}`"))
            }
            None => {
                let text = env::var(TOKEN_VARIABLE).map_err(|_| {
                    Error::msg(format!(
                        "there is no token; put one into the variable {TOKEN_VARIABLE}, or name a file with `--token-file`"
                    ))
                })?;
                (Zeroizing::new(text), format!("the variable {TOKEN_VARIABLE}"))
            }
        };
        Token::new(text).with_context(|| format!("{place} holds no token"))
    }
}

/// Whether others may read or change a file with a secret.
fn exposed(file: &Utf8Path, mode: u32) -> Option<String> {
    let others = mode & 0o077;
    if others == 0 {
        return None;
    }
    let whose = if others & 0o007 == 0 { "its group" } else { "every user of this machine" };
    Some(format!(
        "warning: `{file}` is open to {whose} (mode {:04o}): close it with `chmod 600 {file}`, and if others have been here, revoke the token",
        mode & 0o7777
    ))
}

/// `https://host`, `https://host:port`: what a cluster may say, and a final `/`, since people copy it from a browser.
fn is_server(address: &str) -> bool {
    let host = address.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    host.is_some_and(is_registry)
}

/// Reads a token; from a device without end, no more than one could have.
fn text(source: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    source.take(MAX_TOKEN_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// What the nodes of a cluster ask of Vault; what they have in common is the same on each.
pub(super) fn vault_of(cluster: &Cluster) -> Option<&Vault> {
    cluster.nodes.iter().find_map(|node| node.vault.as_ref())
}

fn checkout_folder() -> Result<Utf8PathBuf> {
    let folder = checkout::folder().context("name a cluster with `--cluster`")?;
    Utf8PathBuf::from_path_buf(folder)
        .map_err(|folder| Error::msg(format!("`{}` is not UTF-8", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_server_and_no_more() {
        for fine in
            ["https://vault.example:8200", "https://192.0.2.1", "https://[2001:db8::1]:8200/"]
        {
            assert!(is_server(fine), "{fine}");
        }
        for other in [
            "vault.example:8200",
            "http://vault.example:8200",
            "https://user:password@vault.example:8200",
            "https://vault.example:8200/v1",
            "https://vault.example:8200?token=x",
            "hvs.token",
            "https://",
        ] {
            assert!(!is_server(other), "{other}");
        }
    }

    #[test]
    fn a_file_with_a_token_is_its_owners_alone() {
        for (mode, expected) in [
            (0o100_600, None),
            (0o100_400, None),
            (0o100_640, Some("open to its group (mode 0640): close it with `chmod 600 t`")),
            (0o100_644, Some("open to every user of this machine (mode 0644): close it with")),
            (0o100_602, Some("open to every user of this machine (mode 0602)")),
        ] {
            let warning = exposed("t".into(), mode);
            assert_eq!(warning.is_some(), expected.is_some(), "{mode:o}");
            let warning = warning.unwrap_or_default();
            assert!(warning.contains(expected.unwrap_or_default()), "{warning}");
        }
    }

    #[test]
    fn no_more_is_read_than_a_token_could_have() {
        assert_eq!(text("hvs.x\n".as_bytes()).unwrap().as_str(), "hvs.x\n");
        assert_eq!(text(io::repeat(b'x')).unwrap().len() as u64, MAX_TOKEN_BYTES);
    }
}
