//! What is compiled: files, pipes and standard input.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use basalt_butane::{Readers, Source, ValuesFile};
use basalt_model::yaml;

use super::arguments::names_stdin;
use crate::progress::Progress;
use crate::visible::visible;

/// The most that is read of one file, in bytes: a pipe or device may have no end.
const MAX_BYTES: u64 = yaml::MAX_BYTES as u64;

/// How findings name standard input, as the reference does.
const STDIN: &str = "<stdin>";

/// A file that was read.
pub(super) struct Input {
    /// As the person named it.
    name: String,
    bytes: Vec<u8>,
    readers: Readers,
}

impl Input {
    pub(super) fn source(&self) -> Source<'_> {
        Source { file: &self.name, bytes: &self.bytes }
    }

    pub(super) fn values(&self) -> ValuesFile<'_> {
        ValuesFile { file: &self.name, bytes: &self.bytes, readers: self.readers }
    }
}

/// Reads what `path` on the command line names.
///
/// # Errors
/// When it cannot be read, or has no end within [`MAX_BYTES`].
pub(super) fn read(path: &Path, progress: &Progress) -> Result<Input> {
    if names_stdin(path) {
        if io::stdin().is_terminal() {
            progress.step("reading the config from standard input; end it with Ctrl-D");
        }
        return take(STDIN.to_owned(), io::stdin().lock(), Readers::Owner);
    }
    let shown = path.display().to_string();
    let shown = visible(&shown);
    let file = File::open(path).with_context(|| format!("cannot open `{shown}`"))?;
    let metadata = file.metadata().with_context(|| format!("cannot look at `{shown}`"))?;
    if metadata.is_dir() {
        bail!("`{shown}` is a folder, not a file");
    }
    if metadata.len() > MAX_BYTES {
        bail!("`{shown}` has {} bytes; at most {MAX_BYTES} are read", metadata.len());
    }
    take(path.display().to_string(), file, readers(&metadata))
}

fn take(name: String, from: impl Read, readers: Readers) -> Result<Input> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read `{}`", visible(&name)))?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!(
            "`{}` has more than {MAX_BYTES} bytes, which are the most that is read",
            visible(&name)
        );
    }
    Ok(Input { name, bytes, readers })
}

/// Who can read a file later. What came through a pipe is gone.
fn readers(metadata: &Metadata) -> Readers {
    const READ_BY_OTHERS: u32 = 0o004;
    match metadata.permissions().mode() & READ_BY_OTHERS {
        0 => Readers::Owner,
        _ if !metadata.is_file() => Readers::Owner,
        _ => Readers::Everyone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_left() {
        let refused = take("/dev/zero".to_owned(), io::repeat(b'#'), Readers::Owner);
        let message = refused.err().unwrap().to_string();
        assert!(message.starts_with("`/dev/zero` has more than 33554432 bytes"), "{message}");
    }
}
