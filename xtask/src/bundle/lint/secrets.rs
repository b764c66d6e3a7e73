//! Values that are no one's business. A bundle is read by everyone who may read the registry; a message never repeats
//! what was found.

use basalt_model::report::Place;
use basalt_model::secret_value::{is_secret_name, looks_secret};

use super::Lint;
use crate::bundle::objects::{Object, at, entries, items, join, scalars, text};

const REMEDY: &str = "let it come from Vault, or name a Secret that is made elsewhere";

pub(super) fn check(object: &Object, lint: &mut Lint<'_>) {
    if (object.group(), object.id.kind.as_str()) == ("", "Secret") {
        for field in ["data", "stringData"] {
            let Some(values) = at(&object.yaml, &[field]) else { continue };
            if !entries(values).is_empty() {
                let message = "a Secret with values in it";
                lint.error(object, "secret-value", values.place, field, message, REMEDY);
            }
        }
        return;
    }
    let mut found: Vec<(Place, String, &str)> = Vec::new();
    scalars(&object.yaml, "", &mut |path, value| {
        let Some(scalar) = value.as_scalar() else { return };
        if let Some(what) = looks_secret(&scalar.text) {
            found.push((value.place, path.to_owned(), what));
        }
    });
    variables(&object.yaml, "", &mut |path, name, value, place| {
        if is_secret_name(name) && !value.is_empty() {
            found.push((place, path, "the value of a variable that is called like a secret"));
        }
    });
    for (place, path, what) in found {
        lint.error(object, "secret-value", place, &path, what, REMEDY);
    }
}

/// Calls `act` with every variable of every `env`, wherever it is: operators take pod templates of their own.
fn variables(
    yaml: &basalt_model::yaml::Yaml,
    path: &str,
    act: &mut impl FnMut(String, &str, &str, Place),
) {
    for (key, value) in entries(yaml) {
        let key = key.as_scalar().map_or("", |key| key.text.as_str());
        let path = join(path, key);
        if key == "env" {
            for (index, variable) in items(value).iter().enumerate() {
                if let (Some(name), Some(value)) =
                    (text(variable, &["name"]), at(variable, &["value"]))
                {
                    let text = value.as_scalar().map_or("", |scalar| scalar.text.as_str());
                    act(format!("{path}[{index}].value"), name, text, value.place);
                }
            }
        }
        variables(value, &path, act);
    }
    for (index, item) in items(yaml).iter().enumerate() {
        variables(item, &format!("{path}[{index}]"), act);
    }
}
