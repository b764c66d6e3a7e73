//! Units, their drop-ins, and what Podman makes units of.

use super::Kind::{Flag, Maps, RequiredText, Text};
use super::Repeats::Refused;
use super::{Lowering, Type, same, sugar};
use crate::validate::{install, quadlet, unit};
use crate::version::since::{V0_1, V0_5, V0_8};

pub(crate) static SYSTEMD: Type = Type::new(
    "the `systemd` section",
    &[
        same("units", Maps(&UNIT, Refused), V0_1, "Units to write, change, enable or mask."),
        sugar(
            "quadlets",
            Maps(&QUADLET, Refused),
            V0_8,
            "Quadlets: files that Podman makes units of, for containers, pods, volumes \
            and networks.",
        ),
    ],
)
.ignition(install::systemd);

static UNIT: Type = Type {
    lowering: Lowering::Unit,
    ..Type::new(
        "a unit",
        &[
            same(
                "contents",
                Text,
                V0_1,
                "The unit file; without it the unit is one of the operating system's.",
            ),
            sugar(
                "contents_local",
                Text,
                V0_5,
                "The unit file, as a file below the files directory (`--files-dir`).",
            ),
            same(
                "dropins",
                Maps(&DROPIN, Refused),
                V0_1,
                "Drop-ins: files that change parts of the unit.",
            ),
            same(
                "enabled",
                Flag,
                V0_1,
                "Whether the unit starts at boot, by what its `[Install]` section says; \
                without it nothing changes.",
            ),
            same(
                "mask",
                Flag,
                V0_1,
                "Whether the unit cannot be started at all; `false` undoes a mask.",
            ),
            same(
                "name",
                RequiredText,
                V0_1,
                "The name of the unit with its suffix, such as `web.service`.",
            ),
        ],
    )
}
.keyed("name")
.butane(unit::one_source)
.ignition(unit::unit);

static DROPIN: Type = Type {
    lowering: Lowering::Unit,
    ..Type::new(
        "a drop-in",
        &[
            same("contents", Text, V0_1, "The text of the drop-in."),
            sugar(
                "contents_local",
                Text,
                V0_5,
                "The text of the drop-in, as a file below the files directory (`--files-dir`).",
            ),
            same("name", RequiredText, V0_1, "The name of the drop-in, which ends in `.conf`."),
        ],
    )
}
.keyed("name")
.butane(unit::one_source)
.ignition(unit::dropin);

static QUADLET: Type = Type::new(
    "a quadlet",
    &[
        sugar("contents", Text, V0_8, "The quadlet file; without it an empty one is written."),
        sugar(
            "contents_local",
            Text,
            V0_8,
            "The quadlet file, as a file below the files directory (`--files-dir`).",
        ),
        sugar(
            "dropins",
            Maps(&DROPIN, Refused),
            V0_8,
            "Drop-ins: files that change parts of the quadlet.",
        ),
        sugar(
            "name",
            Text,
            V0_8,
            "The name of the quadlet with its suffix, such as `web.container`; \
            `web@1.container` is an instance of `web@.container`.",
        ),
        sugar(
            "rootful",
            Flag,
            V0_8,
            "Whether root runs it; otherwise it is there for every other user.",
        ),
    ],
)
.butane(quadlet::quadlet);
