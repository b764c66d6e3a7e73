//! Disks, arrays, file systems, encrypted volumes.

use super::Kind::{FilledText, Flag, Integer, Map, Maps, Number, RequiredText, Text, Texts};
use super::Repeats::{Kept, Refused};
use super::nodes::RESOURCE;
use super::{Key, Type, field, same, sugar};
use crate::validate::{disk, luks};
use crate::version::Base;
use crate::version::since::{V0_1, V0_2, V0_3, V0_4, V0_5, V0_6};

pub(crate) static DISK: Type = Type::new(
    "a disk",
    &[
        same("device", RequiredText, V0_1, "The absolute path of the device."),
        same("partitions", Maps(&PARTITION, Refused), V0_1, "The partitions."),
        field("wipe_table", "wipeTable", Flag, V0_1, "Whether the partition table is made anew."),
    ],
)
.keyed("device")
.ignition(disk::disk);

static PARTITION: Type = Type {
    key: Key::Partition,
    ..Type::new(
        "a partition",
        &[
            same("guid", Text, V0_1, "The partition's own GUID."),
            same("label", Text, V0_1, "The partition's label."),
            same("number", Number, V0_1, "The place in the table; 0 is the next free one."),
            same("resize", Flag, V0_3, "Whether a partition of another size is resized."),
            field("should_exist", "shouldExist", Flag, V0_1, "Whether it is there."),
            field("size_mib", "sizeMiB", Integer, V0_1, "MiB; 0 takes what is free."),
            field("start_mib", "startMiB", Integer, V0_1, "MiB; 0 is the largest free place."),
            field("type_guid", "typeGuid", Text, V0_1, "The GUID of the partition's type."),
            field(
                "wipe_partition_entry",
                "wipePartitionEntry",
                Flag,
                V0_1,
                "Whether a partition that does not match is made anew.",
            ),
        ],
    )
}
.ignition(disk::partition);

pub(crate) static RAID: Type = Type::new(
    "an array",
    &[
        same("devices", Texts(Refused), V0_1, "The devices of the array."),
        same("level", RequiredText, V0_1, "The level: `raid1`.").until(Base::V0_4),
        same("level", Text, V0_4, "The level: `raid1`."),
        same("name", RequiredText, V0_1, "The name below `/dev/md`."),
        same("options", Texts(Kept), V0_1, "Options of mdadm."),
        same("spares", Integer, V0_1, "How many of the devices wait."),
    ],
)
.keyed("name")
.ignition(disk::raid);

pub(crate) static FILESYSTEM: Type = Type::new(
    "a file system",
    &[
        same("device", RequiredText, V0_1, "The absolute path of the device."),
        same("format", Text, V0_1, "`ext4`, `btrfs`, `xfs`, `vfat`, `swap` or `none`."),
        same("label", Text, V0_1, "The label."),
        field("mount_options", "mountOptions", Texts(Kept), V0_2, "Options of the mount."),
        same("options", Texts(Kept), V0_1, "Options of mkfs."),
        same("path", Text, V0_1, "Where it is mounted while Ignition writes files."),
        same("uuid", Text, V0_1, "The UUID."),
        field("wipe_filesystem", "wipeFilesystem", Flag, V0_1, "Whether it is made anew."),
        sugar("with_mount_unit", Flag, V0_2, "Whether a unit mounts it at each boot."),
    ],
)
.keyed("device")
.butane(disk::mount_unit)
.ignition(disk::filesystem);

pub(crate) static LUKS: Type = Type::new(
    "an encrypted volume",
    &[
        same("cex", Map(&CEX), V0_6, "Unlocking by a crypto card of IBM Z."),
        same("clevis", Map(&CLEVIS), V0_3, "How it is unlocked.")
            .until(Base::V0_4)
            .kept_when_empty(),
        same("clevis", Map(&CLEVIS), V0_4, "How it is unlocked."),
        same("device", Text, V0_3, "The absolute path of the device."),
        same("discard", Flag, V0_5, "Whether the disk learns which blocks are free."),
        field("key_file", "keyFile", Map(&RESOURCE), V0_3, "The key.").secret(),
        same("label", Text, V0_3, "The label."),
        same("name", RequiredText, V0_3, "The name below `/dev/mapper`."),
        field(
            "open_options",
            "openOptions",
            Texts(Refused),
            V0_5,
            "Options of `cryptsetup luksOpen`.",
        ),
        same("options", Texts(Kept), V0_3, "Options of `cryptsetup luksFormat`."),
        same("uuid", Text, V0_3, "The UUID."),
        field("wipe_volume", "wipeVolume", Flag, V0_3, "Whether it is made anew."),
    ],
)
.keyed("name")
.ignition(luks::luks);

pub(crate) static CEX: Type = Type::new(
    "the `cex` section",
    &[same("enabled", Flag, V0_6, "Whether the crypto card unlocks the volume.")],
);

static CLEVIS: Type = Type::new(
    "the `clevis` section",
    &[
        same("custom", Map(&CLEVIS_CUSTOM), V0_3, "A pin with its own configuration."),
        same("tang", Maps(&TANG, Refused), V0_3, "Servers that unlock the volume."),
        same("threshold", Integer, V0_3, "How many of the ways to unlock are needed."),
        same("tpm2", Flag, V0_3, "Whether the machine's TPM unlocks the volume."),
    ],
);

static CLEVIS_CUSTOM: Type = Type::new(
    "the `custom` section",
    &[
        same("config", RequiredText, V0_3, "The pin's configuration, in JSON.")
            .until(Base::V0_4)
            .secret(),
        same("config", Text, V0_4, "The pin's configuration, in JSON.").secret(),
        field("needs_network", "needsNetwork", Flag, V0_3, "Whether the pin needs the network."),
        same("pin", RequiredText, V0_3, "The pin's name.").until(Base::V0_4),
        same("pin", Text, V0_4, "The pin's name."),
    ],
)
.ignition(luks::custom);

pub(crate) static TANG: Type = Type::new(
    "a Tang server",
    &[
        same(
            "advertisement",
            Text,
            V0_5,
            "The server's advertisement, in JSON, to do without asking it.",
        ),
        same("thumbprint", Text, V0_3, "The thumbprint of the server's signing key."),
        same("url", FilledText, V0_3, "The server."),
    ],
)
.keyed("url")
.ignition(luks::tang);
