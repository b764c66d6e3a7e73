//! Applying objects: each only where something is to change, by its owner, and with time left to do so.

use std::collections::BTreeSet;
use std::rc::Rc;

use basalt_kstatus::{Status, Verdict};
use kube::core::params::ListParams;
use serde_json::{Value, json};

use super::api::{Api, ApiError, Dry, Force, Served, Whole};
use super::applier::{Applier, Live, Stop};
use super::artefact::Bundle;
use super::contested::yielded;
use super::fields::{Conflict, last_other, owned_hash};
use super::inventory::{Contested, Entry, Inventory, PART_OF, Stored, apply_set};
use super::lease::{self, Permit};
use super::object::{Key, Object, differences};
use super::preflight::Refusal;
use super::report::Row;
use super::trouble;
use super::waves::{closed_gate, has_status, verdict};
use crate::host::service::unix_seconds;

/// An object that others change while we apply it is read anew this often.
const ATTEMPTS: usize = 4;
/// Of so many objects that are not well, events and logs are looked at.
const LOOKED_AT: usize = 3;

/// What applying did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Nothing,
    Written,
}

impl Applier {
    /// Everything of ours as it is: one list for each kind in each namespace, and single objects only where the list does not have them.
    pub(super) async fn survey(
        &mut self,
        api: &Api,
        inventory: &Inventory,
        objects: &[Object],
    ) -> Result<Live, Stop> {
        let mut live = Live::new();
        let mut kinds: Vec<(Served, BTreeSet<Option<&str>>, bool)> = Vec::new();
        let of_objects = objects.iter().map(|it| (&it.key, it.version.as_str()));
        let of_entries = inventory.entries.iter().map(|it| (&it.key, it.version.as_str()));
        for (key, version) in of_objects.chain(of_entries) {
            // What is not served has no objects.
            let Ok(served) = api.served(key, version) else { continue };
            // In the namespaces of ours alone: nobody need let us look at others.
            let namespace = key.namespace.as_deref().filter(|_| served.is_namespaced);
            match kinds.iter_mut().find(|(known, ..)| {
                known.resource.group == key.group && known.resource.kind == key.kind
            }) {
                Some((_, namespaces, _)) => drop(namespaces.insert(namespace)),
                None => kinds.push((served, [namespace].into(), has_status(key))),
            }
        }
        let ours = ListParams::default().labels(&format!("{PART_OF}={}", apply_set()));
        for (served, namespaces, has_status) in &kinds {
            let whole = if *has_status { Whole::Objects } else { Whole::Metadata };
            for namespace in namespaces {
                for mut object in api.list(&served.resource, *namespace, &ours, whole).await? {
                    // A list says once what all of its items are.
                    object["apiVersion"] = json!(served.resource.api_version);
                    object["kind"] = json!(served.resource.kind);
                    if let Some(key) = Key::of(&object) {
                        live.insert(key, object);
                    }
                }
            }
        }
        // Without its label, an object is in no list.
        let was_there = inventory.entries.iter().filter(|entry| entry.uid.is_some());
        let made_once = objects.iter().filter(|object| object.create_only);
        let single = was_there
            .map(|it| (&it.key, &it.version))
            .chain(made_once.map(|it| (&it.key, &it.version)));
        for (key, version) in single {
            if live.contains_key(key) {
                continue;
            }
            let Ok(served) = api.served(key, version) else { continue };
            if let Some(object) = api.get(&served, key).await? {
                live.insert(key.clone(), object);
            }
        }
        Ok(live)
    }

    /// Applies wave after wave. Gives the first that is not well, where it stops.
    pub(super) async fn apply_waves(
        &mut self,
        api: &mut Api,
        stored: &mut Stored,
        bundle: &Rc<Bundle>,
    ) -> Result<Option<String>, Stop> {
        let mut live = self.survey(api, &stored.inventory, &bundle.objects).await?;
        let mut outcome = Ok(None);
        for (wave, name) in bundle.waves.iter().enumerate() {
            let objects = || bundle.objects.iter().filter(|object| object.wave == wave);
            let mut written = 0;
            for object in objects() {
                match self.ensure(api, stored, object, &mut live).await {
                    Ok(Done::Written) => {
                        written += 1;
                        self.picture.counts.applied += 1;
                    }
                    Ok(Done::Nothing) => {}
                    Err(stop) => {
                        self.picture.counts.failed += u64::from(stop.is_about_an_object());
                        outcome = Err(stop);
                        break;
                    }
                }
            }
            if written > 0 && !matches!(outcome, Err(Stop::Lost)) {
                tracing::info!(wave = %name, objects = written, "applied");
                self.write(api, stored).await?;
            }
            if outcome.is_err() {
                break;
            }
            let of_wave: Vec<Object> = objects().cloned().collect();
            let gate = closed_gate(&of_wave, &live, unix_seconds());
            let unserved = match gate.is_none() && of_wave.iter().any(|it| it.key.is_definition()) {
                true => self.unserved(api, &of_wave).await?,
                false => None,
            };
            if gate.is_some() || unserved.is_some() {
                let waiting = gate.map(|(_, waiting)| waiting).unwrap_or_default();
                self.explain(api, &waiting, &live).await;
                outcome = Ok(Some(name.clone()));
                break;
            }
        }
        self.rows(bundle, &live);
        outcome
    }

    /// Whether the kinds that a wave defines can be used: the definition is established a moment earlier.
    async fn unserved(&mut self, api: &mut Api, wave: &[Object]) -> Result<Option<Key>, Stop> {
        let missing = |api: &Api| {
            let definitions = wave.iter().filter(|object| object.key.is_definition());
            let mut unserved = definitions.filter(|object| !is_served(api, &object.body));
            unserved.next().map(|object| object.key.clone())
        };
        if missing(api).is_some() {
            self.rediscover(api).await?;
        }
        Ok(missing(api))
    }

    /// Makes an object what it is to be, unless it is that already.
    pub(super) async fn ensure(
        &mut self,
        api: &Api,
        stored: &mut Stored,
        object: &Object,
        live: &mut Live,
    ) -> Result<Done, Stop> {
        let mut object = yielded(object, &stored.inventory.contested);
        let key = object.key.clone();
        let entry = stored.inventory.entry(&key).cloned();
        if let Some(seen) = live.get(&key) {
            if object.create_only {
                return Ok(Done::Nothing);
            }
            if is_as_applied(entry.as_ref(), seen) && was_sent(entry.as_ref(), &object) {
                return Ok(Done::Nothing);
            }
        }
        let served = api.served(&key, &object.version)?;
        check_scope(&served, &key)?;
        // Drift is what happened to an object that had all that is wanted now.
        let is_drift = was_sent(entry.as_ref(), &object);
        let mut lost = Vec::new();
        if is_drift && live.contains_key(&key) {
            match api.get(&served, &key).await? {
                Some(before) => {
                    lost = lost_fields(&object, &before);
                    live.insert(key.clone(), before);
                }
                None => {
                    live.remove(&key);
                }
            }
        }
        for _ in 0..ATTEMPTS {
            let permit = self.leave_to_write(api, stored).await?;
            let answer = send(api, &served, &object, live.get(&key), permit).await;
            match answer {
                Ok(applied) => {
                    if is_drift {
                        tracing::info!(object = %key, "put right what was changed or gone");
                    }
                    record(&mut stored.inventory, &object, &applied);
                    live.insert(key, applied);
                    // Fields that were removed, and that nobody has: no conflict has told of them.
                    self.yield_contested(stored, &mut object, &lost);
                    return Ok(Done::Written);
                }
                Err(error) if !error.conflicts().is_empty() => {
                    let is_ours = entry.as_ref().is_some_and(|entry| {
                        let uid = live.get(&key).and_then(|it| it["metadata"]["uid"].as_str());
                        entry.hash.is_some() && entry.uid.as_deref() == uid
                    });
                    if !is_ours && !stored.is_wanted_back {
                        let conflicts = error.conflicts();
                        return Err(Stop::Refused(vec![Refusal::Foreign { key, conflicts }]));
                    }
                    self.yield_contested(stored, &mut object, &error.conflicts());
                    let seen = live.get(&key);
                    let body = with_identity(&object.body, seen);
                    let dry = Dry::Real(self.lease.guard(api).await?);
                    match api.apply(&served, &key, &body, dry, Force::Yes).await {
                        Ok(applied) => {
                            tracing::info!(object = %key, "took fields back");
                            record(&mut stored.inventory, &object, &applied);
                            live.insert(key, applied);
                            return Ok(Done::Written);
                        }
                        Err(error) if error.is_outrun() => {}
                        Err(error) => return Err(refused(&key, error)),
                    }
                }
                Err(error) if error.already_exists() || error.is_outrun() => {}
                Err(error) => return Err(refused(&key, error)),
            }
            // Somebody was quicker: look again.
            match api.get(&served, &key).await? {
                Some(seen) => {
                    live.insert(key.clone(), seen);
                }
                None => {
                    live.remove(&key);
                }
            }
            if object.create_only && live.contains_key(&key) {
                return Ok(Done::Nothing);
            }
        }
        let message = "others change it all the time".to_owned();
        Err(Stop::Object { key, message })
    }

    /// Makes sure that a write of ours may begin, and that none of an earlier holder's to the inventory can follow.
    pub(super) async fn leave_to_write(
        &mut self,
        api: &Api,
        stored: &mut Stored,
    ) -> Result<Permit, Stop> {
        if !self.is_fenced {
            self.write(api, stored).await?;
        }
        Ok(self.lease.guard(api).await?)
    }

    /// Counts fields that were lost, and yields those that are contested now.
    fn yield_contested(&mut self, stored: &mut Stored, object: &mut Object, lost: &[Conflict]) {
        if stored.is_wanted_back {
            return;
        }
        let key = object.key.clone();
        for conflict in lost {
            if self.losses.count(&key, conflict, lease::now()) {
                let contested = Contested {
                    key: key.clone(),
                    field: conflict.field.clone(),
                    manager: conflict.manager.clone(),
                };
                if !stored.inventory.contested.contains(&contested) {
                    tracing::warn!(object = %key, field = %conflict.field, manager = %conflict.manager,
                        "a field is contested, and left to the other manager");
                    stored.inventory.contested.push(contested);
                }
            }
        }
        *object = yielded(object, &stored.inventory.contested);
        self.picture.contested.clone_from(&stored.inventory.contested);
    }

    /// Says what is waited for, with what there is to know about the worst of it.
    pub(super) async fn explain(&mut self, api: &Api, waiting: &[(&Object, Verdict)], live: &Live) {
        let mut problems = Vec::new();
        let mut worst: Vec<&(&Object, Verdict)> = waiting.iter().collect();
        worst.sort_by_key(|(_, verdict)| verdict.status != Status::Failed);
        for (object, verdict) in worst.into_iter().take(LOOKED_AT) {
            let message = format!("{}: {}", verdict.status, verdict.message);
            problems.push(trouble::look(api, &object.key, live.get(&object.key), &message).await);
        }
        self.picture.problems = problems;
    }

    /// The picture of every object.
    pub(super) fn rows(&mut self, bundle: &Bundle, live: &Live) {
        let now = unix_seconds();
        let row = |object: &Object| {
            let verdict = verdict(object, live.get(&object.key), now);
            Row {
                key: object.key.clone(),
                wave: bundle.waves.get(object.wave).cloned().unwrap_or_default(),
                status: Some(verdict.status),
                message: verdict.message,
            }
        };
        self.picture.objects = bundle.objects.iter().map(row).collect();
    }
}

async fn send(
    api: &Api,
    served: &Served,
    object: &Object,
    seen: Option<&Value>,
    permit: Permit,
) -> Result<Value, ApiError> {
    let dry = Dry::Real(permit);
    if object.create_only {
        return api.create(served, &object.key, &object.body, dry).await;
    }
    let body = with_identity(&object.body, seen);
    api.apply(served, &object.key, &body, dry, Force::No).await
}

/// What is not as we want it, laid to whoever changed the object last.
fn lost_fields(object: &Object, before: &Value) -> Vec<Conflict> {
    let Some(manager) = last_other(before) else { return Vec::new() };
    let fields = differences(&object.body, before).into_iter();
    fields.map(|field| Conflict { manager: manager.to_owned(), field }).collect()
}

/// Whether the kind that a definition defines is served in every version that it wants served.
pub(super) fn is_served(api: &Api, definition: &Value) -> bool {
    let text = |pointer: &str| {
        definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let key = Key {
        group: text("/spec/group"),
        kind: text("/spec/names/kind"),
        namespace: None,
        name: String::new(),
    };
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let mut served = versions.into_iter().flatten().filter(|version| version["served"] == true);
    served.all(|version| api.served(&key, version["name"].as_str().unwrap_or_default()).is_ok())
}

/// Whether a kind's objects name a namespace where they have to, and only there.
pub(super) fn check_scope(served: &Served, key: &Key) -> Result<(), Stop> {
    let message = match (served.is_namespaced, &key.namespace) {
        (true, None) => "it names no namespace",
        (false, Some(_)) => "it names a namespace, and belongs to the cluster as a whole",
        _ => return Ok(()),
    };
    Err(Stop::Object { key: key.clone(), message: message.to_owned() })
}

/// Nobody has taken anything from what was applied.
fn is_as_applied(entry: Option<&Entry>, seen: &Value) -> bool {
    entry.is_some_and(|entry| {
        entry.uid.as_deref() == seen["metadata"]["uid"].as_str()
            && entry.owned.is_some()
            && entry.owned == owned_hash(seen)
    })
}

/// What is wanted now is what was sent last.
fn was_sent(entry: Option<&Entry>, object: &Object) -> bool {
    entry.is_some_and(|entry| entry.hash.as_ref() == Some(&object.hash))
}

/// What is sent applies to the object as it was seen, or to none.
fn with_identity(body: &Value, seen: Option<&Value>) -> Value {
    let mut body = body.clone();
    if let Some(seen) = seen {
        for name in ["uid", "resourceVersion"] {
            body["metadata"][name] = seen["metadata"][name].clone();
        }
    }
    body
}

fn record(inventory: &mut Inventory, object: &Object, applied: &Value) {
    if let Some(entry) = inventory.entry_mut(&object.key) {
        entry.uid = applied["metadata"]["uid"].as_str().map(str::to_owned);
        entry.hash = Some(object.hash.clone());
        entry.owned = owned_hash(applied);
        entry.version.clone_from(&object.version);
    }
}

pub(super) fn refused(key: &Key, error: ApiError) -> Stop {
    match error {
        ApiError::Late => Stop::Lost,
        error if error.is_away() => Stop::Api(error),
        error if error.is_unauthorized() => {
            Stop::Forbidden { key: key.clone(), message: error.to_string() }
        }
        error => Stop::Object { key: key.clone(), message: error.to_string() },
    }
}
