//! Text from local files: unit files and SSH keys.

use crate::local;
use crate::lower::Context;
use crate::tree::{Origin, Tree, Value};

/// Sets `contents` of a lowered unit or drop-in from `contents_local`; an empty path is none.
pub(crate) fn fill_unit(written: &Tree, lowered: &mut Tree, context: &mut Context) {
    let Some(path) = written.get("contents_local") else { return };
    let contents = match path.as_text() {
        Some("") => return,
        Some(text) => match read(text, &path.origin, context) {
            Some(text) => Tree::text_at(&path.origin, text),
            None => Tree { origin: path.origin.clone(), value: Value::Broken },
        },
        None => path.clone(),
    };
    lowered.set("contents", contents);
}

/// Adds the keys of `ssh_authorized_keys_local` to a lowered user. Only empty lines are left out.
pub(crate) fn fill_keys(written: &Tree, lowered: &mut Tree, context: &mut Context) {
    let Some(files) = written.get("ssh_authorized_keys_local") else { return };
    if files.list().is_empty() {
        return;
    }
    if context.files_dir.is_none() {
        local::report(&local::LocalError::NoFilesDir, &files.origin, context.findings);
        return;
    }
    let mut keys = lowered.items("sshAuthorizedKeys").to_vec();
    for file in files.list() {
        let Some(path) = file.as_text() else { continue };
        let Some(text) = read(path, &file.origin, context) else { continue };
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        keys.extend(
            lines.filter(|line| !line.is_empty()).map(|line| Tree::text_at(&file.origin, line)),
        );
    }
    lowered.set("sshAuthorizedKeys", Tree::list_at(&files.origin, keys));
}

/// The text of a local file; `None` means that an error was reported.
pub(crate) fn read(path: &str, origin: &Origin, context: &mut Context) -> Option<String> {
    match local::read(context.files_dir, path).map(String::from_utf8) {
        Ok(Ok(text)) => Some(text),
        Ok(Err(error)) => {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            let message = format!("`{path}` is not text: line {} is not UTF-8", line + 1);
            context.findings.error(origin, message);
            None
        }
        Err(error) => {
            local::report(&error, origin, context.findings);
            None
        }
    }
}
