//! The agent's own settings: fragments of JSON, merged, always valid.
//!
//! Fragments are `*.json` files in three directories. They merge in the order of their file names, whatever directory
//! they are in; of several files with one name the admin's beats the runtime's beats the vendor's, as in systemd.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bundle::{decide as bundle, lease};
use crate::generation::decide::Rules;
use crate::host::{Host, look};

/// The fragment directories, from the weakest to the strongest.
pub(crate) const DIRECTORIES: [&str; 3] =
    ["/usr/lib/basalt/agent.conf.d", "/run/basalt/agent.conf.d", "/etc/basalt/agent.conf.d"];

/// Pause between rounds when nothing changes. A change is noticed at once; this catches what inotify cannot see.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long things have to stay still after a change before a round starts, so that a burst becomes one round.
const SETTLE: Duration = Duration::from_millis(200);
/// The longest pause after rounds that failed; the first is one second, each next one twice as long.
const RETRY_LIMIT: Duration = Duration::from_secs(60);

/// How long the pods of a new generation may take until every probe is good.
const TRIAL_DEADLINE: Duration = Duration::from_secs(120);
/// How long every probe has to be good without a break; longer than a container takes that starts and fails at once.
const TRIAL_SETTLE: Duration = Duration::from_secs(10);
/// In how many boots an unfinished trial goes on.
const TRIAL_BOOTS: u32 = 3;
/// How long a pod may take to end beyond its grace period, before the kubelet is started anew to help.
const STUCK_PATIENCE: Duration = Duration::from_secs(60);

/// Pause between rounds over a committed bundle.
const BUNDLE_INTERVAL: Duration = Duration::from_secs(15);
/// How long everything in a bundle has to be well before it is committed.
const BUNDLE_SETTLE: Duration = Duration::from_secs(60);
/// How long a bundle may take to become well.
const BUNDLE_BUDGET: Duration = Duration::from_secs(600);

/// What the agent runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) interval: Duration,
    pub(crate) settle: Duration,
    pub(crate) retry_limit: Duration,
    pub(crate) strangers: Strangers,
    pub(crate) log_level: LogLevel,
    pub(crate) trial: Rules,
    pub(crate) stuck_patience: Duration,
    pub(crate) certificates: CertificatesOf,
    pub(crate) bundle: bundle::Rules,
}

/// Who keeps the node's certificates and secret files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CertificatesOf {
    /// The agent, from Vault.
    Agent,
    /// Somebody else: their files are read and never written.
    Others,
}

/// What proves a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// Its probes are good.
    Probes,
    /// It is written. For a node whose pods somebody else watches.
    None,
}

/// What happens to a file in the static pod directory that is not the agent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Strangers {
    /// It is reported and left alone.
    Report,
    /// It is moved to `/var/lib/basalt/quarantine`.
    Quarantine,
}

/// The least that is logged; read once, when the service starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interval: INTERVAL,
            settle: SETTLE,
            retry_limit: RETRY_LIMIT,
            strangers: Strangers::Report,
            log_level: LogLevel::Info,
            trial: Rules {
                deadline: TRIAL_DEADLINE,
                settle: TRIAL_SETTLE,
                boots: TRIAL_BOOTS,
                proof: Proof::Probes,
            },
            stuck_patience: STUCK_PATIENCE,
            certificates: CertificatesOf::Agent,
            bundle: bundle::Rules {
                interval: BUNDLE_INTERVAL,
                settle: BUNDLE_SETTLE,
                budget: BUNDLE_BUDGET,
                lease: lease::DURATION,
            },
        }
    }
}

/// What one file may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object")]
struct Fragment {
    reconcile: ReconcileFragment,
    manifests: ManifestsFragment,
    generations: GenerationsFragment,
    certificates: CertificatesFragment,
    bundle: BundleFragment,
    log: LogFragment,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object")]
struct ReconcileFragment {
    /// Pause between rounds when nothing changes, in seconds (default: 60).
    interval_seconds: Option<NonZeroU32>,
    /// Stillness after a change before a round starts, in milliseconds (default: 200).
    settle_milliseconds: Option<NonZeroU32>,
    /// Longest pause after rounds that failed, in seconds (default: 60).
    retry_limit_seconds: Option<NonZeroU32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object")]
struct ManifestsFragment {
    /// `report` or `quarantine` (default: `report`).
    strangers: Option<Strangers>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object")]
struct GenerationsFragment {
    /// How long a new generation may take until every probe is good, in seconds (default: 120).
    deadline_seconds: Option<NonZeroU32>,
    /// How long every probe has to be good without a break, in seconds (default: 10).
    settle_seconds: Option<NonZeroU32>,
    /// In how many boots an unfinished trial goes on (default: 3).
    boots: Option<NonZeroU32>,
    /// `probes` or `none` (default: `probes`).
    proof: Option<Proof>,
    /// How long a pod may take to end beyond its grace period, or the kubelet to begin with one, before the kubelet is
    /// started anew to help, in seconds (default: 60).
    stuck_seconds: Option<NonZeroU32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object")]
struct CertificatesFragment {
    /// `agent` or `others` (default: `agent`).
    keeper: Option<CertificatesOf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object")]
struct BundleFragment {
    /// Pause between rounds over a committed bundle, in seconds (default: 15).
    interval_seconds: Option<NonZeroU32>,
    /// How long everything has to be well before a bundle is committed, in seconds (default: 60).
    settle_seconds: Option<NonZeroU32>,
    /// How long a bundle may take to become well, before the last committed one returns, in seconds (default: 600).
    budget_seconds: Option<NonZeroU32>,
    /// How long after it was last heard of the applying agent is left alone, in seconds (default: 30).
    lease_seconds: Option<NonZeroU32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object")]
struct LogFragment {
    /// `error`, `warn`, `info` or `debug` (default: `info`).
    level: Option<LogLevel>,
}

impl Settings {
    fn merge(mut self, fragment: Fragment) -> Settings {
        let seconds = |value: Option<NonZeroU32>, otherwise: Duration| {
            value.map_or(otherwise, |value| Duration::from_secs(value.get().into()))
        };
        let reconcile = fragment.reconcile;
        self.interval = seconds(reconcile.interval_seconds, self.interval);
        self.retry_limit = seconds(reconcile.retry_limit_seconds, self.retry_limit);
        self.settle = reconcile
            .settle_milliseconds
            .map_or(self.settle, |value| Duration::from_millis(value.get().into()));
        self.strangers = fragment.manifests.strangers.unwrap_or(self.strangers);
        let generations = fragment.generations;
        self.trial.deadline = seconds(generations.deadline_seconds, self.trial.deadline);
        self.trial.settle = seconds(generations.settle_seconds, self.trial.settle);
        self.trial.boots = generations.boots.map_or(self.trial.boots, NonZeroU32::get);
        self.trial.proof = generations.proof.unwrap_or(self.trial.proof);
        self.stuck_patience = seconds(generations.stuck_seconds, self.stuck_patience);
        self.certificates = fragment.certificates.keeper.unwrap_or(self.certificates);
        let bundle = fragment.bundle;
        self.bundle.interval = seconds(bundle.interval_seconds, self.bundle.interval);
        self.bundle.settle = seconds(bundle.settle_seconds, self.bundle.settle);
        self.bundle.budget = seconds(bundle.budget_seconds, self.bundle.budget);
        self.bundle.lease = seconds(bundle.lease_seconds, self.bundle.lease);
        self.log_level = fragment.log.level.unwrap_or(self.log_level);
        self
    }
}

/// Settings, and the fragments that could not be used. A fragment is used as a whole or not at all: a typing error in
/// one should not keep a node from being repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// Each with its place: `/etc/basalt/agent.conf.d/a.json:3:9: unknown field …`.
    pub(crate) faults: Vec<String>,
}

/// Merges fragments: file name → path and text, or why the text could not be read.
fn merge(fragments: BTreeMap<String, (String, Result<String, String>)>) -> Loaded {
    let mut loaded = Loaded { settings: Settings::default(), faults: Vec::new() };
    for (path, text) in fragments.into_values() {
        let parsed = text.map_err(|error| format!("{path}: {error}")).and_then(|text| {
            serde_json::from_str::<Fragment>(&text).map_err(|error| place(&path, &error))
        });
        match parsed {
            Ok(fragment) => loaded.settings = loaded.settings.merge(fragment),
            Err(fault) => loaded.faults.push(fault),
        }
    }
    loaded
}

/// Reads all fragments of the host.
pub(crate) fn load(host: &Host) -> Loaded {
    let mut fragments = BTreeMap::new();
    let mut faults = Vec::new();
    for directory in DIRECTORIES {
        let entries = match host.real(directory).read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                faults.push(format!("{directory}: {error}"));
                continue;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !name.ends_with(".json") || name.starts_with('.') {
                continue;
            }
            // Through a link, since masking with /dev/null and linking to a shared file are both usual.
            let text = host
                .real(&format!("{directory}/{name}"))
                .canonicalize_utf8()
                .and_then(|path| look::read(&path))
                .map_err(|error| error.to_string())
                .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
            fragments.insert(name.to_owned(), (format!("{directory}/{name}"), text));
        }
    }
    let mut loaded = merge(fragments);
    loaded.faults.extend(faults);
    loaded
}

fn place(path: &str, error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let tail = format!(" at line {} column {}", error.line(), error.column());
    let message = whole.strip_suffix(&tail).unwrap_or(&whole);
    format!("{path}:{}:{}: {message}", error.line().max(1), error.column().max(1))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    #[track_caller]
    fn check(fragments: &[(&str, &str)], expected: Settings, faults: &[&str]) {
        let fragments = fragments
            .iter()
            .map(|(name, text)| (name.to_string(), (format!("/d/{name}"), Ok(text.to_string()))))
            .collect();
        let loaded = merge(fragments);
        assert_eq!(loaded.settings, expected);
        assert_eq!(loaded.faults, faults);
    }

    #[test]
    fn fragments_merge_in_the_order_of_their_names() {
        let default = Settings::default;
        check(&[], default(), &[]);
        check(&[("a.json", "{}")], default(), &[]);
        check(
            &[
                ("20.json", r#"{"reconcile": {"interval_seconds": 20}}"#),
                ("10.json", r#"{"reconcile": {"interval_seconds": 10, "settle_milliseconds": 1}}"#),
            ],
            Settings {
                interval: Duration::from_secs(20),
                settle: Duration::from_millis(1),
                ..default()
            },
            &[],
        );
        check(
            &[(
                "a.json",
                r#"{"manifests": {"strangers": "quarantine"}, "log": {"level": "debug"}}"#,
            )],
            Settings { strangers: Strangers::Quarantine, log_level: LogLevel::Debug, ..default() },
            &[],
        );
    }

    #[test]
    fn a_bad_fragment_is_left_out_whole() {
        check(
            &[
                ("a.json", "{\"reconcile\": {\n  \"interval_seconds\": 5,\n  \"intervall\": 1}}"),
                ("b.json", r#"{"reconcile": {"interval_seconds": 0}}"#),
                ("c.json", r#"{"reconcile": {"retry_limit_seconds": 7}}"#),
            ],
            Settings { retry_limit: Duration::from_secs(7), ..Settings::default() },
            &[
                "/d/a.json:3:13: unknown field `intervall`, expected one of `interval_seconds`, \
                 `settle_milliseconds`, `retry_limit_seconds`",
                "/d/b.json:1:36: invalid value: integer `0`, expected a nonzero u32",
            ],
        );
    }

    #[test]
    fn admin_beats_runtime_beats_vendor() {
        let keep = tempfile::tempdir().unwrap();
        let host = Host::at(Utf8Path::from_path(keep.path()).unwrap()).unwrap();
        let write = |directory: &str, name: &str, seconds: u32| {
            let directory = host.path(directory);
            std::fs::create_dir_all(&directory).unwrap();
            let text = format!(r#"{{"reconcile": {{"interval_seconds": {seconds}}}}}"#);
            std::fs::write(directory.join(name), text).unwrap();
        };
        let interval = || load(&host).settings.interval.as_secs();
        assert_eq!(interval(), INTERVAL.as_secs());
        for (seconds, directory) in (1..).zip(DIRECTORIES) {
            write(directory, "50.json", seconds);
            assert_eq!(interval(), u64::from(seconds), "{directory}");
        }
        write(DIRECTORIES[0], "60.json", 9);
        assert_eq!(interval(), 9, "a later name wins whatever its directory");
        write(DIRECTORIES[2], "70.conf", 10);
        assert_eq!(interval(), 9, "only .json counts");
    }

    /// The example that is shipped says what the defaults are.
    #[test]
    fn the_shipped_example_is_the_defaults() {
        let text = include_str!("../dist/agent.conf.d/10-defaults.json");
        check(&[("10-defaults.json", text)], Settings::default(), &[]);
    }
}
