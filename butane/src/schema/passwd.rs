//! Users and groups.

use super::Kind::{Flag, Integer, Maps, RequiredText, Text, Texts};
use super::Repeats::Refused;
use super::{Lowering, Type, field, same, sugar};
use crate::version::since::{V0_1, V0_3, V0_5};

pub(crate) static PASSWD: Type = Type::new(
    "the `passwd` section",
    &[
        same("groups", Maps(&GROUP, Refused), V0_1, "Groups."),
        same("users", Maps(&USER, Refused), V0_1, "Users."),
    ],
);

static GROUP: Type = Type::new(
    "a group",
    &[
        same("gid", Integer, V0_1, "The number."),
        same("name", RequiredText, V0_1, "The name."),
        field("password_hash", "passwordHash", Text, V0_1, "The hash of the password.").secret(),
        field("should_exist", "shouldExist", Flag, V0_3, "Whether it is there."),
        same("system", Flag, V0_1, "Whether it is a group of the system."),
    ],
)
.keyed("name");

static USER: Type = Type {
    lowering: Lowering::User,
    ..Type::new(
        "a user",
        &[
            same("gecos", Text, V0_1, "The full name."),
            same("groups", Texts(Refused), V0_1, "Groups besides the primary one."),
            field("home_dir", "homeDir", Text, V0_1, "The home folder."),
            same("name", RequiredText, V0_1, "The name."),
            field("no_create_home", "noCreateHome", Flag, V0_1, "Whether the home is not made."),
            field("no_log_init", "noLogInit", Flag, V0_1, "Whether lastlog does not know it."),
            field("no_user_group", "noUserGroup", Flag, V0_1, "Whether no group is made for it."),
            field("password_hash", "passwordHash", Text, V0_1, "The hash of the password.")
                .secret(),
            field("primary_group", "primaryGroup", Text, V0_1, "The primary group."),
            same("shell", Text, V0_1, "The shell."),
            field("should_exist", "shouldExist", Flag, V0_3, "Whether it is there."),
            field(
                "ssh_authorized_keys",
                "sshAuthorizedKeys",
                Texts(Refused),
                V0_1,
                "Public keys that may log in.",
            ),
            sugar(
                "ssh_authorized_keys_local",
                Texts(Refused),
                V0_5,
                "Files of public keys below the files directory, a key a line.",
            ),
            same("system", Flag, V0_1, "Whether it is a user of the system."),
            same("uid", Integer, V0_1, "The number."),
        ],
    )
}
.keyed("name");
