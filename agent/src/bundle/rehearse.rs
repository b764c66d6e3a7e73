//! Trying a bundle out: what would change, and what is in the way, without a write.

use std::collections::BTreeMap;
use std::rc::Rc;

use basalt_model::node::Bundle as Wanted;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;

use super::api::{Api, ApiError, Dry, Force};
use super::applier::{Applier, Live, Stop};
use super::apply::{check_scope, refused};
use super::artefact::Bundle;
use super::contested::yielded;
use super::inventory::Inventory;
use super::object::{Key, Object, differences};
use super::preflight::{self, Change, Refusal};

/// So many objects are tried out at once.
const AT_ONCE: usize = 8;

/// What trying out has shown.
#[derive(Debug, Default)]
pub(crate) struct Rehearsal {
    /// In the order in which things would happen.
    pub(crate) changes: Vec<(Key, Change)>,
    pub(crate) refusals: Vec<Refusal>,
    /// Whether no earlier bundle could return.
    pub(crate) is_one_way: bool,
}

impl Applier {
    /// Tries a bundle out.
    pub(crate) async fn rehearse(
        &mut self,
        api: &Api,
        inventory: &Inventory,
        bundle: &Rc<Bundle>,
        wanted: &Wanted,
    ) -> Result<Rehearsal, Stop> {
        let mut live = match self.survey(api, inventory, &bundle.objects).await {
            // Whatever is committed can be kept up nevertheless.
            Err(Stop::Api(error)) if error.is_unauthorized() => {
                let refusals = vec![Refusal::Unseen { message: error.to_string() }];
                return Ok(Rehearsal { refusals, ..Rehearsal::default() });
            }
            surveyed => surveyed?,
        };
        let mut refusals =
            preflight::versions(&bundle.least_agent, &bundle.least_kubernetes, api.minor);
        refusals.extend(preflight::twice(&bundle.objects));
        refusals.extend(preflight::share(inventory, &bundle.objects, wanted.prune_percent));
        // What is not of ours yet is in no list of ours.
        for object in bundle.objects.iter().filter(|object| object.key.is_definition()) {
            if !live.contains_key(&object.key)
                && let Ok(served) = api.served(&object.key, &object.version)
                && let Some(seen) = api.get(&served, &object.key).await?
            {
                live.insert(object.key.clone(), seen);
            }
        }
        for object in &bundle.objects {
            if let Some(seen) = live.get(&object.key) {
                refusals.extend(preflight::lost_versions(object, seen));
            }
        }
        let mut changes = Vec::new();
        let tried = {
            let (live, namespaces) = (&live, &new_namespaces(bundle, &live));
            let one = |object: &'_ Object| {
                let object = yielded(object, &inventory.contested);
                async move {
                    let tried = try_out(api, inventory, bundle, &object, live, namespaces).await;
                    (object.key, tried)
                }
            };
            let all = stream::iter(bundle.objects.iter()).map(one).buffered(AT_ONCE);
            all.collect::<Vec<_>>().await
        };
        for (key, tried) in tried {
            match tried {
                Ok(change) => changes.push((key, change)),
                Err(Stop::Refused(more)) => refusals.extend(more),
                Err(Stop::Object { key, message }) => {
                    refusals.push(Refusal::Invalid { key, message });
                }
                Err(Stop::Forbidden { key, message }) => {
                    refusals.push(Refusal::Forbidden { key, message });
                }
                Err(stop) => return Err(stop),
            }
        }
        for entry in inventory.leaving(&bundle.objects) {
            let change = match entry.is_kept {
                true => {
                    Change::Leave { reason: "objects of this kind, or this one, stay".to_owned() }
                }
                false => Change::Prune,
            };
            changes.push((entry.key.clone(), change));
        }
        let is_one_way = preflight::is_one_way(&bundle.objects, &live);
        Ok(Rehearsal { changes, refusals, is_one_way })
    }
}

/// Namespaces that the bundle itself brings, and that are not there.
fn new_namespaces(bundle: &Bundle, live: &Live) -> BTreeMap<String, ()> {
    let namespaces = bundle.objects.iter().filter(|it| it.key.is("", "Namespace"));
    let new = namespaces.filter(|object| !live.contains_key(&object.key));
    new.map(|object| (object.key.name.clone(), ())).collect()
}

async fn try_out(
    api: &Api,
    inventory: &Inventory,
    bundle: &Bundle,
    object: &Object,
    live: &Live,
    new_namespaces: &BTreeMap<String, ()>,
) -> Result<Change, Stop> {
    let key = &object.key;
    let later = |reason: &str| Ok(Change::Later { reason: reason.to_owned() });
    let served = match api.served(key, &object.version) {
        Ok(served) => served,
        Err(_) if defines(bundle, key) => return later("its kind is not defined yet"),
        Err(error) => {
            return Err(refused(key, error));
        }
    };
    check_scope(&served, key)?;
    let seen = live.get(key);
    if object.create_only && seen.is_some() {
        return Ok(Change::Same);
    }
    let sent = match object.create_only {
        true => api.create(&served, key, &object.body, Dry::Run).await,
        false => api.apply(&served, key, &object.body, Dry::Run, Force::No).await,
    };
    let entry = inventory.entry(key);
    let is_ours = entry.is_some_and(|entry| {
        entry.hash.is_some()
            && entry.uid.as_deref() == seen.and_then(|it| it["metadata"]["uid"].as_str())
    });
    let sent = match sent {
        // What was taken from us is taken back.
        Err(error) if is_ours && !error.conflicts().is_empty() => {
            api.apply(&served, key, &object.body, Dry::Run, Force::Yes).await
        }
        sent => sent,
    };
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) if object.create_only && error.already_exists() => return Ok(Change::Same),
        Err(error) if !error.conflicts().is_empty() => {
            let conflicts = error.conflicts();
            let set = match api.get(&served, key).await? {
                Some(theirs) => preflight::foreign_set(key, &theirs),
                None => None,
            };
            if let Some(refusal) = set {
                return Err(Stop::Refused(vec![refusal]));
            }
            return Err(Stop::Refused(vec![Refusal::Foreign { key: key.clone(), conflicts }]));
        }
        Err(error) if error.is_away() => return Err(Stop::Api(error)),
        Err(error) => {
            let namespace = key.namespace.as_ref();
            if error.is_missing() && namespace.is_some_and(|it| new_namespaces.contains_key(it)) {
                return later("its namespace is not there yet");
            }
            return Err(refused(key, error));
        }
    };
    let before = before(api, &served, key, seen, &answer).await?;
    let Some(before) = before else { return Ok(Change::Create) };
    if let Some(refusal) = preflight::foreign_set(key, &before) {
        return Err(Stop::Refused(vec![refusal]));
    }
    let fields = differences(&without_bookkeeping(&answer), &before);
    Ok(if fields.is_empty() { Change::Same } else { Change::Fields { fields } })
}

/// The object before; nothing when it would be made. What was only tried out has no version.
async fn before(
    api: &Api,
    served: &super::api::Served,
    key: &Key,
    seen: Option<&Value>,
    answer: &Value,
) -> Result<Option<Value>, ApiError> {
    let is_whole = |seen: &&Value| super::waves::has_status(key) && seen.is_object();
    match (answer.pointer("/metadata/resourceVersion"), seen.filter(is_whole)) {
        (None, _) => Ok(None),
        (Some(_), Some(seen)) => Ok(Some(seen.clone())),
        (Some(_), None) => api.get(served, key).await,
    }
}

fn without_bookkeeping(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"] {
            metadata.shift_remove(name);
        }
    }
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("status");
    }
    object
}

/// Whether the bundle brings the definition of a kind.
fn defines(bundle: &Bundle, key: &Key) -> bool {
    bundle.objects.iter().filter(|object| object.key.is_definition()).any(|definition| {
        let text = |pointer: &str| definition.body.pointer(pointer).and_then(Value::as_str);
        text("/spec/group") == Some(&key.group) && text("/spec/names/kind") == Some(&key.kind)
    })
}
