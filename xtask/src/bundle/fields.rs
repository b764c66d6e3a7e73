//! What objects of Kubernetes' API may say: the fields of every type, in the newest version that is supported.
//!
//! `fields.txt` beside this file is printed by Kubernetes' own types; a test compares the two.

use std::sync::LazyLock;

use basalt_static_pods::lint::fields::Table;

/// The kinds of stable versions. The status of their objects takes anything, for the cluster says that.
pub(super) static FIELDS: LazyLock<Table> =
    LazyLock::new(|| Table::parse(include_str!("fields.txt")));

#[cfg(test)]
mod tests {
    use basalt_static_pods::lint::fields::{Field, Takes};

    use super::super::kinds;
    use super::*;

    #[test]
    fn the_table_has_every_kind_that_can_be_applied() {
        let deployment = FIELDS.fields_of(FIELDS.type_of("apps/v1", "Deployment").unwrap());
        let spec = Field { name: "spec", takes: Takes::Object("apps/v1.DeploymentSpec") };
        assert!(deployment.contains(&spec));
        for (api_version, kind) in kinds::appliable_for_good() {
            assert!(FIELDS.type_of(api_version, kind).is_some(), "{api_version} {kind}");
        }
    }
}
