//! What is said of configs without compiling one: schemas and fields.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use basalt_butane::describe::{self, SchemaFile};
use basalt_butane::targets;
use basalt_model::decode::{closest, list};

use super::USAGE;
use super::deliver::deliver;
use crate::FAILED;
use crate::output::say;
use crate::visible::visible;

/// Stands for all schemas.
const ALL: &str = "all";

/// Writes the schema of `name`, which is a variant and version as in `fcos-1.5.0`, or all of them into a folder.
///
/// # Errors
/// When something cannot be written.
pub(super) fn schema(name: &str, output: Option<&Path>) -> Result<ExitCode> {
    if name == ALL {
        let Some(folder) = output else {
            say("error: `--schema all` writes several files\nhint: name a folder with `--output`");
            return Ok(ExitCode::from(USAGE));
        };
        write_all(&describe::schemas(), folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    let schema =
        name.split_once('-').and_then(|(variant, version)| describe::schema(variant, version));
    let Some(schema) = schema else {
        let (name, hint) = (visible(name), similar(name));
        say(format_args!("error: there is no schema `{name}`\nhint: {hint}"));
        return Ok(ExitCode::from(FAILED));
    };
    deliver(output, |out| out.write_all(schema.as_bytes()))
}

/// What may be meant by the name of a schema that there is not.
fn similar(name: &str) -> String {
    let names: Vec<String> =
        targets().map(|(variant, version)| format!("{variant}-{version}")).collect();
    let variant = |name: &str| name.split('-').next().map(str::to_owned);
    let own: Vec<&str> =
        names.iter().map(String::as_str).filter(|known| variant(known) == variant(name)).collect();
    match closest(name, names.iter().map(String::as_str)) {
        _ if !own.is_empty() => format!("there are {}", list(&own)),
        Some(near) => format!("did you mean `{near}`?"),
        None => "it is a variant and a version, as in `fcos-1.5.0`, or `all`".to_owned(),
    }
}

fn write_all(files: &[SchemaFile], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    for file in files {
        let path = folder.join(&file.file_name);
        deliver(Some(&path), |out| out.write_all(file.contents.as_bytes()))?;
    }
    Ok(())
}

/// Writes what the field at `path` is; the empty path is the top of a config.
///
/// # Errors
/// When it cannot be written.
pub(super) fn explain(path: &str, output: Option<&Path>) -> Result<ExitCode> {
    match describe::explain(path) {
        Ok(text) => deliver(output, |out| out.write_all(text.as_bytes())),
        Err(error) => {
            say(format_args!("error: {}", visible(&error.to_string())));
            if let Some(hint) = error.hint() {
                say(format_args!("hint: {hint}"));
            }
            Ok(ExitCode::from(FAILED))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schemas() {
        assert_eq!(
            similar("r4e"),
            "there are `r4e-1.0.0`, `r4e-1.1.0` and `r4e-1.2.0-experimental`"
        );
        assert_eq!(similar("fiot-1.0"), "there are `fiot-1.0.0` and `fiot-1.1.0-experimental`");
        assert_eq!(similar("fcso-1.5.0"), "did you mean `fcos-1.5.0`?");
        assert_eq!(similar("x"), "it is a variant and a version, as in `fcos-1.5.0`, or `all`");
    }

    #[test]
    fn all_schemas_go_into_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new/schemas");
        write_all(&describe::schemas(), &folder).unwrap();
        let mut names: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), targets().count() + 1);
        assert_eq!(names[0], "butane.json");
        let written = fs::read_to_string(folder.join("fcos-1.5.0.json")).unwrap();
        assert_eq!(Some(written), describe::schema("fcos", "1.5.0"));
    }
}
