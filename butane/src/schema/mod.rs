//! What a Butane config may say: one table row per field.
//!
//! A row has the field's name in both languages, its kind, the base version that brought it and one line of
//! documentation. Everything that treats fields alike reads these tables: decoding, lowering, merging, finding
//! duplicates. What is particular to a type hangs on it as [`Rules`].
//!
//! Read [`Type`] and [`Field`], then [`config`]; the other tables are its parts.

pub(crate) mod config;
pub(crate) mod disks;
pub(crate) mod machine_config;
pub(crate) mod nodes;
pub(crate) mod passwd;
pub(crate) mod systemd;

use crate::tree::Tree;
use crate::validate::Check;
use crate::version::{Base, Since, Target, since::V0_1};

/// A mapping of the config.
#[derive(Debug)]
pub(crate) struct Type {
    /// With its article, for messages: `a file`.
    pub name: &'static str,
    pub key: Key,
    /// Ignition names of lists that share one key space, each list in one row.
    pub shared: &'static [&'static [&'static str]],
    pub lowering: Lowering,
    pub rules: Rules,
    pub fields: &'static [Field],
}

/// What tells the items of a list apart, when configs are merged and when duplicates are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    /// Nothing: the type is not made into lists.
    None,
    /// The text of a field, by its Ignition name; a missing one is the empty text.
    Field(&'static str),
    /// A partition's number unless it is 0, or else its label.
    Partition,
}

/// How a mapping becomes one of Ignition's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lowering {
    /// Field by field.
    Plain,
    /// Field by field, then `inline` and `local` become a data URL.
    Resource,
    /// Field by field, then `contents_local` becomes the contents.
    Unit,
    /// Field by field, then the keys of `ssh_authorized_keys_local` follow the others.
    User,
}

/// The rules for one mapping that no table can say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Butane's own, with Butane's names.
    pub butane: fn(&Tree, &mut Check),
    /// Ignition's, with Ignition's names.
    pub ignition: fn(&Tree, &mut Check),
}

/// A field of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    /// In Butane; absent when only Ignition has it.
    pub name: Option<&'static str>,
    /// In Ignition; absent when it is sugar.
    pub ignition: Option<&'static str>,
    pub kind: Kind,
    /// What brought it.
    pub since: Since,
    /// The base version that took it away, or gave it another kind in a row of its own.
    pub until: Option<Base>,
    /// Whether a mapping is printed even when it is empty.
    pub kept_when_empty: bool,
    /// What it is, in a sentence or two for people: `--explain` and the JSON schemas show it.
    pub doc: &'static str,
    pub secrecy: Secrecy,
}

/// Whether a field holds something that not everyone may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// It does not, or what holds it does not say.
    Public,
    /// It may: the contents of a file are a certificate or its key.
    Either,
    /// It does, as does `inline` of a resource in it.
    Secret,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// Text that Ignition has always: the empty text when nothing was written.
    RequiredText,
    /// Text of which the empty one is the same as none.
    FilledText,
    /// A whole number.
    Integer,
    /// A whole number of which 0 is the same as none.
    Number,
    /// A boolean.
    Flag,
    /// A mapping.
    Map(&'static Type),
    /// A list of texts.
    Texts(Repeats),
    /// A list of mappings.
    Maps(&'static Type, Repeats),
    /// A mapping of any names to texts.
    Labels,
}

/// What equal items in a list mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// A mistake; when merged, one item.
    Refused,
    /// Nothing special; when merged, the lists follow each other.
    Kept,
}

impl Kind {
    /// What is wanted, with its article.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Kind::Text | Kind::RequiredText | Kind::FilledText => "text",
            Kind::Integer | Kind::Number => "a whole number",
            Kind::Flag => "`true` or `false`",
            Kind::Map(_) | Kind::Labels => "a mapping",
            Kind::Texts(_) | Kind::Maps(_, _) => "a list",
        }
    }

    /// Whether the list is one of which equal items are one.
    pub(crate) fn refuses_repeats(self) -> bool {
        matches!(self, Kind::Texts(Repeats::Refused) | Kind::Maps(_, Repeats::Refused))
    }
}

impl Type {
    const fn new(name: &'static str, fields: &'static [Field]) -> Type {
        const NO_RULES: Rules = Rules { butane: |_, _| {}, ignition: |_, _| {} };
        Type {
            name,
            key: Key::None,
            shared: &[],
            lowering: Lowering::Plain,
            rules: NO_RULES,
            fields,
        }
    }

    const fn keyed(mut self, field: &'static str) -> Type {
        self.key = Key::Field(field);
        self
    }

    const fn butane(mut self, rule: fn(&Tree, &mut Check)) -> Type {
        self.rules.butane = rule;
        self
    }

    const fn ignition(mut self, rule: fn(&Tree, &mut Check)) -> Type {
        self.rules.ignition = rule;
        self
    }

    /// The fields that `target` has.
    pub(crate) fn of(&self, target: &'static Target) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().filter(|field| field.is_in(target))
    }

    /// The field that Ignition calls `name` in the specification of `target`.
    pub(crate) fn ignition_field(
        &self,
        name: &str,
        target: &'static Target,
    ) -> Option<&'static Field> {
        self.of(target).find(|field| field.ignition == Some(name))
    }

    /// The lists that share their keys with the list `name`, itself among them.
    pub(crate) fn sharing<'t>(&'t self, name: &'t &'static str) -> &'t [&'static str] {
        let group = self.shared.iter().find(|group| group.contains(name));
        group.map_or(std::slice::from_ref(name), |group| group)
    }
}

impl Field {
    /// Whether `target` has the field, in this row's form.
    pub(crate) fn is_in(&self, target: &Target) -> bool {
        target.has(self.since) && self.until.is_none_or(|until| target.base < until)
    }

    /// The field holds a secret.
    const fn secret(mut self) -> Field {
        self.secrecy = Secrecy::Secret;
        self
    }

    /// The field holds a secret, or not.
    const fn maybe_secret(mut self) -> Field {
        self.secrecy = Secrecy::Either;
        self
    }

    /// The row holds for base versions before `until`.
    const fn until(mut self, until: Base) -> Field {
        self.until = Some(until);
        self
    }

    /// A mapping that is printed even when it is empty.
    const fn kept_when_empty(mut self) -> Field {
        self.kept_when_empty = true;
        self
    }
}

impl Key {
    /// The key of an item with Ignition's names; absent when what it is made of could not be read.
    pub(crate) fn of(self, item: &Tree) -> Option<String> {
        let text = |name| match item.get(name) {
            None => Some(""),
            Some(field) => field.as_text(),
        };
        Some(match self {
            Key::None => String::new(),
            Key::Field(name) => text(name)?.to_owned(),
            Key::Partition => match (item.get("number"), item.get("label")) {
                (Some(number), _) if number.as_integer()? != 0 => {
                    format!("number {}", number.as_integer()?)
                }
                (_, Some(_)) => format!("label {}", text("label")?),
                (_, None) => String::new(),
            },
        })
    }
}

/// A field that both languages have.
const fn field(
    name: &'static str,
    ignition: &'static str,
    kind: Kind,
    since: Since,
    doc: &'static str,
) -> Field {
    Field {
        name: Some(name),
        ignition: Some(ignition),
        kind,
        since,
        until: None,
        kept_when_empty: false,
        doc,
        secrecy: Secrecy::Public,
    }
}

/// A field that both languages call the same.
const fn same(name: &'static str, kind: Kind, since: Since, doc: &'static str) -> Field {
    field(name, name, kind, since, doc)
}

/// A field that only Butane has.
const fn sugar(name: &'static str, kind: Kind, since: Since, doc: &'static str) -> Field {
    Field {
        name: Some(name),
        ignition: None,
        kind,
        since,
        until: None,
        kept_when_empty: false,
        doc,
        secrecy: Secrecy::Public,
    }
}

/// A field that only Ignition has.
const fn output(ignition: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field {
        name: None,
        ignition: Some(ignition),
        kind,
        since: V0_1,
        until: None,
        kept_when_empty: false,
        doc,
        secrecy: Secrecy::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::TARGETS;

    /// Every type below `ty`, once each.
    fn types(ty: &'static Type, found: &mut Vec<&'static Type>) {
        if found.iter().any(|known| std::ptr::eq(*known, ty)) {
            return;
        }
        found.push(ty);
        for field in ty.fields {
            if let Kind::Map(ty) | Kind::Maps(ty, _) = field.kind {
                types(ty, found);
            }
        }
    }

    #[test]
    fn tables_agree_with_themselves() {
        let mut found = Vec::new();
        types(&config::CONFIG, &mut found);
        assert!(found.len() > 25);
        for ty in found {
            for target in TARGETS {
                let names = |name: fn(&Field) -> Option<&'static str>| {
                    let mut names: Vec<_> = ty.of(target).filter_map(name).collect();
                    let count = names.len();
                    names.sort_unstable();
                    names.dedup();
                    assert_eq!(names.len(), count, "{}: {names:?}", ty.name);
                };
                names(|field| field.name);
                names(|field| field.ignition);
            }
            for field in ty.fields {
                assert!(TARGETS.iter().any(|target| field.is_in(target)), "{field:?}");
                assert!(field.doc.ends_with('.'), "{}: {field:?}", ty.name);
                if let Kind::Maps(item, Repeats::Refused) = field.kind
                    && field.ignition.is_some()
                {
                    assert!(!matches!(item.key, Key::None), "{}: {field:?}", ty.name);
                }
            }
            let has = |name| ty.fields.iter().any(|field| field.ignition == Some(name));
            if let Key::Field(name) = ty.key {
                assert!(has(name), "{}", ty.name);
            }
            for name in ty.shared.iter().copied().flatten() {
                assert!(has(name), "{}: {name}", ty.name);
            }
        }
    }
}
