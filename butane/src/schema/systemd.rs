//! Units and their drop-ins.

use super::Kind::{Flag, Maps, RequiredText, Text};
use super::Repeats::Refused;
use super::{Type, same};
use crate::validate::unit;
use crate::version::Base::V0_1;

pub(crate) static SYSTEMD: Type =
    Type::new("the `systemd` section", &[same("units", Maps(&UNIT, Refused), V0_1, "Units.")])
        .ignition(unit::instances);

static UNIT: Type = Type::new(
    "a unit",
    &[
        same("contents", Text, V0_1, "The unit file."),
        same("dropins", Maps(&DROPIN, Refused), V0_1, "Files that change the unit."),
        same("enabled", Flag, V0_1, "Whether it is started at boot."),
        same("mask", Flag, V0_1, "Whether it cannot be started."),
        same("name", RequiredText, V0_1, "The name with its suffix."),
    ],
)
.keyed("name")
.ignition(unit::unit);

static DROPIN: Type = Type::new(
    "a drop-in",
    &[
        same("contents", Text, V0_1, "The text."),
        same("name", RequiredText, V0_1, "The name, which ends in `.conf`."),
    ],
)
.keyed("name")
.ignition(unit::dropin);
