//! Units, their drop-ins, and what Podman makes units of.

use super::Kind::{Flag, Maps, RequiredText, Text};
use super::Repeats::Refused;
use super::{Lowering, Type, same, sugar};
use crate::validate::{install, quadlet, unit};
use crate::version::since::{V0_1, V0_5, V0_8};

pub(crate) static SYSTEMD: Type = Type::new(
    "the `systemd` section",
    &[
        same("units", Maps(&UNIT, Refused), V0_1, "Units."),
        sugar("quadlets", Maps(&QUADLET, Refused), V0_8, "Containers that Podman runs as units."),
    ],
)
.ignition(install::systemd);

static UNIT: Type = Type {
    lowering: Lowering::Unit,
    ..Type::new(
        "a unit",
        &[
            same("contents", Text, V0_1, "The unit file."),
            sugar("contents_local", Text, V0_5, "The unit file, below the files directory."),
            same("dropins", Maps(&DROPIN, Refused), V0_1, "Files that change the unit."),
            same("enabled", Flag, V0_1, "Whether it is started at boot."),
            same("mask", Flag, V0_1, "Whether it cannot be started."),
            same("name", RequiredText, V0_1, "The name with its suffix."),
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
            same("contents", Text, V0_1, "The text."),
            sugar("contents_local", Text, V0_5, "The text, in a file below the files directory."),
            same("name", RequiredText, V0_1, "The name, which ends in `.conf`."),
        ],
    )
}
.keyed("name")
.butane(unit::one_source)
.ignition(unit::dropin);

static QUADLET: Type = Type::new(
    "a quadlet",
    &[
        sugar("contents", Text, V0_8, "The quadlet file."),
        sugar("contents_local", Text, V0_8, "The quadlet file, below the files directory."),
        sugar("dropins", Maps(&DROPIN, Refused), V0_8, "Files that change the quadlet."),
        sugar("name", Text, V0_8, "The name with its suffix, such as `web.container`."),
        sugar("rootful", Flag, V0_8, "Whether root runs it; by default each user does."),
    ],
)
.butane(quadlet::quadlet);
