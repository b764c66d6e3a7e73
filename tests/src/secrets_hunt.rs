//! Looks for secrets where none may be: in files, logs and answers, as they are and in the forms that programs give them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// No file of a run is larger; of one that is, the rest is not looked at.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// What is shorter could be found anywhere.
const SHORTEST: usize = 8;

/// The secrets of a run, and the places that may have some of them.
#[derive(Default)]
pub struct Hunt {
    names: Vec<String>,
    /// Every form of every secret with the place of its name, by what it begins with: a run has many secrets, and each
    /// text is gone through once.
    forms: HashMap<Beginning, Vec<(usize, Vec<u8>)>>,
    allowed: Vec<(PathBuf, String)>,
}

type Beginning = [u8; SHORTEST];

/// A secret where it may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// What was found, by the name it was given.
    pub secret: String,
    /// The file, or the name of the text.
    pub place: String,
}

impl fmt::Display for Find {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is in {}", self.secret, self.place)
    }
}

impl fmt::Debug for Hunt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hunt").field("secrets", &self.names).finish_non_exhaustive()
    }
}

impl Hunt {
    /// Nothing to look for yet.
    pub fn new() -> Hunt {
        Hunt::default()
    }

    /// Looks for `value` from now on, and calls it `name`. Of a private key in PEM each line counts.
    ///
    /// # Panics
    /// When it is too short to be told from other text.
    pub fn secret(&mut self, name: &str, value: &str) -> &mut Hunt {
        let value = value.trim();
        let lines: Vec<&str> = match value.starts_with("-----BEGIN") {
            // Its first line is the same in all keys of its kind.
            true => value.lines().filter(|line| !line.starts_with("-----")).skip(1).collect(),
            false => vec![value],
        };
        for line in lines {
            assert!(line.len() >= SHORTEST, "`{name}` is too short to be looked for");
            for form in forms(line.as_bytes()) {
                let beginning = *form.first_chunk().expect("no form is shorter than the secret");
                let known = self.forms.entry(beginning).or_default();
                if !known.iter().any(|(_, other)| *other == form) {
                    known.push((self.names.len(), form));
                }
            }
        }
        self.names.push(name.to_owned());
        self
    }

    /// The file, or what is below the folder, may have the secret `name`: it was made to hold it.
    pub fn allow(&mut self, path: &Path, name: &str) -> &mut Hunt {
        self.allowed.push((path.to_owned(), name.to_owned()));
        self
    }

    /// The secrets in a text, such as a log.
    pub fn text(&self, place: &str, text: &str) -> Vec<Find> {
        self.bytes(place, text.as_bytes(), |_| false)
    }

    /// The secrets in all files below a folder and in their names. Links are not followed.
    ///
    /// # Panics
    /// When a folder or file cannot be read: nobody could say then that nothing is there.
    pub fn folder(&self, folder: &Path) -> Vec<Find> {
        let mut finds = Vec::new();
        let mut left = vec![folder.to_owned()];
        while let Some(path) = left.pop() {
            let place = path.display().to_string();
            let is_allowed = |name: &str| {
                self.allowed.iter().any(|(place, secret)| path.starts_with(place) && secret == name)
            };
            finds.extend(self.bytes(&place, path.as_os_str().as_bytes(), |_| false));
            let kind = match path.symlink_metadata() {
                Ok(seen) => seen.file_type(),
                // Gone since it was listed is as good as never there.
                Err(_) => continue,
            };
            if kind.is_dir() {
                let entries = path.read_dir().expect("a folder that can be read");
                left.extend(entries.flatten().map(|entry| entry.path()));
            } else if kind.is_file() {
                let file = File::open(&path).expect("a file that can be read");
                let mut contents = Vec::new();
                file.take(MAX_FILE_BYTES).read_to_end(&mut contents).expect("its contents");
                // Room that somebody set aside is long, and empty.
                if contents.iter().all(|byte| *byte == 0) {
                    continue;
                }
                finds.extend(self.bytes(&place, &contents, is_allowed));
            }
        }
        finds.sort_by(|a, b| a.place.cmp(&b.place));
        finds
    }

    fn bytes(&self, place: &str, bytes: &[u8], is_allowed: impl Fn(&str) -> bool) -> Vec<Find> {
        let mut found = BTreeSet::new();
        for (at, beginning) in bytes.windows(SHORTEST).enumerate() {
            let known = self.forms.get(beginning).into_iter().flatten();
            found.extend(known.filter(|(_, form)| bytes[at..].starts_with(form)).map(|it| it.0));
        }
        let names: BTreeSet<&String> = found.into_iter().map(|index| &self.names[index]).collect();
        let finds = names.into_iter().filter(|name| !is_allowed(name));
        finds.map(|name| Find { secret: name.clone(), place: place.to_owned() }).collect()
    }
}

/// Panics with every find, and never with a secret.
///
/// # Panics
/// When there are finds.
#[track_caller]
pub fn assert_nothing(finds: &[Find]) {
    let finds: Vec<String> = finds.iter().map(Find::to_string).collect();
    assert!(finds.is_empty(), "secrets where none may be:\n{}", finds.join("\n"));
}

/// A secret as it is, in hex, percent-encoded, with JSON's escapes, and in base64 wherever in a longer text it stands.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = |upper: bool| -> Vec<u8> {
        let digits = secret.iter().map(|byte| match upper {
            true => format!("{byte:02X}"),
            false => format!("{byte:02x}"),
        });
        digits.collect::<String>().into_bytes()
    };
    let percent = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(*byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    let mut forms = vec![secret.to_vec(), hex(false), hex(true)];
    forms.push(secret.iter().map(percent).collect::<String>().into_bytes());
    let text = String::from_utf8_lossy(secret);
    let json = serde_json::to_string(&text).expect("a text is JSON");
    forms.push(json.trim_matches('"').as_bytes().to_vec());
    for alphabet in [b"+/", b"-_"] {
        forms.extend((0..3).map(|offset| base64_inside(secret, offset, alphabet)));
    }
    forms.sort();
    forms.dedup();
    forms
}

/// The part of a base64 text that stands for `secret` alone, when it begins so many bytes after a group of three.
fn base64_inside(secret: &[u8], offset: usize, last: &[u8; 2]) -> Vec<u8> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |six: u8| *letters.get(usize::from(six)).unwrap_or(&last[usize::from(six & 1)]);
    let skipped = (3 - offset) % 3;
    let whole = &secret[skipped..];
    let groups = whole.chunks_exact(3).flat_map(|group| {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        [18, 12, 6, 0].map(|shift| letter((bits >> shift & 0x3f) as u8))
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s.hunter2/\"quoted\"+more";

    fn hunt() -> Hunt {
        let mut hunt = Hunt::new();
        hunt.secret("the token", SECRET);
        hunt
    }

    #[test]
    fn it_is_found_in_every_form() {
        let texts = [
            format!("token={SECRET};"),
            serde_json::json!({"token": SECRET}).to_string(),
            "s.hunter2%2F%22quoted%22%2Bmore".to_owned(),
            "732e68756e746572322f2271756f746564222b6d6f7265".to_owned(),
            "732E68756E746572322F2271756F746564222B6D6F7265".to_owned(),
            // `s.…`, `as.…` and `abs.…`, by coreutils' base64.
            "cy5odW50ZXIyLyJxdW90ZWQiK21vcmU=".to_owned(),
            "YXMuaHVudGVyMi8icXVvdGVkIittb3Jl".to_owned(),
            "YWJzLmh1bnRlcjIvInF1b3RlZCIrbW9yZQ==".to_owned(),
        ];
        for text in texts {
            let finds = hunt().text("the log", &text);
            assert_eq!(finds.len(), 1, "{text}");
            assert_eq!(finds[0].to_string(), "the token is in the log");
        }
        assert_eq!(hunt().text("the log", "s.hunter3 (secret)"), []);
        assert!(!format!("{:?}", hunt()).contains("hunter2"));
    }

    #[test]
    fn folders_are_searched_through() {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/allowed"), SECRET).unwrap();
        std::fs::write(root.join("a/b/found"), format!("x{SECRET}")).unwrap();
        std::fs::write(root.join("clean"), "nothing").unwrap();
        std::os::unix::fs::symlink("/proc/self/mem", root.join("link")).unwrap();
        let mut hunt = hunt();
        hunt.allow(&root.join("a/b/allowed"), "the token");
        let finds = hunt.folder(root);
        assert_eq!(finds.len(), 1);
        assert!(finds[0].place.ends_with("a/b/found"));
        hunt.allow(root, "another secret");
        assert_eq!(hunt.folder(root).len(), 1);
    }

    #[test]
    fn each_line_of_a_key_counts() {
        let pem = "-----BEGIN PRIVATE KEY-----\nthe same in all of them\nthe secret part\n-----END PRIVATE KEY-----\n";
        let mut hunt = Hunt::new();
        hunt.secret("the key", pem);
        assert_eq!(hunt.text("log", "the same in all of them"), []);
        assert_eq!(hunt.text("log", "x the secret part x").len(), 1);
    }
}
