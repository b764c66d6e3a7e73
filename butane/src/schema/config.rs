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
        sugar(
            "variant",
            Text,
            V0_1,
            "The operating system that the config is for; it decides which versions there \
            are and what is allowed.",
        ),
        sugar(
            "version",
            Text,
            V0_1,
            "The version of the variant's specification: three numbers, and \
            `-experimental` while it may still change.",
        ),
        same(
            "ignition",
            Map(&IGNITION),
            V0_1,
            "How Ignition itself behaves: which other configs it takes, and how it \
            reaches the network.",
        ),
        field(
            "kernel_arguments",
            "kernelArguments",
            Map(&KERNEL_ARGUMENTS),
            V0_4,
            "Arguments of the kernel; the machine restarts once during provisioning when \
            they have to change.",
        ),
        same("passwd", Map(&PASSWD), V0_1, "Users and groups of the machine."),
        same(
            "storage",
            Map(&STORAGE),
            V0_1,
            "Disks from partitions to file systems, and what is written to them.",
        ),
        same(
            "systemd",
            Map(&SYSTEMD),
            V0_1,
            "Units of systemd: their files, drop-ins, and whether they start at boot.",
        ),
        sugar(
            "boot_device",
            Map(&BOOT_DEVICE),
            FCOS_1_3,
            "The disk that the operating system starts from: mirrored, encrypted, or both.",
        ),
        sugar("grub", Map(&GRUB), FCOS_1_5, "The boot loader: who may change what it starts."),
        sugar(
            "metadata",
            Map(&METADATA),
            OPENSHIFT,
            "The name and labels of the MachineConfig that comes out.",
        ),
        sugar(
            "openshift",
            Map(&OPENSHIFT_SECTION),
            OPENSHIFT,
            "What the MachineConfig says besides the Ignition config.",
        ),
    ],
)
.butane(openshift::config)
.ignition(storage::units_and_files);

static IGNITION: Type = Type::new(
    "the `ignition` section",
    &[
        output("version", RequiredText, "The version of Ignition's specification."),
        same(
            "config",
            Map(&IGNITION_CONFIG),
            V0_1,
            "Other configs, which are merged into this one or take its place.",
        ),
        same(
            "proxy",
            Map(&PROXY),
            V0_2,
            "Proxies for everything that Ignition fetches over HTTP and HTTPS.",
        ),
        same("security", Map(&SECURITY), V0_1, "Whom Ignition trusts when it fetches something."),
        same("timeouts", Map(&TIMEOUTS), V0_1, "When Ignition gives up on a request."),
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

const MERGE: &str =
    "Configs that are merged into this one: what they say wins over what this one says.";
const REPLACE: &str = "A config that takes the place of this one altogether.";

static PROXY: Type = Type::new(
    "the `proxy` section",
    &[
        field(
            "http_proxy",
            "httpProxy",
            Text,
            V0_2,
            "The URL of the proxy for HTTP, and for HTTPS unless `https_proxy` says otherwise.",
        ),
        field(
            "https_proxy",
            "httpsProxy",
            Text,
            V0_2,
            "The URL of the proxy for HTTPS; use one that is itself reached over HTTPS.",
        ),
        field(
            "no_proxy",
            "noProxy",
            Texts(Refused),
            V0_2,
            "Hosts that are reached directly: addresses, CIDR prefixes, domain names \
            (with all below them), or `*` for all.",
        ),
    ],
)
.ignition(ignition::proxy);

static SECURITY: Type = Type::new(
    "the `security` section",
    &[same("tls", Map(&TLS), V0_1, "Trust in TLS, for everything that is fetched over HTTPS.")],
);

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

const AUTHORITIES: &str =
    "Certificates that are trusted besides those of the system, in PEM; a file may hold several.";

static TIMEOUTS: Type = Type::new(
    "the `timeouts` section",
    &[
        field(
            "http_response_headers",
            "httpResponseHeaders",
            Integer,
            V0_1,
            "Seconds until the headers of a response have to be there; 0 waits for ever.",
        ),
        field(
            "http_total",
            "httpTotal",
            Integer,
            V0_1,
            "Seconds for a whole request with all its retries; 0 waits for ever.",
        ),
    ],
);

static KERNEL_ARGUMENTS: Type = Type {
    shared: &[&["shouldExist", "shouldNotExist"]],
    ..Type::new(
        "the `kernel_arguments` section",
        &[
            field(
                "should_exist",
                "shouldExist",
                Texts(Refused),
                V0_4,
                "Arguments that are added where they are missing, each a word such as `quiet` \
                or `key=value`.",
            ),
            field(
                "should_not_exist",
                "shouldNotExist",
                Texts(Refused),
                V0_4,
                "Arguments that are taken away where they are there.",
            ),
        ],
    )
};

static STORAGE: Type = Type {
    shared: &[&["directories", "files", "links"]],
    ..Type::new(
        "the `storage` section",
        &[
            same(
                "directories",
                Maps(&DIRECTORY, Refused),
                V0_1,
                "Folders to make, or to give an owner and mode.",
            ),
            same("disks", Maps(&DISK, Refused), V0_1, "Disks and the partitions they are to have."),
            same("files", Maps(&FILE, Refused), V0_1, "Files to write."),
            same(
                "filesystems",
                Maps(&FILESYSTEM, Refused),
                V0_1,
                "File systems to make, and where to mount them.",
            ),
            same("links", Maps(&LINK, Refused), V0_1, "Symbolic and hard links to make."),
            same(
                "luks",
                Maps(&LUKS, Refused),
                V0_3,
                "Encrypted volumes (LUKS2) and how they are unlocked.",
            ),
            same(
                "raid",
                Maps(&RAID, Refused),
                V0_1,
                "Arrays of disks or partitions, made with mdadm.",
            ),
            sugar(
                "trees",
                Maps(&TREE, Refused),
                V0_2,
                "Folders of the build machine whose files and links are copied into the config.",
            ),
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
            "What the operating system's image looks like, by machine; needed for a \
            mirror and on s390x.",
        ),
        sugar("luks", Map(&BOOT_DEVICE_LUKS), FCOS_1_3, "Encrypts the root file system."),
        sugar(
            "mirror",
            Map(&BOOT_DEVICE_MIRROR),
            FCOS_1_3,
            "Mirrors everything that the machine boots from onto several disks.",
        ),
    ],
)
.butane(boot_device::boot_device);

pub(crate) static BOOT_DEVICE_LUKS: Type = Type::new(
    "the `luks` section",
    &[
        sugar("cex", Map(&CEX), FCOS_1_6, "Unlocks the disk with a Crypto Express card of IBM Z."),
        sugar(
            "device",
            Text,
            FCOS_1_6,
            "The whole disk on s390x: `/dev/dasda` for `s390x-eckd`, `/dev/sda` for \
            `s390x-zfcp`.",
        ),
        sugar(
            "discard",
            Flag,
            FCOS_1_5,
            "Whether the disk learns which blocks are free: good for flash, but it shows \
            how full the volume is.",
        ),
        same(
            "tang",
            Maps(&TANG, Refused),
            FCOS_1_3,
            "Tang servers that unlock the disk when they can be reached.",
        ),
        same(
            "threshold",
            Integer,
            FCOS_1_3,
            "How many of the Tang servers and the TPM have to agree before the disk is \
            unlocked.",
        ),
        same("tpm2", Flag, FCOS_1_3, "Whether the TPM of the machine unlocks the disk."),
    ],
)
.butane(boot_device::luks);

static BOOT_DEVICE_MIRROR: Type = Type::new(
    "the `mirror` section",
    &[sugar(
        "devices",
        Texts(Refused),
        FCOS_1_3,
        "The absolute paths of at least two whole disks.",
    )],
);

static GRUB: Type = Type::new(
    "the `grub` section",
    &[sugar(
        "users",
        Maps(&GRUB_USER, Refused),
        FCOS_1_5,
        "Superusers of GRUB: without their password nobody edits what is booted.",
    )],
);

static GRUB_USER: Type = Type::new(
    "a user of GRUB",
    &[
        sugar("name", Text, FCOS_1_5, "The name that is typed at the boot loader."),
        sugar(
            "password_hash",
            Text,
            FCOS_1_5,
            "The hash of the password, as `grub2-mkpasswd-pbkdf2` prints it.",
        )
        .secret(),
    ],
)
.butane(grub::user);

static METADATA: Type = Type::new(
    "the `metadata` section",
    &[
        sugar(
            "name",
            Text,
            OPENSHIFT,
            "The name of the MachineConfig; OpenShift applies them in the order of their \
            names.",
        ),
        sugar(
            "labels",
            Labels,
            OPENSHIFT,
            "Labels of the MachineConfig; `machineconfiguration.openshift.io/role` says \
            which machines it is for.",
        ),
    ],
);

static OPENSHIFT_SECTION: Type = Type::new(
    "the `openshift` section",
    &[
        sugar(
            "kernel_arguments",
            Texts(Refused),
            OPENSHIFT,
            "Arguments of the kernel that the machine config operator adds.",
        ),
        sugar(
            "extensions",
            Texts(Refused),
            OPENSHIFT,
            "Extensions of RHCOS that are installed, such as `usbguard`.",
        ),
        sugar(
            "fips",
            Flag,
            OPENSHIFT,
            "Whether the machine runs in FIPS mode; it can only be chosen when the \
            cluster is installed.",
        ),
        sugar("kernel_type", Text, OPENSHIFT, "Which kernel the machine runs."),
    ],
);
