//! Reading files that a person named.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use basalt_model::names::RelativePath;
use basalt_model::yaml::MAX_BYTES;
use camino::Utf8Path;
use nix::fcntl::OFlag;

/// Reads a whole text file. A pipe or a device is refused and not waited for, and of a file that is larger than any
/// text that is parsed ([`MAX_BYTES`]) one byte more is read, so that the parser can say so.
///
/// # Errors
/// When it cannot be read, or is no regular file.
pub(crate) fn read(path: &Utf8Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file that a cluster in `folder` names and whose text nodes carry.
///
/// # Errors
/// Says what is wrong with the file, as a finding does.
pub(crate) fn text(folder: &Utf8Path, name: &RelativePath) -> Result<String, String> {
    let path = folder.join(name.as_str());
    let bytes = read(&path).map_err(|error| format!("cannot read `{path}`: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("`{path}` is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let pipe = folder.join("pipe");
        nix::unistd::mkfifo(pipe.as_std_path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe.as_str(), "/dev/zero", folder.as_str()] {
            assert_eq!(
                read(path.into()).unwrap_err().to_string(),
                "it is not a regular file",
                "{path}"
            );
        }
        std::fs::write(folder.join("text"), "a: 1\n").unwrap();
        assert_eq!(read(&folder.join("text")).unwrap(), b"a: 1\n");
    }
}
