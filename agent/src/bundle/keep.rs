//! Keeping what was committed: repaired, pruned of what left, and given away when somebody else has all of it.

use std::rc::Rc;

use basalt_kstatus::Status;
use basalt_model::node::Bundle as Wanted;
use serde_json::Value;

use super::api::{Api, ApiError};
use super::applier::{Applier, Live, Stop};
use super::apply::Done;
use super::artefact::Bundle;
use super::fields::{is_taken_over, owned, release_patch};
use super::inventory::{Entry, Inventory, PART_OF, Stored, apply_set};
use super::object::Object;
use super::report::State;
use super::waves::verdict;
use crate::host::service::unix_seconds;

impl Applier {
    /// A round over a committed bundle. It writes nothing where nothing has changed.
    pub(super) async fn keep(
        &mut self,
        api: &mut Api,
        stored: &mut Stored,
        bundle: &Rc<Bundle>,
        wanted: &Wanted,
    ) -> Result<std::time::Duration, Stop> {
        let before = stored.inventory.clone();
        let mut live = self.survey(api, &stored.inventory, &bundle.objects).await?;
        forget_settled(&mut stored.inventory, &live);
        if let Some(manager) = wanted.owner.manager()
            && self.hand_over(api, stored, bundle, &live, manager).await?
        {
            self.rows(bundle, &live);
            self.say(State::HandedOver, format!("`{manager}` has every field; this only looks"));
            return Ok(self.interval());
        }
        let mut outcome = Ok(());
        for object in &bundle.objects {
            match self.ensure(api, stored, object, &mut live).await {
                Ok(Done::Written) => self.picture.counts.applied += 1,
                Ok(Done::Nothing) => {}
                // The others are kept up nevertheless.
                Err(stop) if stop.is_about_an_object() => {
                    self.picture.counts.failed += 1;
                    outcome = Err(stop);
                }
                Err(stop) => {
                    outcome = Err(stop);
                    break;
                }
            }
        }
        if outcome.is_ok() {
            self.prune(api, stored, bundle).await?;
        }
        if stored.inventory != before && !matches!(outcome, Err(Stop::Lost)) {
            self.write(api, stored).await?;
        }
        self.picture.contested.clone_from(&stored.inventory.contested);
        self.rows(bundle, &live);
        outcome?;
        let now = unix_seconds();
        let judged =
            |object: &'_ Object| (verdict(object, live.get(&object.key), now), object.key.clone());
        let unwell: Vec<_> = bundle
            .objects
            .iter()
            .filter(|object| judged(object).0.status != Status::Current)
            .map(|object| (object, judged(object).0))
            .collect();
        self.explain(api, &unwell, &live).await;
        let release = &bundle.release;
        match unwell.first() {
            None => {
                self.picture.succeeded = Some(now);
                self.say(State::Committed, format!("generation {release} is as committed"));
            }
            Some((object, verdict)) => self.say(
                State::Degraded,
                format!("generation {release} is committed; {}: {}", object.key, verdict.message),
            ),
        }
        Ok(self.interval())
    }

    /// Deletes what the bundle no longer has, last waves first, each by its UID. What has to end first holds up what
    /// comes before it.
    async fn prune(
        &mut self,
        api: &Api,
        stored: &mut Stored,
        bundle: &Rc<Bundle>,
    ) -> Result<(), Stop> {
        let leaving: Vec<Entry> =
            stored.inventory.leaving(&bundle.objects).into_iter().cloned().collect();
        let mut lasting = None;
        for entry in leaving {
            if lasting.is_some_and(|wave| wave > entry.wave) {
                break;
            }
            if !self.prune_one(api, stored, &entry).await? {
                lasting = Some(entry.wave);
                continue;
            }
            stored.inventory.entries.retain(|it| it.key != entry.key);
            stored.inventory.contested.retain(|it| it.key != entry.key);
        }
        Ok(())
    }

    /// Deletes one. Gives whether it is no longer our business.
    async fn prune_one(
        &mut self,
        api: &Api,
        stored: &mut Stored,
        entry: &Entry,
    ) -> Result<bool, Stop> {
        let key = &entry.key;
        if entry.is_kept || key.holds_data() {
            tracing::info!(object = %key, "no longer in the bundle, and left alone");
            return Ok(true);
        }
        // With its kind, every object of it has gone.
        let Ok(served) = api.served(key, &entry.version) else { return Ok(true) };
        let Some(seen) = api.get(&served, key).await? else { return Ok(true) };
        let Some(uid) = seen["metadata"]["uid"].as_str() else { return Ok(true) };
        let is_ours = match &entry.uid {
            Some(applied) => applied == uid,
            // It was about to be applied when somebody pulled the plug: ours if it has our label and our fields.
            None => seen["metadata"]["labels"][PART_OF] == apply_set() && owned(&seen).is_some(),
        };
        if !is_ours {
            tracing::warn!(object = %key, "another object has its name now, and is left alone");
            return Ok(true);
        }
        if seen.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(false);
        }
        let permit = self.leave_to_write(api, stored).await?;
        match api.delete(&served, key, uid, permit).await {
            Ok(()) => {
                self.picture.counts.pruned += 1;
                tracing::info!(object = %key, %uid, "pruned");
            }
            Err(error) if error.is_missing() || error.is_outrun() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(api.get(&served, key).await?.is_none())
    }

    /// Lets go of every object when `manager` owns all that we do. Gives whether it has everything now.
    async fn hand_over(
        &mut self,
        api: &Api,
        stored: &mut Stored,
        bundle: &Rc<Bundle>,
        live: &Live,
        manager: &str,
    ) -> Result<bool, Stop> {
        let is_taken = |object: &Object| {
            live.get(&object.key)
                .is_some_and(|seen| object.create_only || is_taken_over(seen, manager))
        };
        if !bundle.objects.iter().all(is_taken) {
            return Ok(false);
        }
        // Written down first: nobody applies any more, whatever happens on the way.
        stored.inventory.handed_to = Some(manager.to_owned());
        self.write(api, stored).await?;
        tracing::info!(%manager, "handing the bundle over");
        self.let_go(api, bundle, live).await?;
        Ok(true)
    }

    /// Takes our name off every object. The fields stay as they are, since others own them too.
    async fn let_go(&mut self, api: &Api, bundle: &Rc<Bundle>, live: &Live) -> Result<(), Stop> {
        for object in &bundle.objects {
            let Some(patch) = live.get(&object.key).and_then(release_patch) else { continue };
            let served = api.served(&object.key, &object.version)?;
            let permit = self.lease.guard(api).await?;
            match api.patch(&served, &object.key, &patch, permit).await {
                Ok(_) => {}
                Err(ApiError::Late) => return Err(Stop::Lost),
                // It has changed meanwhile, and is looked at again in the next round.
                Err(error) if error.is_outrun() || !error.is_away() => {
                    tracing::debug!(object = %object.key, %error, "not let go yet");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A round over a bundle that was handed over: looks, and lets go where that was not finished.
    pub(super) async fn watch(
        &mut self,
        api: &Api,
        stored: &Stored,
        wanted: &Wanted,
    ) -> Result<(), Stop> {
        let Ok(bundle) = self.load(&wanted.reference, wanted).await else { return Ok(()) };
        let live = self.survey(api, &stored.inventory, &bundle.objects).await?;
        if let Some(manager) = &stored.inventory.handed_to {
            let held = |object: &Object| {
                live.get(&object.key).is_some_and(|seen: &Value| {
                    owned(seen).is_some() && is_taken_over(seen, manager)
                })
            };
            if bundle.objects.iter().any(held) {
                self.let_go(api, &bundle, &live).await?;
            }
        }
        self.picture.problems.clear();
        self.rows(&bundle, &live);
        Ok(())
    }
}

/// Fields that were contested and whose other manager has gone are ours again.
fn forget_settled(inventory: &mut Inventory, live: &Live) {
    inventory.contested.retain(|contested| {
        let Some(seen) = live.get(&contested.key) else { return false };
        let list = seen.pointer("/metadata/managedFields").and_then(Value::as_array);
        list.into_iter().flatten().any(|entry| entry["manager"] == contested.manager.as_str())
    });
}
