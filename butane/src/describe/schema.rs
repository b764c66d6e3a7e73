//! JSON Schema of a config, from the compiler's tables.
//!
//! The dialect is draft 7: it is the newest one that yaml-language-server, and with it most editors, reads. A schema
//! accepts what the compiler accepts, for an editor that reads YAML by either version of its rules: text may be a
//! number or a boolean, `yes` may be text, a whole number may have a fraction, null is a field that is not there, and
//! what a variant refuses may be there empty. It is stricter in one thing: a key that the compiler only warns of is not
//! valid.
//!
//! Dialect: <https://json-schema.org/draft-07/json-schema-validation>

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::facts::{self, CHOICES, Choice, Fact, Shape};
use super::{VARIABLES, butane_page, ignition_page};
use crate::filter::Filter;
use crate::schema::config::CONFIG;
use crate::schema::{Field, Key, Kind, Type};
use crate::version::{TARGETS, Target, targets};

const DIALECT: &str = "http://json-schema.org/draft-07/schema#";

/// A reference to a variable, anywhere in a text: what it stands for is known when the config is compiled.
const REFERENCE: &str = "\\$\\{\\{";

/// The words for booleans that YAML 1.2 reads as text.
const YAML_1_1_FLAGS: &str = "^([yY]|[nN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$";

/// The whole numbers that some version of YAML reads as text.
const YAML_1_1_INTEGERS: &str =
    "^[-+]?(0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9a-fA-FxX]*_[0-9a-fA-F_]*)$";

/// What the value of a variable can be.
const VARIABLE_TYPES: [&str; 4] = ["text", "integer", "boolean", "list"];

/// Permission bits, read as octal or as the decimal number they look like.
const MOST_MODE: u32 = 7777;

/// The JSON Schema of the configs of a variant and version, as indented JSON with a final newline. `None` when there
/// is no such target; [`targets`](crate::targets) lists them.
pub fn schema(variant: &str, version: &str) -> Option<String> {
    let target = Target::named(variant, version)?;
    let mut writer = Writer { target, definitions: BTreeMap::new() };
    let mut root = writer.mapping(&CONFIG, "");
    let title = format!("Butane config for {variant} {version}");
    let description = format!(
        "Compiles to Ignition specification {}.\n\n{}\n\n{}",
        target.spec.as_str(),
        butane_page(target),
        ignition_page(target)
    );
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), DIALECT.into());
    schema.insert("title".to_owned(), title.into());
    schema.insert("description".to_owned(), description.into());
    root.insert("type".to_owned(), "object".into());
    if let Some(Json::Object(properties)) = root.get_mut("properties") {
        properties.insert("variables".to_owned(), variables());
    }
    schema.append(&mut root);
    let definitions = writer.definitions.into_iter().map(|(name, value)| (name, value.into()));
    schema.insert("definitions".to_owned(), Json::Object(definitions.collect()));
    Some(print(&Json::Object(schema)))
}

/// A JSON Schema as a file.
#[derive(Clone, Debug)]
pub struct SchemaFile {
    /// `fcos-1.5.0.json`; `butane.json` is the one that leads to the others.
    pub file_name: String,
    /// Indented JSON with a final newline.
    pub contents: String,
}

/// The schemas of all targets, and one that leads to them: a folder of them serves every Butane config.
pub fn schemas() -> Vec<SchemaFile> {
    let all = SchemaFile { file_name: "butane.json".to_owned(), contents: schema_for_all() };
    let each = targets().filter_map(|(variant, version)| {
        let file_name = format!("{variant}-{version}.json");
        Some(SchemaFile { file_name, contents: schema(variant, version)? })
    });
    std::iter::once(all).chain(each).collect()
}

/// A JSON Schema for all configs: it leads to the one of the variant and version that a config names, as files
/// `VARIANT-VERSION.json` beside it.
fn schema_for_all() -> String {
    let is = |name: &str, value: &str| json!({ name: { "const": value } });
    let cases = TARGETS.iter().map(|target| {
        let mut properties = is("variant", target.variant);
        properties["version"] = json!({ "const": target.version });
        json!({
            "if": { "properties": properties, "required": ["variant", "version"] },
            "then": { "$ref": format!("{}-{}.json", target.variant, target.version) },
        })
    });
    let mut variants: Vec<&str> = TARGETS.iter().map(|target| target.variant).collect();
    variants.dedup();
    let versions = variants.iter().map(|variant| {
        let versions: Vec<&str> = TARGETS
            .iter()
            .filter(|target| target.variant == *variant)
            .map(|target| target.version)
            .collect();
        json!({
            "if": { "properties": is("variant", variant), "required": ["variant"] },
            "then": { "properties": { "version": { "enum": versions } } },
        })
    });
    print(&json!({
        "$schema": DIALECT,
        "title": "Butane config",
        "type": "object",
        "required": ["variant", "version"],
        "properties": {
            "variant": { "description": description(&CONFIG, "variant"), "enum": variants },
            "version": { "description": description(&CONFIG, "version") },
        },
        "allOf": versions.chain(cases).collect::<Json>(),
    }))
}

fn description(ty: &Type, name: &str) -> Option<&'static str> {
    ty.fields.iter().find(|field| field.name == Some(name)).map(|field| field.doc)
}

fn print(json: &Json) -> String {
    let mut text = serde_json::to_string_pretty(json).expect("keys are text");
    text.push('\n');
    text
}

struct Writer {
    target: &'static Target,
    definitions: BTreeMap<String, Map<String, Json>>,
}

impl Writer {
    /// The schema of a mapping, whose fields Ignition has below `path`.
    fn mapping(&mut self, ty: &'static Type, path: &str) -> Map<String, Json> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in ty.of(self.target) {
            let Some(name) = field.name else { continue };
            let below = join(path, field.ignition.unwrap_or("-"));
            let fact = facts::of(ty, name);
            if let Some(schema) = self.refused(field, &fact, &below) {
                properties.insert(name.to_owned(), schema);
                continue;
            }
            let is_section = matches!((ty.name, name), ("a config", "metadata"));
            if is_section || fact.is_required {
                required.push(Json::from(name));
            }
            let schema = self.value(field, &fact, &below);
            properties.insert(name.to_owned(), Json::Object(schema));
        }
        let mut schema = Map::new();
        schema.insert("type".to_owned(), json!(["object", "null"]));
        schema.insert("additionalProperties".to_owned(), false.into());
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
        schema.insert("properties".to_owned(), Json::Object(properties));
        let choices = CHOICES.iter().filter(|choice| choice.ty == ty.name).flat_map(choice_rules);
        let choices: Vec<Json> = choices.collect();
        if !choices.is_empty() {
            schema.insert("allOf".to_owned(), choices.into());
        }
        if matches!(ty.key, Key::Partition) {
            schema.insert(
                "anyOf".to_owned(),
                json!([{ "required": ["number"] }, { "required": ["label"] }]),
            );
        }
        schema
    }

    /// The schema of a field that the variant refuses: it may be there, and say nothing.
    fn refused(&self, field: &Field, fact: &Fact, path: &str) -> Option<Json> {
        let filter = self.target.filters.iter().find(|filter| filter.path == path);
        let why = match filter {
            Some(Filter { message, hint: Some(hint), .. }) => format!("{message}: {hint}."),
            Some(Filter { message, hint: None, .. }) => format!("{message}."),
            None if (fact.refused)(self.target) => fact.rule.to_owned(),
            None => return None,
        };
        let nothing = json!({ "enum": [null, "", [], {}] });
        let mut schema = match field.kind {
            Kind::Map(_) | Kind::Labels => {
                json!({ "type": ["object", "null"], "additionalProperties": nothing })
            }
            Kind::Maps(_, _) | Kind::Texts(_) => {
                json!({ "type": ["array", "null"], "maxItems": 0 })
            }
            _ if filter.is_some_and(|filter| filter.allows_empty_text) => {
                json!({ "enum": [null, ""] })
            }
            _ => json!({ "type": "null" }),
        };
        let target = format!("{} {}", self.target.variant, self.target.version);
        schema["description"] = format!("Not for {target}. {why}").into();
        Some(schema)
    }

    fn value(&mut self, field: &Field, fact: &Fact, path: &str) -> Map<String, Json> {
        let mut schema = Map::new();
        schema.insert("description".to_owned(), describe(field, fact).into());
        let form = match field.kind {
            Kind::Text | Kind::RequiredText | Kind::FilledText => self.text(fact),
            Kind::Integer | Kind::Number => integer(fact),
            Kind::Flag => {
                json!({ "type": ["boolean", "string", "null"], "pattern": or_reference(YAML_1_1_FLAGS) })
            }
            Kind::Map(ty) => json!({ "$ref": self.reference(ty, path) }),
            Kind::Maps(ty, _) => {
                json!({ "type": ["array", "null"], "items": { "$ref": self.reference(ty, path) } })
            }
            Kind::Texts(_) => {
                let mut item = json!({ "type": ["string", "number", "boolean", "null"] });
                if let Shape::Items(pattern) = fact.shape {
                    item["pattern"] = or_reference(pattern).into();
                }
                json!({ "type": ["array", "string", "null"], "items": item, "pattern": REFERENCE })
            }
            Kind::Labels => json!({
                "type": ["object", "null"],
                "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
            }),
        };
        if let Json::Object(mut form) = form {
            schema.append(&mut form);
        }
        schema
    }

    fn text(&self, fact: &Fact) -> Json {
        if fact.ty == CONFIG.name {
            match fact.field {
                "variant" => return json!({ "const": self.target.variant }),
                "version" => return json!({ "const": self.target.version }),
                _ => {}
            }
        }
        let mut schema = json!({ "type": ["string", "number", "boolean", "null"] });
        match fact.shape {
            Shape::Values(values) => {
                let values = values(self.target);
                // A level of RAID may be a number, which YAML does not take for text.
                let numbers = values.iter().filter_map(|value| value.parse::<u32>().ok());
                let numbers: Vec<Json> = numbers.map(Json::from).collect();
                let values = values.iter().map(|value| Json::from(*value));
                let values: Json = values.chain(numbers).chain([Json::Null]).collect();
                return json!({
                    "anyOf": [{ "enum": values }, { "type": "string", "pattern": REFERENCE }],
                });
            }
            Shape::Pattern(pattern) => schema["pattern"] = or_reference(pattern).into(),
            Shape::Any | Shape::Mode | Shape::Items(_) => {}
        }
        schema
    }

    /// The name of the definition of a type. Where a variant refuses parts of the type at one place only, the type of
    /// that place has a definition of its own.
    fn reference(&mut self, ty: &'static Type, path: &str) -> String {
        let below = format!("{path}.");
        let is_particular =
            self.target.filters.iter().any(|filter| filter.path.starts_with(&below));
        let words = ty.name.split([' ', '`']).filter(|word| !word.is_empty());
        let mut name = words.skip(1).collect::<Vec<_>>().join("-").to_lowercase();
        if is_particular {
            name = format!("{name}-of-{}", path.replace('.', "-").to_lowercase());
        }
        if !self.definitions.contains_key(&name) {
            // No type is part of itself, so that the place is only held for the order.
            let schema = self.mapping(ty, path);
            self.definitions.insert(name.clone(), schema);
        }
        format!("#/definitions/{name}")
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn integer(fact: &Fact) -> Json {
    let mut schema =
        json!({ "type": ["number", "string", "null"], "pattern": or_reference(YAML_1_1_INTEGERS) });
    if matches!(fact.shape, Shape::Mode) {
        schema["minimum"] = 0.into();
        schema["maximum"] = MOST_MODE.into();
    }
    schema
}

fn or_reference(pattern: &str) -> String {
    format!("{pattern}|{REFERENCE}")
}

/// The section `variables`, which is there before a config is one of any variant.
fn variables() -> Json {
    json!({
        "description": VARIABLES,
        "type": ["object", "null"],
        "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9_-]*$" },
        "additionalProperties": {
            "anyOf": [
                { "enum": VARIABLE_TYPES },
                {
                    "type": "object",
                    "required": ["type"],
                    "additionalProperties": false,
                    "properties": {
                        "type": {
                            "description": "What the values are.",
                            "enum": VARIABLE_TYPES,
                        },
                        "default": {
                            "description": "The value when none is given; without it one has to be.",
                        },
                        "description": {
                            "description": "What the variable is for.",
                            "type": ["string", "null"],
                        },
                        "one_of": {
                            "description": "The only values that it can have.",
                            "type": ["array", "null"],
                        },
                        "secret": {
                            "description": "Whether the value is a secret, which is never shown.",
                            "type": ["boolean", "null"],
                        },
                    },
                },
            ],
        },
    })
}

/// The field's documentation with its default and rule, as Markdown.
fn describe(field: &Field, fact: &Fact) -> String {
    let mut text = field.doc.to_owned();
    if !fact.default.is_empty() {
        text += &format!("\n\nDefault: {}.", fact.default);
    }
    if !fact.rule.is_empty() {
        text += &format!("\n\n{}", fact.rule);
    }
    text
}

/// One rule per field: where it says something, the others do not.
fn choice_rules(choice: &'static Choice) -> impl Iterator<Item = Json> {
    let says = if choice.is_empty_none {
        json!({ "not": { "enum": [null, ""] } })
    } else {
        json!({ "not": { "type": "null" } })
    };
    let silent = if choice.is_empty_none {
        json!({ "enum": [null, ""] })
    } else {
        json!({ "type": "null" })
    };
    let (fields, count) = (choice.fields, choice.fields.len());
    (0..count - 1).map(move |index| {
        let others = fields[index + 1..].iter().map(|name| ((*name).to_owned(), silent.clone()));
        json!({
            "if": { "required": [fields[index]], "properties": { fields[index]: says } },
            "then": { "properties": others.collect::<Map<_, _>>() },
        })
    })
}
