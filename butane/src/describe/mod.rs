//! What a config may say, for people and their editors.
//!
//! [`schema()`] writes the compiler's tables as JSON Schema, [`explain()`] tells one field in words. Both add to the
//! tables what `facts` knows: allowed values, defaults, examples.

mod example;
mod explain;
mod facts;
mod place;
mod schema;

pub use explain::{ExplainError, explain};
pub use schema::{SchemaFile, schema, schemas};

use crate::version::Target;

/// What the section `variables` is; no target has it, since it is gone when a config is compiled.
const VARIABLES: &str = "Variables of this file, each with its type: `text`, `integer`, `boolean` or \
    `list`. Their values are given when the config is compiled, with `--var` and `--vars`, and put in \
    where it says `${{ name }}`.";

/// The page of the Butane specification of a target.
fn butane_page(target: &Target) -> String {
    let (version, suffix) = match target.version.strip_suffix("-experimental") {
        Some(version) => (version, "-exp"),
        None => (target.version, ""),
    };
    format!(
        "https://coreos.github.io/butane/config-{}-v{}{suffix}/",
        target.variant,
        short(version)
    )
}

/// The page of the Ignition specification that a target compiles to.
fn ignition_page(target: &Target) -> String {
    let spec = target.spec.as_str();
    let (version, suffix) = match spec.strip_suffix("-experimental") {
        Some(version) => (version, "_experimental"),
        None => (spec, ""),
    };
    format!("https://coreos.github.io/ignition/configuration-v{}{suffix}/", short(version))
}

/// `1.5.0` in the name of a page: `1_5`.
fn short(version: &str) -> String {
    version.strip_suffix(".0").unwrap_or(version).replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let page = |variant, version| {
            let target = Target::named(variant, version).unwrap();
            format!("{} {}", butane_page(target), ignition_page(target))
        };
        assert_eq!(
            page("openshift", "4.10.0"),
            "https://coreos.github.io/butane/config-openshift-v4_10/ https://coreos.github.io/ignition/configuration-v3_2/"
        );
        assert_eq!(
            page("fcos", "1.8.0-experimental"),
            "https://coreos.github.io/butane/config-fcos-v1_8-exp/ https://coreos.github.io/ignition/configuration-v3_7_experimental/"
        );
    }
}
