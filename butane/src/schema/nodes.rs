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
        same(
            "path",
            RequiredText,
            V0_1,
            "The absolute path of the folder; folders above it are made with mode 0755, \
            owned by root.",
        ),
        same("group", Map(&OWNER), V0_1, "The group that owns the folder."),
        same("mode", Integer, V0_1, "The permission bits, in octal with a leading zero."),
        same(
            "overwrite",
            Flag,
            V0_1,
            "Whether something else at the path is removed first; a folder that is there \
            is then emptied.",
        ),
        same("user", Map(&OWNER), V0_1, "The user who owns the folder."),
    ],
)
.keyed("path")
.butane(storage::directory_mode)
.ignition(storage::directory);

pub(crate) static FILE: Type = Type::new(
    "a file",
    &[
        same(
            "path",
            RequiredText,
            V0_1,
            "The absolute path of the file; folders above it are made with mode 0755, \
            owned by root.",
        ),
        same(
            "append",
            Maps(&RESOURCE, Kept),
            V0_1,
            "Pieces that are added behind the contents, or behind the file that is there.",
        )
        .maybe_secret(),
        same(
            "contents",
            Map(&RESOURCE),
            V0_1,
            "What is in the file; without it an existing file stays, and a missing one is \
            made empty.",
        )
        .maybe_secret(),
        same("group", Map(&OWNER), V0_1, "The group that owns the file."),
        same("mode", Integer, V0_1, "The permission bits, in octal with a leading zero."),
        same(
            "overwrite",
            Flag,
            V0_1,
            "Whether what is at the path is removed first; otherwise an existing file \
            with other contents stops provisioning.",
        ),
        same("user", Map(&OWNER), V0_1, "The user who owns the file."),
    ],
)
.keyed("path")
.butane(storage::file_mode)
.ignition(storage::file);

pub(crate) static LINK: Type = Type::new(
    "a link",
    &[
        same("path", RequiredText, V0_1, "The absolute path of the link."),
        same("group", Map(&OWNER), V0_1, "The group that owns a symbolic link."),
        same("hard", Flag, V0_1, "Whether it is a hard link; otherwise it is a symbolic one."),
        same("overwrite", Flag, V0_1, "Whether what is at the path is removed first."),
        same(
            "target",
            RequiredText,
            V0_1,
            "What the link leads to; of a symbolic link it may be relative.",
        )
        .until(Base::V0_4),
        same(
            "target",
            Text,
            V0_4,
            "What the link leads to; of a symbolic link it may be relative.",
        ),
        same("user", Map(&OWNER), V0_1, "The user who owns a symbolic link."),
    ],
)
.keyed("path")
.ignition(storage::link);

pub(crate) static OWNER: Type = Type::new(
    "an owner",
    &[
        same("id", Integer, V0_1, "The number of the user or group."),
        same(
            "name",
            Text,
            V0_1,
            "The name of the user or group, which has to exist when files are written.",
        ),
    ],
)
.ignition(storage::owner);

pub(crate) static TREE: Type = Type::new(
    "a tree",
    &[
        sugar(
            "local",
            RequiredText,
            V0_2,
            "The folder, below the files directory (`--files-dir`).",
        ),
        sugar(
            "path",
            Text,
            V0_2,
            "Where the folder's contents are put on the machine, as an absolute path.",
        ),
        sugar("user", Map(&OWNER), V0_7, "The user who owns everything in the tree."),
        sugar("group", Map(&OWNER), V0_7, "The group that owns everything in the tree."),
        sugar(
            "file_mode",
            Integer,
            V0_7,
            "The permission bits of all its files; otherwise 0755 for those that may be \
            executed on the build machine and 0644 for all others.",
        ),
        sugar(
            "dir_mode",
            Integer,
            V0_7,
            "The permission bits of all its folders, which are then made explicitly.",
        ),
    ],
)
.butane(tree::tree);

pub(crate) static RESOURCE: Type = Type {
    lowering: Lowering::Resource,
    ..Type::new(
        "a resource",
        &[
            same(
                "compression",
                Text,
                V0_1,
                "How the contents are compressed at the source; `inline` and `local` contents \
                are compressed by the compiler where that is shorter.",
            ),
            field(
                "http_headers",
                "httpHeaders",
                Maps(&HTTP_HEADER, Refused),
                V0_2,
                "Headers of the request, for a source over HTTP or HTTPS.",
            ),
            same(
                "source",
                Text,
                V0_1,
                "A URL that the machine fetches the contents from while it is provisioned.",
            ),
            sugar("inline", Text, V0_1, "The contents themselves."),
            sugar(
                "local",
                Text,
                V0_2,
                "A file below the files directory (`--files-dir`), whose contents are put \
                into the config.",
            ),
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
        same("source", Text, V0_1, "A URL that the machine fetches the config from."),
        same("verification", Map(&VERIFICATION), V0_1, "What the config has to be."),
    ],
)
.keyed("source")
.ignition(resource::optional_source);

/// How spec 3.0.0 names a certificate.
pub(crate) static CA_REFERENCE: Type = Type::new(
    "a reference to a certificate",
    &[
        same("source", RequiredText, V0_1, "A URL that the machine fetches the certificate from."),
        same("verification", Map(&VERIFICATION), V0_1, "What the certificate has to be."),
    ],
)
.keyed("source")
.ignition(resource::certificate);

static HTTP_HEADER: Type = Type::new(
    "an HTTP header",
    &[
        same("name", RequiredText, V0_2, "The name of the header."),
        same("value", Text, V0_2, "The value of the header.").maybe_secret(),
    ],
)
.keyed("name")
.ignition(resource::header);

static VERIFICATION: Type = Type::new(
    "the `verification` section",
    &[same(
        "hash",
        Text,
        V0_1,
        "The hash of the contents, after they are decompressed: `sha512-` or \
        `sha256-`, then hex digits.",
    )],
)
.ignition(resource::verification);
