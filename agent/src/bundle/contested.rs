//! Fields that somebody else takes again and again: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fields::{Conflict, remove};
use super::inventory::Contested;
use super::lease::Moment;
use super::object::{Key, Object, hash};

/// A field that was lost this often is left to whoever took it.
const LIMIT: usize = 3;
/// Losses longer ago than this do not count.
const WINDOW: Duration = Duration::from_secs(600);

/// What was lost, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses(BTreeMap<(Key, Conflict), Vec<Moment>>);

impl Losses {
    /// Counts a loss. Gives whether the field is contested now.
    pub(crate) fn count(&mut self, key: &Key, conflict: &Conflict, now: Moment) -> bool {
        self.0.retain(|_, moments| {
            moments.retain(|moment| now.saturating_sub(*moment) < WINDOW);
            !moments.is_empty()
        });
        let moments = self.0.entry((key.clone(), conflict.clone())).or_default();
        moments.push(now);
        moments.len() >= LIMIT
    }
}

/// The object without the fields that are others'.
pub(crate) fn yielded(object: &Object, contested: &[Contested]) -> Object {
    let mut object = object.clone();
    let mut is_changed = false;
    for field in contested.iter().filter(|contested| contested.key == object.key) {
        is_changed |= remove(&mut object.body, &field.field);
    }
    if is_changed {
        object.hash = hash(&object.body);
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::inventory::tests::object;
    use super::*;

    #[test]
    fn three_times_in_ten_minutes() {
        let key = object("Deployment", "a", 0).key;
        let by = |manager: &str| Conflict {
            manager: manager.to_owned(),
            field: ".spec.replicas".to_owned(),
        };
        let at = Duration::from_secs;
        let mut losses = Losses::default();
        assert!(!losses.count(&key, &by("hpa"), at(0)));
        assert!(!losses.count(&key, &by("hpa"), at(100)));
        assert!(!losses.count(&key, &by("kubectl-edit"), at(110)), "somebody else");
        assert!(!losses.count(&key, &by("hpa"), at(650)), "the first is forgotten");
        assert!(losses.count(&key, &by("hpa"), at(660)));
    }

    #[test]
    fn fields_are_yielded() {
        let mut whole = object("Deployment", "a", 0);
        whole.body = json!({"spec": {"replicas": 2, "paused": false}});
        whole.hash = hash(&whole.body);
        let contested = |name: &str, field: &str| Contested {
            key: object("Deployment", name, 0).key,
            field: field.to_owned(),
            manager: "hpa".to_owned(),
        };
        assert_eq!(yielded(&whole, &[contested("b", ".spec.replicas")]), whole);
        let less = yielded(&whole, &[contested("a", ".spec.replicas")]);
        assert_eq!(less.body, json!({"spec": {"paused": false}}));
        assert_ne!(less.hash, whole.hash);
        assert_eq!(yielded(&whole, &[contested("a", ".spec.gone")]).hash, whole.hash);
    }
}
