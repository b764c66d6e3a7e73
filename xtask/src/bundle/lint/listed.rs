//! What is said about objects: each of them is there.

use std::collections::BTreeSet;

use basalt_image::bundle::{ObjectRef, ReadinessOverride};
use basalt_model::report::{Place, Severity};

use super::Lint;
use crate::bundle::input::About;
use crate::bundle::objects::Object;
use crate::bundle::settings::{FILE, Settings};
use crate::findings::Row;

pub(super) fn check(
    objects: &[Object],
    settings: Option<&Settings>,
    images: &BTreeSet<String>,
    lint: &mut Lint<'_>,
) {
    if let Some(settings) = settings {
        for (field, list) in
            [("create_only", &settings.create_only), ("never_prune", &settings.never_prune)]
        {
            for entry in list {
                let wanted = entry.value.to_index();
                if !objects.iter().any(|object| object.id == wanted) {
                    tell(lint, FILE, entry.place, &entry.path, missing(&wanted));
                }
                debug_assert!(entry.path.starts_with(field));
            }
        }
        for entry in &settings.readiness {
            let wanted = entry.value.to_index();
            if !objects.iter().any(|object| is_meant(&wanted, object)) {
                tell(lint, FILE, entry.place, &entry.path, no_such(&wanted));
            }
        }
    }
    let About::Artefact(index) = &lint.input.about else { return };
    let index = index.clone();
    for wanted in index.create_only.iter().chain(&index.never_prune) {
        if !objects.iter().any(|object| object.id == *wanted) {
            tell(lint, "", Place::START, "index", missing(wanted));
        }
    }
    for wanted in &index.readiness {
        if !objects.iter().any(|object| is_meant(wanted, object)) {
            tell(lint, "", Place::START, "index", no_such(wanted));
        }
    }
    for image in images.iter().filter(|image| !index.images.contains(image)) {
        tell(lint, "", Place::START, "index.images", format!("`{image}` is run and not listed"));
    }
    for wave in &index.waves {
        let found = objects.iter().filter(|object| object.wave == wave.name).count();
        if found != wave.objects {
            let message = format!(
                "wave `{}` has {found} objects; the index says {}",
                wave.name, wave.objects
            );
            tell(lint, "", Place::START, "index.waves", message);
        }
    }
}

fn tell(lint: &mut Lint<'_>, file: &str, place: Place, path: &str, message: String) {
    let row = lint.row(Severity::Error, "listed", file, place, path, message);
    lint.rows.push(Row { remedy: Some("make the list match the objects".to_owned()), ..row });
}

fn missing(wanted: &ObjectRef) -> String {
    format!("`{wanted}` is not in the bundle")
}

fn no_such(wanted: &ReadinessOverride) -> String {
    format!("no `{}` `{}` of that name is in the bundle", wanted.api_version, wanted.kind)
}

fn is_meant(wanted: &ReadinessOverride, object: &Object) -> bool {
    wanted.api_version == object.id.api_version
        && wanted.kind == object.id.kind
        && wanted.name.as_ref().is_none_or(|name| *name == object.id.name)
        && (wanted.namespace.is_none() || wanted.namespace == object.id.namespace)
}
