//! One look at the health of a node: asks the runtime and everybody else, and keeps count of how long things last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ask::Asker;
use super::lingering::{Ages, Expected};
use super::process::{Runtime, kubelet_name};
use super::questions::{Question, questions};
use super::wanted::PodWanted;
use super::{Answer, Evidence, Health, ImageSeen, Level, Lingering, Probe, Streak};
use crate::apply::Overdue;
use crate::desired::Desired;
use crate::generation::{PodSet, PodSetId};
use crate::host::Host;
use crate::host::cri::{Cri, CriError};
use crate::host::runs::{self, Watching};
use crate::host::service::unix_seconds;
use crate::replace::stopping::left;

/// What a look is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    /// The set that the node is to have, with its node.
    pub(crate) target: Option<(PodSetId, Desired)>,
    /// Images of the set that `node.json` asks for, and of those that are kept.
    pub(crate) images: BTreeSet<String>,
    /// What is left to do until the set is in place, in a line: pods that serve an old config well prove nothing.
    pub(crate) left: Option<String>,
    /// The pods whose manifests are in place, with the UIDs in them: by namespace and name.
    pub(crate) uids: BTreeMap<(String, String), Option<String>>,
    /// Pods of any set that is kept, with their grace periods: by namespace and name.
    pub(crate) known: BTreeMap<(String, String), u64>,
    /// The pods that the last round waited for in vain.
    pub(crate) overdue: Vec<Overdue>,
}

/// Looks, again and again.
#[derive(Debug, Default)]
pub(crate) struct Looker {
    streak: Streak,
    ages: Ages,
    begun: Option<Instant>,
}

/// What a pod set asks of the runtime before it may begin: its images.
pub(crate) fn images_of(pods: &[PodWanted]) -> BTreeSet<String> {
    pods.iter().flat_map(PodWanted::images).cloned().collect()
}

/// The pods of a set as their manifests want them.
pub(crate) fn pods_of(set: &PodSet) -> Vec<PodWanted> {
    set.pods.iter().filter_map(|pod| PodWanted::read(&pod.manifest)).collect()
}

/// The pods of the set that a node is to have, as their manifests want them.
pub(crate) fn pods_of_target(target: Option<&Desired>) -> Vec<PodWanted> {
    let pods = target.iter().flat_map(|desired| &desired.pods);
    pods.filter_map(|pod| PodWanted::read(&pod.manifest)).collect()
}

impl Looker {
    /// Looks once. Takes as long as the slowest answer, each of which has a limit of seconds.
    pub(crate) async fn look(&mut self, host: &Host, subject: &Subject) -> Evidence {
        let now = Instant::now();
        let pods: Vec<PodWanted> = (subject.target.iter())
            .flat_map(|(_, desired)| &desired.pods)
            .filter_map(|pod| PodWanted::read(&pod.manifest))
            .collect();
        let wanted_images: BTreeSet<String> =
            subject.images.iter().cloned().chain(images_of(&pods)).collect();
        let (cri, runtime) = match Cri::of(host) {
            Err(error) => (None, Err(error.to_string())),
            Ok(cri) => {
                let runtime = ask_runtime(&cri, &pods, subject).await;
                (Some(cri), runtime.map_err(|error| error.to_string()))
            }
        };
        let images = match (&cri, &runtime) {
            (Some(cri), Ok(_)) => ask_images(cri, &wanted_images).await,
            (_, Err(reason)) => unknown_images(&wanted_images, reason),
            (None, Ok(_)) => BTreeMap::new(),
        };
        let mut evidence = Evidence { images, ..Evidence::default() };
        if let Ok(runtime) = &runtime {
            let overdue = still_overdue(host, &subject.overdue).await;
            evidence.lingering = self.lingering(host, runtime, subject, &overdue, now);
        }
        if let Some((id, desired)) = &subject.target {
            let asking = Asking { host, cri, runtime: &runtime, subject, desired, pods: &pods };
            let (mut probes, containers) = asking.ask(&evidence.images).await;
            probes.sort();
            let all_good = probes.iter().all(|probe| probe.answer == Answer::Good);
            let begun = *self.begun.get_or_insert(now);
            let good = self.streak.note(id, containers, all_good, now - begun);
            let good_milliseconds =
                good.map(|good| u64::try_from(good.as_millis()).unwrap_or(u64::MAX));
            evidence.health = Some(Health { of: id.clone(), probes, good_milliseconds });
        }
        evidence
    }

    fn lingering(
        &mut self,
        host: &Host,
        runtime: &Runtime,
        subject: &Subject,
        overdue: &[Overdue],
        now: Instant,
    ) -> Vec<Lingering> {
        let Some((_, desired)) = &subject.target else { return Vec::new() };
        let expected = Expected {
            node: desired.node.name.as_str(),
            uids: &subject.uids,
            known: &subject.known,
            overdue,
        };
        self.ages.note(runtime, &expected, |uid| runs::has_folder(host, uid), now)
    }
}

/// Those of which something is left: a pod may have ended since the round that waited for it.
async fn still_overdue(host: &Host, overdue: &[Overdue]) -> Vec<Overdue> {
    let mut still = Vec::new();
    for one in overdue {
        if left(&Watching::new(host, &one.run).look().await).is_some() {
            still.push(one.clone());
        }
    }
    still
}

/// One look at the pods of the target.
struct Asking<'a> {
    host: &'a Host,
    cri: Option<Cri>,
    runtime: &'a Result<Runtime, String>,
    subject: &'a Subject,
    desired: &'a Desired,
    pods: &'a [PodWanted],
}

impl Asking<'_> {
    /// The answers, and the ids of all containers that run.
    async fn ask(self, images: &BTreeMap<String, ImageSeen>) -> (Vec<Probe>, BTreeSet<String>) {
        let mut probes = Vec::new();
        let mut containers = BTreeMap::new();
        for pod in self.pods {
            let (answer, evidence) = match self.runtime {
                Err(reason) => (Answer::Unknown, reason.clone()),
                Ok(runtime) => {
                    let node = self.desired.node.name.as_str();
                    let key = (pod.namespace.clone(), pod.name.clone());
                    let uid = self.subject.uids.get(&key).and_then(Option::as_deref);
                    let runs = runtime.runs(pod, node, images, uid);
                    let own = runs.containers.into_iter();
                    containers.extend(own.map(|(name, id)| ((pod.name.clone(), name), id)));
                    (runs.answer, runs.evidence)
                }
            };
            let (subject, name) = (pod.name.clone(), "containers".to_owned());
            probes.push(probe(Level::Process, subject, name, answer, evidence));
        }
        if let Some(left) = &self.subject.left {
            let (subject, name) = ("basalt-agent".to_owned(), "files".to_owned());
            probes.push(probe(Level::Process, subject, name, Answer::Bad, left.clone()));
        }
        let running = containers.values().cloned().collect();
        let asker = Asker { host: self.host.clone(), cri: self.cri, containers };
        let mut asked = JoinSet::new();
        for question in questions(&self.desired.node, self.pods, &own_addresses()) {
            let asker = asker.clone();
            asked.spawn(async move {
                let (answer, evidence) = asker.ask(&question).await;
                let evidence = with_place(&question, evidence);
                let Question { level, subject, name, .. } = question;
                probe(level, subject, name, answer, evidence)
            });
        }
        while let Some(answer) = asked.join_next().await {
            // One that panicked is a bug, and no answer.
            probes.push(answer.unwrap_or_else(|error| {
                let evidence = format!("it could not be asked: {error}");
                let subject = "basalt-agent".to_owned();
                probe(Level::Function, subject, "probes".to_owned(), Answer::Unknown, evidence)
            }));
        }
        (probes, running)
    }
}

/// An outcome says from where it was seen.
fn with_place(question: &Question, evidence: String) -> String {
    match (question.level, &question.outside) {
        (Level::Outcome, None) => {
            format!("{evidence}; another node holds the address, if any does")
        }
        _ => evidence,
    }
}

fn probe(level: Level, subject: String, name: String, answer: Answer, evidence: String) -> Probe {
    Probe { level, subject, name, answer, evidence, asked_unix_seconds: unix_seconds() }
}

/// The addresses of this machine's interfaces; none when they cannot be found out.
fn own_addresses() -> BTreeSet<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
        })
        .collect()
}

async fn ask_runtime(
    cri: &Cri,
    pods: &[PodWanted],
    subject: &Subject,
) -> Result<Runtime, CriError> {
    let sandboxes = cri.sandboxes().await?;
    let containers = cri.containers().await?;
    let node = subject.target.as_ref().map_or("", |(_, desired)| desired.node.name.as_str());
    let names: BTreeSet<String> = pods.iter().map(|pod| kubelet_name(&pod.name, node)).collect();
    let mut statuses = BTreeMap::new();
    for container in containers.iter().filter(|it| names.contains(&it.pod.name)) {
        if let Some(status) = cri.container_status(&container.id).await? {
            statuses.insert(container.id.clone(), status);
        }
    }
    Ok(Runtime { sandboxes, containers, statuses })
}

/// Asks for each image, by the name that the pods use.
pub(crate) async fn ask_images(
    cri: &Cri,
    references: &BTreeSet<String>,
) -> BTreeMap<String, ImageSeen> {
    let mut images = BTreeMap::new();
    for reference in references {
        let seen = match cri.image(reference).await {
            Ok(Some(image)) => ImageSeen::Present {
                id: image.id,
                digests: image.digests.into_iter().collect(),
                pinned: image.is_pinned,
            },
            Ok(None) => ImageSeen::Missing,
            Err(error) => ImageSeen::Unknown { reason: error.to_string() },
        };
        images.insert(reference.clone(), seen);
    }
    images
}

fn unknown_images(references: &BTreeSet<String>, reason: &str) -> BTreeMap<String, ImageSeen> {
    let unknown =
        |reference: &String| (reference.clone(), ImageSeen::Unknown { reason: reason.to_owned() });
    references.iter().map(unknown).collect()
}
