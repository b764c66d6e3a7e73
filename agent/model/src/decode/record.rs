//! [`record!`](crate::record): a struct, how it is read and its JSON Schema from one list of fields.

use serde_json::{Map, Value as Json, json};

/// Defines structs that are read from a mapping: fields with their documentation, and `= value` for a default.
///
/// ```
/// basalt_model::record! {
///     /// A disk.
///     pub struct Disk {
///         /// Where it is.
///         device: String,
///         /// Sectors to leave free.
///         spare: u32 = 2048,
///     }
/// }
/// ```
#[macro_export]
macro_rules! record {
    ($($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty $(= $default:expr)?,)+
    })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $crate::decode::Decode for $name {
            fn decode(yaml: &$crate::yaml::Yaml, decoder: &mut $crate::decode::Decoder<'_>) -> Option<Self> {
                let mut fields = decoder.fields(yaml, &[$(stringify!($field)),+])?;
                $(
                    #[allow(unused_mut, unused_assignments)]
                    let mut default: Option<$type> = None;
                    $(default = Some($default);)?
                    let $field = fields.take(stringify!($field), default, decoder);
                )+
                Some(Self { $($field: $field?),+ })
            }

            fn stand_in() -> Option<Self> {
                $(
                    #[allow(unused_mut, unused_assignments)]
                    let mut default: Option<$type> = None;
                    $(default = Some($default);)?
                    let $field = default
                        .or_else(<$type as $crate::decode::Decode>::absent)
                        .or_else(<$type as $crate::decode::Decode>::stand_in);
                )+
                Some(Self { $($field: $field?),+ })
            }

            fn schema(definitions: &mut serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
                let name = stringify!($name);
                if !definitions.contains_key(name) {
                    definitions.insert(name.to_owned(), serde_json::Value::Null);
                    let mut object = $crate::decode::ObjectSchema::new(&[$($doc),+]);
                    $(
                        #[allow(unused_mut, unused_assignments)]
                        let mut default: Option<serde_json::Value> = None;
                        $(
                            let value: $type = $default;
                            default = Some(serde_json::json!(value));
                        )?
                        let schema = <$type as $crate::decode::Decode>::schema(definitions);
                        let is_optional = <$type as $crate::decode::Decode>::absent().is_some();
                        object.field(stringify!($field), &[$($field_doc),+], schema, default, is_optional);
                    )+
                    definitions.insert(name.to_owned(), object.finish());
                }
                serde_json::json!({ "$ref": format!("#/$defs/{name}") })
            }
        }
    )+};
}

/// The JSON Schema of a record while its fields are being added; used by [`record!`](crate::record).
pub struct ObjectSchema {
    description: String,
    properties: Map<String, Json>,
    required: Vec<Json>,
}

impl ObjectSchema {
    /// Starts with the record's documentation.
    pub fn new(doc: &[&str]) -> Self {
        ObjectSchema { description: join(doc), properties: Map::new(), required: Vec::new() }
    }

    /// Adds one field.
    pub fn field(
        &mut self,
        name: &str,
        doc: &[&str],
        schema: Json,
        default: Option<Json>,
        is_optional: bool,
    ) {
        if default.is_none() && !is_optional {
            self.required.push(json!(name));
        }
        let mut property = Map::new();
        property.insert("description".into(), json!(join(doc)));
        if let Json::Object(schema) = schema {
            property.extend(schema);
        }
        if let Some(default) = default {
            property.insert("default".into(), default);
        }
        self.properties.insert(name.to_owned(), Json::Object(property));
    }

    /// The finished schema.
    pub fn finish(self) -> Json {
        json!({
            "description": self.description,
            "type": "object",
            "additionalProperties": false,
            "required": self.required,
            "properties": self.properties,
        })
    }
}

/// One text from the lines of a doc comment.
fn join(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub, reason = "a record is public wherever it stands")]

    use serde_json::{Map, json};

    use crate::decode::{Decode, Located, document};
    use crate::report::{Place, Report};

    crate::record! {
        /// A shelf.
        pub struct Shelf {
            /// Its name.
            name: crate::names::NodeName,
            /// How wide, in
            /// centimetres.
            width: u8 = 80,
            /// What stands on it.
            books: Vec<Located<Book>>,
        }

        /// A book.
        pub struct Book {
            /// Its title.
            title: String,
            /// Its year.
            year: Option<u16>,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut report = Report::new("f");
        let shelf: Option<Shelf> = document(text.as_bytes(), &mut report);
        assert_eq!(report.to_string(), expected);
        assert_eq!(shelf.is_some(), expected.is_empty());
    }

    #[test]
    fn reads() {
        let mut report = Report::new("f");
        let shelf: Shelf =
            document(b"name: a\nbooks:\n- title: no\n  year: ~\n", &mut report).unwrap();
        assert_eq!(
            (shelf.width, shelf.books[0].title.as_str(), shelf.books[0].year),
            (80, "no", None)
        );
        assert_eq!(
            (shelf.books[0].place, shelf.books[0].path.as_str()),
            (Place { line: 3, column: 3 }, "books[0]")
        );
    }

    #[test]
    fn all_findings_at_once() {
        check(
            "nmae: a\nwidth: 300\nbooks:\n- titel: x\n- title: [1]\n  year: next\n",
            "f:1:1: nmae: unknown field\n  hint: did you mean `name`?\n\
             f:1:1: `name` is missing\n\
             f:2:8: width: 300 is not between 0 and 255\n\
             f:4:3: books[0].titel: unknown field\n  hint: did you mean `title`?\n\
             f:4:3: books[0]: `title` is missing\n\
             f:5:10: books[1].title: a text is wanted here, not a list\n\
             f:6:9: books[1].year: a whole number is wanted here, not `next`",
        );
        check("[1]", "f:1:1: a mapping is wanted here, not a list");
        check("", "f:1:1: the file is empty");
        check(
            "name: a\n---\nname: b\n",
            "f:2:1: a second document\n  hint: one file holds one document; remove the `---` and what follows",
        );
        check(
            "name: A_B\nzzz: 1\n",
            "f:1:7: name: `A_B` is not an RFC 1123 label that is no number (a-z, 0-9 and `-`, at most 63 characters)\nf:2:1: zzz: unknown field\n  hint: the fields here are `name`, `width` and `books`",
        );
    }

    #[test]
    fn schema_says_the_same() {
        let mut definitions = Map::new();
        let root = Shelf::schema(&mut definitions);
        assert_eq!(root, json!({"$ref": "#/$defs/Shelf"}));
        assert_eq!(definitions["Shelf"]["required"], json!(["name"]));
        assert_eq!(
            definitions["Shelf"]["properties"]["width"],
            json!({"description": "How wide, in centimetres.", "type": "integer", "minimum": 0, "maximum": 255, "default": 80})
        );
        assert_eq!(
            definitions["Shelf"]["properties"]["books"]["items"],
            json!({"$ref": "#/$defs/Book"})
        );
    }
}
