//! What failed, and why, in one line.

use std::error::Error;

/// An error with everything behind it. What is said already is not said twice: some libraries repeat their causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let torn = || anyhow::Error::from(std::io::Error::other("it is torn"));
        assert_eq!(chain(&*torn().context("cannot read `a`")), "cannot read `a`: it is torn");
        let told = torn().context("cannot read `a`: it is torn").context("cannot start");
        assert_eq!(chain(&*told), "cannot start: cannot read `a`: it is torn");
    }
}
