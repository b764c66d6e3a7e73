//! The MachineConfig that an Ignition config for OpenShift is part of, as far as Butane has words for it.

use super::Kind::{Flag, Labels, Map, RequiredText, Text, Texts};
use super::Repeats::Kept;
use super::config::CONFIG;
use super::{Type, output};

pub(crate) static MACHINE_CONFIG: Type = Type::new(
    "a MachineConfig",
    &[
        output("apiVersion", RequiredText, "`machineconfiguration.openshift.io/v1`."),
        output("kind", RequiredText, "`MachineConfig`."),
        output("metadata", Map(&METADATA), "The name and labels."),
        output("spec", Map(&SPEC), "What machines are to be."),
    ],
);

static METADATA: Type = Type::new(
    "the `metadata` of a MachineConfig",
    &[output("name", Text, "The name."), output("labels", Labels, "Labels, among them the role.")],
);

static SPEC: Type = Type::new(
    "the `spec` of a MachineConfig",
    &[
        output("config", Map(&CONFIG), "The Ignition config."),
        output("extensions", Texts(Kept), "Extensions of RHCOS to install."),
        output("fips", Flag, "Whether the machine runs in FIPS mode."),
        output("kernelArguments", Texts(Kept), "Arguments of the kernel."),
        output("kernelType", Text, "Which kernel runs."),
    ],
);
