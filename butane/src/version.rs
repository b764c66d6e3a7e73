//! Which specification a config is written to, and which one Ignition gets.

use basalt_model::decode::{closest, list};
use basalt_model::report::Place;
use basalt_model::yaml::{self, Value, Yaml};

use crate::filter::{self, Filter};
use crate::tree::{Findings, Origin};

/// The version of the fields that all variants share. Each variant's version builds on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Base {
    /// fcos 1.0.0.
    V0_1,
    /// fcos 1.1.0.
    V0_2,
    /// fcos 1.2.0 and 1.3.0.
    V0_3,
    /// fcos 1.4.0.
    V0_4,
    /// fcos 1.5.0.
    V0_5,
    /// fcos 1.6.0.
    V0_6,
    /// fcos 1.7.0.
    V0_7,
    /// fcos 1.8.0-experimental.
    V0_8,
}

/// A version of Ignition's specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spec {
    V3_0,
    V3_1,
    V3_2,
    V3_3,
    V3_4,
    V3_5,
    V3_6,
    V3_7,
}

impl Spec {
    /// As it stands in `ignition.version`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Spec::V3_0 => "3.0.0",
            Spec::V3_1 => "3.1.0",
            Spec::V3_2 => "3.2.0",
            Spec::V3_3 => "3.3.0",
            Spec::V3_4 => "3.4.0",
            Spec::V3_5 => "3.5.0",
            Spec::V3_6 => "3.6.0",
            Spec::V3_7 => "3.7.0-experimental",
        }
    }
}

/// What brought a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// A base version.
    Base(Base),
    /// A minor version of fcos: the field is for Fedora CoreOS and what is built on it.
    Fcos(u8),
    /// The first version of openshift.
    OpenShift,
}

/// Short names for the tables.
pub(crate) mod since {
    use super::{Base, Since};

    pub(crate) const V0_1: Since = Since::Base(Base::V0_1);
    pub(crate) const V0_2: Since = Since::Base(Base::V0_2);
    pub(crate) const V0_3: Since = Since::Base(Base::V0_3);
    pub(crate) const V0_4: Since = Since::Base(Base::V0_4);
    pub(crate) const V0_5: Since = Since::Base(Base::V0_5);
    pub(crate) const V0_6: Since = Since::Base(Base::V0_6);
    pub(crate) const V0_7: Since = Since::Base(Base::V0_7);
    pub(crate) const V0_8: Since = Since::Base(Base::V0_8);
    pub(crate) const FCOS_1_3: Since = Since::Fcos(3);
    pub(crate) const FCOS_1_5: Since = Since::Fcos(5);
    pub(crate) const FCOS_1_6: Since = Since::Fcos(6);
    pub(crate) const OPENSHIFT: Since = Since::OpenShift;
}

/// A variant's version that can be compiled.
#[derive(Debug)]
pub(crate) struct Target {
    pub variant: &'static str,
    pub version: &'static str,
    pub base: Base,
    /// The minor version of fcos whose fields and rules it has besides those of the base.
    pub fcos: Option<u8>,
    /// The version of Ignition's specification that comes out.
    pub spec: Spec,
    /// What of the specification the operating system does not take.
    pub filters: &'static [Filter],
    /// What is particular to openshift.
    pub openshift: Option<OpenShift>,
}

/// What versions of openshift differ in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenShift {
    pub minor: u8,
}

impl OpenShift {
    /// Whether contents are compressed: the machine config operator of 4.8 and 4.9 writes compressed files as they are.
    pub(crate) fn compresses(self) -> bool {
        self.minor >= 10
    }

    /// Whether the encryption of disks gets a cipher that FIPS 140-2 allows.
    pub(crate) fn has_fips_cipher(self) -> bool {
        self.minor <= 19
    }
}

impl Target {
    /// Whether the target has the fields and rules that `since` brought.
    pub(crate) fn has(&self, since: Since) -> bool {
        match since {
            Since::Base(base) => self.base >= base,
            Since::Fcos(minor) => self.fcos.is_some_and(|own| own >= minor),
            Since::OpenShift => self.openshift.is_some(),
        }
    }

    /// The target of a variant and a version, such as `fcos` and `1.4.0`.
    pub(crate) fn named(variant: &str, version: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.variant == variant && target.version == version)
    }
}

const fn fcos(version: &'static str, minor: u8, base: Base, spec: Spec) -> Target {
    Target {
        variant: "fcos",
        version,
        base,
        fcos: Some(minor),
        spec,
        filters: &[],
        openshift: None,
    }
}

const fn other(
    variant: &'static str,
    version: &'static str,
    base: Base,
    spec: Spec,
    filters: &'static [Filter],
) -> Target {
    Target { variant, version, base, fcos: None, spec, filters, openshift: None }
}

const fn openshift(version: &'static str, minor: u8) -> Target {
    let (base, fcos, spec, filters) = match minor {
        8..=9 => (Base::V0_3, 3, Spec::V3_2, filter::OPENSHIFT_4_8),
        10..=12 => (Base::V0_3, 3, Spec::V3_2, filter::OPENSHIFT_4_10),
        13 => (Base::V0_3, 3, Spec::V3_2, filter::OPENSHIFT_4_13),
        14..=18 => (Base::V0_5, 5, Spec::V3_4, filter::OPENSHIFT_4_14),
        19..=22 => (Base::V0_6, 6, Spec::V3_5, filter::OPENSHIFT_4_14),
        _ => (Base::V0_8, 8, Spec::V3_7, filter::OPENSHIFT_4_14),
    };
    Target {
        variant: "openshift",
        version,
        base,
        fcos: Some(fcos),
        spec,
        filters,
        openshift: Some(OpenShift { minor }),
    }
}

/// The variants and versions that can be compiled, variant by variant and version by version.
pub fn targets() -> impl Iterator<Item = (&'static str, &'static str)> {
    TARGETS.iter().map(|target| (target.variant, target.version))
}

/// Everything that can be compiled.
pub(crate) static TARGETS: &[Target] = &[
    fcos("1.0.0", 0, Base::V0_1, Spec::V3_0),
    fcos("1.1.0", 1, Base::V0_2, Spec::V3_1),
    fcos("1.2.0", 2, Base::V0_3, Spec::V3_2),
    fcos("1.3.0", 3, Base::V0_3, Spec::V3_2),
    fcos("1.4.0", 4, Base::V0_4, Spec::V3_3),
    fcos("1.5.0", 5, Base::V0_5, Spec::V3_4),
    fcos("1.6.0", 6, Base::V0_6, Spec::V3_5),
    fcos("1.7.0", 7, Base::V0_7, Spec::V3_6),
    fcos("1.8.0-experimental", 8, Base::V0_8, Spec::V3_7),
    other("flatcar", "1.0.0", Base::V0_4, Spec::V3_3, filter::FLATCAR_1_0),
    other("flatcar", "1.1.0", Base::V0_5, Spec::V3_4, filter::FLATCAR_1_0),
    other("flatcar", "1.2.0-experimental", Base::V0_8, Spec::V3_7, filter::FLATCAR_1_2),
    openshift("4.8.0", 8),
    openshift("4.9.0", 9),
    openshift("4.10.0", 10),
    openshift("4.11.0", 11),
    openshift("4.12.0", 12),
    openshift("4.13.0", 13),
    openshift("4.14.0", 14),
    openshift("4.15.0", 15),
    openshift("4.16.0", 16),
    openshift("4.17.0", 17),
    openshift("4.18.0", 18),
    openshift("4.19.0", 19),
    openshift("4.20.0", 20),
    openshift("4.21.0", 21),
    openshift("4.22.0", 22),
    openshift("4.23.0-experimental", 23),
    other("r4e", "1.0.0", Base::V0_4, Spec::V3_3, filter::EDGE),
    other("r4e", "1.1.0", Base::V0_5, Spec::V3_4, filter::EDGE),
    other("r4e", "1.2.0-experimental", Base::V0_8, Spec::V3_7, filter::EDGE),
    other("fiot", "1.0.0", Base::V0_5, Spec::V3_4, filter::EDGE),
    other("fiot", "1.1.0-experimental", Base::V0_8, Spec::V3_7, filter::EDGE),
];

/// The target that a config names. `None` means that an error was reported.
pub(crate) fn target(root: &Yaml, file: &str, findings: &mut Findings) -> Option<&'static Target> {
    let origin = Origin::root(file, root.place);
    let Value::Map(entries) = &root.resolved().value else {
        findings
            .error(&origin, format!("a config is a mapping, not {}", root.kind()))
            .hint("start with `variant: fcos` and `version: 1.4.0`");
        return None;
    };
    for (key, message) in yaml::repeated_keys(entries) {
        let name = key.as_scalar().map_or("", |name| name.text.as_str());
        findings.error(&origin.below(name).at(key.place), message);
    }
    let field = |name: &str| {
        entries.iter().find(|(key, _)| key.as_scalar().is_some_and(|key| key.text == name))
    };
    let mut text = |name: &str, example: &str| {
        let value = field(name).map(|(_, value)| value).filter(|value| !value.is_null());
        let origin = origin.below(name).at(value.map_or(root.place, |value| value.place));
        match value.map(|value| value.as_scalar()) {
            Some(Some(scalar)) => Some((origin, scalar.text.as_str())),
            Some(None) => {
                findings.error(&origin, format!("`{name}` is text"));
                None
            }
            None => {
                findings
                    .error(&origin, format!("`{name}` is missing"))
                    .hint(format!("write `{name}: {example}`"));
                None
            }
        }
    };
    let variant = text("variant", "fcos");
    let version = text("version", "1.4.0");
    let ((variant_origin, variant), (version_origin, version)) = (variant?, version?);

    if !TARGETS.iter().any(|target| target.variant == variant) {
        if variant == "rhcos" {
            findings
                .error(&variant_origin, "the variant `rhcos` is gone; its successor is `openshift`")
                .hint("see https://coreos.github.io/butane/upgrading-openshift/");
            return None;
        }
        let variants = variants();
        let hint = match closest(variant, variants.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", list(&variants)),
        };
        findings.error(&variant_origin, format!("there is no variant `{variant}`")).hint(hint);
        return None;
    }
    let Some(exact) = semantic(version) else {
        findings
            .error(&version_origin, format!("`{version}` is not a version"))
            .hint("it has three numbers, like `1.4.0`");
        return None;
    };
    let found = Target::named(variant, &exact);
    if found.is_none() {
        let versions: Vec<&str> = TARGETS
            .iter()
            .filter(|target| target.variant == variant)
            .map(|target| target.version)
            .collect();
        let is_final =
            versions.iter().find(|known| known.strip_suffix("-experimental") == Some(&exact));
        let hint = match is_final {
            Some(known) => format!("it is not final yet: write `{known}`"),
            None => format!("there are {}", list(&versions)),
        };
        findings
            .error(&version_origin, format!("there is no version `{version}` of `{variant}`"))
            .hint(hint);
    }
    found
}

/// The names of the variants, each once.
fn variants() -> Vec<&'static str> {
    let mut variants: Vec<&str> = TARGETS.iter().map(|target| target.variant).collect();
    variants.dedup();
    variants
}

/// A semantic version in its shortest form; `None` is not one. As in Go's semver, numbers may have leading zeros.
fn semantic(text: &str) -> Option<String> {
    let (numbers, rest) = match text.find(['-', '+']) {
        Some(index) => text.split_at(index),
        None => (text, ""),
    };
    let numbers: Option<Vec<i64>> = numbers.split('.').map(|part| part.parse().ok()).collect();
    match numbers?[..] {
        [major, minor, patch] => Some(format!("{major}.{minor}.{patch}{rest}")),
        _ => None,
    }
}

/// Where a text without any config is reported.
pub(crate) fn nothing(file: &str, findings: &mut Findings) {
    findings
        .error(&Origin::root(file, Place::START), "there is no config in here")
        .hint("start with `variant: fcos` and `version: 1.4.0`");
}
