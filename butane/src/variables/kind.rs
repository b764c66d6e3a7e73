//! What a variable can be, and reading a value as that.

use basalt_model::yaml::{Scalar, ScalarStyle, Value as YamlValue, Yaml, scalar};

/// The type of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    /// Of texts.
    List,
}

/// A value of one of the types, as it was written: a number that stands inside a text keeps its leading zero.
///
/// It may be a secret, so there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Datum {
    One(String),
    Many(Vec<String>),
}

impl Kind {
    pub(super) const WORDS: [(&'static str, Kind); 4] = [
        ("text", Kind::Text),
        ("integer", Kind::Integer),
        ("boolean", Kind::Boolean),
        ("list", Kind::List),
    ];

    pub(super) fn word(self) -> &'static str {
        let entry = Kind::WORDS.iter().find(|(_, kind)| *kind == self);
        entry.map_or("", |(word, _)| word)
    }

    /// What is wanted, with its article.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Integer => "a whole number",
            Kind::Boolean => "`true` or `false`",
            Kind::List => "a list of texts",
        }
    }

    /// Reads a value of a file; absent when it is of another type. As in all of Butane, any scalar is text.
    pub(super) fn read(self, yaml: &Yaml) -> Option<Datum> {
        if let (Kind::List, YamlValue::List(items)) = (self, &yaml.resolved().value) {
            let items: Option<Vec<String>> = items
                .iter()
                .map(|item| match Kind::Text.read(item)? {
                    Datum::One(text) => Some(text),
                    Datum::Many(_) => None,
                })
                .collect();
            return items.map(Datum::Many);
        }
        let written = yaml.as_scalar().filter(|_| !yaml.is_null())?;
        self.fits(written).then(|| Datum::One(written.text.clone()))
    }

    /// Reads the value of an argument, where there are no quotes to tell text from a number.
    pub(super) fn read_argument(self, text: &str) -> Option<Datum> {
        let written = Scalar { text: text.to_owned(), style: ScalarStyle::Plain };
        self.fits(&written).then_some(Datum::One(written.text))
    }

    fn fits(self, written: &Scalar) -> bool {
        match self {
            Kind::Text => true,
            Kind::Integer => {
                scalar::as_integer(written).is_some_and(|number| i64::try_from(number).is_ok())
            }
            Kind::Boolean => scalar::as_bool(written).is_some(),
            Kind::List => false,
        }
    }

    /// Whether two values say the same: `0644` is 420.
    pub(super) fn same(self, a: &str, b: &str) -> bool {
        let plain = |text: &str| Scalar { text: text.to_owned(), style: ScalarStyle::Plain };
        match self {
            Kind::Integer => scalar::as_integer(&plain(a)) == scalar::as_integer(&plain(b)),
            Kind::Text | Kind::Boolean | Kind::List => a == b,
        }
    }

    /// The scalar that stands for a value where the value is all that was written.
    pub(super) fn scalar(self, text: &str) -> Scalar {
        let style = match self {
            Kind::Text | Kind::List => ScalarStyle::DoubleQuoted,
            Kind::Integer | Kind::Boolean => ScalarStyle::Plain,
        };
        Scalar { text: text.to_owned(), style }
    }
}

impl Datum {
    /// The texts that it is made of.
    pub(super) fn texts(&self) -> &[String] {
        match self {
            Datum::One(text) => std::slice::from_ref(text),
            Datum::Many(texts) => texts,
        }
    }
}
