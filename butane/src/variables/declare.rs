//! The section `variables`: which variables a file has, and what they can be.

use basalt_model::decode::{closest, list};
use basalt_model::yaml::{Value as YamlValue, Yaml, repeated_keys, scalar};

use super::kind::{Datum, Kind};
use super::reference::is_name;
use crate::tree::{Findings, Origin};

/// The key at the top of a config.
pub(crate) const SECTION: &str = "variables";

const FIELDS: [&str; 5] = ["type", "default", "description", "one_of", "secret"];

/// One variable of a file.
pub(super) struct Declaration {
    pub name: String,
    pub kind: Kind,
    pub default: Option<Datum>,
    /// When it is not empty, the value is one of these.
    pub one_of: Vec<String>,
    pub is_secret: bool,
    /// The name's place.
    pub origin: Origin,
}

/// What a file declares.
#[derive(Default)]
pub(super) struct Declarations {
    pub good: Vec<Declaration>,
    /// Names with a declaration that was reported.
    pub broken: Vec<String>,
}

/// Takes the sections out of a file's documents and reads them. Absent when the file has none: it is then nothing
/// but Butane.
pub(super) fn take(
    file: &str,
    documents: &mut [Yaml],
    findings: &mut Findings,
) -> Option<Declarations> {
    let is_section =
        |(key, _): &(Yaml, Yaml)| key.as_scalar().is_some_and(|key| key.text == SECTION);
    let mut sections = Vec::new();
    for document in documents {
        if let YamlValue::Map(entries) = &mut document.value {
            // The compiler looks for keys that are there twice, and does not see this one any more.
            if let Some((key, _)) = entries.iter().filter(|entry| is_section(entry)).nth(1) {
                let origin = Origin::root(file, key.place).below(SECTION);
                findings.error(&origin, format!("there is a section `{SECTION}` already"));
            }
            sections.extend(entries.extract_if(.., |entry| is_section(entry)));
        }
    }
    if sections.is_empty() {
        return None;
    }
    let mut reader = Reader { findings, found: Declarations::default() };
    for (key, section) in &sections {
        let origin = Origin::root(file, key.place).below(SECTION).at(section.place);
        reader.section(section, &origin);
    }
    Some(reader.found)
}

struct Reader<'f> {
    findings: &'f mut Findings,
    found: Declarations,
}

impl Reader<'_> {
    fn section(&mut self, section: &Yaml, origin: &Origin) {
        if section.is_null() {
            return;
        }
        let YamlValue::Map(entries) = &section.resolved().value else {
            self.findings
                .error(origin, format!("a mapping is wanted here, not {}", section.kind()))
                .hint("write `name: {type: text}`");
            return;
        };
        for (key, value) in entries {
            let name = key.as_scalar().map_or("", |key| key.text.as_str());
            let origin = origin.below(name).at(key.place);
            if !is_name(name) {
                self.findings
                    .error(&origin, format!("`{name}` cannot be the name of a variable"))
                    .hint("a name is letters, digits, `_` and `-`, and begins with a letter");
                continue;
            }
            if let Some(first) = self.found.good.iter().find(|found| found.name == name) {
                let message =
                    format!("`{name}` is declared in line {} already", first.origin.place.line);
                self.findings
                    .error(&origin, message)
                    .hint("one declaration holds in all documents of a file");
                continue;
            }
            match self.declaration(name, value, origin) {
                Some(declaration) => self.found.good.push(declaration),
                None => self.found.broken.push(name.to_owned()),
            }
        }
    }

    fn declaration(&mut self, name: &str, yaml: &Yaml, origin: Origin) -> Option<Declaration> {
        let at = origin.clone().at(yaml.place);
        let YamlValue::Map(entries) = &yaml.resolved().value else {
            if yaml.is_null() || yaml.as_scalar().is_none() {
                self.findings
                    .error(&at, format!("a mapping is wanted here, not {}", yaml.kind()))
                    .hint(format!("write `{name}: {{type: text}}`"));
                return None;
            }
            let kind = self.kind(yaml, &at)?;
            let (default, one_of, is_secret) = (None, Vec::new(), false);
            return Some(Declaration {
                name: name.to_owned(),
                kind,
                default,
                one_of,
                is_secret,
                origin,
            });
        };
        let mut is_good = true;
        for (key, message) in repeated_keys(entries) {
            self.findings.error(&origin.clone().at(key.place), message);
            is_good = false;
        }
        let mut fields: [Option<&Yaml>; FIELDS.len()] = [None; FIELDS.len()];
        for (key, value) in entries {
            let field = key.as_scalar().map_or("", |key| key.text.as_str());
            match FIELDS.iter().position(|known| *known == field) {
                Some(index) => fields[index] = Some(value).filter(|value| !value.is_null()),
                None => {
                    let hint = match closest(field, FIELDS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("it has {}", list(&FIELDS)),
                    };
                    let origin = origin.below(field).at(key.place);
                    self.findings.error(&origin, format!("a variable has no `{field}`")).hint(hint);
                    is_good = false;
                }
            }
        }
        let [kind, default, description, one_of, secret] = fields;
        let field = |name: &str, yaml: &Yaml| origin.below(name).at(yaml.place);
        let Some(kind) = kind else {
            self.findings.error(&at, "`type` is missing").hint(Kind::hint());
            return None;
        };
        let kind = self.kind(kind, &field("type", kind))?;
        if let Some(description) = description.filter(|yaml| yaml.as_scalar().is_none()) {
            self.findings.error(&field("description", description), "text is wanted here");
            is_good = false;
        }
        let is_secret = match secret {
            None => false,
            Some(yaml) => match yaml.as_scalar().and_then(scalar::as_bool) {
                Some(is_secret) => is_secret,
                None => {
                    self.findings.error(&field("secret", yaml), "`true` or `false` is wanted here");
                    return None;
                }
            },
        };
        let one_of = match one_of {
            Some(yaml) => self.one_of(kind, yaml, &field("one_of", yaml))?,
            None => Vec::new(),
        };
        let default = match default {
            None => None,
            Some(yaml) if is_secret => {
                self.findings
                    .error(&field("default", yaml), "a secret has no default")
                    .hint("it would stand in the config for everyone to read: use `--vars FILE`");
                return None;
            }
            Some(yaml) => match kind.read(yaml) {
                Some(datum) => Some(datum),
                None => {
                    let message = format!("{} is wanted here, not {}", kind.wanted(), yaml.kind());
                    self.findings.error(&field("default", yaml), message);
                    return None;
                }
            },
        };
        let name = name.to_owned();
        let declaration = Declaration { name, kind, default, one_of, is_secret, origin };
        if let Some(default) = &declaration.default
            && let Some(fault) = declaration.fault(default)
        {
            let place = entries
                .iter()
                .find(|(key, _)| key.as_scalar().is_some_and(|key| key.text == "default"));
            let place = place.map_or(at.place, |(_, value)| value.place);
            self.findings.error(&declaration.origin.below("default").at(place), fault);
            is_good = false;
        }
        is_good.then_some(declaration)
    }

    fn kind(&mut self, yaml: &Yaml, origin: &Origin) -> Option<Kind> {
        let word = yaml.as_scalar().map(|word| word.text.as_str());
        let kind = word.and_then(|word| Kind::WORDS.iter().find(|(known, _)| *known == word));
        if kind.is_none() {
            let near = word.and_then(|word| closest(word, Kind::WORDS.map(|(known, _)| known)));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => Kind::hint(),
            };
            self.findings.error(origin, format!("there is no type {}", yaml.kind())).hint(hint);
        }
        kind.map(|(_, kind)| *kind)
    }

    fn one_of(&mut self, kind: Kind, yaml: &Yaml, origin: &Origin) -> Option<Vec<String>> {
        let item = match kind {
            Kind::List => Kind::Text,
            Kind::Text | Kind::Integer | Kind::Boolean => kind,
        };
        let items = match &yaml.resolved().value {
            YamlValue::List(items) if !items.is_empty() => items,
            _ => {
                self.findings.error(origin, "a list of values is wanted here");
                return None;
            }
        };
        let mut values = Vec::new();
        for (index, yaml) in items.iter().enumerate() {
            match item.read(yaml) {
                Some(datum) => values.extend(datum.texts().iter().cloned()),
                None => {
                    let message = format!("{} is wanted here, not {}", item.wanted(), yaml.kind());
                    self.findings.error(&origin.below(index).at(yaml.place), message);
                    return None;
                }
            }
        }
        Some(values)
    }
}

impl Kind {
    fn hint() -> String {
        format!("there are {}", list(&Kind::WORDS.map(|(word, _)| word)))
    }
}

impl Declaration {
    /// What is wrong with a value of the right type.
    pub(super) fn fault(&self, value: &Datum) -> Option<String> {
        let item = if self.kind == Kind::List { Kind::Text } else { self.kind };
        let is_allowed = |text: &String| self.one_of.iter().any(|allowed| item.same(allowed, text));
        if self.one_of.is_empty() || value.texts().iter().all(is_allowed) {
            return None;
        }
        let allowed: Vec<&str> = self.one_of.iter().map(String::as_str).collect();
        Some(format!("`{}` is {}", self.name, one_of(&allowed, self.is_secret)))
    }
}

fn one_of(allowed: &[&str], is_secret: bool) -> String {
    match is_secret {
        true => "one of the values in its declaration".to_owned(),
        false => format!("one of {}", list(allowed)),
    }
}
