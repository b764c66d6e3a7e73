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
        same(
            "device",
            RequiredText,
            V0_1,
            "The absolute path of the disk, best one below `/dev/disk/by-id`; the disk of \
            the operating system is `/dev/disk/by-id/coreos-boot-disk`.",
        ),
        same(
            "partitions",
            Maps(&PARTITION, Refused),
            V0_1,
            "The partitions; those of the disk that are not listed stay as they are.",
        ),
        field(
            "wipe_table",
            "wipeTable",
            Flag,
            V0_1,
            "Whether the partition table is erased first, with everything on the disk.",
        ),
    ],
)
.keyed("device")
.ignition(disk::disk);

static PARTITION: Type = Type {
    key: Key::Partition,
    ..Type::new(
        "a partition",
        &[
            same(
                "guid",
                Text,
                V0_1,
                "The GUID of the partition itself; a random one when it is left away.",
            ),
            same(
                "label",
                Text,
                V0_1,
                "The name of the partition, by which it is found as \
                `/dev/disk/by-partlabel/LABEL`; at most 36 characters, no colon.",
            ),
            same(
                "number",
                Number,
                V0_1,
                "The number in the partition table, from 1; 0 takes the next free one.",
            ),
            same(
                "resize",
                Flag,
                V0_3,
                "Whether a partition that fits in all but its size is resized; the partition \
                table has to stay.",
            ),
            field(
                "should_exist",
                "shouldExist",
                Flag,
                V0_1,
                "Whether the partition is there; `false` deletes it, and allows nothing but \
                its number.",
            ),
            field(
                "size_mib",
                "sizeMiB",
                Integer,
                V0_1,
                "The size in MiB; 0 takes all the space that is free there.",
            ),
            field(
                "start_mib",
                "startMiB",
                Integer,
                V0_1,
                "Where it starts, in MiB; 0 is the beginning of the largest free space.",
            ),
            field(
                "type_guid",
                "typeGuid",
                Text,
                V0_1,
                "The GUID of the partition's type; without it, data of Linux.",
            ),
            field(
                "wipe_partition_entry",
                "wipePartitionEntry",
                Flag,
                V0_1,
                "Whether an existing partition that does not match is deleted; otherwise \
                provisioning stops there.",
            ),
        ],
    )
}
.ignition(disk::partition);

pub(crate) static RAID: Type = Type::new(
    "an array",
    &[
        same(
            "devices",
            Texts(Refused),
            V0_1,
            "The absolute paths of the disks or partitions, spares among them.",
        ),
        same("level", RequiredText, V0_1, "How data is spread over the devices.").until(Base::V0_4),
        same("level", Text, V0_4, "How data is spread over the devices."),
        same(
            "name",
            RequiredText,
            V0_1,
            "The name, by which the array is found as `/dev/md/NAME`.",
        ),
        same("options", Texts(Kept), V0_1, "Further options for `mdadm --create`."),
        same("spares", Integer, V0_1, "How many of the devices wait until another fails."),
    ],
)
.keyed("name")
.ignition(disk::raid);

pub(crate) static FILESYSTEM: Type = Type::new(
    "a file system",
    &[
        same(
            "device",
            RequiredText,
            V0_1,
            "The absolute path of the device, best one below `/dev/disk/by-partlabel` or \
            `/dev/mapper`.",
        ),
        same(
            "format",
            Text,
            V0_1,
            "The kind of file system; `none` only checks that the device is there and \
            wipes it when asked to.",
        ),
        same(
            "label",
            Text,
            V0_1,
            "The label; how long it may be depends on the format (ext4 16, xfs 12, swap \
            15, vfat 11, btrfs 256 bytes).",
        ),
        field(
            "mount_options",
            "mountOptions",
            Texts(Kept),
            V0_2,
            "Options of the mount, while Ignition runs and in the unit of `with_mount_unit`.",
        ),
        same("options", Texts(Kept), V0_1, "Further options for the format's `mkfs`."),
        same(
            "path",
            Text,
            V0_1,
            "Where it is mounted while Ignition writes files, as an absolute path of the \
            machine.",
        ),
        same("uuid", Text, V0_1, "The UUID of the file system."),
        field(
            "wipe_filesystem",
            "wipeFilesystem",
            Flag,
            V0_1,
            "Whether it is made anew in any case; otherwise one that matches in format, \
            label and UUID is kept with all its data.",
        ),
        sugar(
            "with_mount_unit",
            Flag,
            V0_2,
            "Whether a systemd unit is added that mounts it, or swaps to it, at each boot.",
        ),
    ],
)
.keyed("device")
.butane(disk::mount_unit)
.ignition(disk::filesystem);

pub(crate) static LUKS: Type = Type::new(
    "an encrypted volume",
    &[
        same("cex", Map(&CEX), V0_6, "Unlocks the volume with a Crypto Express card of IBM Z."),
        same(
            "clevis",
            Map(&CLEVIS),
            V0_3,
            "How the volume is unlocked without a person; without it, and without a key, \
            a random key is kept on the machine.",
        )
        .until(Base::V0_4)
        .kept_when_empty(),
        same(
            "clevis",
            Map(&CLEVIS),
            V0_4,
            "How the volume is unlocked without a person; without it, and without a key, \
            a random key is kept on the machine.",
        ),
        same("device", Text, V0_3, "The absolute path of the disk or partition that is encrypted."),
        same(
            "discard",
            Flag,
            V0_5,
            "Whether the disk learns which blocks are free: good for flash, but it shows \
            how full the volume is.",
        ),
        field(
            "key_file",
            "keyFile",
            Map(&RESOURCE),
            V0_3,
            "The key, as contents of a file; without it Ignition makes a random one.",
        )
        .secret(),
        same("label", Text, V0_3, "The label of the volume, of at most 47 bytes."),
        same(
            "name",
            RequiredText,
            V0_3,
            "The name, by which the open volume is found as `/dev/mapper/NAME`.",
        ),
        field(
            "open_options",
            "openOptions",
            Texts(Refused),
            V0_5,
            "Further options for `cryptsetup luksOpen`, which the volume remembers.",
        ),
        same("options", Texts(Kept), V0_3, "Further options for `cryptsetup luksFormat`."),
        same("uuid", Text, V0_3, "The UUID of the volume."),
        field(
            "wipe_volume",
            "wipeVolume",
            Flag,
            V0_3,
            "Whether the volume is made anew in any case; otherwise one that matches is \
            kept with all its data.",
        ),
    ],
)
.keyed("name")
.ignition(luks::luks);

pub(crate) static CEX: Type = Type::new(
    "the `cex` section",
    &[same("enabled", Flag, V0_6, "Whether the crypto card protects the key.")],
);

static CLEVIS: Type = Type::new(
    "the `clevis` section",
    &[
        same("custom", Map(&CLEVIS_CUSTOM), V0_3, CUSTOM).until(Base::V0_4).kept_when_empty(),
        same("custom", Map(&CLEVIS_CUSTOM), V0_4, CUSTOM),
        same(
            "tang",
            Maps(&TANG, Refused),
            V0_3,
            "Tang servers that unlock the volume when they can be reached.",
        ),
        same(
            "threshold",
            Integer,
            V0_3,
            "How many of the Tang servers and the TPM have to agree before the volume is \
            unlocked.",
        ),
        same("tpm2", Flag, V0_3, "Whether the TPM of the machine unlocks the volume."),
    ],
);

const CUSTOM: &str =
    "A pin of Clevis with its own configuration, instead of `tang`, `tpm2` and `threshold`.";

static CLEVIS_CUSTOM: Type = Type::new(
    "the `custom` section",
    &[
        same(
            "config",
            RequiredText,
            V0_3,
            "The pin's configuration, in JSON, as `clevis luks bind` takes it.",
        )
        .secret()
        .until(Base::V0_4),
        same(
            "config",
            Text,
            V0_4,
            "The pin's configuration, in JSON, as `clevis luks bind` takes it.",
        )
        .secret(),
        field(
            "needs_network",
            "needsNetwork",
            Flag,
            V0_3,
            "Whether the network has to be up to unlock the volume.",
        ),
        same("pin", RequiredText, V0_3, "The name of the pin.").until(Base::V0_4),
        same("pin", Text, V0_4, "The name of the pin."),
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
            "What the server advertises, in JSON, so that it does not have to be asked \
            during provisioning.",
        ),
        same(
            "thumbprint",
            Text,
            V0_3,
            "The thumbprint of the key that signs what the server advertises \
            (`tang-show-keys`).",
        ),
        same("url", FilledText, V0_3, "The URL of the server, over HTTP or HTTPS."),
    ],
)
.keyed("url")
.ignition(luks::tang);
