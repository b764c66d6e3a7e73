//! Which specification a config is written to, and which one Ignition gets.

use basalt_model::decode::closest;
use basalt_model::report::Place;
use basalt_model::yaml::{Value, Yaml};

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
}

/// A variant's version that can be compiled.
#[derive(Debug)]
pub(crate) struct Target {
    pub variant: &'static str,
    pub version: &'static str,
    pub base: Base,
    /// The version of Ignition's specification that comes out.
    pub ignition: &'static str,
}

/// Everything that can be compiled.
pub(crate) static TARGETS: &[Target] =
    &[Target { variant: "fcos", version: "1.4.0", base: Base::V0_4, ignition: "3.3.0" }];

/// The variants there are, of which some are for later.
const VARIANTS: [&str; 5] = ["fcos", "flatcar", "openshift", "r4e", "fiot"];

/// The target that a config names. `None` means that an error was reported.
pub(crate) fn target(root: &Yaml, file: &str, findings: &mut Findings) -> Option<&'static Target> {
    let origin = Origin::root(file, root.place);
    let Value::Map(entries) = &root.resolved().value else {
        findings
            .error(&origin, format!("a config is a mapping, not {}", root.kind()))
            .hint("start with `variant: fcos` and `version: 1.4.0`");
        return None;
    };
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
    let variant = text("variant", TARGETS[0].variant);
    let version = text("version", TARGETS[0].version);
    let ((variant_origin, variant), (version_origin, version)) = (variant?, version?);

    let versions: Vec<&Target> =
        TARGETS.iter().filter(|target| target.variant == variant).collect();
    if versions.is_empty() {
        let message = match variant {
            "rhcos" => "the variant `rhcos` is gone; its successor is `openshift`".to_owned(),
            known if VARIANTS.contains(&known) => {
                format!("the variant `{known}` is not supported yet")
            }
            unknown => format!("there is no variant `{unknown}`"),
        };
        let hint = match closest(variant, VARIANTS) {
            Some(near) if near != variant => format!("did you mean `{near}`?"),
            _ => format!("supported is {}", supported()),
        };
        findings.error(&variant_origin, message).hint(hint);
        return None;
    }
    let found = versions.iter().find(|target| target.version == version);
    if found.is_none() {
        let message = if is_semantic(version) {
            format!("version `{version}` of `{variant}` is not supported")
        } else {
            format!("`{version}` is not a version: it has three numbers, like `1.4.0`")
        };
        findings.error(&version_origin, message).hint(format!("supported is {}", supported()));
    }
    found.copied()
}

fn supported() -> String {
    let names: Vec<String> =
        TARGETS.iter().map(|target| format!("`{} {}`", target.variant, target.version)).collect();
    names.join(", ")
}

/// Whether `text` is three numbers, with or without something behind a hyphen.
fn is_semantic(text: &str) -> bool {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.split('.').count() == 3 && numbers.split('.').all(is_number)
}

/// Where a text without any config is reported.
pub(crate) fn nothing(file: &str, findings: &mut Findings) {
    findings
        .error(&Origin::root(file, Place::START), "there is no config in here")
        .hint("start with `variant: fcos` and `version: 1.4.0`");
}
