//! What became of each setting of an imported text.

use std::fmt;

use basalt_model::report::Place;

/// What became of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The pod does the same.
    Carried,
    /// The pod does nearly the same; the message says what a person has to look at.
    Changed,
    /// A static pod cannot do it.
    Lost,
    /// The text is not what its format allows.
    Invalid,
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
    pub hint: Option<String>,
}

impl fmt::Display for Note {
    /// `web.container:7:1: lost: Container.IP: …`, with the hint on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match self.fate {
            Fate::Carried => "carried",
            Fate::Changed => "changed",
            Fate::Lost => "lost",
            Fate::Invalid => "error",
        };
        write!(f, "{}:{}: {fate}: ", self.file, self.place)?;
        if !self.setting.is_empty() {
            write!(f, "{}: ", self.setting)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
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

    pub(super) fn changed(&mut self, at: &At, message: impl Into<String>, hint: &str) {
        self.push(Fate::Changed, at, message.into(), Some(hint));
    }

    pub(super) fn lost(&mut self, at: &At, message: impl Into<String>, hint: &str) {
        self.push(Fate::Lost, at, message.into(), Some(hint));
    }

    pub(super) fn invalid(&mut self, at: &At, message: impl Into<String>, hint: Option<&str>) {
        self.push(Fate::Invalid, at, message.into(), hint);
    }

    fn push(&mut self, fate: Fate, at: &At, message: String, hint: Option<&str>) {
        let hint = hint.filter(|hint| !hint.is_empty()).map(str::to_owned);
        let At { file, place, setting } = at.clone();
        self.0.push(Note { fate, file, place, setting, message, hint });
    }
}
