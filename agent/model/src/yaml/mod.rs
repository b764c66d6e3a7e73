//! YAML text with places: every value knows its line and column, scalars keep their source text.
//!
//! [`parse`] gives a tree of [`Yaml`]; nothing is resolved yet. What a plain scalar means depends on what is wanted
//! of it (`no` is text where text is wanted, false where a boolean is), so [`scalar`] answers when asked, by the
//! rules of YAML 1.1 as the Go parsers of Butane and Kubernetes apply them.

mod parse;
pub mod print;
pub mod scalar;

use std::rc::Rc;

pub use parse::{
    BEYOND_BOUNDS, MAX_BYTES, MAX_DEPTH, MAX_VALUES, Stream, parse, parse_all, parse_first,
    repeated_keys,
};

use crate::report::Place;
use crate::secret_value::{looks_secret_alone, quoted};

/// One value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Yaml {
    /// The first character of the value: of its tag or anchor when it has one, of the first key of a block mapping,
    /// of the first `-` of a block sequence, of `|` or `>`.
    pub place: Place,
    /// The explicit tag in full, `tag:yaml.org,2002:binary`.
    pub tag: Option<String>,
    /// What is there.
    pub value: Value,
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, with the style it was written in.
    Scalar(Scalar),
    /// In source order.
    List(Vec<Yaml>),
    /// In source order. Keys are unique where they are scalars.
    Map(Vec<(Yaml, Yaml)>),
    /// `*name`: the value it stands for, with that value's own places.
    Alias(Rc<Yaml>),
}

/// A scalar before resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Escapes, folds and indentation already undone.
    pub text: String,
    /// How it was written.
    pub style: ScalarStyle,
}

/// How a scalar was written. Only plain scalars can be anything but text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarStyle {
    /// Without quotes.
    Plain,
    /// `'…'`.
    SingleQuoted,
    /// `"…"`.
    DoubleQuoted,
    /// `|`.
    Literal,
    /// `>`.
    Folded,
}

impl Yaml {
    /// The value itself, aliases followed.
    pub fn resolved(&self) -> &Yaml {
        match &self.value {
            Value::Alias(target) => target.resolved(),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => self,
        }
    }

    /// The scalar, when it is one; aliases followed.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.resolved().value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) | Value::Alias(_) => None,
        }
    }

    /// Whether the value is null: empty, `~` or `null`, without quotes.
    pub fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(scalar::is_null)
    }

    /// What the value is, for messages: `a list`, `nothing`, or a scalar's own text unless that looks like a secret.
    pub fn kind(&self) -> String {
        match &self.resolved().value {
            Value::Scalar(scalar) if scalar::is_null(scalar) => "nothing".to_owned(),
            Value::Scalar(scalar) if looks_secret_alone(&scalar.text).is_some() => {
                quoted(&scalar.text)
            }
            Value::Scalar(scalar) if scalar.style == ScalarStyle::Plain => {
                format!("`{}`", scalar.beginning())
            }
            Value::Scalar(scalar) => format!("the text `{}`", scalar.beginning()),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) | Value::Alias(_) => "a mapping".to_owned(),
        }
    }
}

impl Scalar {
    /// As much of the text as a message may repeat.
    fn beginning(&self) -> String {
        const MOST: usize = 40;
        let shown: String = self.text.chars().take(MOST).collect();
        let rest = if self.text.chars().nth(MOST).is_some() { "…" } else { "" };
        format!("{}{rest}", shown.escape_debug())
    }
}
