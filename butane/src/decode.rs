//! YAML → tree, by the tables of [`schema`](crate::schema): every value becomes what its field wants, or is reported.
//!
//! Scalars are resolved as Go's yaml.v3 resolves them, since that is what configs were written for: any scalar is text
//! where text is wanted, as it was written; `0644` is octal; `yes` is a boolean where one is wanted.

use std::collections::HashSet;

use basalt_model::report::Place;
use basalt_model::yaml::{self, Scalar, ScalarStyle, Value as YamlValue, Yaml, scalar};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::schema::{Field, Kind, Type};
use crate::tree::{Findings, Origin, Tree, Value};
use crate::unknown;
use crate::version::Target;

/// The language a text is written in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Language {
    /// Butane, with the fields of a target.
    Butane(&'static Target),
    /// Ignition's own JSON, in the specification of a target.
    Ignition(&'static Target),
}

impl Language {
    /// What the language calls a field, when it has it.
    pub(crate) fn name(self, field: &Field) -> Option<&'static str> {
        match self {
            Language::Butane(target) => field.name.filter(|_| field.is_in(target)),
            Language::Ignition(target) => field.ignition.filter(|_| field.is_in(target)),
        }
    }
}

/// Reads a mapping of type `ty`.
pub(crate) fn decode(
    yaml: &Yaml,
    ty: &'static Type,
    language: Language,
    origin: Origin,
    findings: &mut Findings,
) -> Tree {
    Decoder { language, alias: None, findings }.map(yaml, ty, origin)
}

struct Decoder<'f> {
    language: Language,
    /// The alias that stands for what is being read: a finding belongs where the value is used.
    alias: Option<Place>,
    findings: &'f mut Findings,
}

/// A scalar by the rules of YAML, before anything is wanted of it.
enum Resolved<'y> {
    Null,
    /// Text for certain.
    Text(&'y str),
    /// What it is depends on what is wanted.
    Plain(Scalar),
    Binary(&'y str),
}

impl Decoder<'_> {
    /// `None` is null: the field is as if it were not there.
    fn value(&mut self, yaml: &Yaml, kind: Kind, origin: Origin) -> Option<Tree> {
        if is_null(yaml) {
            // Text that is always there is empty, and what is said of that belongs here.
            let is_always_there = matches!(kind, Kind::RequiredText | Kind::FilledText);
            self.findings.note_null(&origin);
            return is_always_there.then(|| Tree::text_at(&origin, ""));
        }
        let outer = self.alias;
        if matches!(yaml.value, YamlValue::Alias(_)) {
            self.alias = outer.or(Some(yaml.place));
        }
        let tree = self.set(yaml, kind, origin);
        self.alias = outer;
        Some(tree)
    }

    fn set(&mut self, yaml: &Yaml, kind: Kind, origin: Origin) -> Tree {
        match kind {
            Kind::Text | Kind::RequiredText | Kind::FilledText => self.text(yaml, kind, origin),
            Kind::Integer | Kind::Number => {
                self.scalar(yaml, kind, origin, |resolved| match resolved {
                    Resolved::Plain(scalar) => integer(scalar).map(Value::Integer),
                    _ => None,
                })
            }
            Kind::Flag => self.scalar(yaml, kind, origin, |resolved| {
                let text = match resolved {
                    Resolved::Plain(scalar) => return scalar::as_bool(scalar).map(Value::Flag),
                    Resolved::Text(text) => *text,
                    _ => return None,
                };
                // yaml.v3 takes the words of YAML 1.1 in quotes too, but not `"true"`.
                let is_word = !matches!(text.to_ascii_lowercase().as_str(), "true" | "false");
                let word = Scalar { text: text.to_owned(), style: ScalarStyle::Plain };
                scalar::as_bool(&word).filter(|_| is_word).map(Value::Flag)
            }),
            Kind::Map(ty) => self.map(yaml, ty, origin),
            Kind::Texts(_) => self.list(yaml, Kind::Text, origin),
            Kind::Maps(ty, _) => self.list(yaml, Kind::Map(ty), origin),
            Kind::Labels => self.labels(yaml, origin),
        }
    }

    fn place(&self, yaml: &Yaml) -> Place {
        self.alias.unwrap_or(yaml.place)
    }

    fn text(&mut self, yaml: &Yaml, kind: Kind, origin: Origin) -> Tree {
        let language = self.language;
        if let Some(Resolved::Binary(encoded)) = resolve(yaml) {
            let compact: String = encoded.split_whitespace().collect();
            let decoded = BASE64_STANDARD.decode(compact).ok().map(String::from_utf8);
            let value = match decoded {
                Some(Ok(text)) => Value::Text(text),
                Some(Err(_)) => {
                    let message = "`!!binary` is used for bytes that are not text";
                    self.findings
                        .error(&origin, message)
                        .hint("put them into a file, with `local`");
                    Value::Broken
                }
                None => {
                    self.findings.error(&origin, "not base64");
                    Value::Broken
                }
            };
            return Tree { origin, value };
        }
        self.scalar(yaml, kind, origin, |resolved| match resolved {
            Resolved::Text(text) => Some(Value::Text((*text).to_owned())),
            Resolved::Plain(scalar) if matches!(language, Language::Butane(_)) => {
                Some(Value::Text(scalar.text.clone()))
            }
            _ => None,
        })
    }

    fn scalar(
        &mut self,
        yaml: &Yaml,
        kind: Kind,
        origin: Origin,
        read: impl Fn(&Resolved) -> Option<Value>,
    ) -> Tree {
        match resolve(yaml).as_ref().and_then(read) {
            Some(value) => Tree { origin, value },
            None => self.wrong_kind(yaml, kind, origin),
        }
    }

    fn wrong_kind(&mut self, yaml: &Yaml, kind: Kind, origin: Origin) -> Tree {
        if let YamlValue::Map(entries) = &yaml.resolved().value {
            self.repeated_keys(entries, &origin);
        }
        let found = match yaml.as_scalar() {
            Some(scalar) if scalar.text.chars().count() <= 40 && !scalar.text.contains('\n') => {
                match scalar.style {
                    ScalarStyle::Plain => format!("`{}`", scalar.text),
                    _ => format!("the text `{}`", scalar.text),
                }
            }
            Some(_) => "text".to_owned(),
            None => yaml.kind(),
        };
        let finding =
            self.findings.error(&origin, format!("{} is wanted here, not {found}", kind.wanted()));
        let is_quoted = yaml.as_scalar().is_some_and(|scalar| scalar.style != ScalarStyle::Plain);
        if is_quoted && matches!(kind, Kind::Integer | Kind::Number | Kind::Flag) {
            finding.hint("leave the quotes away");
        } else if let Language::Butane(_) = self.language
            && let Some(hint) = unknown::value(yaml, kind)
        {
            finding.hint(hint);
        }
        Tree { origin, value: Value::Broken }
    }

    fn list(&mut self, yaml: &Yaml, item: Kind, origin: Origin) -> Tree {
        let YamlValue::List(items) = &yaml.resolved().value else {
            let whole = match item {
                Kind::Map(ty) => Kind::Maps(ty, crate::schema::Repeats::Kept),
                _ => Kind::Texts(crate::schema::Repeats::Kept),
            };
            return self.wrong_kind(yaml, whole, origin);
        };
        let items = items
            .iter()
            .enumerate()
            .filter_map(|(index, yaml)| {
                self.value(yaml, item, origin.below(index).at(self.place(yaml)))
            })
            .collect();
        Tree { origin, value: Value::List(items) }
    }

    fn map(&mut self, yaml: &Yaml, ty: &'static Type, origin: Origin) -> Tree {
        if !matches!(yaml.resolved().value, YamlValue::Map(_)) {
            return self.wrong_kind(yaml, Kind::Map(ty), origin);
        }
        let mut entries = Vec::new();
        self.gather(yaml, &origin, &mut HashSet::new(), &mut entries);
        let mut found: Vec<(&'static str, Tree)> = Vec::new();
        for (key, value) in entries {
            let Some(name) = key.as_scalar().map(|scalar| scalar.text.as_str()) else {
                self.findings.error(&origin.clone().at(self.place(key)), "a key is text");
                continue;
            };
            let field = ty.fields.iter().find(|field| self.language.name(field) == Some(name));
            let Some((field, name)) =
                field.and_then(|field| Some((field, self.language.name(field)?)))
            else {
                self.unknown(ty, name, origin.below(name).at(self.place(key)));
                continue;
            };
            let origin = origin.below(name).at(self.place(value));
            if let (Kind::Map(ty), Language::Butane(_)) = (field.kind, self.language)
                && !field.kept_when_empty
                && is_null(value)
            {
                self.findings
                    .warning(&origin, format!("{} is null, which says nothing", ty.name))
                    .hint("leave the key away, or write what belongs below it");
            }
            if let Some(tree) = self.value(value, field.kind, origin) {
                found.push((name, tree));
            }
        }
        let rank =
            |name: &str| ty.fields.iter().position(|field| self.language.name(field) == Some(name));
        found.sort_by_key(|(name, _)| rank(name));
        Tree { origin, value: Value::Map(found) }
    }

    /// The entries of a mapping, with those that its merge keys (`<<`) bring in behind its own.
    fn gather<'y>(
        &mut self,
        yaml: &'y Yaml,
        origin: &Origin,
        seen: &mut HashSet<&'y str>,
        entries: &mut Vec<(&'y Yaml, &'y Yaml)>,
    ) {
        let YamlValue::Map(own) = &yaml.resolved().value else {
            self.findings
                .error(&origin.clone().at(self.place(yaml)), "only mappings can be merged in");
            return;
        };
        self.repeated_keys(own, origin);
        let mut merged = Vec::new();
        for (key, value) in own {
            match key.as_scalar() {
                Some(name) if name.text == "<<" && name.style == ScalarStyle::Plain => {
                    match &value.resolved().value {
                        YamlValue::List(items) => merged.extend(items),
                        _ => merged.push(value),
                    }
                }
                Some(name) => {
                    if seen.insert(&name.text) {
                        entries.push((key, value));
                    }
                }
                None => entries.push((key, value)),
            }
        }
        for yaml in merged {
            self.gather(yaml, origin, seen, entries);
        }
    }

    fn repeated_keys(&mut self, entries: &[(Yaml, Yaml)], origin: &Origin) {
        for (key, message) in yaml::repeated_keys(entries) {
            let name = key.as_scalar().map_or("", |name| name.text.as_str());
            self.findings.error(&origin.below(name).at(self.place(key)), message);
        }
    }

    /// A mapping of any names to texts.
    fn labels(&mut self, yaml: &Yaml, origin: Origin) -> Tree {
        if !matches!(yaml.resolved().value, YamlValue::Map(_)) {
            return self.wrong_kind(yaml, Kind::Labels, origin);
        }
        let mut entries = Vec::new();
        self.gather(yaml, &origin, &mut HashSet::new(), &mut entries);
        let mut labels = Vec::new();
        for (key, value) in entries {
            let Some(name) = key.as_scalar() else {
                self.findings.error(&origin.clone().at(self.place(key)), "a key is text");
                continue;
            };
            let place = origin.below(&name.text).at(self.place(value));
            let text = self.value(value, Kind::RequiredText, place.clone());
            labels.push((name.text.clone(), text.unwrap_or_else(|| Tree::text_at(&place, ""))));
        }
        Tree { origin, value: Value::Labels(labels) }
    }

    fn unknown(&mut self, ty: &'static Type, name: &str, origin: Origin) {
        let is_cut_short = self.findings.0.is_cut_short();
        let finding = self.findings.unknown_key(&origin, format!("{} has no `{name}`", ty.name));
        if !is_cut_short && let Some(hint) = unknown::key(ty, name, self.language) {
            finding.hint(hint);
        }
    }
}

fn is_null(yaml: &Yaml) -> bool {
    (yaml.is_null() && matches!(yaml.resolved().tag.as_deref(), None | Some("!")))
        || matches!(resolve(yaml), Some(Resolved::Null))
}

/// `None` is no scalar, or one whose tag says what its text does not.
fn resolve(yaml: &Yaml) -> Option<Resolved<'_>> {
    let yaml = yaml.resolved();
    let YamlValue::Scalar(written) = &yaml.value else { return None };
    let tag = match yaml.tag.as_deref() {
        // yaml.v3 takes `!` for no tag at all.
        None | Some("!") => {
            return Some(match written.style {
                ScalarStyle::Plain => Resolved::Plain(written.clone()),
                _ => Resolved::Text(&written.text),
            });
        }
        Some(tag) => tag.strip_prefix("tag:yaml.org,2002:"),
    };
    // The tag decides, whatever the quotes say.
    let plain = || Scalar { text: written.text.clone(), style: ScalarStyle::Plain };
    match tag {
        Some("binary") => Some(Resolved::Binary(&written.text)),
        Some("null") => scalar::is_null(&plain()).then_some(Resolved::Null),
        Some("bool") => {
            let is_bool = matches!(written.text.to_ascii_lowercase().as_str(), "true" | "false");
            (is_bool && scalar::as_bool(&plain()).is_some()).then(|| Resolved::Plain(plain()))
        }
        Some("int") => scalar::as_integer(&plain()).map(|_| Resolved::Plain(plain())),
        Some("float") => integer(&plain()).map(|_| Resolved::Plain(plain())),
        // What only its author knows is text.
        _ => Some(Resolved::Text(&written.text)),
    }
}

/// A whole number, or the whole part of one with a fraction: yaml.v3 cuts it off.
fn integer(scalar: &Scalar) -> Option<i64> {
    if let Some(number) = scalar::as_integer(scalar) {
        return i64::try_from(number).ok();
    }
    // `_` may stand between the digits of a number, not in front of it.
    let is_number = |text: &str| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-_".contains(&byte))
    };
    let text = scalar.text.as_str();
    let number: f64 = text.replace('_', "").parse().ok().filter(|_| is_number(text))?;
    // The first float that no integer has: 2 to the power of 63.
    const END: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "cutting off is what is wanted")]
    (-END..END).contains(&number).then_some(number as i64)
}
