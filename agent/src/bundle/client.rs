//! The way to the API server: a client made of a kubeconfig, and made anew when the files it names change.
//!
//! A client reads its certificate once, when it is made; ours is renewed while it is in use.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use kube::Client;
use kube::config::{AuthInfo, Cluster, Config, KubeConfigOptions, Kubeconfig};
use sha2::{Digest as _, Sha256};

use crate::host::Host;

/// How long a connection may take. The next address is asked then.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot read `{path}`")]
    Read { path: String, source: std::io::Error },
    #[error("`{path}` is no kubeconfig that can be used: {reason}")]
    Kubeconfig { path: String, reason: String },
    #[error("cannot write `{path}`")]
    Write { path: &'static str, source: std::io::Error },
}

impl ClientError {
    /// What a person can do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            ClientError::Read { .. } => {
                "`basalt-agent certs` says whether its certificate has come; a kubeconfig that `bundle.kubeconfig` names is yours to lay out"
            }
            ClientError::Kubeconfig { .. } => "correct the file; it is read again by itself",
            ClientError::Write { .. } => "look at the file system",
        }
    }
}

/// A client for each cluster entry of the kubeconfig, in its order.
#[derive(Clone)]
pub(crate) struct Clients {
    /// What they were made of.
    fingerprint: [u8; 32],
    /// Each with the address it asks.
    pub(crate) ways: Vec<(String, Client)>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ways.iter().map(|(address, _)| address)).finish()
    }
}

/// Makes the clients, unless `before` is made of the same bytes.
///
/// # Errors
/// When a file is missing or damaged.
pub(crate) async fn load(
    host: &Host,
    path: &Utf8Path,
    before: Option<&Clients>,
) -> Result<Option<Clients>, ClientError> {
    let fault = |reason: String| ClientError::Kubeconfig { path: path.to_string(), reason };
    let bytes = read(host, path)?;
    let text = String::from_utf8(bytes).map_err(|error| fault(error.to_string()))?;
    let mut kubeconfig = Kubeconfig::from_yaml(&text).map_err(|error| fault(error.to_string()))?;
    let mut named = BTreeSet::new();
    let folder = path.parent().unwrap_or(Utf8Path::new("/"));
    let clusters = kubeconfig.clusters.iter_mut().filter_map(|it| it.cluster.as_mut());
    let users = kubeconfig.auth_infos.iter_mut().filter_map(|it| it.auth_info.as_mut());
    let files = clusters.flat_map(files_of_cluster).chain(users.flat_map(files_of_user));
    for file in files {
        let host_path = folder.join(&*file);
        *file = host.real(host_path.as_str()).into_string();
        named.insert(host_path);
    }
    let mut digest = Sha256::new();
    digest.update(&text);
    for file in &named {
        digest.update(Sha256::digest(read(host, file)?));
    }
    let fingerprint = digest.finalize().into();
    if before.is_some_and(|before| before.fingerprint == fingerprint) {
        return Ok(None);
    }
    let context = kubeconfig.current_context.clone();
    let user = kubeconfig
        .contexts
        .iter()
        .find(|named| Some(&named.name) == context.as_ref())
        .and_then(|named| named.context.as_ref()?.user.clone());
    let mut ways = Vec::new();
    for cluster in kubeconfig.clusters.iter().map(|cluster| cluster.name.clone()) {
        let options = KubeConfigOptions {
            context: context.clone(),
            cluster: Some(cluster),
            user: user.clone(),
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options)
            .await
            .map_err(|error| fault(error.to_string()))?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        // A write that is tried again behind our back could come after somebody else's.
        config.default_retry = false;
        let address = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| fault(error.to_string()))?;
        ways.push((address, client));
    }
    if ways.is_empty() {
        return Err(fault("it names no cluster".to_owned()));
    }
    Ok(Some(Clients { fingerprint, ways }))
}

fn read(host: &Host, path: &Utf8Path) -> Result<Vec<u8>, ClientError> {
    let real: Utf8PathBuf = host.real(path.as_str());
    std::fs::read(real).map_err(|source| ClientError::Read { path: path.to_string(), source })
}

fn files_of_cluster(cluster: &mut Cluster) -> impl Iterator<Item = &mut String> {
    cluster.certificate_authority.iter_mut()
}

fn files_of_user(user: &mut AuthInfo) -> impl Iterator<Item = &mut String> {
    let pair = user.client_certificate.iter_mut().chain(user.client_key.iter_mut());
    pair.chain(user.token_file.iter_mut())
}
