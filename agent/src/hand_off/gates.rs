//! The gates: what has to hold before the kubelet is touched. Pure.
//!
//! Each is about something that would otherwise show only after the switch, as a node that is refused or a pod that is
//! gone.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::certificate::PairSeen;
use crate::generation::PodSetId;
use crate::plan::Plan;
use crate::probe::wanted::PodWanted;
use crate::secret::{Secret, SecretFileError};

/// One gate, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gate {
    /// What it is about, in a word.
    pub(crate) name: String,
    /// Whether the node may pass.
    pub(crate) holds: bool,
    /// What was found.
    pub(crate) evidence: String,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.holds { "holds" } else { "is closed" };
        write!(f, "gate {} {state}: {}", self.name, self.evidence)
    }
}

/// How far the node's clock may be from the API server's: less than what certificates are given in advance.
const CLOCK_TOLERANCE_SECONDS: u64 = 60;
/// The oldest minor version of Kubernetes 1 that this agent knows how to set up.
const OLDEST_MINOR: u32 = 33;
/// A kubelet may be this many minor versions behind its API server, and never ahead of it.
/// <https://kubernetes.io/releases/version-skew-policy/#kubelet>
const MOST_BEHIND: u32 = 3;

/// What the API server says to this identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiSeen {
    /// The user it takes this node for.
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    /// Its own version, `v1.36.3`.
    pub(crate) version: String,
    /// Its clock, in seconds since the Unix epoch, when it tells.
    pub(crate) unix_seconds: Option<u64>,
    /// The node object of this name, when there is one.
    pub(crate) namesake: Option<Namesake>,
}

/// A node object that has this node's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namesake {
    /// Which machine it stands for.
    pub(crate) machine_id: String,
    /// Whether that machine is at work.
    pub(crate) is_ready: bool,
}

/// The gate `name`, with what was found or what is in the way.
pub(crate) fn gate(name: &str, found: Result<String, String>) -> Gate {
    let (holds, evidence) = match found {
        Ok(evidence) => (true, evidence),
        Err(evidence) => (false, evidence),
    };
    Gate { name: name.to_owned(), holds, evidence }
}

/// The pods of the node are committed, do their work, and nothing is about to change them.
///
/// Whatever else the node may lack, such as a Vault that answers, is not asked about: the cluster may be what brings it
/// back.
pub(crate) fn pods(
    target: Option<&PodSetId>,
    committed: Option<&PodSetId>,
    plan: &Plan,
    shortcomings: &[String],
) -> Result<String, String> {
    let Some(id) = target else { return Err("no set of pods is chosen".to_owned()) };
    if committed != Some(id) {
        return Err(format!("generation {id} is not committed"));
    }
    let steps = plan.steps.iter().filter(|step| step.is_about_a_pod());
    let harmful = plan.strangers.iter().filter(|stranger| stranger.danger.is_harmful());
    let in_the_way: Vec<String> = (steps.map(ToString::to_string))
        .chain(harmful.map(|stranger| format!("{}: {stranger}", stranger.path)))
        .chain(shortcomings.iter().cloned())
        .collect();
    match in_the_way.is_empty() {
        true => Ok(format!("generation {id} is committed and serves")),
        false => Err(in_the_way.join("; ")),
    }
}

/// A certificate is there, whole, in its time, and names this kubelet.
pub(crate) fn pair(
    pair: &Result<PairSeen, String>,
    user: &str,
    address: Option<&str>,
    unix_seconds: u64,
) -> Result<String, String> {
    let pair = pair.as_ref().map_err(Clone::clone)?;
    if pair.common_name != user {
        return Err(format!("it names `{}` instead of `{user}`", pair.common_name));
    }
    if !pair.organizations.iter().any(|name| name == NODES_GROUP) {
        return Err(format!("it lacks the organisation `{NODES_GROUP}`"));
    }
    if unix_seconds < pair.not_before {
        return Err(format!(
            "it is valid only in {} s: is the clock right?",
            pair.not_before - unix_seconds
        ));
    }
    if unix_seconds >= pair.not_after {
        return Err(format!("it ended {} s ago", unix_seconds - pair.not_after));
    }
    match address {
        Some(address) if !pair.alternative_names.iter().any(|name| name == address) => {
            Err(format!("it does not hold the address {address}"))
        }
        _ => Ok(format!("valid for {} h", (pair.not_after - unix_seconds) / 3600)),
    }
}

/// The group of all kubelets.
pub(crate) const NODES_GROUP: &str = "system:nodes";

/// The API server takes this node for itself.
pub(crate) fn identity(seen: &ApiSeen, user: &str) -> Result<String, String> {
    if seen.user != user {
        return Err(format!("it takes this node for `{}` instead of `{user}`", seen.user));
    }
    if !seen.groups.iter().any(|name| name == NODES_GROUP) {
        return Err(format!("it does not count `{user}` among `{NODES_GROUP}`"));
    }
    Ok(format!("it knows `{user}`"))
}

/// No other machine of this name is at work.
pub(crate) fn name(seen: &ApiSeen, machine_id: &str) -> Result<String, String> {
    match &seen.namesake {
        Some(namesake) if namesake.is_ready && namesake.machine_id != machine_id => Err(format!(
            "another machine ({}) is a node of this name and ready",
            namesake.machine_id
        )),
        Some(_) => Ok("its node object is there".to_owned()),
        None => Ok("nobody has it".to_owned()),
    }
}

/// The clocks agree.
pub(crate) fn clock(seen: &ApiSeen, unix_seconds: u64) -> Result<String, String> {
    let Some(theirs) = seen.unix_seconds else {
        return Ok("the API server does not tell its time".to_owned());
    };
    let difference = theirs.abs_diff(unix_seconds);
    if difference > CLOCK_TOLERANCE_SECONDS {
        return Err(format!("it is {difference} s away from the API server's"));
    }
    Ok("it agrees with the API server's".to_owned())
}

/// The cluster will show the pods.
pub(crate) fn shown(pods: &[PodWanted]) -> Result<String, String> {
    let refused: Vec<&str> =
        pods.iter().filter(|pod| pod.has_bare_priority).map(|pod| pod.name.as_str()).collect();
    if refused.is_empty() {
        return Ok(format!("{} can be shown by the cluster", pods.len()));
    }
    Err(format!(
        "the API server refuses a `priority` without its `priorityClassName`, as {} has it",
        refused.join(", ")
    ))
}

/// Kubelet and API server may work together.
pub(crate) fn versions(kubelet: &Result<String, String>, api: &str) -> Result<String, String> {
    let kubelet = kubelet.as_ref().map_err(Clone::clone)?;
    let minor =
        |text: &str| minor(text).ok_or_else(|| format!("`{text}` is no version of Kubernetes 1"));
    let (own, theirs) = (minor(kubelet)?, minor(api)?);
    if own < OLDEST_MINOR {
        return Err(format!("the kubelet is {kubelet}; 1.{OLDEST_MINOR} or newer is needed"));
    }
    if own > theirs {
        return Err(format!(
            "the kubelet ({kubelet}) is newer than the API server ({api}), which is never allowed"
        ));
    }
    if theirs - own > MOST_BEHIND {
        return Err(format!(
            "the kubelet ({kubelet}) is more than {MOST_BEHIND} minor versions behind the API server ({api})"
        ));
    }
    Ok(format!("kubelet {kubelet}, API server {api}"))
}

/// The token of the first request for a certificate is there, and nobody else has seen it.
pub(crate) fn bootstrap_token(found: Result<Secret, SecretFileError>) -> Result<String, String> {
    match found {
        Ok(_) => Ok("it is there".to_owned()),
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
            Err(format!("{error}{cause}; {}", error.hint()))
        }
    }
}

/// The minor version in `v1.36.3`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.trim().strip_prefix("v1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Step;
    use crate::strangers::{Danger, Stranger};

    fn api() -> ApiSeen {
        ApiSeen {
            user: "system:node:n1".into(),
            groups: vec![NODES_GROUP.into()],
            version: "v1.36.3".into(),
            unix_seconds: Some(1000),
            namesake: None,
        }
    }

    #[test]
    fn a_bootstrap_token_is_the_nodes_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = camino::Utf8Path::from_path(folder.path()).unwrap().join("token");
        let found = || bootstrap_token(crate::secret::read_file(&file, "/x/token"));
        assert!(found().unwrap_err().starts_with("the secret file `/x/token` is not there; put"));
        std::fs::write(&file, "abcdef.0123456789abcdef\n").unwrap();
        let mode = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o600);
        assert_eq!(found(), Ok("it is there".to_owned()));
        mode(0o644);
        let closed = found().unwrap_err();
        assert!(closed.contains("`/x/token` is open to everybody: its mode is 0644; "), "{closed}");
        assert!(closed.contains("revoke it") && !closed.contains("abcdef"), "{closed}");
    }

    #[test]
    fn pods_that_are_good_and_stay_so() {
        let id = |generation| PodSetId { generation, digest: "d".repeat(64) };
        let check = |target: Option<u64>, committed: Option<u64>, plan: &Plan, bad: &[&str]| {
            let bad: Vec<String> = bad.iter().map(|line| (*line).to_owned()).collect();
            pods(target.map(id).as_ref(), committed.map(id).as_ref(), plan, &bad)
        };
        let plan = |steps: Vec<Step>| Plan { steps, strangers: Vec::new() };
        let nothing = Plan::default();
        assert!(check(Some(4), Some(4), &nothing, &[]).is_ok());
        // What is put away on the disk concerns no pod.
        let tidying = plan(vec![Step::ForgetGeneration { path: "/g".into() }]);
        assert!(check(Some(4), Some(4), &tidying, &[]).is_ok());
        assert!(check(None, Some(4), &nothing, &[]).is_err());
        assert!(check(Some(5), Some(4), &nothing, &[]).unwrap_err().contains("not committed"));
        assert!(check(Some(4), None, &nothing, &[]).is_err());
        assert_eq!(
            check(Some(4), Some(4), &nothing, &["haproxy is silent"]),
            Err("haproxy is silent".to_owned())
        );
        let changing = plan(vec![Step::RemoveConfigFile { path: "/c".into() }]);
        assert!(check(Some(4), Some(4), &changing, &[]).is_err());
        let stranger = |danger| Stranger {
            path: "/m/x.yaml".into(),
            in_manifest_directory: true,
            kind: "a file",
            pod: None,
            danger,
        };
        for (danger, fits) in [
            (Danger::Runs, true),
            (Danger::TakesPlaceOf { pod: "haproxy".into() }, false),
            (Danger::StopsKubelet, false),
        ] {
            let beside = Plan { strangers: vec![stranger(danger.clone())], ..Plan::default() };
            assert_eq!(check(Some(4), Some(4), &beside, &[]).is_ok(), fits, "{danger:?}");
        }
    }

    #[test]
    fn versions_that_work_together() {
        let check = |kubelet: &str, api: &str, fits: bool| {
            let found = versions(&Ok(kubelet.to_owned()), api);
            assert_eq!(found.is_ok(), fits, "{kubelet} {api}: {found:?}");
        };
        check("v1.36.3", "v1.36.3", true);
        check("v1.36.3", "v1.36.0", true);
        check("v1.33.1", "v1.36.3", true);
        check("v1.36.3", "v1.40.0", false);
        check("v1.36.3", "v1.35.9", false);
        check("v1.32.9", "v1.33.0", false);
        check("v1.36.0-rc.1+abc", "v1.37.0-alpha.1", true);
        check("v1.36.3", "v2.0.0", false);
        check("v1.36.3", "", false);
        assert!(versions(&Err("no kubelet".into()), "v1.36.3").is_err());
    }

    #[test]
    fn an_api_server_that_takes_the_node_for_another() {
        assert!(identity(&api(), "system:node:n1").is_ok());
        assert!(identity(&api(), "system:node:n2").is_err());
        assert!(identity(&ApiSeen { groups: Vec::new(), ..api() }, "system:node:n1").is_err());
    }

    #[test]
    fn a_name_is_one_machines() {
        let of = |machine_id: &str, is_ready| ApiSeen {
            namesake: Some(Namesake { machine_id: machine_id.into(), is_ready }),
            ..api()
        };
        assert!(name(&api(), "a").is_ok());
        assert!(name(&of("a", true), "a").is_ok());
        // It was installed anew.
        assert!(name(&of("b", false), "a").is_ok());
        assert!(name(&of("b", true), "a").is_err());
    }

    #[test]
    fn pods_that_the_cluster_refuses_to_show() {
        let of = |spec: &str| {
            let text =
                format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {spec}\n");
            shown(&[PodWanted::read(&text).unwrap()])
        };
        assert!(of("{}").is_ok());
        assert!(of("{priority: 2000001000, priorityClassName: system-node-critical}").is_ok());
        assert!(of("{priority: 5}").unwrap_err().contains("web"));
    }

    #[test]
    fn clocks() {
        assert!(clock(&api(), 1060).is_ok());
        assert!(clock(&api(), 940).is_ok());
        assert!(clock(&api(), 1061).is_err());
        assert!(clock(&ApiSeen { unix_seconds: None, ..api() }, 5).is_ok());
    }

    #[test]
    fn certificates() {
        let seen = PairSeen {
            common_name: "system:node:n1".into(),
            organizations: vec![NODES_GROUP.into()],
            alternative_names: vec!["n1".into(), "192.0.2.11".into()],
            not_before: 100,
            not_after: 200,
            der: Vec::new(),
        };
        let check = |seen: &PairSeen, user: &str, address, at, fits: bool| {
            let found = pair(&Ok(seen.clone()), user, address, at);
            assert_eq!(found.is_ok(), fits, "{found:?}");
        };
        let user = "system:node:n1";
        check(&seen, user, None, 150, true);
        check(&seen, user, Some("192.0.2.11"), 150, true);
        check(&seen, user, Some("192.0.2.12"), 150, false);
        check(&seen, user, None, 99, false);
        check(&seen, user, None, 200, false);
        // Kubernetes takes this for another user.
        check(&seen, "system:node:N1", None, 150, false);
        check(&PairSeen { organizations: Vec::new(), ..seen.clone() }, user, None, 150, false);
        assert_eq!(pair(&Err("missing".into()), user, None, 150), Err("missing".to_owned()));
    }
}
