//! The loop of the service: wait for a change or a timer, look, plan, apply, report.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use basalt_model::node::Node;
use basalt_static_pods::CONFIG_DIRECTORY;
use camino::Utf8PathBuf;
use sd_notify::NotifyState;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::apply::{Failure, Outcome, apply_all};
use crate::certificates;
use crate::desired::{Acceptance, Decision, Desired, decide};
use crate::generation::choose::{Choice, Known, choose};
use crate::generation::decide::Course;
use crate::generation::record::Generations;
use crate::generation::report::GenerationsReport;
use crate::hand_off;
use crate::host::generations::{self, SetsSeen};
use crate::host::ledger::{LEDGER_PATH, LedgerSeen};
use crate::host::lock::{self, LockError};
use crate::host::look::Entry;
use crate::host::service::{self, ServiceSeen, unix_seconds};
use crate::host::watch::Watcher;
use crate::host::{Host, boot, facts, restarts};
use crate::observe::{self, Observed};
use crate::phase::Phase;
use crate::plan::{Plan, Step, manifest_path, plan};
use crate::probe::look::{Looker, Subject, pods_of};
use crate::probe::{Answer, Evidence};
use crate::settings::{self, CertificatesOf, Loaded, Proof, Settings};
use crate::wire::first_speech;
use crate::wire::links::{self, Interfaces};

pub(crate) mod background;
mod numbers;
mod signals;
mod told;

use background::Background;
use signals::{Signals, links_changed, watchdog_tick};
use told::Told;

/// Where `node.json` and the folders of the agent are.
const BASALT_DIRECTORY: &str = "/etc/basalt";
/// Pause after a first round that failed, which each further one doubles, and after one that others interfered with.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Pause between looks at a set on trial.
const LOOK_AT_TRIAL: Duration = Duration::from_secs(1);
/// Pause between looks at what is not as it should be, and goes away by itself at best.
const LOOK_AT_TROUBLE: Duration = Duration::from_secs(5);
/// Changes that never stop do not keep a round from starting for longer than this many times the settle time.
const SETTLE_LIMIT: u32 = 10;

/// What keeps the service from running.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// Another one runs, or it cannot be found out.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The kernel gives no signals or watches.
    #[error("cannot set up the reconcile loop")]
    Setup(#[from] io::Error),
}

impl RunError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            RunError::Lock(error) => Some(error.hint()),
            RunError::Setup(_) => Some("look at the limits of inotify: `sysctl fs.inotify`"),
        }
    }
}

/// The host looked at once, and what follows.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    pub(crate) settings: Loaded,
    pub(crate) ledger: LedgerSeen,
    pub(crate) decision: Decision,
    /// Which set of pods the node is to have; absent when nothing can be obeyed, or nobody can choose.
    pub(crate) choice: Option<Choice>,
    pub(crate) sets: SetsSeen,
    /// What was known about health and images.
    pub(crate) evidence: Evidence,
    pub(crate) observed: Observed,
    pub(crate) plan: Plan,
}

/// Looks at the host and plans, and changes nothing. `evidence` is what is known about health and images.
pub(crate) fn survey(host: &Host, evidence: &Evidence) -> Survey {
    let settings = settings::load(host);
    let inputs = observe::inputs(host);
    let render =
        |node: &Node| basalt_static_pods::render(&links::relocated(node, &evidence.interfaces).0);
    let decision = decide(&inputs, render);
    let (sets, sets_hidden) = match generations::scan(host) {
        Ok(sets) => (sets, None),
        Err(error) => (SetsSeen::default(), Some(error.to_string())),
    };
    let now = boot::now(host);
    let no_record = Generations::default();
    let record = inputs.ledger.known().map_or(&no_record, |ledger| &*ledger.generations);
    // Of a set that is proven nobody has to ask; what its pods mount may be on a disk that does not answer any more.
    let is_proven = |desired: &&Desired| record.committed.as_ref() == Some(&desired.set().id);
    let unproven = decision.desired.as_ref().filter(|desired| !is_proven(desired));
    let lacking = unproven.map_or_else(Vec::new, |desired| facts::lacking(host, &desired.node));
    let known = Known {
        record,
        sets: &sets,
        evidence,
        lacking: &lacking,
        now: &now,
        unix_seconds: unix_seconds(),
        rules: &settings.settings.trial,
        stuck_patience: settings.settings.stuck_patience,
    };
    let choice = decision.desired.as_ref().and_then(|desired| choose(desired, &known));
    let target = target(&decision, choice.as_ref());
    let mut observed = observe::observe(host, &inputs.ledger, &sets, target);
    if let Some(reason) = sets_hidden {
        observed.hidden.insert(generations::GENERATIONS_DIRECTORY.to_owned(), reason);
    }
    let plan = match target {
        Some(target) => plan(target, &inputs.ledger, &observed, settings.settings.strangers),
        None => Plan::default(),
    };
    let evidence = evidence.clone();
    Survey { settings, ledger: inputs.ledger, decision, choice, sets, evidence, observed, plan }
}

/// As [`survey`], with what the running service knew last about health and images.
pub(crate) fn survey_as_reported(host: &Host) -> Survey {
    let evidence = match service::observe(host) {
        ServiceSeen::Running { report: Some(report), .. } => report.evidence,
        ServiceSeen::Running { report: None, .. }
        | ServiceSeen::Stopped
        | ServiceSeen::Unknown(_) => Evidence::default(),
    };
    survey(host, &evidence)
}

/// What the node is to be: the chosen set; what `node.json` asks for while nobody can choose.
fn target<'a>(decision: &'a Decision, choice: Option<&'a Choice>) -> Option<&'a Desired> {
    match choice {
        Some(choice) => choice.target.as_ref().map(|(_, desired)| desired),
        None => decision.desired.as_ref(),
    }
}

impl Survey {
    /// What the node is to be.
    pub(crate) fn target(&self) -> Option<&Desired> {
        target(&self.decision, self.choice.as_ref())
    }

    /// The node that is accepted and obeyed; what may still be refused is none.
    pub(crate) fn obeyed(&self) -> Option<&Node> {
        let desired = self.target()?;
        match desired.acceptance {
            Acceptance::Recorded => Some(&desired.node),
            Acceptance::New | Acceptance::Unverified => None,
        }
    }

    /// Where the node stands. `failures` are those of the last round.
    pub(crate) fn phase(&self, failures: &[Failure]) -> Phase {
        let choice = self.choice.as_ref();
        Phase::of(&self.decision, choice, &self.evidence, &self.plan, failures)
    }

    /// What there is to say about sets of pods.
    pub(crate) fn generations(&self) -> GenerationsReport {
        let record = self.ledger.known().map(|ledger| &*ledger.generations);
        GenerationsReport::of(record, self.choice.as_ref(), &self.evidence)
    }

    /// What the next look is about.
    pub(crate) fn subject(&self) -> Subject {
        let Some(choice) = &self.choice else { return Subject::default() };
        let pods = self.sets.whole().flat_map(pods_of);
        let known = pods.map(|pod| ((pod.namespace, pod.name), pod.grace_seconds)).collect();
        Subject {
            target: choice.target.clone(),
            images: choice.images.union(&choice.pinned).cloned().collect(),
            left: None,
            uids: self.uids(),
            known,
            overdue: Vec::new(),
        }
    }

    /// The pods whose manifests are in place, with the UIDs that these carry.
    fn uids(&self) -> BTreeMap<(String, String), Option<String>> {
        let Some(target) = self.target() else { return BTreeMap::new() };
        let entry = |pod| self.observed.entry(&manifest_path(target, pod));
        let identities = target.pods.iter().filter_map(|pod| match entry(pod) {
            Some(Entry::File(file)) => file.pod.clone(),
            _ => None,
        });
        identities.map(|pod| ((pod.namespace, pod.name), pod.uid)).collect()
    }

    /// How long what is known stays good enough.
    fn look_again(&self) -> Duration {
        let Some(choice) = &self.choice else { return self.settings.settings.interval };
        let is_well = || {
            let probes = self.evidence.health.iter().flat_map(|health| &health.probes);
            let mut answers = probes.map(|probe| probe.answer);
            answers.all(|answer| answer == Answer::Good) && self.evidence.lingering.is_empty()
        };
        match &choice.course {
            Course::Begin | Course::Watch { .. } | Course::Commit | Course::Return { .. } => {
                LOOK_AT_TRIAL
            }
            Course::Wait { .. } => LOOK_AT_TROUBLE,
            Course::Hold | Course::Rejected { .. } | Course::Stay { .. } => match is_well() {
                true => self.settings.settings.interval,
                false => LOOK_AT_TROUBLE,
            },
        }
    }

    /// Whether what is known speaks of this set, so that the next look is not due at once.
    fn is_looked_at(&self) -> bool {
        let Some(choice) = &self.choice else { return true };
        let of = self.evidence.health.as_ref().map(|health| &health.of);
        let target = choice.target.as_ref().map(|(id, _)| id);
        let is_asked = |image: &String| self.evidence.images.contains_key(image);
        of == target && choice.images.iter().all(is_asked)
    }

    /// The directories in which a change calls for a new round.
    pub(crate) fn directories(&self, host: &Host) -> BTreeSet<Utf8PathBuf> {
        let folders = self
            .observed
            .below(CONFIG_DIRECTORY)
            .filter_map(|(path, entry)| matches!(entry, Entry::Directory { .. }).then_some(path));
        let manifests = (self.target().into_iter())
            .map(|desired| desired.node.kubelet.static_pod_directory.as_str());
        [BASALT_DIRECTORY, CONFIG_DIRECTORY, restarts::REQUESTS_DIRECTORY]
            .into_iter()
            .chain(settings::DIRECTORIES)
            .chain(folders)
            .chain(manifests)
            .map(|path| host.real(path))
            .collect()
    }
}

/// Looks at the host with everything that was looked at under watch, so that no later change is missed.
pub(crate) fn watched_survey(
    host: &Host,
    evidence: &Evidence,
    watcher: &mut Watcher,
) -> (Survey, io::Result<()>) {
    let mut watched = BTreeSet::new();
    let mut result = Ok(());
    loop {
        // Whatever is in the queue happened before the look that follows.
        watcher.forget();
        let survey = survey(host, evidence);
        let directories = survey.directories(host);
        if directories == watched {
            return (survey, result);
        }
        result = watcher.watch(&directories);
        watched = directories;
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`]; once the loop runs, nothing ends it but a signal.
pub(crate) async fn run(host: &Host) -> Result<(), RunError> {
    // For the parts in the background, which stay on this thread.
    LocalSet::new().run_until(run_beside(host)).await
}

async fn run_beside(host: &Host) -> Result<(), RunError> {
    let _lock = lock::acquire(host)?;
    tokio::select! {
        biased;
        ended = rounds(host) => ended,
        never = hand_off::run(host) => match never {},
    }
}

/// The loop itself.
async fn rounds(host: &Host) -> Result<(), RunError> {
    let mut signals = Signals::new(host)?;
    let mut watcher = Watcher::new()?;
    if let Err(error) = boot::mark(host) {
        tracing::warn!(%error, "cannot tell this boot from the next: a trial counts none");
    }
    if let Err(error) = restarts::prepare(host) {
        tracing::warn!(%error, "nobody can ask for a pod to be started anew");
    }
    let mut told = Told::new();
    let mut failed_rounds = 0;
    let mut looker = Looker::default();
    let mut subject = None;
    let mut evidence = Evidence::default();
    let mut interfaces = Interfaces::new();
    let mut background = Background::start(host);
    loop {
        if let Some(subject) = &subject {
            match signals.while_running(looker.look(host, subject)).await {
                Some(seen) => evidence = seen,
                None => break,
            }
        }
        if host.is_this_machine() {
            match links::addresses() {
                Ok(addresses) => links::learn(&mut interfaces, &addresses),
                Err(error) => tracing::debug!(%error, "cannot look at the node's addresses"),
            }
            evidence.interfaces.clone_from(&interfaces);
        }
        evidence.reports = background.reports();
        let round = round(host, &evidence, &mut watcher, &mut signals).await;
        if round.outcome.stopped {
            break;
        }
        told.tell(host, &round);
        let survey = &round.survey;
        if let Some(target) = survey.target() {
            let is_wanted = |name: &str| target.pods.iter().any(|pod| pod.name.as_str() == name);
            restarts::settle(host, &target.node, is_wanted);
        }
        background.obey(survey.obeyed());
        let settings = &survey.settings.settings;
        failed_rounds = if round.failures.is_empty() { 0 } else { failed_rounds + 1 };
        subject = (settings.trial.proof == Proof::Probes).then(|| Subject {
            left: round.left(),
            overdue: round.outcome.overdue.clone(),
            ..survey.subject()
        });
        if subject.is_some() && !survey.is_looked_at() {
            continue;
        }
        let pause =
            pause(settings, failed_rounds, survey.plan.steps.len()).min(survey.look_again());
        match wait(&watcher, &mut signals, &mut background, pause).await {
            Woken::ToStop => break,
            Woken::ByTimer | Woken::ByRequest => {}
            Woken::ByChange => match settle(&watcher, &mut signals, settings.settle).await {
                Woken::ToStop => break,
                Woken::ByTimer | Woken::ByRequest | Woken::ByChange => {}
            },
        }
    }
    service::notify(&[NotifyState::Stopping]);
    Ok(())
}

/// What a round came to.
struct Round {
    /// How things are after it.
    survey: Survey,
    outcome: Outcome,
    /// Everything that could not be done.
    failures: Vec<Failure>,
}

impl Round {
    /// What is left to do until the node is what it is to be.
    fn left(&self) -> Option<String> {
        let steps = &self.survey.plan.steps;
        // Pods serve whether their images are pinned or not.
        let next = steps.iter().find(|step| !step.is_about_an_image())?;
        let reason =
            self.failures.iter().find(|it| steps.iter().any(|step| step.path() == it.path));
        Some(match reason {
            Some(failure) => failure.line(),
            None => format!("still to do: {next}"),
        })
    }
}

async fn round(
    host: &Host,
    evidence: &Evidence,
    watcher: &mut Watcher,
    signals: &mut Signals,
) -> Round {
    let (mut survey, mut watching) = watched_survey(host, evidence, watcher);
    let mut outcome = Outcome::default();
    let mut failures = Vec::new();
    let acceptance = survey.target().map(|desired| desired.acceptance);
    match acceptance {
        Some(Acceptance::Recorded | Acceptance::New) => {
            // Pods may be about to start that read them.
            if let Some(target) = survey.target() {
                failures.extend(placeholders(host, &target.node));
            }
            let gate = first_speech::split(host, &survey.plan.steps);
            outcome =
                apply_all(&gate.at_once, host, async || signals.stop.is_requested().await).await;
            failures.append(&mut outcome.failures);
            if let (Some(step), Some(target), false) = (gate.held, survey.target(), outcome.stopped)
            {
                let spoken = speak(host, &target.node, step, signals).await;
                outcome.done += spoken.done;
                outcome.stopped = spoken.stopped;
                failures.extend(spoken.failures);
            }
            if outcome.done > 0 {
                let evidence = evidence.after(&survey.plan.steps, &failures);
                (survey, watching) = watched_survey(host, &evidence, watcher);
            }
        }
        Some(Acceptance::Unverified) => failures.push(Failure {
            path: LEDGER_PATH.to_owned(),
            message: "changed nothing, because what was accepted cannot be found out".to_owned(),
            hint: Some("make /var/lib/basalt readable for the agent".to_owned()),
        }),
        None => {}
    }
    if let Err(error) = watching {
        failures.push(Failure {
            path: BASALT_DIRECTORY.to_owned(),
            message: format!("cannot watch every directory: {error}"),
            hint: Some(
                "changes are noticed by the timer only; look at `sysctl fs.inotify`".to_owned(),
            ),
        });
    }
    Round { survey, outcome, failures }
}

/// Sees to it that every certificate has files, if only a placeholder's.
fn placeholders(host: &Host, node: &Node) -> Vec<Failure> {
    let failure = |(name, message): (String, String)| Failure {
        path: format!("certificate {name}"),
        message: format!("certificate {name} has no placeholder: {message}"),
        hint: None,
    };
    match settings::load(host).settings.certificates {
        CertificatesOf::Agent => {
            certificates::ensure_placeholders(host, node).into_iter().map(failure).collect()
        }
        CertificatesOf::Others => Vec::new(),
    }
}

/// Carries out the step that starts keepalived, once nothing on the network is in its way.
async fn speak(host: &Host, node: &Node, step: Step, signals: &mut Signals) -> Outcome {
    match signals.while_running(first_speech::objections(node, &step)).await {
        None => Outcome { stopped: true, ..Outcome::default() },
        Some(objections) if objections.is_empty() => {
            apply_all(&[step], host, async || signals.stop.is_requested().await).await
        }
        Some(failures) => Outcome { failures, ..Outcome::default() },
    }
}

/// How long to wait when nothing happens. `failed_rounds` counts the last rounds in a row with failures; steps that are
/// left without a failure are changes made by others while the round was at work.
fn pause(settings: &Settings, failed_rounds: u32, steps_left: usize) -> Duration {
    match (failed_rounds.checked_sub(1), steps_left) {
        (None, 0) => settings.interval,
        (None, _) => FIRST_RETRY,
        (Some(doublings), _) => {
            let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
            FIRST_RETRY.saturating_mul(factor).min(settings.retry_limit)
        }
    }
}

/// What ended a wait.
enum Woken {
    ByChange,
    ByTimer,
    ByRequest,
    ToStop,
}

async fn wait(
    watcher: &Watcher,
    signals: &mut Signals,
    background: &mut Background,
    pause: Duration,
) -> Woken {
    let deadline = Instant::now() + pause;
    loop {
        tokio::select! {
            biased;
            () = signals.stop.wait() => return Woken::ToStop,
            _ = signals.hang_up.recv() => return Woken::ByRequest,
            () = background.changed() => return Woken::ByRequest,
            result = watcher.changed() => match result {
                Ok(()) => return Woken::ByChange,
                // The timer still works.
                Err(error) => {
                    tracing::warn!(%error, "cannot read inotify events");
                    sleep(FIRST_RETRY).await;
                    return Woken::ByChange;
                }
            },
            () = links_changed(&mut signals.links) => return Woken::ByChange,
            () = watchdog_tick(&mut signals.watchdog) => {}
            () = sleep_until(deadline) => return Woken::ByTimer,
        }
    }
}

/// Waits until changes stop coming, so that a burst becomes one round.
async fn settle(watcher: &Watcher, signals: &mut Signals, settle: Duration) -> Woken {
    let deadline = Instant::now() + settle * SETTLE_LIMIT;
    loop {
        tokio::select! {
            biased;
            () = signals.stop.wait() => return Woken::ToStop,
            () = watchdog_tick(&mut signals.watchdog) => {}
            () = sleep_until(deadline) => return Woken::ByChange,
            _ = watcher.changed() => {}
            () = sleep(settle) => return Woken::ByChange,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failed_rounds_up_to_the_limit() {
        let settings = Settings::default();
        let seconds = |failed_rounds| pause(&settings, failed_rounds, 0).as_secs();
        let pauses: Vec<u64> = (0..9).map(seconds).collect();
        assert_eq!(pauses, [60, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(u32::MAX), 60);
        assert_eq!(pause(&settings, 0, 1).as_secs(), 1);
    }
}
