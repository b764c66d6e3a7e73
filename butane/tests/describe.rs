//! The JSON schemas, held against the compiler, and what is said of fields.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

mod ideas;

use std::collections::HashMap;
use std::fs;
use std::sync::LazyLock;

use basalt_butane::describe::{explain, schema, schemas};
use basalt_butane::{Options, Output, Warnings, compile, targets};
use basalt_model::report::Report;
use basalt_model::yaml::{ScalarStyle, Value as YamlValue, Yaml, parse};
use camino::Utf8PathBuf;
use expect_test::{Expect, expect};
use ideas::IDEAS;
use jsonschema::{Registry, Validator};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

static VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    targets()
        .map(|(variant, version)| {
            let schema: Json = serde_json::from_str(&schema(variant, version).unwrap()).unwrap();
            assert!(jsonschema::meta::is_valid(&schema), "{variant} {version}");
            (format!("{variant} {version}"), jsonschema::validator_for(&schema).unwrap())
        })
        .collect()
});

fn corpus() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// What an editor sees: YAML by the core schema of version 1.2. `None` when it is no YAML, or uses what editors read
/// in other ways.
fn to_json(text: &str) -> Option<Json> {
    fn of(yaml: &Yaml) -> Option<Json> {
        Some(match &yaml.resolved().value {
            YamlValue::Scalar(scalar) => match yaml.resolved().tag.as_deref() {
                None | Some("!") if scalar.style == ScalarStyle::Plain => plain(&scalar.text),
                Some("tag:yaml.org,2002:bool" | "tag:yaml.org,2002:int") => plain(&scalar.text),
                _ => scalar.text.clone().into(),
            },
            YamlValue::List(items) => items.iter().map(of).collect::<Option<_>>()?,
            YamlValue::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    let key = key.as_scalar().filter(|key| key.text != "<<")?;
                    Some((key.text.clone(), of(value)?))
                });
                Json::Object(entries.collect::<Option<Map<_, _>>>()?)
            }
            YamlValue::Alias(_) => return None,
        })
    }
    of(&parse(text.as_bytes(), &mut Report::new(""))?.first?)
}

fn plain(text: &str) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Json::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        text => {
            let digits = text.trim_start_matches(['-', '+']);
            let is_decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = if is_decimal { text.parse::<i64>().ok() } else { None };
            let prefixed = |prefix: &str, radix| {
                text.strip_prefix(prefix).and_then(|rest| i64::from_str_radix(rest, radix).ok())
            };
            let number = number.or_else(|| prefixed("0x", 16)).or_else(|| prefixed("0o", 8));
            let is_float = text.bytes().all(|byte| b"0123456789.eE+-".contains(&byte));
            match (number, text.parse::<f64>()) {
                (Some(number), _) => number.into(),
                (None, Ok(number)) if is_float => number.into(),
                _ => text.into(),
            }
        }
    }
}

fn validator(config: &Json) -> Option<&'static Validator> {
    let text = |name: &str| config.get(name).and_then(Json::as_str);
    VALIDATORS.get(&format!("{} {}", text("variant")?, text("version")?))
}

fn faults(config: &Json) -> Vec<String> {
    let Some(validator) = validator(config) else { return vec!["no such target".to_owned()] };
    let errors = validator.iter_errors(config);
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn report(config: &str) -> Report {
    let files = corpus().join("files");
    let options =
        Options { files_dir: Some(&files), warnings: Warnings::Allowed, output: Output::Variant };
    compile("a.bu", config.as_bytes(), &options).1
}

/// The configs that the compiler takes: the corpus, and each idea for each target.
static GOOD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut configs: Vec<String> = corpus()
        .join("good")
        .read_dir_utf8()
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    configs.sort();
    for (variant, version) in targets() {
        configs.extend(IDEAS.iter().map(|idea| ideas::config(variant, version, idea)));
    }
    configs.retain(|config| !report(config).has_errors());
    configs
});

/// Whether the compiler knows every key of a config.
fn knows_keys(config: &str) -> bool {
    !report(config).sorted().iter().any(|finding| finding.message.contains(" has no `"))
}

#[test]
fn what_the_compiler_takes_is_valid() {
    let mut count = 0;
    for config in GOOD.iter().filter(|config| knows_keys(config)) {
        let Some(json) = to_json(config) else { continue };
        count += 1;
        assert_eq!(faults(&json), [""; 0], "{config}");
    }
    assert!(count > 500, "{count}");
}

/// Every mapping of a config, as a pointer (RFC 6901).
fn mappings(json: &Json, pointer: &str, found: &mut Vec<String>) {
    match json {
        Json::Object(entries) => {
            found.push(pointer.to_owned());
            for (name, value) in entries.iter().filter(|(name, _)| *name != "labels") {
                let name = name.replace('~', "~0").replace('/', "~1");
                mappings(value, &format!("{pointer}/{name}"), found);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                mappings(item, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn unknown_keys_are_not() {
    for json in GOOD.iter().filter_map(|config| to_json(config)) {
        let mut found = Vec::new();
        mappings(&json, "", &mut found);
        for pointer in found {
            let mut changed = json.clone();
            changed.pointer_mut(&pointer).unwrap()["surprise"] = 1.into();
            assert_ne!(faults(&changed), [""; 0], "{pointer}: {changed}");
        }
    }
}

/// JSON is YAML: what a schema wants, the compiler has to miss.
#[test]
fn what_is_required_is_missed() {
    let mut count = 0;
    for json in GOOD.iter().filter_map(|config| to_json(config)) {
        let mut found = Vec::new();
        mappings(&json, "", &mut found);
        for pointer in found {
            let names: Vec<String> =
                json.pointer(&pointer).unwrap().as_object().unwrap().keys().cloned().collect();
            for name in names {
                let mut changed = json.clone();
                changed.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(&name);
                let is_wanted = validator(&json)
                    .unwrap()
                    .iter_errors(&changed)
                    .any(|error| error.to_string() == format!("\"{name}\" is a required property"));
                if is_wanted {
                    count += 1;
                    let text = serde_json::to_string(&changed).unwrap();
                    assert!(report(&text).has_errors(), "{pointer}/{name}: {text}");
                }
            }
        }
    }
    assert!(count > 500, "{count}");
}

#[test]
fn what_schemas_refuse() {
    for config in [
        "storage: {files: [{path: a}]}",
        "storage: {files: [{path: /a, mode: '0644'}]}",
        "storage: {files: [{path: /a, mode: 99999}]}",
        "storage: {files: [{path: /a, contents: {inline: a, local: b}}]}",
        "storage: {files: [{path: /a, contents: {inline: a, source: 'data:,'}}]}",
        "storage: {files: [{path: /a, contents: {inline: a, compression: zstd}}]}",
        "storage: {files: [{path: /a, user: {id: 0, name: root}}]}",
        "storage: {files: {path: /a}}",
        "storage: {files: [{contents: {inline: a}}]}",
        "storage: {filesystems: [{device: /dev/a, format: ext5}]}",
        "storage: {filesystems: [{device: /dev/a, format: ext4, with_mount_unit: maybe}]}",
        "storage: {raid: [{name: a, level: raid7, devices: [/dev/a]}]}",
        "storage: {disks: [{device: /dev/a, partitions: [{size_mib: 1}]}]}",
        "systemd: {units: [{name: a}]}",
        "systemd: {units: [{name: a.service, contents: a, contents_local: b}]}",
        "systemd: {quadlets: [{name: a.container}]}",
        "boot_device: {layout: riscv64}",
        "metadata: {name: a}",
    ] {
        let text = format!("variant: fcos\nversion: 1.5.0\n{config}\n");
        assert_ne!(faults(&to_json(&text).unwrap()), [""; 0], "{config}");
    }
    for (variant, version, config) in [
        ("r4e", "1.1.0", "storage: {disks: [{device: /dev/a}]}"),
        ("flatcar", "1.1.0", "storage: {luks: [{name: a, device: /dev/a, clevis: {tpm2: true}}]}"),
        ("openshift", "4.14.0", "storage: {files: [{path: /a, append: [{inline: a}]}]}"),
        ("openshift", "4.14.0", "kernel_arguments: {should_exist: [a]}"),
        ("openshift", "4.14.0", "grub: {users: [{name: a, password_hash: b}]}"),
        ("openshift", "4.8.0", "storage: {files: [{path: /a, contents: {compression: gzip}}]}"),
    ] {
        let text = ideas::config(variant, version, config);
        assert_ne!(faults(&to_json(&text).unwrap()), [""; 0], "{text}");
    }
}

#[test]
fn variables_are_valid_where_a_value_is() {
    let good = "variant: fcos\nversion: 1.5.0\nvariables:
  a: text
  b: {type: integer, default: 8080, description: a port}
  c: {type: list}
storage: {files: [{path: '${{ a }}', mode: '${{ b }}', overwrite: '${{ d }}'}], filesystems: [{device: '${{ a }}', format: '${{ a }}'}]}
passwd: {users: [{name: a, groups: '${{ c }}', ssh_authorized_keys: ['${{ a }}']}]}
";
    assert_eq!(faults(&to_json(good).unwrap()), [""; 0]);
    for declaration in ["a: number", "a: {default: 1}", "a: {type: text, kind: 1}", "1: text"] {
        let bad = format!("variant: fcos\nversion: 1.5.0\nvariables: {{{declaration}}}\n");
        assert_ne!(faults(&to_json(&bad).unwrap()), [""; 0], "{bad}");
    }
}

#[test]
fn one_schema_leads_to_the_others() {
    let mut files: Vec<(String, Json)> = schemas()
        .into_iter()
        .map(|file| {
            let schema = serde_json::from_str(&file.contents).unwrap();
            (format!("file:///schemas/{}", file.file_name), schema)
        })
        .collect();
    let (_, all) = files.remove(0);
    let mut registry = Registry::new();
    for (name, schema) in &files {
        registry = registry.add(name, schema).unwrap();
    }
    let registry = registry.prepare().unwrap();
    assert!(jsonschema::meta::is_valid(&all));
    let all = jsonschema::options()
        .with_registry(&registry)
        .with_base_uri("file:///schemas/butane.json")
        .build(&all)
        .unwrap();
    for (variant, version) in targets() {
        let config = to_json(&ideas::config(variant, version, "storage: {files: [{path: /a}]}"));
        assert!(all.is_valid(&config.unwrap()), "{variant} {version}");
        let config = to_json(&ideas::config(variant, version, "storage: {surprise: 1}"));
        assert!(!all.is_valid(&config.unwrap()), "{variant} {version}");
    }
    assert!(!all.is_valid(&json!({ "variant": "fcos", "version": "1.5" })));
    assert!(!all.is_valid(&json!({ "variant": "rhcos", "version": "0.1.0" })));
}

/// Lines of one config, put into another.
fn spliced() -> impl Strategy<Value = String> {
    let index = || any::<prop::sample::Index>();
    (index(), index(), index(), index(), 0..4_usize).prop_map(
        |(target, source, from, to, count)| {
            let lines = |index: prop::sample::Index| -> Vec<String> {
                index.get(&GOOD).lines().map(str::to_owned).collect()
            };
            let (mut target, source) = (lines(target), lines(source));
            let start = from.index(source.len());
            let taken = source[start..source.len().min(start + count)].to_vec();
            let at = to.index(target.len() + 1);
            target.splice(at..at.min(target.len()), taken);
            target.join("\n")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_compiler_takes_of_anything_is_valid(config in spliced()) {
        let is_taken = !report(&config).has_errors() && knows_keys(&config);
        if let Some(json) = to_json(&config).filter(|_| is_taken) {
            prop_assert_eq!(faults(&json), Vec::<String>::new());
        }
    }
}

#[track_caller]
fn check(path: &str, expected: Expect) {
    let text = match explain(path) {
        Ok(text) => text,
        Err(error) => match error.hint() {
            Some(hint) => format!("error: {error}\nhint: {hint}"),
            None => format!("error: {error}"),
        },
    };
    expected.assert_eq(&text);
}

#[test]
fn fields_are_explained() {
    check(
        "storage.files[].mode",
        expect![[r#"
        storage.files.mode: a whole number

        The permission bits, in octal with a leading zero.

        Ignition  `storage.files.mode`
        Since     fcos 1.0.0, flatcar 1.0.0, openshift 4.8.0, r4e 1.0.0, fiot 1.0.0
        Default   0644

        Example:
          storage:
            files:
            - path: /etc/example.conf
              mode: 0644

        Specification:
          https://coreos.github.io/butane/config-fcos-v1_7/
          https://coreos.github.io/ignition/configuration-v3_6/
    "#]],
    );
    check(
        "$.storage.files.0.contents",
        expect![[r#"
        storage.files.contents: a mapping

        What is in the file; without it an existing file stays, and a missing one is made empty.

        Ignition  `storage.files.contents`
        Since     fcos 1.0.0, flatcar 1.0.0, openshift 4.8.0, r4e 1.0.0, fiot 1.0.0

        Fields:
          compression   How the contents are compressed at the source
          http_headers  Headers of the request, for a source over HTTP or HTTPS (fcos 1.1.0)
          source        A URL that the machine fetches the contents from while it is provisioned
          inline        The contents themselves
          local         A file below the files directory (`--files-dir`), whose contents are put into the config (fcos 1.1.0)
          verification  What the contents have to be

        Example:
          storage:
            files:
            - path: /etc/example.conf
              contents:
                inline: |
                  hello

        Specification:
          https://coreos.github.io/butane/config-fcos-v1_7/
          https://coreos.github.io/ignition/configuration-v3_6/
    "#]],
    );
    check(
        "storage.filesystems.with_mount_unit",
        expect![[r#"
        storage.filesystems.with_mount_unit: `true` or `false`

        Whether a systemd unit is added that mounts it, or swaps to it, at each boot.

        Ignition  sugar for a unit in `systemd.units`
        Since     fcos 1.1.0, flatcar 1.0.0, openshift 4.8.0
        Refused   by r4e, by fiot
        Default   false
        Rule      Needs `format`, and `path` unless that is `swap`.

        Example:
          storage:
            filesystems:
            - device: /dev/disk/by-partlabel/var
              format: xfs
              path: /var
              with_mount_unit: true

        Specification:
          https://coreos.github.io/butane/config-fcos-v1_7/
    "#]],
    );
    check(
        "storage.links.target",
        expect![[r#"
            storage.links.target: text

            What the link leads to; of a symbolic link it may be relative.

            Ignition  `storage.links.target`
            Since     fcos 1.0.0, flatcar 1.0.0, r4e 1.0.0, fiot 1.0.0
            Refused   by openshift
            Rule      Needed from Ignition spec 3.3.0 on, unless a tree brings the link.

            Example:
              storage:
                links:
                - path: /etc/localtime
                  target: ../usr/share/zoneinfo/Europe/Paris

            Specification:
              https://coreos.github.io/butane/config-fcos-v1_7/
              https://coreos.github.io/ignition/configuration-v3_6/
        "#]],
    );
    check(
        "grub.users",
        expect![[r#"
        grub.users: a list; each item is a user of GRUB

        Superusers of GRUB: without their password nobody edits what is booted.

        Ignition  sugar for a file system for `/boot`, and `/boot/grub2/user.cfg` on it
        Since     fcos 1.5.0, openshift 4.23.0-experimental
        Refused   by openshift 4.14.0 to 4.22.0

        Fields:
          name           The name that is typed at the boot loader
          password_hash  The hash of the password, as `grub2-mkpasswd-pbkdf2` prints it

        Example:
          grub:
            users:
            - name: root
              password_hash: grub.pbkdf2.sha512.10000.874A958E

        Specification:
          https://coreos.github.io/butane/config-fcos-v1_7/
    "#]],
    );
    check(
        "storage.luks.clevis",
        expect![[r#"
        storage.luks.clevis: a mapping

        How the volume is unlocked without a person; without it, and without a key, a random key is kept on
        the machine.

        Ignition  `storage.luks.clevis`
        Since     fcos 1.2.0, flatcar 1.2.0-experimental, openshift 4.8.0
        Refused   by flatcar up to 1.1.0, by r4e, by fiot

        Fields:
          custom     A pin of Clevis with its own configuration, instead of `tang`, `tpm2` and `threshold`
          tang       Tang servers that unlock the volume when they can be reached
          threshold  How many of the Tang servers and the TPM have to agree before the volume is unlocked
          tpm2       Whether the TPM of the machine unlocks the volume

        Example:
          storage:
            luks:
            - name: data
              device: /dev/disk/by-partlabel/data
              clevis:
                tpm2: true

        Specification:
          https://coreos.github.io/butane/config-fcos-v1_7/
          https://coreos.github.io/ignition/configuration-v3_6/
    "#]],
    );
    check(
        "passwd.users.sshAuthorizedKeys",
        expect![[r#"
        passwd.users.ssh_authorized_keys: a list of texts

        Public SSH keys that may log in as the user.

        Ignition  `passwd.users.sshAuthorizedKeys`
        Since     fcos 1.0.0, flatcar 1.0.0, openshift 4.8.0, r4e 1.0.0, fiot 1.0.0
        Rule      Each is there once.

        Example:
          passwd:
            users:
            - name: core
              ssh_authorized_keys:
              - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 you@example.com

        Specification:
          https://coreos.github.io/butane/config-fcos-v1_7/
          https://coreos.github.io/ignition/configuration-v3_6/
    "#]],
    );
}

#[test]
fn unknown_fields_are_looked_for() {
    check(
        "storage.files.mod",
        expect![[r#"
        error: a file has no `mod`
        hint: did you mean `storage.files.mode`?"#]],
    );
    check(
        "mode",
        expect![[r#"
        error: a config has no `mode`
        hint: it is in `storage.directories.mode`, `storage.files.mode`"#]],
    );
    check(
        "storage.files.mode.x",
        expect!["error: `storage.files.mode` is not a mapping: nothing like `x` is below it"],
    );
    check(
        "nothing",
        expect![[r#"
        error: a config has no `nothing`
        hint: without a path, everything at the top is listed"#]],
    );
}

#[test]
fn the_top_is_a_list() {
    check(
        "",
        expect![[r#"
            A Butane config is a mapping in YAML.

            Fields:
              variables         Variables of this file, each with its type
              variant           The operating system that the config is for
              version           The version of the variant's specification: three numbers, and `-experimental` while it may still change
              ignition          How Ignition itself behaves: which other configs it takes, and how it reaches the network
              kernel_arguments  Arguments of the kernel (fcos 1.4.0)
              passwd            Users and groups of the machine
              storage           Disks from partitions to file systems, and what is written to them
              systemd           Units of systemd: their files, drop-ins, and whether they start at boot
              boot_device       The disk that the operating system starts from: mirrored, encrypted, or both (fcos 1.3.0)
              grub              The boot loader: who may change what it starts (fcos 1.5.0)
              metadata          The name and labels of the MachineConfig that comes out (openshift 4.8.0)
              openshift         What the MachineConfig says besides the Ignition config (openshift 4.8.0)

            Specification:
              https://coreos.github.io/butane/config-fcos-v1_7/
              https://coreos.github.io/ignition/configuration-v3_6/
        "#]],
    );
}
