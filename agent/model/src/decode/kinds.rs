//! What a single value may be: text types, numbers, lists, mappings, and values that know their place.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;

use serde_json::{Map, Value as Json, json};

use super::{Decode, Decoder};
use crate::names::{NotA, TextType};
use crate::report::Place;
use crate::secret_value::{is_secret_name, looks_secret_alone, quoted};
use crate::yaml::{Value, Yaml, scalar};

/// A value together with where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<T> {
    /// The value itself.
    pub value: T,
    /// Where it stands.
    pub place: Place,
    /// Its path in the document.
    pub path: String,
}

impl<T> Located<T> {
    /// A default: a value that nobody wrote, placed at the start of the file.
    pub fn default_of(value: T) -> Self {
        Located { value, place: Place::START, path: String::new() }
    }
}

impl<T: serde::Serialize> serde::Serialize for Located<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T> Deref for Located<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Decode> Decode for Located<T> {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        let path = decoder.path().to_owned();
        T::decode(yaml, decoder).map(|value| Located { value, place: yaml.place, path })
    }

    fn stand_in() -> Option<Self> {
        T::stand_in().map(Located::default_of)
    }

    fn schema(definitions: &mut Map<String, Json>) -> Json {
        T::schema(definitions)
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        if yaml.is_null() { Some(None) } else { T::decode(yaml, decoder).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn schema(definitions: &mut Map<String, Json>) -> Json {
        T::schema(definitions)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Value::List(items) = &yaml.resolved().value else {
            decoder.wrong_kind(yaml, "a list");
            return None;
        };
        let read =
            |(index, item)| decoder.item(format!("[{index}]"), |decoder| T::decode(item, decoder));
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }

    fn schema(definitions: &mut Map<String, Json>) -> Json {
        json!({"type": "array", "items": T::schema(definitions)})
    }
}

impl<K: Decode + Ord, V: Decode> Decode for BTreeMap<K, V> {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Value::Map(entries) = &yaml.resolved().value else {
            decoder.wrong_kind(yaml, "a mapping");
            return None;
        };
        decoder.repeats(entries);
        let read = |(key, value): &(Yaml, Yaml)| {
            let name = key.as_scalar().map_or("?", |scalar| scalar.text.as_str());
            let entry =
                decoder.item(name, |decoder| (K::decode(key, decoder), V::decode(value, decoder)));
            Some((entry.0?, entry.1?))
        };
        Some(entries.iter().filter_map(read).collect())
    }

    fn absent() -> Option<Self> {
        Some(BTreeMap::new())
    }

    fn schema(definitions: &mut Map<String, Json>) -> Json {
        json!({"type": "object", "propertyNames": K::schema(definitions), "additionalProperties": V::schema(definitions)})
    }
}

impl<T: TextType> Decode for T {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        let text = String::decode(yaml, decoder)?;
        let refused = |error: NotA| {
            let (message, hint) = refusal(decoder.path(), &error);
            decoder.error(yaml.place, message).hint = hint.map(str::to_owned);
        };
        text.parse().map_err(refused).ok()
    }

    fn stand_in() -> Option<Self> {
        T::EXAMPLE.parse().ok()
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"type": "string", "pattern": T::PATTERN})
    }
}

/// What is said of a text that the field at `path` cannot take, and what to do. Where the path of a file with a secret is
/// wanted, a text that is no path may be the secret, and is not repeated.
fn refusal(path: &str, error: &NotA) -> (String, Option<&'static str>) {
    const HINT: Option<&str> = Some("give the path of a file that holds it");
    let field = path.rsplit('.').next().unwrap_or_default();
    match field.strip_suffix("_file") {
        Some(_) if looks_secret_alone(&error.text).is_some() => {
            ("looks like the secret itself".to_owned(), HINT)
        }
        Some(whose) if is_secret_name(whose) && !error.text.contains('/') => {
            (format!("not {}", error.wanted), HINT)
        }
        Some(_) | None => (error.to_string(), None),
    }
}

impl Decode for String {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        match yaml.as_scalar() {
            Some(found) if !scalar::is_null(found) => Some(found.text.clone()),
            _ => {
                decoder.wrong_kind(yaml, "a text");
                None
            }
        }
    }

    fn stand_in() -> Option<Self> {
        Some("unread".to_owned())
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"type": "string"})
    }
}

impl Decode for bool {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        let value = yaml.as_scalar().and_then(scalar::as_bool);
        if value.is_none() {
            decoder.wrong_kind(yaml, "`true` or `false`");
        }
        value
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"type": "boolean"})
    }
}

impl Decode for IpAddr {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        let text = String::decode(yaml, decoder)?;
        text.parse()
            .map_err(|_| {
                decoder.error(yaml.place, format!("{} is not an IP address", quoted(&text)))
            })
            .ok()
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"type": "string", "pattern": "^[0-9a-fA-F:.]+$"})
    }
}

fn integer(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<i128> {
    let found = yaml.as_scalar();
    let Some(number) = found.and_then(scalar::as_integer) else {
        decoder.wrong_kind(yaml, "a whole number");
        return None;
    };
    if let Some(found) = found.filter(|found| scalar::is_surprising_integer(found)) {
        let message = format!("`{}` is octal, and {number} in decimal", found.text);
        decoder
            .warning(yaml.place, message)
            .hint("leave out the leading zero, or write `0o` if octal is meant");
    }
    Some(number)
}

macro_rules! integers {
    ($($type:ty)+) => {$(
        impl Decode for $type {
            fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
                let number = integer(yaml, decoder)?;
                let value = <$type>::try_from(number).ok();
                if value.is_none() {
                    let message = format!("{number} is not between {} and {}", <$type>::MIN, <$type>::MAX);
                    decoder.error(yaml.place, message);
                }
                value
            }

            fn schema(_: &mut Map<String, Json>) -> Json {
                json!({"type": "integer", "minimum": <$type>::MIN, "maximum": <$type>::MAX})
            }
        }
    )+};
}
integers!(u8 u16 u32 u64);

/// A whole number from `MIN` to `MAX`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Between<const MIN: u32, const MAX: u32>(pub u32);

impl<const MIN: u32, const MAX: u32> Decode for Between<MIN, MAX> {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        let number = integer(yaml, decoder)?;
        match u32::try_from(number) {
            Ok(value) if (MIN..=MAX).contains(&value) => Some(Between(value)),
            _ => {
                decoder.error(yaml.place, format!("{number} is not between {MIN} and {MAX}"));
                None
            }
        }
    }

    fn stand_in() -> Option<Self> {
        Some(Between(MIN))
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

impl<const MIN: u32, const MAX: u32> serde::Serialize for Between<MIN, MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}
