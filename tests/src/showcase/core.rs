//! What a data centre has before its first node: Vault, a registry, and a Kubernetes cluster to join.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::bundle::{self, Bundle};
use super::cluster::KUBELETS;
use crate::control_plane::{ControlPlane, Programs, Site, Wishes};
use crate::fleet::PLACES;
use crate::network::Switch;
use crate::peers::{Peer, peer};
use crate::registry::Registry;
use crate::vault_server::{self, VaultServer};

/// The address of Vault on the switch, and its network's length.
pub(super) const VAULT: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)), 24);
/// The address of the API server on the switch, and its network's length.
pub(super) const KUBERNETES: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 4)), 24);

/// The address of the registry on the switch, and its network's length.
pub(super) const REGISTRY: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 5)), 24);

/// The place of whoever runs them: on the nodes' network, with the right to everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The network namespace.
    pub namespace: PathBuf,
    /// Folders of programs, in front of the others.
    pub programs: Vec<PathBuf>,
    /// What programs are told: addresses, and files that say more.
    pub environment: BTreeMap<String, String>,
    /// The file with Vault's first token, for nobody else to read.
    pub token_file: PathBuf,
}

/// The servers that the nodes depend on.
#[derive(Debug)]
pub struct Core {
    /// OpenBao.
    pub vault: VaultServer,
    /// etcd, API server, controller manager and scheduler.
    pub plane: ControlPlane<'static>,
    /// The CNCF's distribution.
    pub registry: Registry,
    pub(super) bundle: Bundle,
    switch: Arc<Switch>,
    xtask: PathBuf,
    programs: Vec<PathBuf>,
}

impl Core {
    /// Starts them, with the bundle in the registry, and nothing else in them.
    pub(super) fn start(
        switch: &Arc<Switch>,
        xtask: PathBuf,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Core> {
        const MISSING: &str = "a program is missing: `cargo xtask peers` gets it";
        let (bao, programs) = (vault_server::program(), Programs::find());
        let (bao, programs) = (bao.context(MISSING)?, programs.context(MISSING)?);
        let distribution = peer("registry").context(MISSING)?;
        let folder = |program: &Peer| program.program.parent().map(Path::to_path_buf);
        let folders = [&bao, programs.kubectl()].into_iter().filter_map(folder).collect();
        for (address, length) in [VAULT, KUBERNETES, REGISTRY] {
            switch.add_address(&format!("{address}/{length}"))?;
        }
        tell("starting OpenBao: raft, TLS, unsealed");
        let place = vault_server::Place::Namespace { path: switch.namespace(), address: VAULT.0 };
        let vault = VaultServer::start_at(&bao, &place)?;
        tell(
            "starting a Kubernetes control plane: etcd, API server, controller manager, scheduler",
        );
        let wishes = Wishes { names: vec!["api.lab.example".to_owned()], ..Wishes::default() };
        let site = Site::Shared(Arc::clone(switch), KUBERNETES.0);
        let plane = ControlPlane::start(&programs, site, wishes)?;
        tell("starting a registry; bundle build, sign, push: the operators for the cluster");
        let registry = Registry::start_on(&distribution, switch, REGISTRY.0)?;
        let bundle = bundle::publish(&xtask, switch, &registry, &plane, plane.folder())?;
        Ok(Core {
            vault,
            plane,
            registry,
            bundle,
            switch: Arc::clone(switch),
            xtask,
            programs: folders,
        })
    }

    /// What it takes to be their operator.
    ///
    /// # Errors
    /// When Vault's token cannot be kept in a file.
    pub(super) fn operator(&self) -> Result<Operator> {
        let token_file = self.vault.folder().join("root.token");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&token_file)?;
        file.write_all(self.vault.root_token().as_bytes())?;
        let text = |path: PathBuf| path.display().to_string();
        let environment = [
            ("KUBECONFIG", text(self.plane.admin_kubeconfig())),
            ("VAULT_ADDR", self.vault.address()),
            ("VAULT_CACERT", text(self.vault.ca_file())),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let namespace = self.switch.namespace().into();
        Ok(Operator { namespace, programs: self.programs.clone(), environment, token_file })
    }

    /// Sets up Vault for the cluster as its operator does, and puts first secrets into the nodes' Ignition configs in
    /// `dist`. What the file names is found beside `folder`'s own.
    pub(super) fn set_up(
        &mut self,
        cluster: &str,
        folder: &Path,
        dist: &Path,
        tell: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let file = folder.join("cluster.yaml");
        fs::write(&file, cluster)?;
        tell("vault apply: mounts, roles and policies for this cluster");
        self.vault_verb(&file, &["apply", "--yes", "--make-root"])?;
        let authority = self.vault.read(&format!("{KUBELETS}/cert/ca"))?;
        let authority = authority["data"]["certificate"].as_str().context("a mount has a CA")?;
        self.plane.trust(authority.to_owned())?;
        tell("vault wrap: a secret for the first login of each node");
        let dist = dist.to_str().context("folders of ours have plain names")?;
        for place in &PLACES {
            self.vault_verb(&file, &["wrap", place.name, "--into", dist])?;
        }
        Ok(())
    }

    fn vault_verb(&self, cluster: &Path, arguments: &[&str]) -> Result<()> {
        let xtask = self.xtask.to_str().context("programs of ours have plain names")?;
        let mut command = self.switch.command(xtask);
        command.args(["--quiet", "vault"]).args(arguments).arg("--cluster").arg(cluster);
        command.env("VAULT_TOKEN", self.vault.root_token()).stdin(Stdio::null());
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`xtask vault {}`: {said}", arguments[0]);
        Ok(())
    }
}
