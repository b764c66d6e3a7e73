//! The top of a config, and how Ignition itself is to behave.

use super::Kind::{Flag, Integer, Map, Maps, RequiredText, Text, Texts};
use super::Repeats::Refused;
use super::disks::{DISK, FILESYSTEM, LUKS, RAID, TANG};
use super::nodes::{DIRECTORY, FILE, LINK, RESOURCE, TREE};
use super::passwd::PASSWD;
use super::systemd::SYSTEMD;
use super::{Type, field, output, same, sugar};
use crate::validate::{boot_device, ignition, storage};
use crate::version::Base::{V0_1, V0_2, V0_3, V0_4};

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
            V0_3,
            "The disk of the operating system, mirrored or encrypted.",
        ),
    ],
)
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
        same("merge", Maps(&RESOURCE, Refused), V0_1, "Configs that are merged into this one."),
        same("replace", Map(&RESOURCE), V0_1, "A config that takes the place of this one."),
    ],
)
.butane(ignition::inner_configs)
.ignition(ignition::config);

static PROXY: Type = Type::new(
    "the `proxy` section",
    &[
        field("http_proxy", "httpProxy", Text, V0_1, "The proxy for HTTP."),
        field("https_proxy", "httpsProxy", Text, V0_1, "The proxy for HTTPS."),
        field("no_proxy", "noProxy", Texts(Refused), V0_1, "Hosts that are reached directly."),
    ],
)
.ignition(ignition::proxy);

static SECURITY: Type =
    Type::new("the `security` section", &[same("tls", Map(&TLS), V0_1, "Trust in TLS.")]);

static TLS: Type = Type::new(
    "the `tls` section",
    &[field(
        "certificate_authorities",
        "certificateAuthorities",
        Maps(&RESOURCE, Refused),
        V0_1,
        "Certificates to trust besides those of the system, in PEM.",
    )],
)
.ignition(ignition::tls);

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
        sugar("layout", Text, V0_3, "The machine's architecture: `x86_64`, `aarch64`, `ppc64le`."),
        sugar("luks", Map(&BOOT_DEVICE_LUKS), V0_3, "Encrypts the root file system."),
        sugar("mirror", Map(&BOOT_DEVICE_MIRROR), V0_3, "Mirrors the disk."),
    ],
)
.butane(boot_device::boot_device);

pub(crate) static BOOT_DEVICE_LUKS: Type = Type::new(
    "the `luks` section",
    &[
        same("tang", Maps(&TANG, Refused), V0_3, "Servers that unlock the volume."),
        same("threshold", Integer, V0_3, "How many of the ways to unlock are needed."),
        same("tpm2", Flag, V0_3, "Whether the machine's TPM unlocks the volume."),
    ],
);

static BOOT_DEVICE_MIRROR: Type = Type::new(
    "the `mirror` section",
    &[sugar("devices", Texts(Refused), V0_3, "At least two disks.")],
);
