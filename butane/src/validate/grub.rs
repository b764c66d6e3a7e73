//! The boot loader.

use super::Check;
use crate::tree::Tree;

/// Butane: a user has a name and a password.
pub(crate) fn user(user: &Tree, check: &mut Check) {
    for (name, hint) in
        [("name", "`root`, for example"), ("password_hash", "`grub2-mkpasswd-pbkdf2` makes one")]
    {
        if user.lacks(name) {
            check.error(&user.place_of(name), format!("`{name}` is missing")).hint(hint);
        }
    }
}
