//! The texts of files that nodes carry, fetched by whoever may read files.

use std::collections::{BTreeMap, BTreeSet};

use crate::decode::Located;
use crate::input::ClusterInput;
use crate::names::RelativePath;
use crate::report::Report;

/// What a node may carry of one file. The whole of `node.json` goes into an Ignition config and is read by every
/// program on the way.
const MOST_BYTES: usize = 1 << 20;

/// The texts by the name that the cluster's file has for them.
pub(super) struct Texts(pub(super) BTreeMap<RelativePath, String>);

impl Texts {
    /// Fetches each file once; what is wrong with one is told once, where it is first named.
    pub(super) fn read(
        input: &ClusterInput,
        read: &mut dyn FnMut(&RelativePath) -> Result<String, String>,
        report: &mut Report,
    ) -> Self {
        let (mut texts, mut unread) = (BTreeMap::new(), BTreeSet::new());
        for file in named(input) {
            if texts.contains_key(&file.value) {
                continue;
            }
            let text = read(&file.value).and_then(|text| match text.len() > MOST_BYTES {
                true => Err(format!("`{}` is larger than {MOST_BYTES} bytes", file.value)),
                false => Ok(text),
            });
            let text = text.unwrap_or_else(|message| {
                report
                    .error(file.place, &file.path, message)
                    .hint("paths are relative to the cluster's file");
                unread.insert(&file.value);
                String::new()
            });
            texts.insert(file.value.clone(), text);
        }
        texts.retain(|name, _| !unread.contains(name));
        Texts(texts)
    }

    /// Whether a file that the input names could be read.
    pub(super) fn has(&self, file: &RelativePath) -> bool {
        self.0.contains_key(file)
    }

    /// The text of a file that the input names.
    pub(super) fn of(&self, file: &RelativePath) -> String {
        self.0.get(file).cloned().unwrap_or_default()
    }
}

/// Every such file, in the order of the file's sections.
fn named(input: &ClusterInput) -> impl Iterator<Item = &Located<RelativePath>> {
    let haproxy = input.haproxy.iter().flat_map(|haproxy| &haproxy.files).map(|file| &file.source);
    let pods = input.pods.iter().flat_map(|pod| {
        [&pod.manifest].into_iter().chain(pod.files.iter().map(|file| &file.source))
    });
    haproxy.chain(pods)
}
