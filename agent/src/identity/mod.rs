//! The node's lasting identity: takes a response-wrapped secret once, gives a client certificate that renews itself; touches
//! its own files and the machine's TPM or host key.
//!
//! Read [`enrolment`] (what to do next, pure), then [`store`] (the files), [`seal`] (secrets at rest) and [`certificate`].
//! What is asked of Vault is in `vault::enrol`.

/// What a node needs that has no identity, or none that Vault takes any more. `NODE` stands for its name.
macro_rules! remedy {
    () => {
        "`cargo xtask vault wrap NODE --bare --output FILE` makes a new first login; put FILE to \
         `/var/lib/basalt/enrolment/wrapped-secret-id` here, for root alone"
    };
}

pub(crate) mod certificate;
pub(crate) mod enrolment;
pub(crate) mod seal;
pub(crate) mod store;

use std::io;

use basalt_model::node::WRAPPED_SECRET_ID_PATH;

use self::enrolment::Refusal;

/// The node cannot log in as itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// It never could, and there is nothing to begin with.
    #[error(
        "the node has no identity, and `{WRAPPED_SECRET_ID_PATH}` holds nothing to earn one with"
    )]
    Missing,
    /// It could, and Vault does not take it any more.
    #[error("Vault does not take the node's identity{}: {message}", if *is_over { ", which has expired" } else { "" })]
    Refused { is_over: bool, message: String },
    /// It is there and cannot be opened: another machine, another TPM, a damaged file.
    #[error("the identity `{path}` cannot be used: {reason}")]
    Unreadable { path: &'static str, reason: String },
    /// The first login cannot be finished.
    #[error(transparent)]
    Enrolment(#[from] Refusal),
    /// The files of the identity.
    #[error("cannot write the node's identity below `/var/lib/basalt/identity`")]
    Keep(#[source] io::Error),
    /// What other programs log in with.
    #[error("cannot lay the node's identity out below `/run/basalt/identity`")]
    LayOut(#[source] io::Error),
    /// The key.
    #[error("cannot make the key of the node's identity: {0}")]
    Key(String),
    /// Vault's answer.
    #[error("Vault signed something else than the node's identity: {0}")]
    Signed(String),
}

impl IdentityError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Missing | Self::Unreadable { .. } => remedy!(),
            Self::Refused { is_over: true, .. } => {
                concat!("the node was off for too long: ", remedy!())
            }
            Self::Refused { is_over: false, .. } => concat!(
                "compare the cert auth method with `cargo xtask vault plan`; if the identity was revoked on purpose: ",
                remedy!()
            ),
            Self::Enrolment(refusal) => refusal.hint(),
            Self::Keep(_) | Self::LayOut(_) => "is the disk full, or read-only?",
            Self::Key(_) => "the node's name has to be fit for a certificate",
            Self::Signed(_) => "look at the role under `auth.node.pki` in Vault",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_an_identity_says_how_it_gets_one() {
        let refused = |is_over| IdentityError::Refused { is_over, message: String::new() };
        let errors = [
            IdentityError::Missing,
            IdentityError::Unreadable { path: "", reason: String::new() },
            refused(true),
            refused(false),
            Refusal::Interrupted.into(),
            Refusal::Intercepted.into(),
        ];
        for error in errors {
            let hint = error.hint();
            assert!(hint.contains("`cargo xtask vault wrap NODE --bare --output FILE`"), "{hint}");
            assert!(hint.contains(WRAPPED_SECRET_ID_PATH), "{hint}");
        }
    }
}
