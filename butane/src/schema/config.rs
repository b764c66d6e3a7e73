//! The top of a config, and how Ignition itself is to behave.

use super::Kind::{Flag, Integer, Labels, Map, Maps, RequiredText, Text, Texts};
use super::Repeats::Refused;
use super::disks::{CEX, DISK, FILESYSTEM, LUKS, RAID, TANG};
use super::nodes::{CA_REFERENCE, CONFIG_REFERENCE, DIRECTORY, FILE, LINK, RESOURCE, TREE};
use super::passwd::PASSWD;
use super::systemd::SYSTEMD;
use super::{Type, field, output, same, sugar};
use crate::validate::{boot_device, grub, ignition, openshift, storage};
use crate::version::Base;
use crate::version::since::{FCOS_1_3, FCOS_1_5, FCOS_1_6, OPENSHIFT, V0_1, V0_2, V0_3, V0_4};

pub(crate) static CONFIG: Type = Type::new(
    "a config",
    &[
        sugar("variant", Text, V0_1, "The operating system the config is for."),
        sugar("version", Text, V0_1, "The version of the variant's specification."),
        same("ignition", Map(&IGNITION), V0_1, "How Ignition gets configs and everything else."),
        field(
            "kernel_arguments",
            "kernelArguments",
            Map(&KERNEL_ARGUMENTS),
            V0_4,
            "Arguments of the kernel.",
        ),
        same("passwd", Map(&PASSWD), V0_1, "Users and groups."),
        same("storage", Map(&STORAGE), V0_1, "Files, and the disks they are on."),
        same("systemd", Map(&SYSTEMD), V0_1, "Units of systemd."),
        sugar(
            "boot_device",
            Map(&BOOT_DEVICE),
            FCOS_1_3,
            "The disk of the operating system, mirrored or encrypted.",
        ),
        sugar("grub", Map(&GRUB), FCOS_1_5, "The boot loader."),
        sugar("metadata", Map(&METADATA), OPENSHIFT, "The name and labels of the MachineConfig."),
        sugar(
            "openshift",
            Map(&OPENSHIFT_SECTION),
            OPENSHIFT,
            "What the MachineConfig has besides the Ignition config.",
        ),
    ],
)
.butane(openshift::config)
.ignition(storage::units_and_files);

static IGNITION: Type = Type::new(
    "the `ignition` section",
    &[
        output("version", RequiredText, "The version of Ignition's specification."),
        same("config", Map(&IGNITION_CONFIG), V0_1, "Other configs."),
        same("proxy", Map(&PROXY), V0_2, "Proxies for HTTP."),
        same("security", Map(&SECURITY), V0_1, "Whom to trust."),
        same("timeouts", Map(&TIMEOUTS), V0_1, "When to give up on HTTP."),
    ],
);

static IGNITION_CONFIG: Type = Type::new(
    "the `config` section",
    &[
        same("merge", Maps(&CONFIG_REFERENCE, Refused), V0_1, MERGE).until(Base::V0_2),
        same("merge", Maps(&RESOURCE, Refused), V0_2, MERGE),
        same("replace", Map(&CONFIG_REFERENCE), V0_1, REPLACE).until(Base::V0_2),
        same("replace", Map(&RESOURCE), V0_2, REPLACE),
    ],
)
.ignition(ignition::config);

const MERGE: &str = "Configs that are merged into this one.";
const REPLACE: &str = "A config that takes the place of this one.";

static PROXY: Type = Type::new(
    "the `proxy` section",
    &[
        field("http_proxy", "httpProxy", Text, V0_2, "The proxy for HTTP."),
        field("https_proxy", "httpsProxy", Text, V0_2, "The proxy for HTTPS."),
        field("no_proxy", "noProxy", Texts(Refused), V0_2, "Hosts that are reached directly."),
    ],
)
.ignition(ignition::proxy);

static SECURITY: Type =
    Type::new("the `security` section", &[same("tls", Map(&TLS), V0_1, "Trust in TLS.")]);

static TLS: Type = Type::new(
    "the `tls` section",
    &[
        field(
            "certificate_authorities",
            "certificateAuthorities",
            Maps(&CA_REFERENCE, Refused),
            V0_1,
            AUTHORITIES,
        )
        .until(Base::V0_2),
        field(
            "certificate_authorities",
            "certificateAuthorities",
            Maps(&RESOURCE, Refused),
            V0_2,
            AUTHORITIES,
        ),
    ],
)
.ignition(ignition::tls);

const AUTHORITIES: &str = "Certificates to trust besides those of the system, in PEM.";

static TIMEOUTS: Type = Type::new(
    "the `timeouts` section",
    &[
        field(
            "http_response_headers",
            "httpResponseHeaders",
            Integer,
            V0_1,
            "Seconds to wait for the headers of a response.",
        ),
        field("http_total", "httpTotal", Integer, V0_1, "Seconds for a whole request; 0 is ever."),
    ],
);

static KERNEL_ARGUMENTS: Type = Type {
    shared: &[&["shouldExist", "shouldNotExist"]],
    ..Type::new(
        "the `kernel_arguments` section",
        &[
            field("should_exist", "shouldExist", Texts(Refused), V0_4, "Added where missing."),
            field("should_not_exist", "shouldNotExist", Texts(Refused), V0_4, "Taken away."),
        ],
    )
};

static STORAGE: Type = Type {
    shared: &[&["directories", "files", "links"]],
    ..Type::new(
        "the `storage` section",
        &[
            same("directories", Maps(&DIRECTORY, Refused), V0_1, "Folders."),
            same("disks", Maps(&DISK, Refused), V0_1, "Disks and their partitions."),
            same("files", Maps(&FILE, Refused), V0_1, "Files."),
            same("filesystems", Maps(&FILESYSTEM, Refused), V0_1, "File systems."),
            same("links", Maps(&LINK, Refused), V0_1, "Soft and hard links."),
            same("luks", Maps(&LUKS, Refused), V0_3, "Encrypted volumes."),
            same("raid", Maps(&RAID, Refused), V0_1, "Arrays of disks."),
            sugar("trees", Maps(&TREE, Refused), V0_2, "Folders copied as they are."),
        ],
    )
}
.ignition(storage::storage);

static BOOT_DEVICE: Type = Type::new(
    "the `boot_device` section",
    &[
        sugar(
            "layout",
            Text,
            FCOS_1_3,
            "The machine's architecture: `x86_64`, `aarch64`, `ppc64le`, and from fcos 1.6.0 `s390x-eckd`, `s390x-virt`, `s390x-zfcp`.",
        ),
        sugar("luks", Map(&BOOT_DEVICE_LUKS), FCOS_1_3, "Encrypts the root file system."),
        sugar("mirror", Map(&BOOT_DEVICE_MIRROR), FCOS_1_3, "Mirrors the disk."),
    ],
)
.butane(boot_device::boot_device);

pub(crate) static BOOT_DEVICE_LUKS: Type = Type::new(
    "the `luks` section",
    &[
        sugar("cex", Map(&CEX), FCOS_1_6, "Unlocking by a crypto card of IBM Z."),
        sugar("device", Text, FCOS_1_6, "The disk on s390x, such as `/dev/dasda`."),
        sugar("discard", Flag, FCOS_1_5, "Whether the disk learns which blocks are free."),
        same("tang", Maps(&TANG, Refused), FCOS_1_3, "Servers that unlock the volume."),
        same("threshold", Integer, FCOS_1_3, "How many of the ways to unlock are needed."),
        same("tpm2", Flag, FCOS_1_3, "Whether the machine's TPM unlocks the volume."),
    ],
)
.butane(boot_device::luks);

static BOOT_DEVICE_MIRROR: Type = Type::new(
    "the `mirror` section",
    &[sugar("devices", Texts(Refused), FCOS_1_3, "At least two disks.")],
);

static GRUB: Type = Type::new(
    "the `grub` section",
    &[sugar("users", Maps(&GRUB_USER, Refused), FCOS_1_5, "Who may change what is booted.")],
);

static GRUB_USER: Type = Type::new(
    "a user of GRUB",
    &[
        sugar("name", Text, FCOS_1_5, "The name."),
        sugar("password_hash", Text, FCOS_1_5, "What `grub2-mkpasswd-pbkdf2` prints.").secret(),
    ],
)
.butane(grub::user);

static METADATA: Type = Type::new(
    "the `metadata` section",
    &[
        sugar("name", Text, OPENSHIFT, "The name of the MachineConfig."),
        sugar("labels", Labels, OPENSHIFT, "Labels, among them the role."),
    ],
);

static OPENSHIFT_SECTION: Type = Type::new(
    "the `openshift` section",
    &[
        sugar("kernel_arguments", Texts(Refused), OPENSHIFT, "Arguments of the kernel."),
        sugar("extensions", Texts(Refused), OPENSHIFT, "Extensions of RHCOS to install."),
        sugar("fips", Flag, OPENSHIFT, "Whether the machine runs in FIPS mode."),
        sugar("kernel_type", Text, OPENSHIFT, "`default` or `realtime`."),
    ],
);
