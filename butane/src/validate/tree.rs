//! Trees of local files.

use super::Check;
use crate::tree::Tree;

/// Butane: a tree has a folder.
pub(crate) fn tree(tree: &Tree, check: &mut Check) {
    if tree.lacks("local") {
        check
            .error(&tree.origin, "`local` is missing")
            .hint("name a folder below the files directory");
    }
}
