//! Variables: declared in a Butane file, given from outside, put in where the file refers to them.
//!
//! ```yaml
//! variant: fcos
//! version: 1.4.0
//! variables:
//!   hostname: text
//!   port: {type: integer, default: 8080, description: where the exporter listens}
//!   channel: {type: text, default: stable, one_of: [stable, testing]}
//!   admins: list
//!   password: {type: text, secret: true}
//! passwd:
//!   users:
//!     - name: core
//!       password_hash: ${{ password }}
//!       ssh_authorized_keys: ${{ admins }}
//! storage:
//!   files:
//!     - path: /etc/hostname
//!       contents: {inline: "${{ hostname }}"}
//! ```
//!
//! * Only a file that has the section `variables` is treated so; in every other one `${{ x }}` is text like any other.
//!   A declaration holds in all documents of its file, and in no other file. A value holds for all files that declare
//!   its name, and they have to agree on its type.
//! * Types are `text`, `integer`, `boolean` and `list` (of texts). A value that is nothing but a reference, in quotes or
//!   without, has the variable's type; a reference with text around it gives text, with the value as it was written.
//!   Values are put in once: what looks like a reference in a value is text.
//! * References stand in values: not in keys, nor in `variant` and `version`, nor in files that `local` and `trees`
//!   name, which are taken byte by byte. `$${{` is `${{` itself.
//! * A variable without a value and without a default, one that nothing refers to, a reference to one that is not
//!   declared, and a value that no file has declared are errors. A file of values counts over the default, a later file
//!   over an earlier one, an argument over all files.
//! * A secret (`secret: true`) has no default and comes from a file, since every user of a machine can read arguments. It
//!   can stand in fields that hold secrets, which take nothing else, and in contents, headers and URLs. No finding and
//!   no report shows it.

mod declare;
mod given;
mod kind;
mod marks;
mod reference;
mod secrecy;
mod substitute;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use basalt_model::decode::closest;
use basalt_model::report::Place;
use basalt_model::yaml::Yaml;

use crate::tree::{Findings, Origin};
use declare::Declaration;
use given::Given;
pub use given::{Readers, ValuesFile};
use kind::Kind;
pub(crate) use marks::{Marks, SECRET};
pub(crate) use secrecy::refuse_misplaced;
use substitute::{Bound, substitute};

/// The values that variables are given.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// `NAME=VALUE` each, of `--var`.
    pub arguments: &'a [String],
    /// The files of `--vars`, in order.
    pub files: &'a [ValuesFile<'a>],
}

impl Values<'_> {
    /// No values: variables have their defaults.
    pub const NONE: Values<'static> = Values { arguments: &[], files: &[] };
}

impl fmt::Debug for Values<'_> {
    /// Without the arguments' values, which may be what a secret was mistaken for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            self.arguments.iter().filter_map(|text| Some(text.split_once('=')?.0)).collect();
        f.debug_struct("Values").field("arguments", &names).field("files", &self.files).finish()
    }
}

/// A value of a variable that took the place of another.
#[derive(Debug)]
pub(crate) struct Reassigned {
    pub name: String,
    pub before: Origin,
    pub after: Origin,
}

/// The variables of all files of one run.
pub(crate) struct Variables {
    given: BTreeMap<String, Given>,
    declared: BTreeMap<String, First>,
    /// Names whose declarations were reported.
    broken: BTreeSet<String>,
    marks: Marks,
}

/// The first declaration of a name.
struct First {
    kind: Kind,
    is_secret: bool,
    origin: Origin,
}

impl Variables {
    pub(crate) fn new(values: &Values, findings: &mut Findings) -> Variables {
        let given = given::read(values, findings);
        let (declared, broken) = (BTreeMap::new(), BTreeSet::new());
        Variables { given, declared, broken, marks: Marks::default() }
    }

    /// Puts values into the documents of a file, when it declares variables, and takes the declarations out.
    pub(crate) fn fill_in(&mut self, file: &str, documents: &mut [Yaml], findings: &mut Findings) {
        let Some(declarations) = declare::take(file, documents, findings) else { return };
        let mut bound = BTreeMap::new();
        let mut origins = Vec::new();
        for declaration in declarations.good {
            self.agree(&declaration, findings);
            let variable = self.bind(&declaration, findings);
            origins.push((declaration.name.clone(), declaration.origin));
            bound.insert(declaration.name, variable);
        }
        for name in declarations.broken {
            // Nothing more is said of it, and nothing that it may have been is shown.
            let origin = Origin::root(file, Place::START);
            let (kind, is_secret, is_used) = (Kind::Text, true, true);
            bound.insert(name.clone(), Bound { kind, value: None, is_secret, origin, is_used });
            self.broken.insert(name);
        }
        let marks = substitute(file, documents, &mut bound, findings);
        for (name, origin) in &origins {
            if bound.get(name).is_some_and(|variable| !variable.is_used) {
                findings
                    .error(origin, format!("nothing refers to `{name}`"))
                    .hint(format!("remove it, or write `${{{{ {name} }}}}` where it is wanted"));
            }
        }
        for variable in bound.into_values().filter(|variable| variable.is_secret) {
            self.marks.hide(variable.value.iter().flat_map(|value| value.texts()));
        }
        self.marks.add(file, marks);
    }

    /// Reports the values that no file wants. To be asked once all files have been filled in.
    pub(crate) fn report_unknown(&self, findings: &mut Findings) {
        for (name, given) in &self.given {
            if self.declared.contains_key(name) || self.broken.contains(name) {
                continue;
            }
            let hint = match closest(name, self.declared.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "a file declares its variables under `variables`".to_owned(),
            };
            findings.error(&given.origin, format!("no file declares `{name}`")).hint(hint);
        }
    }

    /// Which values of declared variables took the place of another.
    pub(crate) fn reassigned(&self) -> Vec<Reassigned> {
        let declared: BTreeSet<&String> = self.declared.keys().collect();
        let given = self.given.iter().filter(|(name, _)| declared.contains(name));
        given
            .flat_map(|(name, given)| {
                let after = given.before.iter().skip(1).chain([&given.origin]);
                given.before.iter().zip(after).map(|(before, after)| Reassigned {
                    name: name.clone(),
                    before: before.clone(),
                    after: after.clone(),
                })
            })
            .collect()
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Two files that declare the same name mean the same by it.
    fn agree(&mut self, declaration: &Declaration, findings: &mut Findings) {
        let Declaration { name, kind, is_secret, origin, .. } = declaration;
        let Some(first) = self.declared.get(name) else {
            let first = First { kind: *kind, is_secret: *is_secret, origin: origin.clone() };
            self.declared.insert(name.clone(), first);
            return;
        };
        let place = format!("{}:{}", first.origin.file, first.origin.place);
        let message = if first.kind != *kind {
            format!("`{name}` is `{}` in {place}, and `{}` here", first.kind.word(), kind.word())
        } else if first.is_secret != *is_secret {
            format!("`{name}` is a secret in one of two files only: the other one is {place}")
        } else {
            return;
        };
        findings.error(origin, message).hint("give one of them another name");
    }

    fn bind(&self, declaration: &Declaration, findings: &mut Findings) -> Bound {
        let Declaration { name, kind, is_secret, origin, default, .. } = declaration;
        let given = self.given.get(name);
        let value = match given {
            Some(given) => match given.value(declaration) {
                Ok(value) => Some(value),
                Err(refusal) => {
                    let finding = findings.error(&given.origin, refusal.message);
                    finding.hint = refusal.hint;
                    None
                }
            },
            None => default.clone(),
        };
        if let Some(given) = given
            && *is_secret
            && given.is_for_everyone()
        {
            findings
                .warning(
                    &given.origin,
                    format!("every user of this machine can read the secret `{name}`"),
                )
                .hint(format!("take the right away: `chmod go= {}`", given.origin.file));
        }
        if given.is_none() && default.is_none() {
            let is_for_files = *is_secret || *kind == Kind::List;
            findings.error(origin, format!("`{name}` has no value")).hint(match is_for_files {
                true => format!("give it in a file, `{name}: VALUE`, with `--vars FILE`"),
                false => format!("give it with `--var {name}=VALUE` or `--vars FILE`"),
            });
        }
        let origin = given.map_or(origin, |given| &given.origin).clone();
        Bound { kind: *kind, value, is_secret: *is_secret, origin, is_used: false }
    }
}
