//! Who applies: a Lease that one agent holds at a time.
//!
//! No clock is compared with another machine's. A holder counts from before it asked to renew; the others count from
//! when they last saw the Lease change. So a holder knows that its time is up before anybody else takes over, whatever
//! the clocks say, as long as they run at about the same speed.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Api, ApiError, Dry, Served};
use super::object::Key;
use super::time::rfc3339_micros;

/// How long a holder is left alone after it was last heard of.
pub(crate) const DURATION: Duration = Duration::from_secs(30);
/// Of its duration, the part after which a holder says again that it is there.
const RENEW_PART: u32 = 6;
/// Of its duration, the part that has to be left when a write begins; no request lasts as long.
const MARGIN_PART: u32 = 3;
/// Of its duration, the part that a request may last.
const REQUEST_PART: f64 = 0.25;
/// The longest that a request may last.
const MAX_REQUEST: Duration = Duration::from_secs(8);

/// How long a request may take where the Lease lasts this long.
pub(crate) fn request_limit(duration: Duration) -> Duration {
    duration.mul_f64(REQUEST_PART).min(MAX_REQUEST)
}

/// A moment on this machine's clock that nobody sets and that goes on while the machine sleeps.
pub(crate) type Moment = Duration;

/// Now, by that clock.
pub(crate) fn now() -> Moment {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How often a holder says again that it is there, and the others look.
pub(crate) fn renew_interval(duration: Duration) -> Duration {
    duration / RENEW_PART
}

/// Leave to change something, for a moment.
///
/// Whoever stood still since it was given, stopped or asleep, finds it over by the clock, however little of its own work
/// lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    until: Moment,
}

impl Permit {
    /// For what harms nobody whoever asks for it: the server compares it with what it has, or a person wants it.
    pub(crate) const ALWAYS: Permit = Permit { until: Moment::MAX };

    /// For what is asked before then.
    pub(crate) fn until(until: Moment) -> Permit {
        Permit { until }
    }

    pub(crate) fn is_over(self) -> bool {
        now() >= self.until
    }
}

/// The Lease as it was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Empty when the last holder has let go.
    pub(crate) holder: String,
    pub(crate) duration: Duration,
    pub(crate) transitions: i64,
    pub(crate) resource_version: String,
    /// When it was first seen like this.
    pub(crate) since: Moment,
}

impl Seen {
    /// Reads a Lease; `before` is what was seen of it last.
    pub(crate) fn of(lease: &Value, before: Option<&Seen>, now: Moment) -> Seen {
        let spec = &lease["spec"];
        let resource_version =
            lease["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let since = before
            .filter(|before| before.resource_version == resource_version)
            .map_or(now, |before| before.since);
        let seconds = spec["leaseDurationSeconds"].as_u64();
        Seen {
            holder: spec["holderIdentity"].as_str().unwrap_or_default().to_owned(),
            duration: seconds.map_or(DURATION, Duration::from_secs),
            transitions: spec["leaseTransitions"].as_i64().unwrap_or(0),
            resource_version,
            since,
        }
    }
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is none: make it, and hold it.
    Create,
    /// It is ours: say that we are there.
    Renew,
    /// Nobody has been heard of for too long, or the holder has let go: take it.
    Take,
    /// Somebody holds it.
    Wait,
}

/// Decides. `is_held` is whether we hold it by our own reckoning. A Lease with our name that we do not remember is that
/// of an earlier process on this machine, which is gone: only one runs at a time.
pub(crate) fn decide(me: &str, is_held: bool, seen: Option<&Seen>, now: Moment) -> Turn {
    let Some(seen) = seen else { return Turn::Create };
    let is_expired = now.saturating_sub(seen.since) > seen.duration;
    match seen.holder.as_str() {
        "" => Turn::Take,
        holder if holder == me && is_held => Turn::Renew,
        holder if holder == me => Turn::Take,
        _ if is_expired => Turn::Take,
        _ => Turn::Wait,
    }
}

/// The Lease as we write it. Times are for people; nothing is decided by them.
pub(crate) fn document(
    me: &str,
    duration: Duration,
    turn: Turn,
    seen: Option<&Seen>,
    lease: Option<&Value>,
    time: &str,
) -> Value {
    let transitions = seen.map_or(0, |seen| seen.transitions);
    let (transitions, acquired) = match turn {
        Turn::Renew => (transitions, lease.map(|lease| lease["spec"]["acquireTime"].clone())),
        Turn::Create | Turn::Take | Turn::Wait => (transitions + i64::from(seen.is_some()), None),
    };
    let mut metadata = json!({"namespace": NAMESPACE, "name": NAME});
    if let Some(seen) = seen {
        metadata["resourceVersion"] = json!(seen.resource_version);
    }
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": me,
            "leaseDurationSeconds": duration.as_secs(),
            "acquireTime": acquired.filter(|time| !time.is_null()).unwrap_or_else(|| json!(time)),
            "renewTime": time,
            "leaseTransitions": transitions,
        },
    })
}

/// Our hold on the Lease.
#[derive(Debug)]
pub(crate) struct Keeper {
    me: String,
    duration: Duration,
    seen: Option<Seen>,
    lease: Option<Value>,
    /// When we asked last to hold it, with success.
    held_from: Option<Moment>,
}

/// The Lease is not ours, or not for long enough to write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError {
    #[error("the lease is not held for long enough to write")]
    Lost,
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl Keeper {
    pub(crate) fn new(me: String, duration: Duration) -> Keeper {
        Keeper { me, duration, seen: None, lease: None, held_from: None }
    }

    /// Who holds it, as it was seen last.
    pub(crate) fn holder(&self) -> Option<&str> {
        self.seen.as_ref().map(|seen| seen.holder.as_str()).filter(|holder| !holder.is_empty())
    }

    /// Whether it is ours, by our own reckoning.
    pub(crate) fn is_held(&self) -> bool {
        !self.left(now()).is_zero()
    }

    fn left(&self, now: Moment) -> Duration {
        let until = self.held_from.map(|from| from + self.duration);
        until.map_or(Duration::ZERO, |until| until.saturating_sub(now))
    }

    /// Takes the Lease, renews it, or sees who has it, when that is due. Gives whether it is ours.
    pub(crate) async fn tend(&mut self, api: &Api) -> Result<bool, ApiError> {
        let is_fresh = self
            .held_from
            .is_some_and(|from| now().saturating_sub(from) < self.duration / RENEW_PART);
        if is_fresh {
            return Ok(true);
        }
        // By our own reckoning it may have run out; then it has to be looked at.
        if self.left(now()).is_zero() {
            self.held_from = None;
        }
        let (served, key) = place();
        if self.held_from.is_none() {
            self.lease = api.get(&served, &key).await?;
            let before = self.seen.take();
            self.seen = self.lease.as_ref().map(|it| Seen::of(it, before.as_ref(), now()));
        }
        let turn = decide(&self.me, self.held_from.is_some(), self.seen.as_ref(), now());
        let asked = now();
        let (seen, lease) = (self.seen.as_ref(), self.lease.as_ref());
        let document = document(&self.me, self.duration, turn, seen, lease, &rfc3339_micros());
        let answer = match turn {
            Turn::Wait => return Ok(false),
            Turn::Create => api.create(&served, &key, &document, Dry::Real(Permit::ALWAYS)).await,
            Turn::Renew | Turn::Take => api.replace(&served, &key, &document, Permit::ALWAYS).await,
        };
        match answer {
            Ok(lease) => {
                self.seen = Some(Seen::of(&lease, self.seen.as_ref(), asked));
                self.lease = Some(lease);
                self.held_from = Some(asked);
                Ok(true)
            }
            Err(error) if error.is_away() => Err(error),
            // Somebody else was quicker, or it has gone; the next look says.
            Err(error) if error.is_outrun() || error.already_exists() || error.is_missing() => {
                self.held_from = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes sure that a write may begin now: gives leave for it, for a time in which the Lease is ours for certain.
    ///
    /// # Errors
    /// When the Lease is not ours for long enough.
    pub(crate) async fn guard(&mut self, api: &Api) -> Result<Permit, GuardError> {
        // A renewal that fails leaves what is left of the last one.
        let tended = self.tend(api).await;
        let (now, margin) = (now(), self.duration / MARGIN_PART);
        if self.left(now) > margin {
            return Ok(Permit::until(now + margin));
        }
        tended?;
        Err(GuardError::Lost)
    }

    /// Lets go, so that another need not wait. That it cannot costs the others a moment.
    pub(crate) async fn release(&mut self, api: &Api) {
        if self.held_from.take().is_none() {
            return;
        }
        let (served, key) = place();
        if let Some(lease) = &mut self.lease {
            lease["spec"]["holderIdentity"] = json!("");
            let _ = api.replace(&served, &key, lease, Permit::ALWAYS).await;
        }
    }
}

fn place() -> (Served, Key) {
    let served = Served::always("coordination.k8s.io", "v1", "Lease", "leases");
    let key = Key {
        group: "coordination.k8s.io".to_owned(),
        kind: "Lease".to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
        name: NAME.to_owned(),
    };
    (served, key)
}

/// Where the Lease is.
pub(crate) const NAMESPACE: &str = "kube-system";
/// Its name.
pub(crate) const NAME: &str = "basalt-bundle";

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Value {
        json!({
            "metadata": {"resourceVersion": version},
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": 30, "leaseTransitions": 2,
                "acquireTime": "then",
                // Hours ahead of any clock here: it must not matter.
                "renewTime": "2099-01-01T00:00:00.000000Z",
            },
        })
    }

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn turns() {
        let other = Seen::of(&lease("n2/b", "5"), None, at(100));
        let ours = Seen::of(&lease("n1/a", "5"), None, at(100));
        let free = Seen::of(&lease("", "5"), None, at(100));
        for (seen, is_held, now, expected) in [
            (None, false, 100, Turn::Create),
            (Some(&free), false, 100, Turn::Take),
            (Some(&ours), true, 500, Turn::Renew),
            (Some(&ours), false, 100, Turn::Take),
            (Some(&other), false, 100, Turn::Wait),
            (Some(&other), true, 130, Turn::Wait),
            (Some(&other), false, 131, Turn::Take),
        ] {
            assert_eq!(
                decide("n1/a", is_held, seen, at(now)),
                expected,
                "{seen:?} {is_held} {now}"
            );
        }
    }

    /// The time of the other machine may be anything: only changes count, seen from here.
    #[test]
    fn a_holder_lives_as_long_as_its_lease_changes() {
        let mut seen = None;
        for round in 0..20 {
            let lease = lease("n2/b", &format!("{round}"));
            seen = Some(Seen::of(&lease, seen.as_ref(), at(25 * round)));
            assert_eq!(decide("n1/a", false, seen.as_ref(), at(25 * round + 24)), Turn::Wait);
        }
        let last = lease("n2/b", "19");
        let same = Seen::of(&last, seen.as_ref(), at(25 * 19 + 20));
        assert_eq!(same.since, at(25 * 19), "nothing has changed since");
        assert_eq!(decide("n1/a", false, Some(&same), at(25 * 19 + 31)), Turn::Take);
    }

    #[test]
    fn documents() {
        let seen = Seen::of(&lease("n2/b", "5"), None, at(0));
        let old = lease("n2/b", "5");
        let taken = document("n1/a", DURATION, Turn::Take, Some(&seen), Some(&old), "now");
        assert_eq!(taken["spec"]["leaseTransitions"], 3);
        assert_eq!(taken["spec"]["acquireTime"], "now");
        assert_eq!(taken["metadata"]["resourceVersion"], "5");
        let renewed = document("n2/b", DURATION, Turn::Renew, Some(&seen), Some(&old), "now");
        assert_eq!(renewed["spec"]["leaseTransitions"], 2);
        assert_eq!(renewed["spec"]["acquireTime"], "then");
        assert_eq!(renewed["spec"]["renewTime"], "now");
        let first = document("n1/a", DURATION, Turn::Create, None, None, "now");
        assert_eq!(first["spec"]["leaseTransitions"], 0);
        assert_eq!(first["metadata"].get("resourceVersion"), None);
    }
}
