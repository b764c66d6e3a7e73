//! Files, folders, links, and where contents come from.

use super::Kind::{Flag, Integer, Map, Maps, RequiredText, Text};
use super::Repeats::{Kept, Refused};
use super::{Lowering, Type, field, same, sugar};
use crate::validate::{resource, storage, tree};
use crate::version::Base;
use crate::version::since::{V0_1, V0_2, V0_4, V0_7};

pub(crate) static DIRECTORY: Type = Type::new(
    "a folder",
    &[
        same("path", RequiredText, V0_1, "The absolute path."),
        same("group", Map(&OWNER), V0_1, "The group that owns it."),
        same("mode", Integer, V0_1, "The mode, with a leading zero for octal."),
        same("overwrite", Flag, V0_1, "Whether what is at the path is removed first."),
        same("user", Map(&OWNER), V0_1, "The user that owns it."),
    ],
)
.keyed("path")
.butane(storage::directory_mode)
.ignition(storage::directory);

pub(crate) static FILE: Type = Type::new(
    "a file",
    &[
        same("path", RequiredText, V0_1, "The absolute path."),
        same("append", Maps(&RESOURCE, Kept), V0_1, "What is put behind the contents.")
            .maybe_secret(),
        same("contents", Map(&RESOURCE), V0_1, "The contents.").maybe_secret(),
        same("group", Map(&OWNER), V0_1, "The group that owns it."),
        same("mode", Integer, V0_1, "The mode, with a leading zero for octal."),
        same("overwrite", Flag, V0_1, "Whether what is at the path is removed first."),
        same("user", Map(&OWNER), V0_1, "The user that owns it."),
    ],
)
.keyed("path")
.butane(storage::file_mode)
.ignition(storage::file);

pub(crate) static LINK: Type = Type::new(
    "a link",
    &[
        same("path", RequiredText, V0_1, "The absolute path."),
        same("group", Map(&OWNER), V0_1, "The group that owns it."),
        same("hard", Flag, V0_1, "Whether it is a hard link."),
        same("overwrite", Flag, V0_1, "Whether what is at the path is removed first."),
        same("target", RequiredText, V0_1, "What it leads to.").until(Base::V0_4),
        same("target", Text, V0_4, "What it leads to."),
        same("user", Map(&OWNER), V0_1, "The user that owns it."),
    ],
)
.keyed("path")
.ignition(storage::link);

pub(crate) static OWNER: Type = Type::new(
    "an owner",
    &[
        same("id", Integer, V0_1, "The number of the user or group."),
        same("name", Text, V0_1, "The name of the user or group."),
    ],
)
.ignition(storage::owner);

pub(crate) static TREE: Type = Type::new(
    "a tree",
    &[
        sugar("local", RequiredText, V0_2, "The folder, below the files directory."),
        sugar("path", Text, V0_2, "Where it is put; `/` by default."),
        sugar("user", Map(&OWNER), V0_7, "The user that owns everything in it."),
        sugar("group", Map(&OWNER), V0_7, "The group that owns everything in it."),
        sugar("file_mode", Integer, V0_7, "The mode of its files; 0755 or 0644 by default."),
        sugar("dir_mode", Integer, V0_7, "The mode of its folders; 0755 by default."),
    ],
)
.butane(tree::tree);

pub(crate) static RESOURCE: Type = Type {
    lowering: Lowering::Resource,
    ..Type::new(
        "a resource",
        &[
            same("compression", Text, V0_1, "`gzip` when the source is compressed."),
            field(
                "http_headers",
                "httpHeaders",
                Maps(&HTTP_HEADER, Refused),
                V0_2,
                "Headers of the request.",
            ),
            same("source", Text, V0_1, "A URL that the machine fetches."),
            sugar("inline", Text, V0_1, "The contents themselves."),
            sugar("local", Text, V0_2, "A file below the files directory."),
            same("verification", Map(&VERIFICATION), V0_1, "What the contents have to be."),
        ],
    )
}
.keyed("source")
.butane(resource::one_source)
.ignition(resource::resource);

/// How spec 3.0.0 names another config.
pub(crate) static CONFIG_REFERENCE: Type = Type::new(
    "a reference to a config",
    &[
        same("source", Text, V0_1, "A URL that the machine fetches."),
        same("verification", Map(&VERIFICATION), V0_1, "What the config has to be."),
    ],
)
.keyed("source")
.ignition(resource::optional_source);

/// How spec 3.0.0 names a certificate.
pub(crate) static CA_REFERENCE: Type = Type::new(
    "a reference to a certificate",
    &[
        same("source", RequiredText, V0_1, "A URL that the machine fetches."),
        same("verification", Map(&VERIFICATION), V0_1, "What the certificate has to be."),
    ],
)
.keyed("source")
.ignition(resource::certificate);

static HTTP_HEADER: Type = Type::new(
    "an HTTP header",
    &[
        same("name", RequiredText, V0_2, "The header's name."),
        same("value", Text, V0_2, "The header's value.").maybe_secret(),
    ],
)
.keyed("name")
.ignition(resource::header);

static VERIFICATION: Type = Type::new(
    "the `verification` section",
    &[same("hash", Text, V0_1, "`sha256-` or `sha512-` and the hex digits.")],
)
.ignition(resource::verification);
