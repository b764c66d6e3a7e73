//! What the `.env` of a project tells compose itself: the files that the project is made of, and the profiles of the
//! services that it starts.
//!
//! Rules: <https://docs.docker.com/compose/how-tos/environment-variables/envvars/>

use std::collections::BTreeMap;

use basalt_model::report::Place;

use super::super::Source;
use super::super::environment::{Dialect, variables};
use super::super::notes::{At, Notes};
use super::project::{folder, joined, of_text};

const FILES: &str = "COMPOSE_FILE";
const PROFILES: &str = "COMPOSE_PROFILES";
const SEPARATOR: &str = "COMPOSE_PATH_SEPARATOR";

/// Whether a file is by its name one of variables.
pub(super) fn is_one(name: &str) -> bool {
    name.rsplit('/').next() == Some(".env")
}

/// The files that a `.env` names as those of its project, as they are named from where `name` is; `text` is what is in
/// it. `None`: it names none.
pub fn compose_files(name: &str, text: &str) -> Option<Vec<String>> {
    let variables = of_text(text, &BTreeMap::new());
    let separator = variables.get(SEPARATOR).filter(|it| !it.is_empty());
    let files = variables.get(FILES).filter(|files| !files.is_empty())?;
    let files = files.split(separator.map_or(":", String::as_str));
    Some(files.map(|file| joined(folder(name), file)).collect())
}

/// The profiles that are on.
pub(super) fn profiles(variables: &BTreeMap<String, String>) -> Vec<String> {
    let list = variables.get(PROFILES).map_or("", String::as_str);
    list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Notes what the `.env` called `name` says to compose, of a project made of `sources`.
pub(super) fn noted(name: &str, text: &str, sources: &[Source<'_>], notes: &mut Notes) {
    for variable in variables(text, Dialect::Quoted) {
        let place = Place { line: variable.line, column: 1 };
        let at = At { file: name.to_owned(), place, setting: variable.name.clone() };
        match variable.name.as_str() {
            FILES => files_noted(compose_files(name, text), &at, sources, notes),
            PROFILES => notes.carried(&at, "services with these profiles become pods"),
            SEPARATOR => {
                notes.carried(&at, format!("as what stands between the files of `{FILES}`"))
            }
            "COMPOSE_PROJECT_NAME" => notes.carried(&at, "pods belong to no project"),
            other if other.starts_with("COMPOSE_") => {
                notes.carried(&at, "it is about how compose works, and not about what it runs");
            }
            _ => {}
        }
    }
}

fn files_noted(named: Option<Vec<String>>, at: &At, sources: &[Source<'_>], notes: &mut Notes) {
    let Some(named) = named else { return notes.carried(at, "nothing, as without it") };
    if sources.iter().map(|source| source.name).eq(named.iter().map(String::as_str)) {
        return notes.carried(at, "these files are the project");
    }
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    notes.lost(
        at,
        format!(
            "other files were given than {}, which compose would take",
            basalt_model::decode::list(&named)
        ),
        "give the folder of this file alone, or those files in their order",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found = compose_files("a/.env", text).unwrap_or_default();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn files() {
        check("", &[]);
        check("COMPOSE_FILE=\n", &[]);
        check("A=b\nCOMPOSE_FILE=x.yaml:b/y.yml\n", &["a/x.yaml", "a/b/y.yml"]);
        check("COMPOSE_FILE=\"./x.yaml:/y.yml\"\n", &["a/x.yaml", "/y.yml"]);
        check(
            "E=prod\nCOMPOSE_PATH_SEPARATOR=;\nCOMPOSE_FILE=x.yaml;${E}.yml\n",
            &["a/x.yaml", "a/prod.yml"],
        );
    }

    #[test]
    fn services() {
        let of = |list: &str| profiles(&[(PROFILES.to_owned(), list.to_owned())].into());
        assert_eq!(of("a, b,"), ["a", "b"]);
        assert_eq!(profiles(&BTreeMap::new()), Vec::<String>::new());
    }
}
