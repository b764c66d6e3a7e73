//! How verbs print data on stdout.

/// The form of a verb's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one document of a documented type.
    Json,
}
