//! The fields of an object: that its kind has each of them, and that each holds what it takes.
//!
//! An API server refuses what it does not know when asked to be strict, as the agent asks it; without, it drops it. It
//! cuts off what is too large for a field of 32 bits, which is refused here.

use basalt_model::decode::closest;
use basalt_model::yaml::{Scalar, ScalarStyle, Value, Yaml, scalar};
use basalt_static_pods::lint::fields::Takes;

use super::Lint;
use crate::bundle::fields::FIELDS;
use crate::bundle::objects::{Object, join};

/// What other rules look at.
const SAID_ELSEWHERE: [&str; 5] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.labels",
    "metadata.annotations",
    "metadata.ownerReferences",
];

pub(super) fn check(object: &Object, lint: &mut Lint<'_>) {
    let Some(of) = FIELDS.type_of(&object.id.api_version, &object.id.kind) else { return };
    Look { object, lint }.at(&object.yaml, "", &Takes::Object(of));
}

struct Look<'a, 'i> {
    object: &'a Object,
    lint: &'a mut Lint<'i>,
}

impl Look<'_, '_> {
    fn at(&mut self, yaml: &Yaml, path: &str, takes: &Takes) {
        if yaml.is_null() || SAID_ELSEWHERE.contains(&path) {
            return;
        }
        match (takes, &yaml.resolved().value) {
            (Takes::Any, _) => {}
            (Takes::Either(one, other), value) => {
                let takes = if has_form(one, value) { one } else { other };
                self.at(yaml, path, takes);
            }
            (Takes::Object(of), Value::Map(entries)) => self.fields(entries, path, of),
            (Takes::List(of), Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.at(item, &format!("{path}[{index}]"), of);
                }
            }
            (Takes::Map(of), Value::Map(entries)) => {
                for (key, value) in entries {
                    self.at(value, &join(path, text_of(key)), of);
                }
            }
            (takes, value) if has_form(takes, value) => {}
            (takes, value) => self.wrong(yaml, path, takes, value),
        }
    }

    fn fields(&mut self, entries: &[(Yaml, Yaml)], path: &str, of: &str) {
        let known = FIELDS.fields_of(of);
        for (key, value) in entries {
            let name = text_of(key);
            let path = join(path, name);
            if let Some(field) = known.iter().find(|field| field.name == name) {
                self.at(value, &path, &field.takes);
                continue;
            }
            let remedy = match closest(name, known.iter().map(|field| field.name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "leave it out".to_owned(),
            };
            let message = format!("there is no field `{name}` here");
            self.lint.error(self.object, "unknown-field", key.place, &path, message, remedy);
        }
    }

    /// What is there is not shown: it may be secret.
    fn wrong(&mut self, yaml: &Yaml, path: &str, takes: &Takes, found: &Value) {
        let (wanted, remedy) = match takes {
            Takes::Text | Takes::Bytes | Takes::Time => ("a text", "put it in quotes"),
            Takes::Integer32 => ("an integer of 32 bits", "write one without quotes"),
            Takes::Integer64 => ("an integer", "write one without quotes"),
            Takes::Number => ("a number", "write one without quotes"),
            Takes::Flag => ("`true` or `false`", "write one of them, without quotes"),
            Takes::Quantity => {
                ("a quantity", "write a number with its unit, as in `100m` or `64Mi`")
            }
            Takes::NumberOrText => ("an integer or a text", "write one of the two"),
            Takes::Object(_) | Takes::Map(_) => {
                ("a mapping", "write `key: value` lines below the field")
            }
            Takes::List(_) => ("a list", "start each item with `- `"),
            Takes::Any | Takes::Either(..) => unreachable!("they were looked into"),
        };
        let found = match found {
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar(scalar) if is_text(scalar) => "a text",
            Value::Scalar(scalar) if scalar::as_bool(scalar).is_some() => "`true` or `false`",
            Value::Scalar(_) => "a number",
            Value::Alias(_) => unreachable!("aliases were followed"),
        };
        let found = if found == "a text" && wanted == "a quantity" { "that" } else { found };
        let message = format!("{wanted} is wanted here, not {found}");
        self.lint.error(self.object, "wrong-type", yaml.place, path, message, remedy);
    }
}

/// Whether a value is of the form that a field takes; what is inside is looked at later.
fn has_form(takes: &Takes, value: &Value) -> bool {
    let scalar = match value {
        Value::List(_) => return matches!(takes, Takes::List(_)),
        Value::Map(_) => return matches!(takes, Takes::Map(_) | Takes::Object(_)),
        Value::Scalar(scalar) => scalar,
        Value::Alias(_) => unreachable!("aliases were followed"),
    };
    let integer = || match is_text(scalar) {
        true => None,
        false => scalar::as_integer(scalar),
    };
    match takes {
        Takes::Text | Takes::Bytes | Takes::Time => is_text(scalar),
        Takes::Integer32 => integer().is_some_and(|it| i32::try_from(it).is_ok()),
        Takes::Integer64 => integer().is_some_and(|it| i64::try_from(it).is_ok()),
        Takes::Number => is_number(scalar),
        Takes::Flag => scalar::as_bool(scalar).is_some(),
        Takes::Quantity => (is_text(scalar) || is_number(scalar)) && is_quantity(&scalar.text),
        Takes::NumberOrText => {
            is_text(scalar) || integer().is_some_and(|it| i32::try_from(it).is_ok())
        }
        Takes::Any => true,
        Takes::Object(_) | Takes::List(_) | Takes::Map(_) | Takes::Either(..) => false,
    }
}

fn is_number(scalar: &Scalar) -> bool {
    scalar.style == ScalarStyle::Plain
        && scalar.text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && (scalar::as_integer(scalar).is_some() || scalar.text.parse::<f64>().is_ok())
}

pub(super) fn is_text(scalar: &Scalar) -> bool {
    !is_number(scalar)
        && !scalar::is_null(scalar)
        && scalar::as_bool(scalar).is_none()
        && scalar::as_integer(scalar).is_none()
}

/// <https://pkg.go.dev/k8s.io/apimachinery/pkg/api/resource#Quantity>
fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let unit = unsigned.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &unsigned[..unsigned.len() - unit.len()];
    let has_number =
        number.contains(|c: char| c.is_ascii_digit()) && number.matches('.').count() < 2;
    let is_exponent = || {
        let exponent = unit.strip_prefix(['e', 'E']).unwrap_or_default();
        !exponent.is_empty() && exponent.parse::<i32>().is_ok()
    };
    const UNITS: [&str; 16] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    has_number && (UNITS.contains(&unit) || is_exponent())
}

pub(super) fn text_of(key: &Yaml) -> &str {
    key.as_scalar().map_or("", |key| key.text.as_str())
}
