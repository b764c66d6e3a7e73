//! Templates of secret files: takes text in Jinja's language and what Vault has, gives the file, touches nothing.
//!
//! `kv("mount", "path")` is the newest version of a secret in a KV engine of version 2, `read("path")` the data at any
//! path. What is not defined is an error, not an empty text. A template says what it needs by asking for it: [`render`]
//! stops at the first secret that is missing and names it, and is called again when it is there. That way a path may
//! come from another secret.
//!
//! Errors name the line and the secrets that were asked for, and never a value; minijinja's own details might hold one.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use zeroize::Zeroizing;

use crate::secret::SecretMap;

/// Instructions that one template may take; a hundred lines take a few thousand.
const FUEL: u64 = 200_000;
/// No config file is larger.
pub(crate) const MOST_BYTES: usize = 1 << 20;

/// A place in Vault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A secret in a KV engine of version 2.
    Kv { mount: String, path: String },
    /// Any path.
    Path(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Kv { mount, path } => write!(f, "kv(\"{mount}\", \"{path}\")"),
            Place::Path(path) => write!(f, "read(\"{path}\")"),
        }
    }
}

/// What Vault has, as far as it was asked.
pub(crate) type Known = BTreeMap<Place, SecretMap>;

/// What came of a template.
pub(crate) enum Rendered {
    /// The file.
    Whole(Zeroizing<Vec<u8>>),
    /// This has to be known first.
    Missing(Place),
}

/// A template that does not work. Holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}{}", At(*.line), Reads(.reads))]
pub(crate) struct TemplateError {
    /// From 1; 0 when nobody knows.
    pub(crate) line: usize,
    pub(crate) reason: String,
    /// The secrets it had asked for by then.
    pub(crate) reads: Vec<Place>,
}

struct At(usize);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("the template"),
            line => write!(f, "line {line} of the template"),
        }
    }
}

struct Reads<'a>(&'a [Place]);

impl fmt::Display for Reads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, place) in self.0.iter().enumerate() {
            write!(f, "{}{place}", if index == 0 { "; it reads " } else { ", " })?;
        }
        Ok(())
    }
}

/// Renders `template` with what is known.
///
/// # Errors
/// [`TemplateError`] names the line.
pub(crate) fn render(template: &str, known: &Known) -> Result<Rendered, TemplateError> {
    let asked = Arc::new(Mutex::new(Asked::default()));
    let values: BTreeMap<Place, Value> = known
        .iter()
        .map(|(place, map)| (place.clone(), Value::from(Serde(map.expose()))))
        .collect();
    let values = Arc::new(values);
    let mut environment = environment();
    let look_up = |place: Place, values: &BTreeMap<Place, Value>, asked: &Mutex<Asked>| {
        let mut asked = asked.lock().expect("nothing panics while it holds the lock");
        match values.get(&place) {
            Some(value) => {
                asked.reads.push(place);
                Ok(value.clone())
            }
            None => {
                asked.missing = Some(place);
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, "not known yet"))
            }
        }
    };
    let (of_kv, at_kv) = (values.clone(), asked.clone());
    environment.add_function("kv", move |mount: String, path: String| {
        look_up(Place::Kv { mount, path }, &of_kv, &at_kv)
    });
    let (of_read, at_read) = (values, asked.clone());
    environment
        .add_function("read", move |path: String| look_up(Place::Path(path), &of_read, &at_read));
    let mut file =
        Bounded { bytes: Zeroizing::new(Vec::with_capacity(MOST_BYTES)), is_full: false };
    let done = environment
        .template_from_str(template)
        .and_then(|template| template.render_captured_to((), &mut file).map(drop));
    let mut asked = asked.lock().expect("nothing panics while it holds the lock");
    if let Some(place) = asked.missing.take() {
        return Ok(Rendered::Missing(place));
    }
    match done {
        Ok(()) => Ok(Rendered::Whole(file.bytes)),
        Err(error) => {
            let reason = match file.is_full {
                true => format!("the file would be larger than {} KiB", MOST_BYTES >> 10),
                false => reason(&error),
            };
            let mut reads = std::mem::take(&mut asked.reads);
            reads.dedup();
            Err(TemplateError { line: error.line().unwrap_or(0), reason, reads })
        }
    }
}

#[derive(Default)]
struct Asked {
    reads: Vec<Place>,
    missing: Option<Place>,
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Files of any language: nothing is escaped for another.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the usual delimiters"));
    environment.set_fuel(Some(FUEL));
    environment
}

/// What kind of error it is, without its details: these may quote a value.
fn reason(error: &minijinja::Error) -> String {
    match error.kind() {
        ErrorKind::UndefinedError => "something it names is not there".to_owned(),
        ErrorKind::OutOfFuel => "it does not come to an end".to_owned(),
        // Only of the template's own text, which is no secret.
        ErrorKind::SyntaxError | ErrorKind::UnknownFunction | ErrorKind::UnknownFilter => {
            match error.detail() {
                Some(detail) => format!("{}: {detail}", error.kind()),
                None => error.kind().to_string(),
            }
        }
        kind => kind.to_string(),
    }
}

/// A file in memory that is wiped, and was never larger than it may be: growing would leave copies.
struct Bounded {
    bytes: Zeroizing<Vec<u8>>,
    is_full: bool,
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > MOST_BYTES {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "correct-horse<&\"'";

    fn known() -> Known {
        let object = |value: serde_json::Value| match value {
            serde_json::Value::Object(map) => SecretMap::new(map),
            _ => panic!("an object"),
        };
        let kv = |mount: &str, path: &str| Place::Kv { mount: mount.into(), path: path.into() };
        BTreeMap::from([
            (
                kv("secret", "registry"),
                object(serde_json::json!({"password": VALUE, "port": 5000, "next": "deeper"})),
            ),
            (kv("secret", "deeper"), object(serde_json::json!({"users": ["a", "b"]}))),
            (Place::Path("sys/x".into()), object(serde_json::json!({"ttl": 1}))),
        ])
    }

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let found = match render(template, &known()) {
            Ok(Rendered::Whole(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            Ok(Rendered::Missing(place)) => format!("missing: {place}"),
            Err(error) => {
                let said = format!("{error} {error:?}");
                assert!(!said.contains("correct"), "{said}");
                format!("error: {error}")
            }
        };
        assert_eq!(found, expected, "{template}");
    }

    #[test]
    fn templates() {
        check("plain\n", "plain\n");
        check("p={{ kv('secret', 'registry').password }}\n", &format!("p={VALUE}\n"));
        check("{{ kv('secret', kv('secret', 'registry').next).users | join(',') }}", "a,b");
        check("{{ read('sys/x').ttl + 1 }}", "2");
        check("{% for user in kv('secret', 'deeper').users %}{{ user }};{% endfor %}", "a;b;");
        check("{{ kv('other', 'x').y }}", "missing: kv(\"other\", \"x\")");
        check("{{ read(kv('secret', 'registry').next) }}", "missing: read(\"deeper\")");
    }

    #[test]
    fn errors_name_the_line_and_no_value() {
        let reads = "; it reads kv(\"secret\", \"registry\")";
        check(
            "a\n{{ kv('secret', 'registry').pasword }}",
            &format!("error: line 2 of the template: something it names is not there{reads}"),
        );
        check(
            "{{ kv('secret', 'registry').password | int }}",
            &format!("error: line 1 of the template: invalid operation{reads}"),
        );
        check("\n\n{{ env }}", "error: line 3 of the template: something it names is not there");
        check(
            "{% for x in range(9999) %}{% for y in range(9999) %}{% endfor %}{% endfor %}",
            "error: line 1 of the template: it does not come to an end",
        );
        check(
            "{{ nothing() }}",
            "error: line 1 of the template: unknown function: nothing is unknown",
        );
        check(
            "x\n{% if %}",
            "error: line 2 of the template: syntax error: unexpected end of block",
        );
        check(
            "{% for x in range(9999) %}{{ '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' }}{% endfor %}",
            "error: the template: the file would be larger than 1024 KiB",
        );
    }
}
