//! Every key of quadlets and of systemd's units, and what it becomes.

mod quadlet;
mod systemd;

use basalt_model::decode::closest;

use super::notes::Notes;
use super::unit::Setting;

use quadlet::{BUILD, BUILD_IT};
pub(super) use quadlet::{BUILD_KEYS, CONTAINER, IMAGE, KUBE_KEYS, NETWORK, POD, VOLUME};
pub(super) use systemd::SERVICE;
use systemd::{CGROUP, CONDITIONS, JOBS, ORDER, PROGRAM};

/// What a key becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// An option of `podman run`, once for each value.
    Each(&'static str),
    /// The same, for each word of each value.
    Words(&'static str),
    /// The same, for the last value only.
    Last(&'static str),
    /// `--security-opt` with this in front of the last value.
    Security(&'static str),
    /// Read by the code of its format.
    Read,
    /// So anyway, for the reason given.
    Implied(&'static str),
    /// Not carried: the reason, and what to do.
    Lost(&'static str, &'static str),
}

use Key::{Implied, Lost, Read};

/// What the key of `setting` becomes; `None` where there is no such key, which is noted.
pub(super) fn find(setting: &Setting, notes: &mut Notes) -> Option<Key> {
    let (section, key) = (setting.section.as_str(), setting.key.as_str());
    if section.starts_with("X-") || key.starts_with("X-") {
        return Some(Implied("nobody reads what begins with `X-`"));
    }
    let listed = match section {
        "Container" => CONTAINER,
        "Pod" => POD,
        "Volume" => VOLUME,
        "Network" => NETWORK,
        "Kube" => KUBE_KEYS,
        "Image" => IMAGE,
        "Service" => SERVICE,
        _ => &[],
    };
    if let Some((_, found)) = listed.iter().find(|(name, _)| *name == key) {
        return Some(*found);
    }
    let has = |names: &str| names.split_ascii_whitespace().any(|name| name == key);
    let condition = key.strip_prefix("Condition").or_else(|| key.strip_prefix("Assert"));
    let found = match section {
        "Build" if BUILD_KEYS.contains(&key) => Some(Lost(BUILD, BUILD_IT)),
        "Service" if has(CGROUP) => Some(Lost(
            "the kubelet makes the pod's cgroup",
            "set `resources` where they say the same",
        )),
        "Service" if has(PROGRAM) => Some(Lost(
            "it is for the program that the unit starts, which is podman",
            "set the container's `securityContext` where it says the same",
        )),
        "Unit" if ["Description", "Documentation"].contains(&key) => {
            Some(Implied("it is for people"))
        }
        "Unit" if has(ORDER) => Some(order(key, &setting.value.text)),
        "Unit" if has(JOBS) => Some(Implied("systemd has no job for a pod")),
        "Unit"
            if condition.is_some_and(|name| {
                CONDITIONS.split_ascii_whitespace().any(|known| known == name)
            }) =>
        {
            Some(Lost(
                "a static pod starts without conditions",
                "give the manifest only to nodes that meet it",
            ))
        }
        "Install" if ["WantedBy", "RequiredBy", "UpheldBy"].contains(&key) => {
            Some(Implied("a static pod starts with the node"))
        }
        "Install" if key == "DefaultInstance" => Some(Read),
        "Install" if ["Alias", "Also"].contains(&key) => {
            Some(Lost("a pod has one name", "use the pod's name"))
        }
        "Quadlet" if key == "DefaultDependencies" => {
            Some(Implied("the kubelet starts when the network is up"))
        }
        _ => None,
    };
    if found.is_none() {
        unknown(setting, listed, notes);
    }
    found
}

/// Ordering after targets holds for the kubelet; among pods there is none.
fn order(key: &str, value: &str) -> Key {
    let is_own =
        |path: &str| ["%t/containers", "/run/containers"].iter().any(|own| path.starts_with(own));
    if key == "RequiresMountsFor" && value.split_ascii_whitespace().all(is_own) {
        return Implied("it is podman's own storage");
    }
    match value.split_ascii_whitespace().all(|unit| unit.ends_with(".target")) {
        true => Implied("the kubelet starts when the node is up"),
        false => Lost(
            "pods are not ordered, neither among themselves nor after units",
            "let the program wait for what it needs",
        ),
    }
}

fn unknown(setting: &Setting, listed: &'static [(&'static str, Key)], notes: &mut Notes) {
    const SECTIONS: [&str; 11] = [
        "Build",
        "Container",
        "Image",
        "Install",
        "Kube",
        "Network",
        "Pod",
        "Quadlet",
        "Service",
        "Unit",
        "Volume",
    ];
    let (section, key) = (setting.section.as_str(), setting.key.as_str());
    let at = setting.at();
    let suggest = |near: Option<&str>| near.map(|near| format!("did you mean `{near}`?"));
    if !SECTIONS.contains(&section) {
        let hint = suggest(closest(section, SECTIONS));
        notes.invalid(&at, format!("there is no section `{section}` here"), hint.as_deref());
        return;
    }
    let others = match section {
        "Service" => format!("{CGROUP} {PROGRAM}"),
        "Unit" => format!("{ORDER} {JOBS} Description Documentation"),
        "Install" => "WantedBy RequiredBy UpheldBy Alias Also DefaultInstance".to_owned(),
        "Build" => BUILD_KEYS.join(" "),
        "Quadlet" => "DefaultDependencies".to_owned(),
        _ => String::new(),
    };
    let known = listed.iter().map(|(name, _)| *name).chain(others.split_ascii_whitespace());
    let hint = suggest(closest(key, known));
    notes.invalid(&at, format!("`[{section}]` has no key `{key}`"), hint.as_deref());
}

#[cfg(test)]
mod tests {
    use basalt_model::report::Place;

    use super::Key::{Each, Last, Words};
    use super::*;
    use crate::import::options::named;
    use crate::import::unit::Text;

    #[test]
    fn options_of_keys_exist() {
        for (key, found) in [CONTAINER, POD, SERVICE].concat() {
            if let Each(option) | Words(option) | Last(option) = found {
                assert!(named(option).is_some(), "{key}: --{option}");
            }
        }
    }

    #[track_caller]
    fn check(section: &str, key: &str, value: &str, expected: Result<Key, &str>) {
        let setting = Setting {
            file: "f".to_owned(),
            place: Place::START,
            section: section.to_owned(),
            key: key.to_owned(),
            value: Text::of(value),
        };
        let mut notes = Notes::default();
        let found = find(&setting, &mut notes);
        let remedy = notes.0.first().and_then(|note| note.remedy.clone()).unwrap_or_default();
        assert_eq!(found.ok_or(remedy.as_str()), expected, "{section}.{key}");
    }

    #[test]
    fn known_and_unknown() {
        check("Container", "Volume", "", Ok(Each("volume")));
        check("Container", "Volumes", "", Err("did you mean `Volume`?"));
        check("Contaner", "Image", "", Err("did you mean `Container`?"));
        check("Service", "Restrat", "", Err("did you mean `Restart`?"));
        check("Unit", "Afer", "", Err("did you mean `After`?"));
        check(
            "Unit",
            "After",
            "a.target b.target",
            Ok(Implied("the kubelet starts when the node is up")),
        );
        check("Unit", "X-Own", "", Ok(Implied("nobody reads what begins with `X-`")));
        for (section, key) in [
            ("Unit", "After"),
            ("Unit", "ConditionPathExists"),
            ("Service", "CPUWeight"),
            ("Service", "ProtectHome"),
            ("Install", "Alias"),
            ("Build", "File"),
            ("Network", "Subnet"),
            ("Kube", "Yaml"),
        ] {
            let setting = Setting {
                file: "f".into(),
                place: Place::START,
                section: section.into(),
                key: key.into(),
                value: Text::of("a.service"),
            };
            assert!(
                matches!(find(&setting, &mut Notes::default()), Some(Lost(..))),
                "{section}.{key}"
            );
        }
    }
}
