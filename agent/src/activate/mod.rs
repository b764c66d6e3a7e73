//! A changed certificate comes into use, and a TLS handshake proves it: takes the set as it lies on the disk, gives who was
//! told and what every listener serves, touches those who serve it.
//!
//! The caller has put the new set in its place. When this fails, the caller puts the old one back and activates that: both
//! ends are then proved, and the same report says so. Read [`consumers`] first (who uses a certificate, pure), then
//! [`activate`], then [`proof`].

pub(crate) mod consumers;
mod haproxy;
pub(crate) mod proof;
mod set;

use std::time::Duration;

use basalt_model::node::{Certificate, Node, Reload};
use basalt_static_pods::control;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use self::consumers::{Consumer, Consumers};
use self::proof::{NotProved, Patience, Proof, Prover};
pub(crate) use self::set::{CertificateSet, KeyMatch, Serial, certificates as certificates_in};
use crate::host::Host;
use crate::host::restarts::{self, Asked};
use crate::host::systemd::{self, UnitTold};
use crate::reload::{self, Told as PodTold};

/// How long everything may take together. A reload of haproxy takes up to 15 s, a unit as long as it likes.
pub(crate) const ACTIVATION_LIMIT: Duration = Duration::from_secs(60);
/// How long telling one consumer may take.
const TELL_LIMIT: Duration = Duration::from_secs(20);
/// How long the loop may take to start a pod anew: the old run is given time to end.
const RESTART_LIMIT: Duration = Duration::from_secs(40);

/// Who starts pods anew that take a file only when they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restarter {
    /// The reconcile loop, which runs.
    Loop,
    /// Nobody: no loop runs, and the next one begins with what is asked for now.
    Nobody,
}

/// What came of an activation that nothing speaks against.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Activation {
    /// Who was told, in the order of telling.
    pub(crate) told: Vec<Told>,
    /// What each listener serves, by handshake.
    pub(crate) proofs: Vec<Proof>,
    /// Listeners and consumers that could not be asked, and why that is no failure.
    pub(crate) skipped: Vec<Skipped>,
    /// Pods that take a file only when they start, and that nobody has started anew: no loop runs. It does when one does.
    pub(crate) restart_pods: Vec<String>,
}

impl Activation {
    /// Whether at least one handshake showed the new certificate. A certificate whose consumers do not run yet, or that
    /// nobody serves, is in place without that.
    pub(crate) fn is_proved(&self) -> bool {
        !self.proofs.is_empty()
    }

    /// For people: one line for each thing.
    pub(crate) fn text(&self) -> String {
        let mut lines = Vec::new();
        for Told { consumer, way, milliseconds } in &self.told {
            lines.push(format!("{consumer}: told by {way} in {milliseconds} ms"));
        }
        for Proof { listener, old_serial, serial, tries } in &self.proofs {
            let old = match old_serial {
                Some(old) if old == serial => ", as before".to_owned(),
                Some(old) => format!(" instead of {old}"),
                None => String::new(),
            };
            lines.push(format!("{listener}: shows {serial}{old} (handshakes: {tries})"));
        }
        for Skipped { what, reason } in &self.skipped {
            lines.push(format!("{what}: left out, {reason}"));
        }
        for pod in &self.restart_pods {
            lines.push(format!("pod {pod}: is started anew when the service runs"));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// One consumer that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Such as `pod haproxy` or `unit web.service`.
    pub(crate) consumer: String,
    /// Such as `runtime API`, `reload` or `restart`.
    pub(crate) way: String,
    pub(crate) milliseconds: u64,
}

impl Told {
    fn since(start: Instant, consumer: String, way: &str) -> Told {
        let milliseconds = start.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        Told { consumer, way: way.to_owned(), milliseconds }
    }
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) what: String,
    pub(crate) reason: String,
}

/// Why a certificate is not in use, or cannot be proved to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActivationError {
    /// A consumer refused it, could not be told, or was not started anew.
    #[error("{consumer} does not take the certificate `{certificate}`: {reason}")]
    Untold { certificate: String, consumer: String, reason: String },
    /// It was told, and serves something else, or nothing.
    #[error("{} serves the certificate `{certificate}` not as it should: {}", .failed.listener, .failed.reason)]
    NotProved { certificate: String, failed: Box<NotProved> },
    /// The whole took too long.
    #[error("activating the certificate `{certificate}` took more than {} s", limit.as_secs())]
    Late { certificate: String, limit: Duration },
}

impl ActivationError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            ActivationError::Untold { .. } => {
                "the old certificate stays; look at what the consumer logs"
            }
            ActivationError::NotProved { .. } => {
                "the old certificate stays; look whether the PKI mount gives the whole chain and its issuer"
            }
            ActivationError::Late { .. } => "the old certificate stays; it is tried again",
        }
    }
}

/// Tells everyone who uses `certificate` that `new` lies on the disk, and proves by handshake that they serve it. `old` is
/// what lay there before; absent for a first certificate.
///
/// Takes at most [`ACTIVATION_LIMIT`]. A consumer that does not run is no failure: it reads the files when it starts.
///
/// # Errors
/// [`ActivationError`]; the caller puts the old set back and activates that one.
pub(crate) async fn activate(
    host: &Host,
    node: &Node,
    certificate: &Certificate,
    old: Option<&CertificateSet>,
    new: &CertificateSet,
    restarter: Restarter,
) -> Result<Activation, ActivationError> {
    let name = certificate.name.to_string();
    let all = activate_all(host, node, certificate, old, new, restarter);
    match timeout(ACTIVATION_LIMIT, all).await {
        Ok(done) => done,
        Err(_) => Err(ActivationError::Late { certificate: name, limit: ACTIVATION_LIMIT }),
    }
}

async fn activate_all(
    host: &Host,
    node: &Node,
    certificate: &Certificate,
    old: Option<&CertificateSet>,
    new: &CertificateSet,
    restarter: Restarter,
) -> Result<Activation, ActivationError> {
    let consumers = Consumers::of(node, certificate);
    let untold = |consumer: String| {
        let certificate = certificate.name.to_string();
        move |reason| ActivationError::Untold { certificate, consumer, reason }
    };
    let mut activation = Activation::default();
    let mut prover = Prover::new(host, certificate, old, new);
    prover.look_before(&consumers.listeners).await;
    for consumer in &consumers.told {
        let telling = tell(host, node, certificate, consumer, new);
        note(&mut activation, consumer, telling).await.map_err(untold(consumer.to_string()))?;
    }
    let mut patience = Patience::Told;
    if restarter == Restarter::Loop {
        // Last: whoever is started anew is away for a moment.
        for pod in std::mem::take(&mut activation.restart_pods) {
            let consumer = Consumer::Pod(pod.clone()).to_string();
            let start = Instant::now();
            if timeout(RESTART_LIMIT, restarts::done(host, &pod)).await.is_err() {
                let reason = format!("not started anew within {} s", RESTART_LIMIT.as_secs());
                return Err(untold(consumer)(reason));
            }
            activation.told.push(Told::since(start, consumer, "restart"));
            patience = Patience::Started;
        }
    }
    let proved = prover.prove(&consumers.listeners, patience).await;
    let (proofs, skipped) = proved.map_err(|failed| {
        let (certificate, failed) = (certificate.name.to_string(), Box::new(failed));
        ActivationError::NotProved { certificate, failed }
    })?;
    activation.proofs = proofs;
    activation.skipped.extend(skipped);
    Ok(activation)
}

/// How a consumer got to know.
enum Way {
    Told(&'static str),
    RestartPod(String),
    NotRunning,
}

async fn tell(
    host: &Host,
    node: &Node,
    certificate: &Certificate,
    consumer: &Consumer,
    new: &CertificateSet,
) -> Result<Way, String> {
    match consumer {
        Consumer::Haproxy => haproxy::tell(host, certificate, new).await,
        Consumer::Pod(pod) => tell_pod(host, node, pod).await,
        Consumer::Unit(unit) => tell_unit(host, unit).await,
        Consumer::RereadsByItself(_) => Ok(Way::Told("rereads by itself")),
    }
}

/// Tells a pod that a file it reads has changed, or asks for it to be started anew.
async fn tell_pod(host: &Host, node: &Node, pod: &str) -> Result<Way, String> {
    match reload::tell(host, node, pod).await {
        Ok(PodTold::Reloaded) => Ok(Way::Told("reload")),
        Ok(PodTold::NotRunning) => Ok(Way::NotRunning),
        Ok(PodTold::Unknown) => match restarts::ask(host, node, pod) {
            Ok(Asked::Left) => Ok(Way::RestartPod(pod.to_owned())),
            Ok(Asked::NotThere) => Ok(Way::NotRunning),
            Err(error) => Err(format!("it cannot be started anew: {error}")),
        },
        Err(error) => Err(error.to_string()),
    }
}

async fn tell_unit(host: &Host, unit: &str) -> Result<Way, String> {
    match systemd::reload_or_restart(host, unit).await? {
        UnitTold::Reloaded => Ok(Way::Told("reload")),
        UnitTold::Restarted => Ok(Way::Told("restart")),
        UnitTold::NotRunning => Ok(Way::NotRunning),
    }
}

/// What came of telling those that a file other than a certificate's has changed; there is nothing to shake hands with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spread {
    /// As of a certificate, without proofs.
    pub(crate) activation: Activation,
    /// Who could not be told, and why; the others were.
    pub(crate) failures: Vec<String>,
}

/// Tells all of `reloads` that a file they read has changed.
pub(crate) async fn tell_reloads(host: &Host, node: &Node, reloads: &[Reload]) -> Spread {
    let mut spread = Spread::default();
    for consumer in consumers::told_by(reloads) {
        let telling = async {
            match &consumer {
                Consumer::Haproxy => tell_pod(host, node, control::HAPROXY).await,
                Consumer::Pod(pod) => tell_pod(host, node, pod).await,
                Consumer::Unit(unit) => tell_unit(host, unit).await,
                Consumer::RereadsByItself(_) => Ok(Way::Told("rereads by itself")),
            }
        };
        if let Err(reason) = note(&mut spread.activation, &consumer, telling).await {
            spread.failures.push(format!("{consumer}: {reason}"));
        }
    }
    spread
}

/// Waits for one telling, not for ever, and notes what came of it.
async fn note(
    activation: &mut Activation,
    consumer: &Consumer,
    telling: impl Future<Output = Result<Way, String>>,
) -> Result<(), String> {
    let start = Instant::now();
    let done = match timeout(TELL_LIMIT, telling).await {
        Ok(done) => done?,
        Err(_) => return Err(format!("no answer within {} s", TELL_LIMIT.as_secs())),
    };
    let consumer = consumer.to_string();
    match done {
        Way::Told(way) => activation.told.push(Told::since(start, consumer, way)),
        Way::RestartPod(pod) => activation.restart_pods.push(pod),
        Way::NotRunning => {
            let reason = "does not run; it reads its files when it starts".to_owned();
            activation.skipped.push(Skipped { what: consumer, reason });
        }
    }
    Ok(())
}
