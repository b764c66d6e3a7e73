//! Putting values where references stand.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use basalt_model::decode::closest;
use basalt_model::report::Place;
use basalt_model::yaml::{Scalar, ScalarStyle, Value as YamlValue, Yaml};

use super::kind::{Datum, Kind};
use super::reference::{Piece, is_touched, pieces};
use crate::tree::{Findings, Origin};

/// A declared variable of a file, with its value.
pub(super) struct Bound {
    pub kind: Kind,
    /// Absent when it has none, or none that can be taken: that has been reported.
    pub value: Option<Datum>,
    pub is_secret: bool,
    /// Where the value is from.
    pub origin: Origin,
    pub is_used: bool,
}

/// What was put into the scalar at a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Mark {
    /// The variables, each with where its value is from.
    pub variables: Vec<(String, Origin)>,
    /// Whether one of them is a secret.
    pub is_secret: bool,
    /// Whether one of them is not.
    pub is_public: bool,
    /// Whether it could not be done, and has been reported.
    pub is_broken: bool,
}

/// Puts the values of variables into the documents of one file, in a single pass: values are taken as they are,
/// whatever they contain.
pub(super) fn substitute(
    file: &str,
    documents: &mut [Yaml],
    variables: &mut BTreeMap<String, Bound>,
    findings: &mut Findings,
) -> HashMap<Place, Mark> {
    let mut walk = Walk { variables, findings, marks: HashMap::new(), aliased: HashMap::new() };
    for document in documents {
        let origin = Origin::root(file, document.place);
        walk.value(document, &origin, true);
    }
    walk.marks
}

struct Walk<'v> {
    variables: &'v mut BTreeMap<String, Bound>,
    findings: &'v mut Findings,
    marks: HashMap<Place, Mark>,
    /// What aliases stand for, before and after. The same value is walked once, however many aliases it has.
    aliased: HashMap<*const Yaml, (Rc<Yaml>, Rc<Yaml>)>,
}

impl Walk<'_> {
    fn value(&mut self, yaml: &mut Yaml, origin: &Origin, is_root: bool) {
        match &mut yaml.value {
            YamlValue::Scalar(scalar) => {
                if is_touched(&scalar.text) {
                    let (value, mark) =
                        self.scalar(scalar, yaml.place, &origin.clone().at(yaml.place));
                    if let Some(value) = value {
                        yaml.value = value;
                    }
                    self.marks.insert(yaml.place, mark);
                }
            }
            YamlValue::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, &origin.below(index), false);
                }
            }
            YamlValue::Map(entries) => {
                for (key, value) in entries {
                    let name = key.as_scalar().map_or("", |key| key.text.as_str());
                    let origin = origin.below(name);
                    if is_touched(name) {
                        self.findings
                            .error(
                                &origin.clone().at(key.place),
                                "a key cannot have a variable in it",
                            )
                            .hint("write `$${{` for the characters themselves");
                    }
                    // They say what the rest means, and are read first.
                    if !(is_root && matches!(name, "variant" | "version")) {
                        self.value(value, &origin, false);
                    }
                }
            }
            YamlValue::Alias(target) => {
                let key = Rc::as_ptr(target);
                let after = match self.aliased.get(&key) {
                    Some((_, after)) => Rc::clone(after),
                    None => {
                        let mut after = Yaml::clone(target);
                        self.value(&mut after, origin, false);
                        let after = Rc::new(after);
                        self.aliased.insert(key, (Rc::clone(target), Rc::clone(&after)));
                        after
                    }
                };
                // A scalar is found at the place of its alias.
                if let Some(mark) = self.marks.get(&after.resolved().place)
                    && after.as_scalar().is_some()
                {
                    let mark = mark.clone();
                    self.marks.insert(yaml.place, mark);
                }
                *target = after;
            }
        }
    }

    /// The value with everything put in; absent when that cannot be done.
    fn scalar(
        &mut self,
        scalar: &Scalar,
        place: Place,
        origin: &Origin,
    ) -> (Option<YamlValue>, Mark) {
        let mut mark = Mark::default();
        let Ok(pieces) = pieces(&scalar.text) else {
            self.findings
                .error(
                    origin,
                    "`${{` begins a reference to a variable, and no name and `}}` follow",
                )
                .hint("write `$${{` for the characters themselves");
            mark.is_broken = true;
            return (None, mark);
        };
        let is_whole = matches!(pieces[..], [Piece::Reference(_)]);
        let mut text = String::new();
        let mut whole = None;
        for piece in pieces {
            let name = match piece {
                Piece::Text(piece) => {
                    text.push_str(&piece);
                    continue;
                }
                Piece::Reference(name) => name,
            };
            let Some(variable) = self.variables.get_mut(name) else {
                let known = self.variables.keys().map(String::as_str);
                let hint = match closest(name, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "declare it under `variables`, or write `$${{` for the characters themselves".to_owned(),
                };
                self.findings.error(origin, format!("no variable `{name}` is declared")).hint(hint);
                mark.is_broken = true;
                continue;
            };
            variable.is_used = true;
            mark.is_secret |= variable.is_secret;
            mark.is_public |= !variable.is_secret;
            mark.variables.push((name.to_owned(), variable.origin.clone()));
            match &variable.value {
                None => mark.is_broken = true,
                Some(Datum::One(value)) if is_whole => {
                    whole = Some(YamlValue::Scalar(variable.kind.scalar(value)));
                }
                Some(Datum::One(value)) => text.push_str(value),
                Some(Datum::Many(values)) if is_whole => {
                    let item = |value: &String| Yaml {
                        place,
                        tag: None,
                        value: YamlValue::Scalar(Kind::Text.scalar(value)),
                    };
                    whole = Some(YamlValue::List(values.iter().map(item).collect()));
                }
                Some(Datum::Many(_)) => {
                    self.findings
                        .error(origin, format!("`{name}` is a list, which cannot stand in a text"))
                        .hint("write the reference alone, where a list is wanted");
                    mark.is_broken = true;
                }
            }
        }
        if mark.is_broken {
            return (None, mark);
        }
        let whole = whole.unwrap_or_else(|| {
            // What has a reference in it is text, also when it then looks like a number.
            let has_reference = !mark.variables.is_empty();
            let style = if has_reference { ScalarStyle::DoubleQuoted } else { scalar.style };
            YamlValue::Scalar(Scalar { text, style })
        });
        (Some(whole), mark)
    }
}
