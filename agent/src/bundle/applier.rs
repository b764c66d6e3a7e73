//! One agent's part in keeping the cluster's bundle: connects, takes its turn, decides, and has it done.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use basalt_model::names::ImageReference;
use basalt_model::node::{Bundle as Wanted, Node};
use serde_json::Value;

use super::api::{Api, ApiError, Dry, Served};
use super::artefact::{self, Bundle};
use super::client::{self, ClientError, Clients};
use super::contested::Losses;
use super::decide::{Course, Rules, decide};
use super::inventory::{self, Inventory, InventoryError, Rejected, Release, Stored, Trial};
use super::kubeconfig;
use super::lease::{self, GuardError, Keeper, Moment};
use super::object::Key;
use super::preflight::Refusal;
use super::report::{self, Picture, Problem, State};
use super::time::unix_seconds_of;
use crate::host::Host;
use crate::host::service::unix_seconds;

mod telling;

use telling::problem_of;

/// How often a gate is looked at.
const GATE_INTERVAL: Duration = Duration::from_secs(2);

/// What ends a round early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Api(ApiError),
    #[error("another agent has taken over")]
    Lost,
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    #[error("{} things are in the way", .0.len())]
    Refused(Vec<Refusal>),
    #[error("cannot apply {key}: {message}")]
    Object { key: Key, message: String },
    #[error("may not apply {key}: {message}")]
    Forbidden { key: Key, message: String },
}

impl Stop {
    /// Whether one object is in the way, and others may do well.
    pub(super) fn is_about_an_object(&self) -> bool {
        match self {
            Stop::Object { .. } | Stop::Forbidden { .. } | Stop::Refused(_) => true,
            Stop::Client(_) | Stop::Api(_) | Stop::Lost | Stop::Inventory(_) => false,
        }
    }
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Stop {
        match error {
            ApiError::Late => Stop::Lost,
            error => Stop::Api(error),
        }
    }
}

impl From<GuardError> for Stop {
    fn from(error: GuardError) -> Stop {
        match error {
            GuardError::Lost => Stop::Lost,
            GuardError::Api(error) => error.into(),
        }
    }
}

/// An agent that applies.
pub(crate) struct Applier {
    pub(super) host: Host,
    me: String,
    rules: Rules,
    clients: Option<Clients>,
    api: Option<Api>,
    pub(super) lease: Keeper,
    /// Certificates (PEM) that the node trusts besides those of the system.
    authorities: String,
    /// Bundles that were loaded, by reference.
    bundles: BTreeMap<String, Rc<Bundle>>,
    pub(super) losses: Losses,
    /// Since when everything on trial is well.
    settled_from: Option<Moment>,
    /// We have written the inventory since we hold the Lease: an earlier holder's write of it can no longer succeed.
    pub(super) is_fenced: bool,
    failures: u32,
    pub(super) picture: Picture,
    published: Option<Picture>,
}

impl Applier {
    pub(crate) fn new(host: &Host, node: &Node, rules: Rules) -> Applier {
        let machine = std::fs::read_to_string(host.real("/etc/machine-id")).unwrap_or_default();
        let me = match machine.trim() {
            "" => node.name.to_string(),
            id => format!("{}/{}", node.name, id.get(..8).unwrap_or(id)),
        };
        let picture = report::read(host).unwrap_or_default().without_counts();
        Applier {
            host: host.clone(),
            lease: Keeper::new(me.clone(), rules.lease),
            me,
            rules,
            clients: None,
            api: None,
            // One that ends without a newline must not run into the next.
            authorities: node
                .trust_anchors
                .values()
                .map(|pem| format!("{}\n", pem.trim()))
                .collect(),
            bundles: BTreeMap::new(),
            losses: Losses::default(),
            settled_from: None,
            is_fenced: false,
            failures: 0,
            picture,
            published: None,
        }
    }

    /// One round. Gives how long to wait for the next.
    pub(crate) async fn round(&mut self, node: &Node) -> Duration {
        self.picture.schema = report::SCHEMA;
        self.picture.node = node.name.to_string();
        let Some(wanted) = &node.bundle else {
            self.leave().await;
            self.picture = Picture {
                schema: report::SCHEMA,
                node: node.name.to_string(),
                counts: self.picture.counts,
                message: "this node applies no bundle".to_owned(),
                ..Picture::default()
            };
            self.publish();
            return self.rules.interval;
        };
        self.picture.wanted = Some(wanted.reference.to_string());
        let laid_out = kubeconfig::lay_out(&self.host, node).map_err(Stop::from);
        let attempted = match laid_out {
            Ok(()) => self.attempt(wanted).await,
            Err(stop) => Err(stop),
        };
        let next = match attempted {
            Ok(next) => {
                self.failures = 0;
                next
            }
            Err(stop) => self.failed(stop),
        };
        self.publish();
        next
    }

    /// How often the Lease wants to be looked at between rounds.
    pub(crate) fn lease_interval(&self) -> Duration {
        lease::renew_interval(self.rules.lease)
    }

    /// Looks after the Lease between rounds. Gives whether it has come to us, or gone: a round is due.
    pub(crate) async fn tend(&mut self) -> bool {
        let Some(api) = self.api.clone() else { return false };
        let was_ours = self.lease.is_held();
        // What fails is said by the next round.
        let is_ours = self.lease.tend(&api).await.unwrap_or(was_ours);
        is_ours != was_ours
    }

    pub(super) fn interval(&self) -> Duration {
        self.rules.interval
    }

    /// Lets go of the Lease.
    pub(crate) async fn leave(&mut self) {
        if let Some(api) = self.api.clone() {
            self.lease.release(&api).await;
        }
    }

    async fn attempt(&mut self, wanted: &Wanted) -> Result<Duration, Stop> {
        let mut api = self.connect(wanted).await?;
        let stored = read_inventory(&api).await?;
        let is_ours = self.lease.tend(&api).await?;
        self.picture.answered = Some(unix_seconds());
        self.picture.away = None;
        self.picture.away_hint = None;
        self.picture.taken = unix_seconds();
        let holder = |it: &str| it.split('/').next().unwrap_or_default().to_owned();
        self.picture.holder = self.lease.holder().map(holder);
        self.describe(stored.as_ref());
        if !is_ours {
            self.is_fenced = false;
            self.standby(stored.as_ref());
            return Ok(self.rules.interval);
        }
        let loaded = self.load(&wanted.reference, wanted).await;
        let release = loaded.as_ref().map(|bundle| &bundle.release).map_err(String::as_str);
        let mut stored = stored;
        if let Some(seen) = &mut stored
            && seen.paused.as_deref().is_some_and(is_over)
        {
            seen.paused = None;
        }
        let course = decide(
            stored.as_ref(),
            release,
            wanted.is_paused,
            wanted.owner,
            unix_seconds(),
            &self.rules,
        );
        let mut stored = stored.unwrap_or_else(Stored::none);
        match course {
            Course::Paused { until } => {
                let until = match until.as_str() {
                    inventory::FOREVER => "somebody resumes".to_owned(),
                    until => until.to_owned(),
                };
                self.say(State::Paused, format!("paused until {until}"));
                Ok(self.rules.interval)
            }
            Course::Watch { manager } => {
                self.watch(&api, &stored, wanted).await?;
                self.say(
                    State::HandedOver,
                    format!("`{manager}` has every field; this only looks"),
                );
                Ok(self.rules.interval)
            }
            Course::Refuse { keep, reason } => {
                self.picture.problems =
                    vec![Problem { message: reason.clone(), ..Problem::default() }];
                if let Some(keep) = keep {
                    match self.load_release(&keep, wanted).await {
                        Ok(bundle) => {
                            let problems = self.picture.problems.clone();
                            self.keep(&mut api, &mut stored, &bundle, wanted).await?;
                            self.picture.problems.splice(0..0, problems);
                        }
                        Err(error) => self.picture.problems.push(Problem {
                            message: format!("generation {keep} cannot be kept up: {error}"),
                            ..Problem::default()
                        }),
                    }
                }
                self.say(State::Refused, reason);
                Ok(self.rules.interval)
            }
            Course::Keep(_) => {
                let bundle = loaded.expect("only a loaded bundle is committed as wanted");
                self.picture.problems.clear();
                self.keep(&mut api, &mut stored, &bundle, wanted).await
            }
            Course::Begin(_) => {
                let bundle = loaded.expect("only a loaded bundle is begun");
                self.begin(&mut api, &mut stored, &bundle, wanted).await
            }
            Course::Continue { release, .. } => match self.load_release(&release, wanted).await {
                Ok(bundle) => self.go_on(&mut api, &mut stored, &bundle, wanted).await,
                Err(error) => {
                    self.say(
                        State::Stalled,
                        format!("generation {release} cannot be applied further: {error}"),
                    );
                    Ok(self.retry())
                }
            },
            Course::Return { to, from } => {
                match self.load_release(&to, wanted).await {
                    Ok(bundle) => {
                        self.turn_back(&mut api, &mut stored, &bundle, from, wanted).await
                    }
                    Err(error) => {
                        self.say(State::Stalled, format!("generation {from} did not become well, and {to} cannot return: {error}"));
                        Ok(self.retry())
                    }
                }
            }
            Course::Stalled { release, reason } => {
                match self.load_release(&release, wanted).await {
                    Ok(bundle) => {
                        let next = self.go_on(&mut api, &mut stored, &bundle, wanted).await?;
                        if stored.inventory.trial.is_some() {
                            let what =
                                format!("generation {release} did not become well; {reason}");
                            self.say(State::Stalled, what);
                        }
                        Ok(next.max(GATE_INTERVAL))
                    }
                    Err(error) => {
                        self.say(State::Stalled, format!("{reason}; {error}"));
                        Ok(self.retry())
                    }
                }
            }
        }
    }

    /// A bundle that was not tried yet: tried out first, written down, then applied.
    async fn begin(
        &mut self,
        api: &mut Api,
        stored: &mut Stored,
        bundle: &Rc<Bundle>,
        wanted: &Wanted,
    ) -> Result<Duration, Stop> {
        let rehearsal = self.rehearse(api, &stored.inventory, bundle, wanted).await?;
        if !rehearsal.refusals.is_empty() {
            let problems: Vec<Problem> = rehearsal.refusals.iter().map(problem_of).collect();
            if let Some(keep) = stored.inventory.committed.clone()
                && stored.inventory.trial.is_none()
                && let Ok(kept) = self.load_release(&keep, wanted).await
            {
                self.keep(api, stored, &kept, wanted).await?;
            }
            self.picture.problems = problems;
            let release = &bundle.release;
            self.say(
                State::Refused,
                format!("generation {release} is not applied: {}", rehearsal.refusals[0]),
            );
            return Ok(self.retry().max(self.rules.interval));
        }
        let trial = Trial { is_one_way: rehearsal.is_one_way, ..Trial::of(&bundle.release) };
        self.begin_trial(stored, bundle, trial);
        stored.inventory.handed_to = None;
        tracing::info!(generation = bundle.release.generation, "applying a bundle");
        self.write(api, stored).await?;
        self.go_on(api, stored, bundle, wanted).await
    }

    /// The last committed bundle comes back.
    async fn turn_back(
        &mut self,
        api: &mut Api,
        stored: &mut Stored,
        bundle: &Rc<Bundle>,
        from: Release,
        wanted: &Wanted,
    ) -> Result<Duration, Stop> {
        let worst = self.picture.problems.first();
        let reason = worst.map_or("it did not become well in time".to_owned(), |problem| {
            match &problem.object {
                Some(object) => format!("{object}: {}", problem.message),
                None => problem.message.clone(),
            }
        });
        tracing::warn!(generation = from.generation, %reason, "a bundle did not become well");
        stored.inventory.rejected = Some(Rejected { release: from, reason });
        let trial = Trial { is_return: true, ..Trial::of(&bundle.release) };
        self.begin_trial(stored, bundle, trial);
        self.write(api, stored).await?;
        self.go_on(api, stored, bundle, wanted).await
    }

    /// What is applied, and what may be there of it, before the first object is.
    fn begin_trial(&mut self, stored: &mut Stored, bundle: &Bundle, trial: Trial) {
        stored.inventory.entries = stored.inventory.joined(&bundle.objects);
        stored.inventory.trial = Some(trial);
        self.settled_from = None;
    }

    /// Waves, gates, and the commitment when all has been well for a while.
    async fn go_on(
        &mut self,
        api: &mut Api,
        stored: &mut Stored,
        bundle: &Rc<Bundle>,
        wanted: &Wanted,
    ) -> Result<Duration, Stop> {
        let is_return = stored.inventory.trial.as_ref().is_some_and(|trial| trial.is_return);
        let state = if is_return { State::Returning } else { State::Applying };
        let release = bundle.release.clone();
        if let Some(wave) = self.apply_waves(api, stored, bundle).await? {
            self.settled_from = None;
            self.picture.wave = Some(wave.clone());
            self.say(state, format!("generation {release}: wave {wave} is not well yet"));
            return Ok(GATE_INTERVAL.min(self.rules.interval));
        }
        let from = *self.settled_from.get_or_insert_with(lease::now);
        let settled = lease::now().saturating_sub(from);
        self.picture.problems.clear();
        if settled < self.rules.settle {
            let left = self.rules.settle - settled;
            self.say(
                State::Settling,
                format!("generation {release}: well, committed in {} s", left.as_secs()),
            );
            return Ok(left.min(GATE_INTERVAL).min(self.rules.interval));
        }
        self.settled_from = None;
        stored.inventory.committed = Some(release.clone());
        if !is_return {
            stored.inventory.rejected = None;
        }
        let trial = stored.inventory.trial.take();
        self.picture.took_seconds = trial.map(|it| unix_seconds().saturating_sub(it.began));
        self.write(api, stored).await?;
        tracing::info!(generation = release.generation, "committed the bundle");
        self.describe(Some(stored));
        self.keep(api, stored, bundle, wanted).await
    }

    /// Writes the inventory as it is now, in the place of exactly the one that was read.
    pub(super) async fn write(&mut self, api: &Api, stored: &mut Stored) -> Result<(), Stop> {
        let permit = self.lease.guard(api).await?;
        if stored.inventory.holder != self.me {
            stored.inventory.holder.clone_from(&self.me);
            stored.inventory.epoch += 1;
        }
        let (served, key) = place();
        let written = match stored.resource_version.is_empty() {
            true => {
                let document = stored.inventory.document(None)?;
                api.create(&served, &key, &document, Dry::Real(permit)).await
            }
            false => {
                let document = stored.inventory.document(Some(stored))?;
                api.replace(&served, &key, &document, permit).await
            }
        };
        match written {
            Ok(config_map) => {
                stored.resource_version = config_map["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                self.is_fenced = true;
                Ok(())
            }
            Err(error) if error.is_outrun() || error.already_exists() => Err(Stop::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// The API server, with a client that has the certificate of now.
    pub(super) async fn connect(&mut self, wanted: &Wanted) -> Result<Api, Stop> {
        let path = camino::Utf8Path::new(wanted.kubeconfig_path());
        if let Some(clients) = client::load(&self.host, path, self.clients.as_ref()).await? {
            self.clients = Some(clients);
            self.api = None;
        }
        if let Some(api) = &self.api {
            return Ok(api.clone());
        }
        let ways = self.clients.as_ref().map(|clients| clients.ways.clone()).unwrap_or_default();
        let limit = lease::request_limit(self.rules.lease);
        let mut last = ApiError::Away("no address is known".to_owned());
        for (address, client) in ways {
            match Api::connect(client, limit).await {
                Ok(api) => {
                    self.api = Some(api.clone());
                    return Ok(api);
                }
                Err(error) => {
                    tracing::debug!(%address, %error, "no way to the API server");
                    last = error;
                }
            }
        }
        Err(last.into())
    }

    /// Remembers what is served now.
    pub(super) async fn rediscover(&mut self, api: &mut Api) -> Result<(), Stop> {
        api.rediscover().await?;
        self.api = Some(api.clone());
        Ok(())
    }

    async fn load_release(
        &mut self,
        release: &Release,
        wanted: &Wanted,
    ) -> Result<Rc<Bundle>, String> {
        let reference = release.reference.parse::<ImageReference>();
        self.load(&reference.map_err(|error| error.to_string())?, wanted).await
    }

    pub(super) async fn load(
        &mut self,
        reference: &ImageReference,
        wanted: &Wanted,
    ) -> Result<Rc<Bundle>, String> {
        // The key belongs to it: another one may have been set since.
        let name = format!("{reference} {}", wanted.public_key);
        if let Some(bundle) = self.bundles.get(&name) {
            return Ok(bundle.clone());
        }
        let bundle = artefact::load(&self.host, reference, wanted, &self.authorities)
            .await
            .map_err(|error| error.chain())?;
        // Two are in use at most: what is wanted, and what is committed.
        if self.bundles.len() > 2 {
            self.bundles.clear();
        }
        let bundle = Rc::new(bundle);
        self.bundles.insert(name, bundle.clone());
        Ok(bundle)
    }
}

/// Whether a pause has ended by itself.
fn is_over(until: &str) -> bool {
    until != inventory::FOREVER && unix_seconds_of(until).is_some_and(|it| it <= unix_seconds())
}

/// Reads the inventory.
pub(super) async fn read_inventory(api: &Api) -> Result<Option<Stored>, Stop> {
    let (served, key) = place();
    let config_map = api.get(&served, &key).await?;
    Ok(config_map.as_ref().map(Stored::of).transpose()?)
}

/// Where the inventory is.
pub(super) fn place() -> (Served, Key) {
    let key = Key {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: Some(inventory::NAMESPACE.to_owned()),
        name: inventory::NAME.to_owned(),
    };
    (Served::always("", "v1", "ConfigMap", "configmaps"), key)
}

/// Objects as they are, by key.
pub(super) type Live = BTreeMap<Key, Value>;

impl Stored {
    fn none() -> Stored {
        Stored {
            inventory: Inventory::default(),
            resource_version: String::new(),
            paused: None,
            is_wanted_back: false,
        }
    }
}
