//! Keys that a mapping does not have: what was likely meant by them.
//!
//! Most are slips of the pen. Others are right in another place, version, variant or language: Ignition's JSON, the
//! Container Linux Configs that came before Butane, cloud-config.

use basalt_model::decode::{closest, list};
use basalt_model::yaml::{Value, Yaml};

use crate::decode::Language;
use crate::schema::config::CONFIG;
use crate::schema::{Field, Kind, Type};
use crate::version::{TARGETS, Target};

/// What to do about the key `name` of a mapping of type `ty`, when that can be said.
pub(crate) fn key(ty: &'static Type, name: &str, language: Language) -> Option<String> {
    match language {
        Language::Ignition(target) => in_ignition(ty, name, target),
        Language::Butane(target) => in_butane(ty, name, target),
    }
    .or_else(|| {
        let known = ty.fields.iter().filter_map(|field| language.name(field));
        closest(name, known).map(|near| format!("did you mean `{near}`?"))
    })
    .or_else(|| elsewhere(ty, name, language))
}

/// What to do about a value that is not of the kind that is wanted.
pub(crate) fn value(yaml: &Yaml, kind: Kind) -> Option<&'static str> {
    let found = &yaml.resolved().value;
    let has = |name: &str| match found {
        Value::Map(entries) => {
            entries.iter().any(|(key, _)| key.as_scalar().is_some_and(|key| key.text == name))
        }
        _ => false,
    };
    match (kind, found) {
        (Kind::Text | Kind::RequiredText, Value::Map(_)) if has("inline") || has("source") => {
            Some("write the text itself: `inline` and `source` are for files")
        }
        (Kind::Text | Kind::RequiredText, Value::Map(_)) if has("local") => {
            Some("write the text itself, or the file's name with `contents_local`")
        }
        (Kind::Map(ty), Value::Scalar(_)) if ty.name == "a resource" => {
            Some("put text below `inline`, the name of a file below `local`, a URL below `source`")
        }
        (Kind::Map(ty), Value::Scalar(_)) if ty.name == "an owner" => {
            Some("put a name below `name`, a number below `id`")
        }
        (Kind::Maps(_, _), Value::Map(_)) => Some("start each item with `- `"),
        (Kind::Texts(_), Value::Scalar(_)) => Some("start each item with `- `, or write `[…]`"),
        (Kind::Map(_), Value::List(_)) => Some("there is one of these, so leave the `-` away"),
        _ => None,
    }
}

fn in_ignition(ty: &'static Type, name: &str, target: &'static Target) -> Option<String> {
    let is_named = |field: &&Field| field.name == Some(name) || field.ignition == Some(name);
    if let Some(ignition) = ty.of(target).find(is_named).and_then(|field| field.ignition) {
        return Some(format!("Ignition calls it `{ignition}`"));
    }
    let later = TARGETS.iter().find(|target| ty.ignition_field(name, target).is_some())?;
    Some(format!("version {} of the specification has it", later.spec.as_str()))
}

fn in_butane(ty: &'static Type, name: &str, target: &'static Target) -> Option<String> {
    if let Some(hint) = in_openshift(ty, name, target) {
        return Some(hint.to_owned());
    }
    if let Some(field) = ty.of(target).find(|field| field.ignition == Some(name)) {
        return Some(match field.name {
            Some(name) => format!("Butane calls it `{name}`"),
            None => "the compiler sets it: leave it away".to_owned(),
        });
    }
    let known: Vec<&Target> =
        TARGETS.iter().filter(|target| has(ty, name, Language::Butane(target))).collect();
    let own: Vec<&str> = known
        .iter()
        .filter(|other| other.variant == target.variant)
        .map(|target| target.version)
        .collect();
    match own[..] {
        [] => {}
        [only] => return Some(format!("version {only} of {} has it", target.variant)),
        [first, ..] => return Some(format!("{} has it from version {first} on", target.variant)),
    }
    let mut variants: Vec<&str> = known.iter().map(|target| target.variant).collect();
    variants.dedup();
    match variants[..] {
        [] => {}
        [only] => return Some(format!("only {only} has it")),
        _ => return Some(format!("{} have it", list(&variants))),
    }
    let confusion = CONFUSIONS.iter().find(|(of, key, _)| *of == ty.name && *key == name);
    confusion.map(|(_, _, hint)| (*hint).to_owned())
}

/// What later versions of openshift know, and refuse.
fn in_openshift(ty: &'static Type, name: &str, target: &Target) -> Option<&'static str> {
    target.openshift?;
    match (ty.name, name) {
        ("a config", "kernel_arguments") => Some("use `openshift.kernel_arguments`"),
        ("a config", "grub") => Some("openshift takes it from version 4.23.0-experimental on"),
        _ => None,
    }
}

/// A place nearby, or the only place, that has the key.
fn elsewhere(ty: &'static Type, name: &str, language: Language) -> Option<String> {
    let below: Vec<&str> = fields(ty, language)
        .filter(|(_, child)| child.is_some_and(|child| has(child, name, language)))
        .map(|(field, _)| field)
        .collect();
    if !below.is_empty() && below.len() <= 3 {
        return Some(format!("it belongs below `{}`", below.join("` or `")));
    }
    let mut places = Vec::new();
    places_of(&CONFIG, "", name, language, &mut places);
    let is_above = |place: &&Place| {
        fields(place.ty, language)
            .any(|(_, child)| child.is_some_and(|child| std::ptr::eq(child, ty)))
    };
    if let Some(above) = places.iter().find(is_above) {
        return Some(format!("it belongs one level up, to {}", above.ty.name));
    }
    match &places[..] {
        [place] => Some(format!("there is `{}`", place.path)),
        _ => None,
    }
}

/// Somewhere in a config.
struct Place {
    ty: &'static Type,
    /// Without positions in lists.
    path: String,
}

/// Where in a config there is a field `name`.
fn places_of(
    ty: &'static Type,
    path: &str,
    name: &str,
    language: Language,
    places: &mut Vec<Place>,
) {
    for (field, child) in fields(ty, language) {
        let path = if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        if field == name {
            places.push(Place { ty, path: path.clone() });
        }
        if let Some(child) = child {
            places_of(child, &path, name, language, places);
        }
    }
}

/// The names of the fields of a type, and the types of what is in them.
fn fields(
    ty: &'static Type,
    language: Language,
) -> impl Iterator<Item = (&'static str, Option<&'static Type>)> {
    ty.fields.iter().filter_map(move |field| {
        let child = match field.kind {
            Kind::Map(ty) | Kind::Maps(ty, _) => Some(ty),
            _ => None,
        };
        Some((language.name(field)?, child))
    })
}

fn has(ty: &'static Type, name: &str, language: Language) -> bool {
    fields(ty, language).any(|(field, _)| field == name)
}

/// Other words for things: the type, the key, and what to do. None of the keys is close enough to a right one.
const CONFUSIONS: &[(&str, &str, &str)] = &[
    // cloud-config and other tools that set up machines.
    ("a config", "bootcmd", "write a unit with `Type=oneshot`"),
    ("a config", "hostname", "write `/etc/hostname` with `storage.files`"),
    ("a config", "kargs", "use `kernel_arguments`"),
    ("a config", "network", NETWORK),
    ("a config", "packages", "build them into the image, or layer them with a unit"),
    ("a config", "runcmd", "write a unit with `Type=oneshot`"),
    ("a config", "timezone", "make `/etc/localtime` with `storage.links`"),
    ("a config", "write_files", "use `storage.files`"),
    // Container Linux Configs.
    ("a config", "docker", CONTAINER_LINUX),
    ("a config", "etcd", CONTAINER_LINUX),
    ("a config", "flannel", CONTAINER_LINUX),
    ("a config", "locksmith", CONTAINER_LINUX),
    ("a config", "networkd", NETWORK),
    ("a config", "update", CONTAINER_LINUX),
    ("the `config` section", "append", "use `merge`"),
    ("a file", "filesystem", "files are below `/`: give `storage.filesystems` a `path`"),
    ("a file system", "create", "set `format` and `wipe_filesystem` in the file system itself"),
    ("a file system", "mount", "set `device`, `format` and `path` in the file system itself"),
    ("a file system", "name", "a file system is known by its `device`"),
    ("a resource", "remote", "put the URL below `source`"),
    ("a user", "create", "set its fields in the user itself"),
    // Other words.
    ("the `storage` section", "mounts", "use `filesystems`, with `with_mount_unit: true`"),
    ("the `systemd` section", "services", "use `units`"),
    ("the `systemd` section", "timers", "use `units`"),
    ("the `kernel_arguments` section", "add", "use `should_exist`"),
    ("the `kernel_arguments` section", "append", "use `should_exist`"),
    ("the `kernel_arguments` section", "delete", "use `should_not_exist`"),
    ("the `kernel_arguments` section", "remove", "use `should_not_exist`"),
    ("the `luks` section", "clevis", "set its fields in `luks` itself"),
    ("a disk", "name", "use `device`"),
    ("a disk", "path", "use `device`"),
    ("a disk", "wipe", "use `wipe_table`"),
    ("a partition", "size", "use `size_mib`"),
    ("a partition", "start", "use `start_mib`"),
    ("a partition", "type", "use `type_guid`"),
    ("an array", "disks", "use `devices`"),
    ("an encrypted volume", "key", "use `key_file`"),
    ("an encrypted volume", "passphrase", "use `key_file`"),
    ("a file system", "type", "use `format`"),
    ("a file system", "mount_point", "use `path`"),
    ("a file system", "wipe", "use `wipe_filesystem`"),
    ("a file", "data", "use `contents.inline`"),
    ("a file", "name", "use `path`"),
    ("a file", "owner", "use `user` and `group`"),
    ("a file", "permissions", "use `mode`"),
    ("a file", "text", "use `contents.inline`"),
    ("a folder", "name", "use `path`"),
    ("a folder", "owner", "use `user` and `group`"),
    ("a folder", "permissions", "use `mode`"),
    ("a link", "destination", "use `target`"),
    ("a link", "owner", "use `user` and `group`"),
    ("a link", "to", "use `target`"),
    ("a resource", "base64", "use `inline: !!binary`, or `source: data:;base64,…`"),
    ("a resource", "content", "use `inline`"),
    ("a resource", "contents", "use `inline`"),
    ("a resource", "text", "use `inline`"),
    ("a resource", "url", "use `source`"),
    ("a tree", "source", "use `local`"),
    ("a tree", "target", "use `path`"),
    ("a unit", "active", "use `enabled`"),
    ("a unit", "masked", "use `mask`"),
    ("a unit", "start", "use `enabled`"),
    ("a unit", "state", "use `enabled`"),
    ("a unit", "text", "use `contents`"),
    ("a user", "home", "use `home_dir`"),
    ("a user", "keys", "use `ssh_authorized_keys`"),
    ("a user", "password", "use `password_hash`, with what `mkpasswd` prints"),
    ("a user", "ssh_keys", "use `ssh_authorized_keys`"),
    ("a user", "sudo", "put the group `sudo` or `wheel` into `groups`"),
];

const CONTAINER_LINUX: &str =
    "Container Linux Configs had it: write the unit or the file that it stood for";

const NETWORK: &str =
    "write files, below `/etc/NetworkManager/system-connections` or `/etc/systemd/network`";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Output, Warnings, compile};

    /// `text` follows variant and version; `expected` is the hint of its only finding.
    #[track_caller]
    fn check(target: &str, text: &str, expected: Option<&str>) {
        let (variant, version) = target.split_once(' ').unwrap();
        let options =
            Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Ignition };
        let text = format!("variant: {variant}\nversion: {version}\n{text}\n");
        let (_, report) = compile("a.bu", text.as_bytes(), &options);
        let hints: Vec<_> = report
            .sorted()
            .into_iter()
            // What openshift wants besides is not at issue.
            .filter(|finding| !finding.path.starts_with("$.metadata"))
            .map(|finding| finding.hint.as_deref())
            .collect();
        assert_eq!(hints, [expected], "{report}");
    }

    const FCOS: &str = "fcos 1.4.0";

    #[test]
    fn names_in_the_other_language() {
        let partition =
            "storage: {disks: [{device: /dev/vda, partitions: [{number: 1, sizeMiB: 1}]}]}";
        check(FCOS, partition, Some("Butane calls it `size_mib`"));
        check(FCOS, "ignition: {version: 3.3.0}", Some("the compiler sets it: leave it away"));
        let inner = |text: &str| {
            let json = format!(r#"{{"ignition": {{"version": "3.3.0"}}, {text}}}"#);
            format!("ignition: {{config: {{merge: [{{inline: '{json}'}}]}}}}")
        };
        check(
            FCOS,
            &inner(r#""kernel_arguments": {}"#),
            Some("Ignition calls it `kernelArguments`"),
        );
        check(
            FCOS,
            &inner(r#""storage": {"luks": [{"name": "a", "device": "/a", "discard": true}]}"#),
            Some("version 3.4.0 of the specification has it"),
        );
    }

    #[test]
    fn names_in_other_versions_and_variants() {
        check("fcos 1.3.0", "kernel_arguments: {}", Some("fcos has it from version 1.4.0 on"));
        check(
            "fcos 1.7.0",
            "systemd: {quadlets: []}",
            Some("version 1.8.0-experimental of fcos has it"),
        );
        check("flatcar 1.1.0", "boot_device: {}", Some("`fcos` and `openshift` have it"));
        check(FCOS, "openshift: {}", Some("only openshift has it"));
        check("openshift 4.8.0", "kernel_arguments: {}", Some("use `openshift.kernel_arguments`"));
        check(
            "openshift 4.8.0",
            "grub: {}",
            Some("openshift takes it from version 4.23.0-experimental on"),
        );
    }

    #[test]
    fn names_in_other_places() {
        let file = |text: &str| format!("storage: {{files: [{{path: /a, {text}}}]}}");
        check(FCOS, &file("inline: a"), Some("it belongs below `append` or `contents`"));
        check(FCOS, &file("contents: {mode: 1}"), Some("it belongs one level up, to a file"));
        check(FCOS, &file("contents: {hash: a}"), Some("it belongs below `verification`"));
        check(FCOS, "users: []", Some("it belongs below `passwd`"));
        check(FCOS, "systemd: {enabled: true}", Some("it belongs below `units`"));
        check(FCOS, "storage: {units: []}", Some("there is `systemd.units`"));
        check(FCOS, "x-own: []", None);
    }

    #[test]
    fn slips_and_other_words() {
        check(
            FCOS,
            "systemd: {units: [{name: a.service, enable: true}]}",
            Some("did you mean `enabled`?"),
        );
        check(FCOS, "storage: {fils: []}", Some("did you mean `files`?"));
        check(FCOS, "write_files: []", Some("use `storage.files`"));
        check(
            FCOS,
            "storage: {files: [{path: /a, filesystem: root}]}",
            Some("files are below `/`: give `storage.filesystems` a `path`"),
        );
    }

    #[test]
    fn values_of_another_kind() {
        for (text, expected) in [
            (
                "systemd: {units: [{name: a.service, contents: {inline: a}}]}",
                Some("write the text itself: `inline` and `source` are for files"),
            ),
            (
                "storage: {files: [{path: /a, contents: text}]}",
                Some(
                    "put text below `inline`, the name of a file below `local`, a URL below `source`",
                ),
            ),
            (
                "storage: {files: [{path: /a, user: core}]}",
                Some("put a name below `name`, a number below `id`"),
            ),
            ("storage: {files: {path: /a}}", Some("start each item with `- `")),
            (
                "kernel_arguments: {should_exist: quiet}",
                Some("start each item with `- `, or write `[…]`"),
            ),
            ("storage: [{files: []}]", Some("there is one of these, so leave the `-` away")),
            ("passwd: 1", None),
        ] {
            check(FCOS, text, expected);
        }
    }

    /// Each row is of a type that there is, needed, and leads to a field that there is.
    #[test]
    fn confusions_lead_somewhere() {
        let mut types = Vec::new();
        gather(&CONFIG, &mut types);
        let target = Target::named("fcos", "1.8.0-experimental").unwrap();
        for (name, key, hint) in CONFUSIONS {
            let ty = types.iter().find(|ty| ty.name == *name);
            let ty = ty.unwrap_or_else(|| panic!("there is no {name}"));
            assert!(!has(ty, key, Language::Butane(target)), "{name} has {key}");
            let Some(rest) = hint.strip_prefix("use `") else { continue };
            let path = rest.split('`').next().unwrap();
            let root = if path.contains('.') && *name == "a config" { &CONFIG } else { *ty };
            let mut places = Vec::new();
            places_of(
                root,
                "",
                path.split([':', '.']).next().unwrap(),
                Language::Butane(target),
                &mut places,
            );
            assert!(!places.is_empty(), "{name} {key}: {hint}");
        }
    }

    fn gather(ty: &'static Type, types: &mut Vec<&'static Type>) {
        types.push(ty);
        for field in ty.fields {
            if let Kind::Map(child) | Kind::Maps(child, _) = field.kind {
                gather(child, types);
            }
        }
    }
}
