//! The rules: Butane's own for what was written, Ignition's for what comes out.
//!
//! Each rule is a function of one mapping, named in the tables of [`schema`](crate::schema). [`butane`] and
//! [`ignition`] walk a tree and call them; values that could not be read are passed over in silence.

pub(crate) mod boot_device;
pub(crate) mod data_url;
pub(crate) mod disk;
pub(crate) mod grub;
pub(crate) mod hash;
pub(crate) mod ignition;
mod inner;
pub(crate) mod install;
pub(crate) mod luks;
pub(crate) mod mode;
pub(crate) mod openshift;
pub(crate) mod quadlet;
pub(crate) mod referenced;
pub(crate) mod resource;
pub(crate) mod storage;
pub(crate) mod tree;
pub(crate) mod unit;
pub(crate) mod unit_file;
pub(crate) mod url;

use std::collections::HashSet;

use basalt_model::report::Finding;

use crate::merge::key;
use crate::schema::{Kind, Type};
use crate::tree::{Findings, Origin, Tree};
use crate::version::{Spec, Target};

/// What rules report to.
pub(crate) struct Check<'f> {
    findings: &'f mut Findings,
    target: &'static Target,
}

impl Check<'_> {
    /// What the config is compiled to.
    pub(crate) fn target(&self) -> &'static Target {
        self.target
    }

    /// The specification of Ignition whose rules hold.
    pub(crate) fn spec(&self) -> Spec {
        self.target.spec
    }

    /// The value cannot be used.
    pub(crate) fn error(&mut self, at: &Origin, message: impl Into<String>) -> &mut Finding {
        self.findings.error(at, message)
    }

    /// The value can be used, and likely does not do what was meant.
    pub(crate) fn warning(&mut self, at: &Origin, message: impl Into<String>) -> &mut Finding {
        self.findings.warning(at, message)
    }
}

/// Applies Butane's rules to a config with Butane's names.
pub(crate) fn butane(
    tree: &Tree,
    ty: &'static Type,
    target: &'static Target,
    findings: &mut Findings,
) {
    walk(tree, ty, &mut Check { findings, target }, |ty, tree, check| {
        (ty.rules.butane)(tree, check)
    });
}

/// Applies Ignition's rules to a config with Ignition's names.
pub(crate) fn ignition(
    tree: &Tree,
    ty: &'static Type,
    target: &'static Target,
    findings: &mut Findings,
) {
    walk(tree, ty, &mut Check { findings, target }, |ty, tree, check| {
        duplicates(tree, ty, check);
        (ty.rules.ignition)(tree, check);
    });
}

/// Applies only the rule that items of a list differ: merging would make one of those that are the same.
pub(crate) fn repeats(
    tree: &Tree,
    ty: &'static Type,
    target: &'static Target,
    findings: &mut Findings,
) {
    walk(tree, ty, &mut Check { findings, target }, |ty, tree, check| duplicates(tree, ty, check));
}

/// Applies a rule that no table names.
pub(crate) fn with(
    findings: &mut Findings,
    target: &'static Target,
    rule: impl FnOnce(&mut Check),
) {
    rule(&mut Check { findings, target });
}

fn walk(
    tree: &Tree,
    ty: &'static Type,
    check: &mut Check,
    rule: fn(&'static Type, &Tree, &mut Check),
) {
    rule(ty, tree, check);
    for (name, value) in tree.entries() {
        let field = ty
            .of(check.target)
            .find(|field| field.name == Some(name) || field.ignition == Some(name));
        match field.map(|field| field.kind) {
            Some(Kind::Map(ty)) => walk(value, ty, check, rule),
            Some(Kind::Maps(ty, _)) => {
                value.list().iter().for_each(|item| walk(item, ty, check, rule));
            }
            _ => {}
        }
    }
}

/// Items of a list that are the same.
fn duplicates(tree: &Tree, ty: &'static Type, check: &mut Check) {
    let mut seen: HashSet<(&'static str, String)> = HashSet::new();
    for field in ty.of(check.target).filter(|field| field.kind.refuses_repeats()) {
        let Some(name) = field.ignition else { continue };
        let space = ty.sharing(&name)[0];
        for item in tree.items(name) {
            let Some(key) = key(item, field) else { continue };
            if seen.insert((space, key.clone())) {
                continue;
            }
            let message = match key.as_str() {
                "" => "it is the same as one before".to_owned(),
                // A key or certificate in full would hide the rest.
                key if key.len() > 60 => "it is there already".to_owned(),
                key => format!("`{key}` is there already"),
            };
            check.error(&item.origin, message);
        }
    }
}

/// The rule for absolute paths; `None` is a good one.
fn path_fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("a path is missing");
    }
    let Some(rest) = path.strip_prefix('/') else { return Some("the path is not absolute") };
    let is_clean = rest.is_empty()
        || rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    (!is_clean)
        .then_some("the path is not in its simplest form: it has `//`, `.`, `..` or a final `/`")
}

/// Checks a field that has to be an absolute path.
fn required_path(tree: &Tree, name: &str, check: &mut Check) {
    if let Some(fault) = tree.text(name).and_then(path_fault) {
        check.error(&tree.place_of(name), fault);
    }
}

/// Checks a field that is an absolute path, or empty.
fn optional_path(tree: &Tree, name: &str, check: &mut Check) {
    if let Some(fault) = tree.some_text(name).and_then(path_fault) {
        check.error(&tree.place_of(name), fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for path in ["/", "/a", "/a/b.c", "/..a"] {
            assert_eq!(path_fault(path), None, "{path}");
        }
        for path in ["", "a", "./a", "//", "/a/", "/a//b", "/a/./b", "/a/../b", "/.."] {
            assert!(path_fault(path).is_some(), "{path}");
        }
    }
}
