//! Looks at everything that a decision about the hand-off depends on, and changes nothing.

use std::collections::BTreeMap;
use std::process::Command;

use basalt_model::node::{KubeletIdentity, Kubernetes, Node};

use super::api::Server;
use super::decide::{self, Seen, Wish};
use super::files::{self, KUBECONFIG_PATH, REMOVED};
use super::gates::{self, Gate, gate};
use super::proof::ProofSeen;
use super::record::{Record, Stage};
use super::{certificate, rotation};
use crate::host::cri::{ContainerState, Cri};
use crate::host::look::sha256;
use crate::host::service::unix_seconds;
use crate::host::systemd::{self, KUBELET_UNIT};
use crate::host::{Host, boot, look};
use crate::probe::ImageSeen;
use crate::probe::look::{Looker, pods_of_target};
use crate::probe::process::kubelet_name;
use crate::reconcile::Survey;
use crate::secret::read_file;

/// Where the machine's id is; the kubelet tells it to the cluster.
const MACHINE_ID_PATH: &str = "/etc/machine-id";
/// The kubelet.
const KUBELET_PATH: &str = "/usr/bin/kubelet";

/// Looks, again and again.
#[derive(Debug, Default)]
pub(crate) struct Eyes {
    looker: Looker,
    watch: rotation::Watch,
    /// The kubelet's version, with what tells the program from another.
    version: Option<((u64, i64), Result<String, String>)>,
}

impl Eyes {
    /// Looks once: always at the files and the kubelet, and at whatever else the stage calls for.
    pub(crate) async fn look(
        &mut self,
        host: &Host,
        survey: &Survey,
        node: &Node,
        record: &Record,
        wish: &Wish,
    ) -> Seen {
        let mut seen = Seen {
            now: boot::now(host),
            unix_seconds: unix_seconds(),
            files: files_there(host, node),
            kubelet: systemd::run_of(host, KUBELET_UNIT).await.ok().flatten(),
            containers: containers(host, survey, node).await,
            gates: Vec::new(),
            proof: None,
            left: None,
            stale: Vec::new(),
            silence: None,
        };
        let Some(kubernetes) = &node.kubernetes else { return seen };
        if decide::needs_gates(node, record, wish, &seen) {
            seen.gates = self.gates(host, survey, node, kubernetes).await;
        }
        match &record.stage {
            Stage::Proving { .. } => {
                seen.proof = Some(self.proof(host, survey, node, kubernetes, &seen).await);
            }
            Stage::Draining { .. } => {
                let left = async { Server::of(host, node, kubernetes)?.left().await };
                seen.left = Some(left.await.map_err(|error| error.to_string()));
            }
            Stage::Joined { .. } => {
                let kubelet = seen.kubelet.as_deref().unwrap_or_default();
                let (unnoticed, silence) = rotation::unnoticed(host, node, kubernetes).await;
                seen.silence = silence;
                seen.stale = self.watch.note(kubelet, unnoticed);
            }
            Stage::Standalone | Stage::Switching(_) | Stage::Returning { .. } => {}
        }
        seen
    }

    async fn gates(
        &mut self,
        host: &Host,
        survey: &Survey,
        node: &Node,
        kubernetes: &Kubernetes,
    ) -> Vec<Gate> {
        let mut all = vec![
            gate("pods", pods_gate(survey)),
            gate("images", images_gate(survey)),
            gate("mirror pods", gates::shown(&pods_of_target(survey.target()))),
        ];
        match &kubernetes.identity {
            KubeletIdentity::Vault => all.extend(certificate_gates(host, node, kubernetes)),
            KubeletIdentity::Bootstrap { token_file } => {
                let token = read_file(&host.real(token_file.as_str()), token_file.as_str());
                all.push(gate("bootstrap token", gates::bootstrap_token(token)));
                // Nobody knows this node before the kubelet has asked for a certificate.
                return all;
            }
        }
        if !all.iter().all(|gate| gate.holds) {
            return all;
        }
        let asked = async { Server::of(host, node, kubernetes)?.introduce().await };
        match asked.await {
            Err(error) => all.push(gate("API server", Err(error.to_string()))),
            Ok(api) => {
                let machine_id = look::read_behind(&host.real(MACHINE_ID_PATH)).unwrap_or_default();
                let machine_id = String::from_utf8_lossy(&machine_id).trim().to_owned();
                let version = self.kubelet_version(host).await;
                all.push(gate("API server", gates::identity(&api, &files::user(node))));
                all.push(gate("name", gates::name(&api, &machine_id)));
                all.push(gate("clock", gates::clock(&api, unix_seconds())));
                all.push(gate("versions", gates::versions(&version, &api.version)));
            }
        }
        all
    }

    async fn proof(
        &mut self,
        host: &Host,
        survey: &Survey,
        node: &Node,
        kubernetes: &Kubernetes,
        seen: &Seen,
    ) -> ProofSeen {
        let subject = survey.subject();
        let mirrors: Vec<(String, String)> = pods_of_target(survey.target())
            .into_iter()
            .map(|pod| (pod.namespace, kubelet_name(&pod.name, node.name.as_str())))
            .collect();
        let asking = async {
            match Server::of(host, node, kubernetes) {
                Ok(server) => {
                    let (object, missing) =
                        tokio::join!(server.node(), server.mirrors_missing(&mirrors));
                    (
                        object.map_err(|error| error.to_string()),
                        missing.map_err(|error| error.to_string()),
                    )
                }
                Err(error) => (Err(error.to_string()), Err(error.to_string())),
            }
        };
        let ((object, mirrors_missing), evidence) =
            tokio::join!(asking, self.looker.look(host, &subject));
        let target = subject.target.as_ref().map(|(id, _)| id);
        ProofSeen {
            containers: seen.containers.clone(),
            node: object,
            mirrors_missing,
            shortcomings: target.map(|id| evidence.shortcomings(id)).unwrap_or_default(),
            good_for: target.and_then(|id| evidence.good_for(id)),
        }
    }

    async fn kubelet_version(&mut self, host: &Host) -> Result<String, String> {
        use std::os::unix::fs::MetadataExt;
        let program = host.real(KUBELET_PATH);
        let data = program
            .metadata()
            .map_err(|error| format!("cannot look at {KUBELET_PATH}: {error}"))?;
        let key = (data.len(), data.mtime());
        if let Some((known, version)) = &self.version
            && *known == key
        {
            return version.clone();
        }
        let asked = tokio::task::spawn_blocking(move || {
            Command::new(program.as_std_path()).arg("--version").output()
        });
        let version = match asked.await {
            Ok(Ok(output)) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout);
                Ok(text.trim().trim_start_matches("Kubernetes ").to_owned())
            }
            Ok(Ok(output)) => {
                Err(format!("`{KUBELET_PATH} --version` ends with {}", output.status))
            }
            Ok(Err(error)) => Err(format!("cannot run `{KUBELET_PATH} --version`: {error}")),
            Err(error) => Err(format!("cannot run `{KUBELET_PATH} --version`: {error}")),
        };
        self.version = Some((key, version.clone()));
        version
    }
}

/// The set of pods that the node is to have has proved itself, and stays as it is.
fn pods_gate(survey: &Survey) -> Result<String, String> {
    let target = survey.choice.as_ref().and_then(|choice| choice.target.as_ref()).map(|(id, _)| id);
    let committed = survey.ledger.known().and_then(|ledger| ledger.generations.committed.as_ref());
    let shortcomings = target.map(|id| survey.evidence.shortcomings(id)).unwrap_or_default();
    gates::pods(target, committed, &survey.plan, &shortcomings)
}

/// The images of the pods are there, so that a pod that ends comes back without a registry.
fn images_gate(survey: &Survey) -> Result<String, String> {
    let known = &survey.evidence.images;
    let images: Vec<String> = pods_of_target(survey.target())
        .iter()
        .flat_map(|pod| pod.images().cloned().collect::<Vec<_>>())
        .collect();
    let is_there = |image: &String| matches!(known.get(image), Some(ImageSeen::Present { .. }));
    let missing: Vec<String> = images.iter().filter(|image| !is_there(image)).cloned().collect();
    match missing.is_empty() {
        true => Ok(format!("{} are there", images.len())),
        false => Err(format!("not known to be there: {}", missing.join(", "))),
    }
}

fn certificate_gates(host: &Host, node: &Node, kubernetes: &Kubernetes) -> Vec<Gate> {
    let user = files::user(node);
    let now = unix_seconds();
    let client = certificate::load(host, &files::client_pair(node, kubernetes));
    let mut all = vec![gate("client certificate", gates::pair(&client, &user, None, now))];
    if let Some(path) = files::serving_pair(node, kubernetes) {
        let address = node.kubelet.node_ip.to_string();
        let serving = certificate::load(host, &path);
        let found = gates::pair(&serving, &user, Some(&address), now);
        all.push(gate("serving certificate", found));
    }
    for name in [&kubernetes.ca, &kubernetes.client_ca] {
        let path = format!("{}/{name}.pem", basalt_static_pods::TRUST_DIRECTORY);
        if let Err(error) = look::read_behind(&host.real(&path)) {
            all.push(gate("trust anchor", Err(format!("cannot read {path}: {error}"))));
        }
    }
    all
}

/// The files of the joined form that are there.
fn files_there(host: &Host, node: &Node) -> BTreeMap<String, String> {
    // With a bootstrap token the kubelet writes this one itself.
    let is_the_kubelets = |path: &str| {
        let identity = node.kubernetes.as_ref().map(|kubernetes| &kubernetes.identity);
        path == KUBECONFIG_PATH && matches!(identity, Some(KubeletIdentity::Bootstrap { .. }))
    };
    let paths = REMOVED.into_iter().filter(|path| !is_the_kubelets(path));
    let digest = |path: &str| match look::read(&host.path(path)) {
        Ok(bytes) => Some((path.to_owned(), sha256(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        // Something is there, and it is not what was written.
        Err(error) => Some((path.to_owned(), error.to_string())),
    };
    paths.filter_map(digest).collect()
}

/// The containers of static pods that run.
async fn containers(
    host: &Host,
    survey: &Survey,
    node: &Node,
) -> Result<BTreeMap<String, String>, String> {
    let names: Vec<(String, String)> = pods_of_target(survey.target())
        .into_iter()
        .map(|pod| (pod.namespace, kubelet_name(&pod.name, node.name.as_str())))
        .collect();
    let cri = Cri::of(host).map_err(|error| error.to_string())?;
    let containers = cri.containers().await.map_err(|error| error.to_string())?;
    let is_static = |namespace: &str, name: &str| {
        names.iter().any(|(own, pod)| own == namespace && pod == name)
    };
    let running = containers.into_iter().filter(|container| {
        container.state == ContainerState::Running
            && is_static(&container.pod.namespace, &container.pod.name)
    });
    let key = |pod: &crate::host::cri::PodRun, name: &str| {
        format!("{}/{}/{name}", pod.namespace, pod.name)
    };
    Ok(running.map(|container| (key(&container.pod, &container.name), container.id)).collect())
}
