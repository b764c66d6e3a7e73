//! Users and groups.

use super::Kind::{Flag, Integer, Maps, RequiredText, Text, Texts};
use super::Repeats::Refused;
use super::{Lowering, Type, field, same, sugar};
use crate::version::since::{V0_1, V0_3, V0_5};

pub(crate) static PASSWD: Type = Type::new(
    "the `passwd` section",
    &[
        same("groups", Maps(&GROUP, Refused), V0_1, "Groups to make, change or delete."),
        same(
            "users",
            Maps(&USER, Refused),
            V0_1,
            "Users to make, change or delete; `core` is there already.",
        ),
    ],
);

static GROUP: Type = Type::new(
    "a group",
    &[
        same("gid", Integer, V0_1, "The number of the group; without it the next free one."),
        same("name", RequiredText, V0_1, "The name of the group."),
        field("password_hash", "passwordHash", Text, V0_1, "The hash of the group's password.")
            .secret(),
        field(
            "should_exist",
            "shouldExist",
            Flag,
            V0_3,
            "Whether the group is there; `false` deletes it.",
        ),
        same("system", Flag, V0_1, "Whether it gets a number of the system's range."),
    ],
)
.keyed("name");

static USER: Type = Type {
    lowering: Lowering::User,
    ..Type::new(
        "a user",
        &[
            same("gecos", Text, V0_1, "The full name, and what else the GECOS field has."),
            same(
                "groups",
                Texts(Refused),
                V0_1,
                "Groups that the user is in besides the primary one.",
            ),
            field("home_dir", "homeDir", Text, V0_1, "The home folder."),
            same("name", RequiredText, V0_1, "The name of the user."),
            field(
                "no_create_home",
                "noCreateHome",
                Flag,
                V0_1,
                "Whether the home folder of a new user is not made.",
            ),
            field(
                "no_log_init",
                "noLogInit",
                Flag,
                V0_1,
                "Whether a new user is left out of the lastlog and faillog databases.",
            ),
            field(
                "no_user_group",
                "noUserGroup",
                Flag,
                V0_1,
                "Whether no group of the same name is made for a new user.",
            ),
            field(
                "password_hash",
                "passwordHash",
                Text,
                V0_1,
                "The hash of the password, as `mkpasswd --method=yescrypt` prints it.",
            )
            .secret(),
            field(
                "primary_group",
                "primaryGroup",
                Text,
                V0_1,
                "The name of the primary group; without it one named like the user.",
            ),
            same("shell", Text, V0_1, "The login shell."),
            field(
                "should_exist",
                "shouldExist",
                Flag,
                V0_3,
                "Whether the user is there; `false` deletes the user.",
            ),
            field(
                "ssh_authorized_keys",
                "sshAuthorizedKeys",
                Texts(Refused),
                V0_1,
                "Public SSH keys that may log in as the user.",
            ),
            sugar(
                "ssh_authorized_keys_local",
                Texts(Refused),
                V0_5,
                "Files below the files directory (`--files-dir`) with public SSH keys, one a line.",
            ),
            same("system", Flag, V0_1, "Whether a new user gets a number of the system's range."),
            same("uid", Integer, V0_1, "The number of the user; without it the next free one."),
        ],
    )
}
.keyed("name");
