//! The bundle, as one row of the node's status. Works with the API server away: it is said what was seen last.

use basalt_model::node::Bundle as Wanted;

use super::report::{self, Picture, Problem, State as Stand};
use super::show::word;
use crate::host::Host;
use crate::host::service::unix_seconds;
use crate::reconcile::Survey;
use crate::status::{Item, Kind, State, Status};

/// Rounds are seconds or minutes apart; what nobody has looked at for this long is not known.
const OLD_SECONDS: u64 = 300;
const LOOK: &str = "`basalt-agent bundle status` shows every object";
const BY_ITSELF: &str =
    "the agent goes on by itself; `basalt-agent bundle status` shows how far it is";

/// Adds the row, where the node applies a bundle.
pub(crate) fn add_to(status: &mut Status, host: &Host, survey: &Survey) {
    let wanted = survey.target().and_then(|desired| desired.node.bundle.as_ref());
    let Some(wanted) = wanted else { return };
    let item = row(wanted, report::read(host).ok().as_ref(), unix_seconds());
    status.fine &= !item.fails();
    status.items.push(item);
    status.items.sort();
}

fn row(wanted: &Wanted, picture: Option<&Picture>, now: u64) -> Item {
    let digest = wanted.reference.digest();
    let item = |state, seen: String, reason: Option<String>, hint: Option<&str>| Item {
        kind: Kind::Bundle,
        name: "operator".to_owned(),
        state,
        wanted: digest.get(.."sha256:".len() + 12).unwrap_or(digest).to_owned(),
        seen,
        reason,
        hint: hint.map(str::to_owned),
    };
    let Some(picture) = picture.filter(|picture| picture.state != Stand::None) else {
        let reason = "the service has not said anything about it yet".to_owned();
        return item(State::Unknown, "unknown".to_owned(), Some(reason), None);
    };
    let seen = match &picture.committed {
        Some(release) => format!("{}, committed generation {release}", word(picture.state)),
        None => word(picture.state),
    };
    let last = |at: Option<u64>| match at {
        Some(at) => format!("what is known is from {} s ago", now.saturating_sub(at)),
        None => "nothing is known yet".to_owned(),
    };
    if let Some(away) = &picture.away {
        let reason = Some(format!("{away}; {}", last(picture.answered)));
        return match &picture.away_hint {
            Some(hint) => item(State::Error, seen, reason, Some(hint)),
            None => item(
                State::Unknown,
                seen,
                reason,
                Some("the agent asks again by itself; look at the API servers"),
            ),
        };
    }
    if now.saturating_sub(picture.taken) > OLD_SECONDS {
        return item(State::Unknown, seen, Some(last(Some(picture.taken))), Some(LOOK));
    }
    let reason = Some(reason(picture));
    let hint = picture.problems.iter().find_map(|problem| problem.hint.as_deref());
    match picture.state {
        Stand::Refused | Stand::Stalled | Stand::Degraded => {
            item(State::Error, seen, reason, hint.or(Some(LOOK)))
        }
        // Somebody has the field now whom nobody has told to.
        Stand::Committed if !picture.contested.is_empty() => item(
            State::Drift,
            seen,
            reason,
            Some("leave the field out of the bundle, or stop its other manager"),
        ),
        Stand::None | Stand::Away | Stand::Applying | Stand::Settling | Stand::Returning => {
            item(State::Pending, seen, reason, Some(BY_ITSELF))
        }
        Stand::Paused => item(State::Ok, seen, reason, None),
        Stand::Standby | Stand::Committed | Stand::HandedOver => item(State::Ok, seen, None, None),
    }
}

/// Everything that is the matter, the worst first.
fn reason(picture: &Picture) -> String {
    let problem = |it: &Problem| match &it.object {
        Some(object) => format!("{object}: {}", it.message),
        None => it.message.clone(),
    };
    let rejected = picture
        .rejected
        .iter()
        .map(|it| format!("generation {} was given up: {}", it.release, it.reason));
    let contested = picture
        .contested
        .iter()
        .map(|it| format!("{} {}: left to `{}`", it.key, it.field, it.manager));
    let mut lines = vec![picture.message.clone()];
    for line in picture.problems.iter().map(problem).chain(rejected).chain(contested) {
        if !lines.iter().any(|known| known.contains(&line)) {
            lines.push(line);
        }
    }
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use basalt_model::node::BundleOwner;

    use super::super::inventory::tests::object;
    use super::super::inventory::{Contested, Release};
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            reference: format!("registry.lab.example/hello@sha256:{}", "1".repeat(64))
                .parse()
                .unwrap(),
            public_key: String::new(),
            kubeconfig: None,
            prune_percent: 25,
            is_paused: false,
            owner: BundleOwner::Agent,
        }
    }

    fn picture(state: Stand, message: &str) -> Picture {
        let reference = wanted().reference.to_string();
        Picture {
            taken: 1000,
            answered: Some(1000),
            state,
            message: message.to_owned(),
            committed: Some(Release { generation: 4, reference }),
            ..Picture::default()
        }
    }

    #[track_caller]
    fn check(picture: &Picture, state: State, reason: Option<&str>, hint: &str) {
        let row = row(&wanted(), Some(picture), 1010);
        assert_eq!((row.state, row.reason.as_deref()), (state, reason));
        assert!(row.hint.unwrap_or_default().contains(hint));
        assert_eq!(row.wanted, "sha256:111111111111");
        assert!(row.seen.ends_with("committed generation 4 (sha256:111111111111)"), "{}", row.seen);
    }

    #[test]
    fn the_row_says_what_is_the_matter() {
        check(&picture(Stand::Committed, "x"), State::Ok, None, "");
        check(&picture(Stand::Standby, "n2 applies the bundle"), State::Ok, None, "");
        let paused = picture(Stand::Paused, "paused until somebody resumes");
        check(&paused, State::Ok, Some("paused until somebody resumes"), "");
        let mut contested = picture(Stand::Committed, "as committed");
        contested.contested.push(Contested {
            key: object("ConfigMap", "a", 0).key,
            field: ".data.a".to_owned(),
            manager: "hpa".to_owned(),
        });
        let reason = "as committed; ConfigMap hello/a .data.a: left to `hpa`";
        check(&contested, State::Drift, Some(reason), "stop its other manager");
        let mut refused = picture(Stand::Refused, "it is not signed");
        refused.problems.push(Problem {
            message: "it is not signed".to_owned(),
            hint: Some("sign it".to_owned()),
            ..Problem::default()
        });
        check(&refused, State::Error, Some("it is not signed"), "sign it");
        let mut stalled = picture(Stand::Stalled, "no way back");
        stalled.problems.push(Problem {
            object: Some("Deployment.apps hello/a".to_owned()),
            message: "InProgress".to_owned(),
            ..Problem::default()
        });
        let reason = "no way back; Deployment.apps hello/a: InProgress";
        check(&stalled, State::Error, Some(reason), "bundle status");
        check(&picture(Stand::Applying, "wave a"), State::Pending, Some("wave a"), "by itself");
    }

    #[test]
    fn what_was_seen_last_is_said_while_the_api_server_is_away() {
        let mut away = picture(Stand::Away, "no answer");
        away.away = Some("no answer".to_owned());
        away.answered = Some(990);
        let reason = "no answer; what is known is from 20 s ago";
        check(&away, State::Unknown, Some(reason), "by itself");
        away.away_hint = Some("bring the certificate".to_owned());
        check(&away, State::Error, Some(reason), "certificate");
        let old = Picture { taken: 1, ..picture(Stand::Committed, "x") };
        check(&old, State::Unknown, Some("what is known is from 1009 s ago"), "bundle status");
        assert_eq!(row(&wanted(), None, 0).state, State::Unknown);
    }
}
