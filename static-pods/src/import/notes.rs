//! What became of each setting of an imported text.

use std::collections::BTreeSet;
use std::fmt;

use basalt_model::report::Place;

/// What became of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The pod does the same.
    Carried,
    /// The pod does nearly the same; the message says what a person has to look at.
    Changed,
    /// A static pod cannot do it, and starts without it.
    Lost,
    /// A static pod cannot do it, and without it is not what it was: a person has to act before it may run.
    Broken,
    /// The text is not what its format allows.
    Invalid,
}

impl Fate {
    /// The fate in a word.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Carried => "carried",
            Fate::Changed => "changed",
            Fate::Lost => "lost",
            Fate::Broken => "broken",
            Fate::Invalid => "error",
        }
    }
}

/// What became of one setting, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What became of it.
    pub fate: Fate,
    /// The file as the person named it.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// The setting: `Container.PublishPort`, `--publish`, `services.web.ports[0]`. Never a value.
    pub setting: String,
    /// What became of it, as a sentence without a final stop. Holds no secret.
    pub message: String,
    /// What to do, when that can be said.
    pub remedy: Option<String>,
}

impl fmt::Display for Note {
    /// `web.container:7:1: lost: Container.IP: …`, with the remedy on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = self.fate.word();
        write!(f, "{}:{}: {fate}: ", self.file, self.place)?;
        if !self.setting.is_empty() {
            write!(f, "{}: ", self.setting)?;
        }
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  remedy: {remedy}"),
            None => Ok(()),
        }
    }
}

/// Where a setting stands, and what it is called there.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) file: String,
    pub(super) place: Place,
    pub(super) setting: String,
}

impl At {
    pub(super) fn start_of(file: &str) -> At {
        At { file: file.to_owned(), place: Place::START, setting: String::new() }
    }

    pub(super) fn named(&self, setting: impl Into<String>) -> At {
        At { setting: setting.into(), ..self.clone() }
    }
}

/// Notes in the order they are made.
#[derive(Debug, Default)]
pub(super) struct Notes(pub(super) Vec<Note>);

impl Notes {
    pub(super) fn carried(&mut self, at: &At, message: impl Into<String>) {
        self.push(Fate::Carried, at, message.into(), None);
    }

    pub(super) fn changed(&mut self, at: &At, message: impl Into<String>, remedy: &str) {
        self.push(Fate::Changed, at, message.into(), Some(remedy));
    }

    pub(super) fn lost(&mut self, at: &At, message: impl Into<String>, remedy: &str) {
        self.push(Fate::Lost, at, message.into(), Some(remedy));
    }

    pub(super) fn broken(&mut self, at: &At, message: impl Into<String>, remedy: &str) {
        self.push(Fate::Broken, at, message.into(), Some(remedy));
    }

    pub(super) fn invalid(&mut self, at: &At, message: impl Into<String>, remedy: Option<&str>) {
        self.push(Fate::Invalid, at, message.into(), remedy);
    }

    /// All of them by file and place. A setting of which something is worse than carried is not called carried.
    pub(super) fn sorted(mut self) -> Vec<Note> {
        let key = |note: &Note| (note.file.clone(), note.place, note.setting.clone());
        let worse: BTreeSet<_> =
            self.0.iter().filter(|note| note.fate != Fate::Carried).map(key).collect();
        self.0.retain(|note| note.fate != Fate::Carried || !worse.contains(&key(note)));
        self.0.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
        self.0.dedup();
        self.0
    }

    fn push(&mut self, fate: Fate, at: &At, message: String, remedy: Option<&str>) {
        let remedy = remedy.filter(|remedy| !remedy.is_empty()).map(str::to_owned);
        let At { file, place, setting } = at.clone();
        self.0.push(Note { fate, file, place, setting, message, remedy });
    }
}
