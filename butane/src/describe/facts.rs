//! What people want to know of a field besides what the compiler's tables say: allowed values, defaults, examples.
//!
//! A row names its type and field as the tables of [`schema`](crate::schema) do. Fields without anything particular
//! have no row.

use crate::schema::Type;
use crate::version::{Since, Spec, Target};

/// What a field's text or number looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Anything.
    Any,
    /// Permission bits.
    Mode,
    /// Text that matches a regular expression.
    Pattern(&'static str),
    /// Each item of a list matches a regular expression.
    Items(&'static str),
    /// One of a few words.
    Values(fn(&Target) -> Vec<&'static str>),
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    /// The name of the type, as messages say it.
    pub ty: &'static str,
    pub field: &'static str,
    pub shape: Shape,
    /// Whether a config without the field is refused, whatever else it says.
    pub is_required: bool,
    /// What is so when the field is left away; empty when that is in the field's documentation or does not matter.
    pub default: &'static str,
    /// A rule that no shape can say; a sentence.
    pub rule: &'static str,
    /// What the compiler makes of sugar.
    pub becomes: &'static str,
    /// Targets that have the field and refuse it all the same, besides what their filters say.
    pub refused: fn(&Target) -> bool,
    /// A value, in YAML.
    pub example: &'static str,
    /// Fields that the example needs beside it, as a mapping in YAML.
    pub with: &'static str,
}

const fn fact(ty: &'static str, field: &'static str) -> Fact {
    Fact {
        ty,
        field,
        shape: Shape::Any,
        is_required: false,
        default: "",
        rule: "",
        becomes: "",
        refused: |_| false,
        example: "",
        with: "",
    }
}

impl Fact {
    const fn shape(mut self, shape: Shape) -> Fact {
        self.shape = shape;
        self
    }

    const fn values(self, values: fn(&Target) -> Vec<&'static str>) -> Fact {
        self.shape(Shape::Values(values))
    }

    const fn required(mut self) -> Fact {
        self.is_required = true;
        self
    }

    const fn default(mut self, default: &'static str) -> Fact {
        self.default = default;
        self
    }

    const fn rule(mut self, rule: &'static str) -> Fact {
        self.rule = rule;
        self
    }

    const fn becomes(mut self, becomes: &'static str) -> Fact {
        self.becomes = becomes;
        self
    }

    const fn refused(mut self, refused: fn(&Target) -> bool) -> Fact {
        self.refused = refused;
        self
    }

    const fn example(mut self, example: &'static str) -> Fact {
        self.example = example;
        self
    }

    const fn with(mut self, with: &'static str) -> Fact {
        self.with = with;
        self
    }
}

/// The row of a field, or an empty one.
pub(super) fn of(ty: &Type, field: &'static str) -> Fact {
    let row = FACTS.iter().find(|row| row.ty == ty.name && row.field == field);
    row.copied().unwrap_or(fact(ty.name, field))
}

/// Fields of which one item has at most one, and whether empty text counts as none.
pub(super) struct Choice {
    pub ty: &'static str,
    pub fields: &'static [&'static str],
    pub is_empty_none: bool,
}

/// All choices.
pub(super) static CHOICES: &[Choice] = &[
    Choice { ty: RESOURCE, fields: &["inline", "local", "source"], is_empty_none: false },
    Choice { ty: OWNER, fields: &["id", "name"], is_empty_none: true },
    Choice { ty: UNIT, fields: &["contents", "contents_local"], is_empty_none: true },
    Choice { ty: DROPIN, fields: &["contents", "contents_local"], is_empty_none: true },
    Choice { ty: QUADLET, fields: &["contents", "contents_local"], is_empty_none: true },
];

/// A small item of a type, as a mapping in YAML, for examples that show the field `below` of it or in it.
pub(super) fn base(ty: &Type, below: &[&str]) -> &'static str {
    let is_for = |field: &str| field.is_empty() || below.contains(&field);
    let mut bases = BASES.iter().filter(|(name, field, _)| *name == ty.name && is_for(field));
    bases.next().map_or("{}", |(_, _, base)| base)
}

const PATH: Shape = Shape::Pattern("^(/|$)");
const REQUIRED_PATH: Shape = Shape::Pattern("^/");
const PATHS: Shape = Shape::Items("^/");
const HTTP: Shape = Shape::Pattern("^[hH][tT][tT][pP][sS]?://");
const GUID: Shape = Shape::Pattern(
    "^$|^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
);
const HASH: Shape = Shape::Pattern("^(sha512-.{128}|sha256-.{64})$");
const UNIT_NAME: Shape = Shape::Pattern(
    "\\.(service|socket|device|mount|automount|swap|target|path|timer|snapshot|slice|scope)$",
);
const QUADLET_NAME: Shape =
    Shape::Pattern("\\.(container|volume|network|kube|image|build|pod|artifact)$");

fn compressions(_: &Target) -> Vec<&'static str> {
    vec!["", "gzip"]
}

fn formats(target: &Target) -> Vec<&'static str> {
    let mut formats = vec!["", "ext4", "xfs", "vfat", "swap"];
    if target.openshift.is_none() {
        formats.push("btrfs");
    }
    if target.spec >= Spec::V3_3 && target.openshift.is_none() {
        formats.push("none");
    }
    formats
}

fn levels(_: &Target) -> Vec<&'static str> {
    vec![
        "linear", "raid0", "0", "stripe", "raid1", "1", "mirror", "raid4", "4", "raid5", "5",
        "raid6", "6", "raid10", "10",
    ]
}

fn layouts(target: &Target) -> Vec<&'static str> {
    let mut layouts = vec!["aarch64", "ppc64le", "x86_64"];
    if target.has(Since::Fcos(6)) {
        layouts.extend(["s390x-eckd", "s390x-virt", "s390x-zfcp"]);
    }
    layouts
}

fn kernels(_: &Target) -> Vec<&'static str> {
    vec!["", "default", "realtime"]
}

const CONFIG: &str = "a config";
const FOLDER: &str = "a folder";
const FILE: &str = "a file";
const LINK: &str = "a link";
const OWNER: &str = "an owner";
const TREE: &str = "a tree";
const RESOURCE: &str = "a resource";
const DISK: &str = "a disk";
const PARTITION: &str = "a partition";
const RAID: &str = "an array";
const FILESYSTEM: &str = "a file system";
const LUKS: &str = "an encrypted volume";
const CLEVIS: &str = "the `clevis` section";
const CUSTOM: &str = "the `custom` section";
const TANG: &str = "a Tang server";
const BOOT_DEVICE: &str = "the `boot_device` section";
const BOOT_LUKS: &str = "the `luks` section";
const USER: &str = "a user";
const GROUP: &str = "a group";
const UNIT: &str = "a unit";
const DROPIN: &str = "a drop-in";
const QUADLET: &str = "a quadlet";
const GRUB_USER: &str = "a user of GRUB";
const OPENSHIFT: &str = "the `openshift` section";

const BY_UNIQUE: &str = "Each is there once.";
const DATA_URL: &str = "`source`, as a data URL, compressed where that is shorter";

/// By type, and for examples of one field or of any.
static BASES: &[(&str, &str, &str)] = &[
    (FOLDER, "", "{path: /var/lib/example}"),
    (FILE, "", "{path: /etc/example.conf}"),
    (LINK, "", "{path: /etc/localtime, target: ../usr/share/zoneinfo/Europe/Paris}"),
    (OWNER, "", "{name: core}"),
    (TREE, "", "{local: tree}"),
    (RESOURCE, "", "{source: 'https://example.com/file'}"),
    ("a reference to a config", "", "{source: 'https://example.com/base.ign'}"),
    ("a reference to a certificate", "", "{source: 'https://example.com/ca.pem'}"),
    ("an HTTP header", "", "{name: Authorization}"),
    (DISK, "", "{device: /dev/disk/by-id/coreos-boot-disk}"),
    (PARTITION, "", "{label: var}"),
    (RAID, "", "{name: data, level: raid1, devices: [/dev/disk/by-id/a, /dev/disk/by-id/b]}"),
    (FILESYSTEM, "", "{device: /dev/disk/by-partlabel/var, format: xfs, path: /var}"),
    (LUKS, "", "{name: data, device: /dev/disk/by-partlabel/data}"),
    (CUSTOM, "", "{pin: tpm2, config: '{\"pcr_ids\": \"7\"}'}"),
    (TANG, "", "{url: 'https://tang.example.com', thumbprint: oGWkCaeXUl-8zFGWNAlpLc8oRXs}"),
    (BOOT_DEVICE, "cex", "{layout: s390x-virt}"),
    (BOOT_DEVICE, "device", "{layout: s390x-eckd}"),
    (BOOT_DEVICE, "mirror", "{layout: x86_64}"),
    ("the `mirror` section", "", "{devices: [/dev/sda, /dev/sdb]}"),
    (GRUB_USER, "", "{name: root, password_hash: grub.pbkdf2.sha512.10000.874A958E}"),
    (
        "the `metadata` section",
        "",
        "{name: 99-worker-example, labels: {machineconfiguration.openshift.io/role: worker}}",
    ),
    (USER, "", "{name: core}"),
    (GROUP, "", "{name: admins}"),
    (UNIT, "", "{name: example.service}"),
    (DROPIN, "", "{name: 10-example.conf}"),
    (QUADLET, "", "{name: web.container}"),
];

/// Examples that fit the place rather than the field: below a type, of a field.
pub(super) static EXAMPLES_BELOW: &[(&str, &str, &str)] = &[
    (
        "the `config` section",
        "inline",
        "\"{\\\"ignition\\\": {\\\"version\\\": \\\"3.4.0\\\"}}\\n\"",
    ),
    ("the `config` section", "local", "base.ign"),
    (
        "the `tls` section",
        "inline",
        "\"-----BEGIN CERTIFICATE-----\\n…\\n-----END CERTIFICATE-----\\n\"",
    ),
    ("the `tls` section", "local", "ca.pem"),
];

static FACTS: &[Fact] = &[
    fact(CONFIG, "variant").required().becomes("nothing by itself").example("fcos"),
    fact(CONFIG, "version").required().becomes("`ignition.version`").example("1.5.0"),
    fact(CONFIG, "boot_device")
        .becomes("`storage.disks`, `raid`, `luks` and `filesystems`; what you write there yourself wins"),
    fact(CONFIG, "grub")
        // It appends to a file; from 4.23 on the file is written instead.
        .refused(|target| target.openshift.is_some_and(|openshift| openshift.minor < 23))
        .rule("OpenShift takes it from 4.23 on.")
        .becomes("a file system for `/boot`, and `/boot/grub2/user.cfg` on it"),
    fact(CONFIG, "metadata").becomes("the `metadata` of the MachineConfig"),
    fact(CONFIG, "openshift").becomes("the `spec` of the MachineConfig"),
    fact("the `config` section", "merge").rule("Two with the same contents are a mistake."),
    fact("the `proxy` section", "http_proxy").shape(HTTP).example("http://relay.example.com:3128"),
    fact("the `proxy` section", "https_proxy").shape(HTTP).example("https://relay.example.com:3129"),
    fact("the `proxy` section", "no_proxy").rule(BY_UNIQUE).example("[10.0.0.0/8, example.com]"),
    fact("the `timeouts` section", "http_response_headers").default("10").example("20"),
    fact("the `timeouts` section", "http_total").default("0").example("600"),
    fact("the `kernel_arguments` section", "should_exist").rule(BY_UNIQUE).example("[mitigations=auto]"),
    fact("the `kernel_arguments` section", "should_not_exist").rule(BY_UNIQUE).example("[quiet]"),
    fact("the `storage` section", "trees").becomes("`files` and `links`, and `directories` when an owner or mode is set"),
    fact(FOLDER, "path").shape(REQUIRED_PATH).required().rule("No other folder, file or link has it."),
    fact(FOLDER, "mode").shape(Shape::Mode).default("0755").example("0750"),
    fact(FOLDER, "overwrite").default("false").example("true"),
    fact(FILE, "path").shape(REQUIRED_PATH).required().rule("No other folder, file or link has it."),
    fact(FILE, "append").rule("They follow each other in this order.").example("[{inline: \"one more line\\n\"}]"),
    fact(FILE, "contents").example("{inline: \"hello\\n\"}"),
    fact(FILE, "mode").shape(Shape::Mode).default("0644").example("0644"),
    fact(FILE, "overwrite")
        .default("false")
        .rule("With `true` there have to be `contents`.")
        .example("true")
        .with("{contents: {inline: ''}}"),
    fact(LINK, "path").shape(REQUIRED_PATH).required().rule("No other folder, file or link has it."),
    fact(LINK, "target").rule("Needed from Ignition spec 3.3.0 on, unless a tree brings the link."),
    fact(LINK, "hard").default("false").example("true").with("{target: /usr/share/zoneinfo/UTC}"),
    fact(LINK, "overwrite").default("false").example("true"),
    fact(OWNER, "id").rule("Not together with `name`.").default("0, root").example("1000"),
    fact(OWNER, "name").rule("Not together with `id`.").default("root").example("core"),
    fact(TREE, "local").required().example("tree"),
    fact(TREE, "path").shape(PATH).default("/").example("/etc"),
    fact(TREE, "file_mode").shape(Shape::Mode).example("0640"),
    fact(TREE, "dir_mode").shape(Shape::Mode).default("0755, and only folders that something needs").example("0750"),
    fact(RESOURCE, "compression").values(compressions).example("gzip"),
    fact(RESOURCE, "http_headers").example("[{name: Authorization, value: Bearer abc}]"),
    fact(RESOURCE, "source")
        .rule("Only one of `inline`, `local` and `source`; the URL is one of http, https, tftp, s3, gs, arn or data.")
        .example("https://example.com/file"),
    fact(RESOURCE, "inline")
        .rule("Only one of `inline`, `local` and `source`.")
        .becomes(DATA_URL)
        .example("\"hello\\n\""),
    fact(RESOURCE, "local")
        .rule("Only one of `inline`, `local` and `source`; it does not lead out of the files directory.")
        .becomes(DATA_URL)
        .example("hello.txt"),
    fact("an HTTP header", "name").required(),
    fact("an HTTP header", "value").example("Bearer abc"),
    fact("the `verification` section", "hash")
        .shape(HASH)
        .example("sha256-0519a9826023338828942b081814355d55301b9bc82042390f9afaf75cd3a707"),
    fact(DISK, "device").shape(REQUIRED_PATH).required(),
    fact(DISK, "wipe_table").default("false").example("true"),
    fact(PARTITION, "guid").shape(GUID).example("01234567-89AB-CDEF-EDCB-A98765432101"),
    fact(PARTITION, "label").rule("A partition has a `number`, a `label` or both.").example("var"),
    fact(PARTITION, "number").default("0").rule("A partition has a `number`, a `label` or both.").example("5"),
    fact(PARTITION, "resize").default("false").example("true").with("{size_mib: 8192, number: 4}"),
    fact(PARTITION, "should_exist").default("true"),
    fact(PARTITION, "size_mib").default("0").example("8192"),
    fact(PARTITION, "start_mib").default("0").example("10240"),
    fact(PARTITION, "type_guid")
        .shape(GUID)
        .default("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
        .example("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"),
    fact(PARTITION, "wipe_partition_entry").default("false").example("true"),
    fact(RAID, "devices").shape(PATHS).rule("Needed, unless `boot_device` makes the array."),
    fact(RAID, "level").values(levels).rule("Needed, unless `boot_device` makes the array."),
    fact(RAID, "options").example("['--metadata=1.0']"),
    fact(RAID, "spares").default("0").rule("Arrays of the levels linear and raid0 have none.").example("1").with("{devices: [/dev/disk/by-id/a, /dev/disk/by-id/b, /dev/disk/by-id/c]}"),
    fact(FILESYSTEM, "device").shape(REQUIRED_PATH).required(),
    fact(FILESYSTEM, "format").values(formats).rule("Needed for every other field but `device`."),
    fact(FILESYSTEM, "label").example("var"),
    fact(FILESYSTEM, "mount_options").example("[noatime]"),
    fact(FILESYSTEM, "options").example("['-m', 'crc=1']"),
    fact(FILESYSTEM, "path").shape(PATH),
    fact(FILESYSTEM, "uuid").example("4e5f2c1a-9b4d-4c5e-8a53-0d4fe9f3a111"),
    fact(FILESYSTEM, "wipe_filesystem").default("false").example("true"),
    fact(FILESYSTEM, "with_mount_unit")
        .default("false")
        .rule("Needs `format`, and `path` unless that is `swap`.")
        .becomes("a unit in `systemd.units`")
        .example("true"),
    fact(LUKS, "device").shape(REQUIRED_PATH).rule("Needed, unless `boot_device` makes the volume."),
    fact(LUKS, "name").rule("It has no `/`."),
    fact(LUKS, "cex").rule("Not together with `clevis` or `key_file`.").example("{enabled: true}"),
    fact(LUKS, "clevis").example("{tpm2: true}"),
    fact(LUKS, "discard").default("false").example("true"),
    fact(LUKS, "key_file").example("{local: hello.txt}"),
    fact(LUKS, "label").example("luks-data"),
    fact(LUKS, "open_options").example("['--perf-no_read_workqueue']"),
    fact(LUKS, "options").example("['--cipher', 'aes-xts-plain64']"),
    fact(LUKS, "uuid").example("4e5f2c1a-9b4d-4c5e-8a53-0d4fe9f3a111"),
    fact(LUKS, "wipe_volume").default("false").example("true"),
    fact("the `cex` section", "enabled").default("false").example("true"),
    fact(CLEVIS, "custom").rule("It stands alone, without `tang`, `tpm2` and `threshold`."),
    fact(CLEVIS, "threshold").default("1").example("2").with("{tpm2: true, tang: [{url: 'https://tang.example.com', thumbprint: oGWkCaeXUl-8zFGWNAlpLc8oRXs}]}"),
    fact(CLEVIS, "tpm2").default("false").example("true"),
    fact(CUSTOM, "config").rule("Needed when there is a `pin`."),
    fact(CUSTOM, "needs_network").default("false").example("true"),
    fact(CUSTOM, "pin").rule("`tpm2`, `tang` or `sss`; from Ignition spec 3.6.0 on any that the machine has."),
    fact(TANG, "advertisement").example("'{\"payload\": \"…\", \"signatures\": []}'"),
    fact(TANG, "thumbprint").required(),
    fact(TANG, "url").shape(HTTP).required(),
    fact(BOOT_DEVICE, "layout").values(layouts).default("x86_64").example("x86_64").with("{luks: {tpm2: true}}"),
    fact(BOOT_DEVICE, "luks").rule("It acts with `cex`, `tang` or `tpm2` only.").example("{tpm2: true}"),
    fact(BOOT_LUKS, "cex").example("{enabled: true}").rule("For the layouts of s390x."),
    fact(BOOT_LUKS, "device").rule("For the layouts `s390x-eckd` and `s390x-zfcp`, which need it.").example("/dev/dasda").with("{cex: {enabled: true}}"),
    fact(BOOT_LUKS, "discard").default("false").example("true").with("{tpm2: true}"),
    fact(BOOT_LUKS, "threshold").default("1").example("2").with("{tpm2: true, tang: [{url: 'https://tang.example.com', thumbprint: oGWkCaeXUl-8zFGWNAlpLc8oRXs}]}"),
    fact(BOOT_LUKS, "tpm2").default("false").example("true"),
    fact(GRUB_USER, "name").required(),
    fact(GRUB_USER, "password_hash").required(),
    fact("the `metadata` section", "name").required(),
    fact("the `metadata` section", "labels").required().rule("One of them is `machineconfiguration.openshift.io/role`."),
    fact(OPENSHIFT, "kernel_arguments").rule(BY_UNIQUE).example("[mitigations=auto]"),
    fact(OPENSHIFT, "extensions").rule(BY_UNIQUE).example("[usbguard]"),
    fact(OPENSHIFT, "fips")
        .default("false")
        .rule("Up to 4.19 encrypted volumes without a cipher get one that FIPS 140-2 allows.")
        .example("true"),
    fact(OPENSHIFT, "kernel_type").values(kernels).default("default").example("realtime"),
    fact(GROUP, "gid").example("2000"),
    fact(GROUP, "password_hash").example("'!'"),
    fact(GROUP, "should_exist").default("true").example("false"),
    fact(GROUP, "system").default("false").example("true"),
    fact(USER, "gecos").example("Ada Lovelace"),
    fact(USER, "groups").rule(BY_UNIQUE).example("[wheel, sudo]"),
    fact(USER, "home_dir").example("/var/home/ada"),
    fact(USER, "no_create_home").default("false").example("true"),
    fact(USER, "no_log_init").default("false").example("true"),
    fact(USER, "no_user_group").default("false").example("true"),
    fact(USER, "password_hash").example("$y$j9T$aUmgEDoFIDPhGxEe2FUjc/$C5A"),
    fact(USER, "primary_group").example("wheel"),
    fact(USER, "shell").example("/bin/bash"),
    fact(USER, "should_exist").default("true").example("false"),
    fact(USER, "ssh_authorized_keys").rule(BY_UNIQUE).example("[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 you@example.com]"),
    fact(USER, "ssh_authorized_keys_local").becomes("`ssh_authorized_keys`, behind those that are there").example("[hello.txt]"),
    fact(USER, "system").default("false").example("true"),
    fact(USER, "uid").example("1001"),
    fact("the `systemd` section", "quadlets").becomes("`storage.files` and `links` below `/etc/containers/systemd`"),
    fact(UNIT, "contents")
        .rule("Not together with `contents_local`; an enabled unit has an `[Install]` section.")
        .example("\"[Service]\\nExecStart=/usr/local/bin/example\\n\\n[Install]\\nWantedBy=multi-user.target\\n\""),
    fact(UNIT, "contents_local").rule("Not together with `contents`.").becomes("`contents`").example("hello.service"),
    fact(UNIT, "enabled").example("true"),
    fact(UNIT, "mask").default("the unit stays as it is").example("true"),
    fact(UNIT, "name").shape(UNIT_NAME).required(),
    fact(DROPIN, "contents").rule("Not together with `contents_local`.").example("\"[Service]\\nRestart=always\\n\""),
    fact(DROPIN, "contents_local").rule("Not together with `contents`.").becomes("`contents`").example("hello.service"),
    fact(DROPIN, "name").shape(Shape::Pattern("\\.conf$")).required(),
    fact(QUADLET, "contents")
        .rule("Not together with `contents_local`, and not in an instance.")
        .example("\"[Container]\\nImage=registry.lab.example/web:1\\n\\n[Install]\\nWantedBy=multi-user.target\\n\""),
    fact(QUADLET, "contents_local").rule("Not together with `contents`, and not in an instance.").example("hello.service"),
    fact(QUADLET, "name").shape(QUADLET_NAME).required(),
    fact(QUADLET, "rootful").default("false").example("true"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Kind, config::CONFIG};

    fn types(ty: &'static Type, found: &mut Vec<&'static Type>) {
        if found.iter().any(|known| std::ptr::eq(*known, ty)) {
            return;
        }
        found.push(ty);
        for field in ty.fields {
            if let Kind::Map(ty) | Kind::Maps(ty, _) = field.kind {
                types(ty, found);
            }
        }
    }

    #[test]
    fn rows_are_of_fields_that_there_are() {
        let mut found = Vec::new();
        types(&CONFIG, &mut found);
        for (index, ty) in found.iter().enumerate() {
            assert!(found[..index].iter().all(|other| other.name != ty.name), "{}", ty.name);
        }
        let has = |ty: &str, field: &str| {
            found.iter().any(|known| {
                known.name == ty && known.fields.iter().any(|row| row.name == Some(field))
            })
        };
        for (index, row) in FACTS.iter().enumerate() {
            assert!(has(row.ty, row.field), "{}: {}", row.ty, row.field);
            let namesake = |other: &&Fact| other.ty == row.ty && other.field == row.field;
            assert!(
                !FACTS[..index].iter().any(|other| namesake(&other)),
                "{}: {}",
                row.ty,
                row.field
            );
        }
        for choice in CHOICES {
            assert!(choice.fields.iter().all(|field| has(choice.ty, field)), "{}", choice.ty);
        }
        for (name, _, _) in BASES {
            assert!(found.iter().any(|ty| ty.name == *name), "{name}");
        }
    }
}
