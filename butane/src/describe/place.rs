//! Where a field is: from what a person typed to the rows of the tables.

use basalt_model::decode::closest;

use super::explain::ExplainError;
use super::facts;
use crate::schema::config::CONFIG;
use crate::schema::{Field, Kind, Type};
use crate::version::{TARGETS, Target};

/// One step down: all rows that the name has in its type, one for each form that versions gave it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub ty: &'static Type,
    pub rows: Vec<&'static Field>,
}

impl Step {
    fn new(ty: &'static Type, name: &str) -> Option<Step> {
        // Ignition's name is taken too: people come from there.
        let is_meant = |field: &&Field| {
            field.name.is_some() && (field.name == Some(name) || field.ignition == Some(name))
        };
        let rows: Vec<&Field> = ty.fields.iter().filter(is_meant).collect();
        (!rows.is_empty()).then_some(Step { ty, rows })
    }

    /// The form that the newest versions have.
    pub(super) fn row(&self) -> &'static Field {
        self.rows.last().expect("a step has a row")
    }

    pub(super) fn name(&self) -> &'static str {
        self.row().name.expect("steps are made of fields that Butane has")
    }

    /// Whether `target` has the field in some form.
    pub(super) fn is_in(&self, target: &Target) -> bool {
        self.rows.iter().any(|row| row.is_in(target))
    }
}

/// The way from the top of a config to a field.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// At least one.
    pub steps: Vec<Step>,
}

impl Way {
    /// Finds what is meant by `storage.files.mode`, `$.storage.files.0.mode` or `storage.files[].mode`. An empty way
    /// is the top.
    pub(super) fn find(path: &str) -> Result<Way, ExplainError> {
        let mut way = Way { steps: Vec::new() };
        let mut ty = Some(&CONFIG);
        let names =
            path.split(['.', '[', ']', ' ']).filter(|name| !name.is_empty() && *name != "$");
        for name in
            names.filter(|name| !name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*'))
        {
            let Some(inner) = ty else {
                return Err(ExplainError::NotAMapping {
                    path: way.to_string(),
                    name: name.to_owned(),
                });
            };
            let Some(step) = Step::new(inner, name) else {
                return Err(unknown(&way, inner, name));
            };
            ty = match step.row().kind {
                Kind::Map(ty) | Kind::Maps(ty, _) => Some(ty),
                _ => None,
            };
            way.steps.push(step);
        }
        Ok(way)
    }

    /// The field itself; absent at the top.
    pub(super) fn last(&self) -> Option<&Step> {
        self.steps.last()
    }

    /// The type of what is below the way's end, when that has fields.
    pub(super) fn inner(&self) -> Option<&'static Type> {
        match self.last().map(|step| step.row().kind) {
            None => Some(&CONFIG),
            Some(Kind::Map(ty) | Kind::Maps(ty, _)) => Some(ty),
            Some(_) => None,
        }
    }

    /// Ignition's names, down to where sugar begins.
    pub(super) fn ignition(&self) -> Result<String, &Step> {
        let mut path = String::new();
        for step in &self.steps {
            let name = step.row().ignition.ok_or(step)?;
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        }
        Ok(path)
    }

    /// The targets that take the field.
    pub(super) fn targets(&self) -> impl Iterator<Item = &'static Target> + '_ {
        TARGETS.iter().filter(|target| {
            self.steps.iter().all(|step| step.is_in(target)) && !self.is_refused(target)
        })
    }

    /// Whether a target knows the field, and refuses it.
    pub(super) fn is_refused(&self, target: &Target) -> bool {
        let mut path = String::new();
        for step in self.steps.iter().filter(|step| step.is_in(target)) {
            if (facts::of(step.ty, step.name()).refused)(target) {
                return true;
            }
            let Some(name) = step.row().ignition else { return false };
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            if target.filters.iter().any(|filter| filter.path == path) {
                return true;
            }
        }
        false
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(f, "{dot}{}", step.name())?;
        }
        Ok(())
    }
}

fn unknown(way: &Way, ty: &'static Type, name: &str) -> ExplainError {
    let names = || ty.fields.iter().filter_map(|field| field.name);
    let join =
        |name: &str| if way.steps.is_empty() { name.to_owned() } else { format!("{way}.{name}") };
    let mut near: Vec<String> = closest(name, names()).map(join).into_iter().collect();
    if near.is_empty() {
        everywhere(&CONFIG, "", name, &mut near);
    }
    ExplainError::Unknown { ty: ty.name, name: name.to_owned(), near }
}

/// All fields called `name`.
fn everywhere(ty: &'static Type, path: &str, name: &str, found: &mut Vec<String>) {
    for field in ty.fields {
        let Some(own) = field.name else { continue };
        let path = if path.is_empty() { own.to_owned() } else { format!("{path}.{own}") };
        if (own == name || field.ignition == Some(name)) && !found.contains(&path) {
            found.push(path.clone());
        }
        if let Kind::Map(ty) | Kind::Maps(ty, _) = field.kind {
            everywhere(ty, &path, name, found);
        }
    }
}
