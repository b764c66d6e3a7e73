//! The UID of one run of a static pod, and how it gets into the manifest.

use sha2::{Digest, Sha256};

use crate::host::manifests::pod_identity;

/// The UID for attempt number `attempt` at running `manifest` on `node`: another one for another text, node or number.
///
/// It is a UUID of version 8, in lower case: the kubelet builds the names of folders and control groups from it, ends at `/` or
/// `_`, and leaves out a pod whose UID is that of another.
///
/// Format: <https://www.rfc-editor.org/rfc/rfc9562#section-5.8>
pub(crate) fn uid(node: &str, pod: &str, manifest: &str, attempt: u64) -> String {
    version_8(&["basalt static pod", node, pod, manifest], attempt)
}

fn version_8(texts: &[&str], number: u64) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hasher.update(number.to_be_bytes());
    let digest = hasher.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The UID for another attempt at the run that was to have `uid`, which the kubelet passed over. No run's number leads to
/// it.
pub(crate) fn after(uid: &str) -> String {
    version_8(&["basalt static pod, once more", uid], 0)
}

/// `manifest` with `metadata.uid`. A manifest that has one already, or whose `metadata` is not written as a block, is left
/// as it is; the kubelet then makes up the UID.
pub(crate) fn stamp(manifest: &str, uid: &str) -> String {
    const METADATA: &str = "metadata:\n";
    let has_uid = pod_identity(manifest).is_none_or(|pod| pod.uid.is_some());
    let place = match manifest.find(METADATA) {
        Some(0) => Some(METADATA.len()),
        _ => manifest.find("\nmetadata:\n").map(|at| at + 1 + METADATA.len()),
    };
    match place.filter(|_| !has_uid) {
        None => manifest.to_owned(),
        Some(place) => {
            let (head, tail) = manifest.split_at(place);
            // Indented as what follows.
            let indent = tail.len() - tail.trim_start_matches(' ').len();
            format!("{head}{:indent$}uid: {uid}\n{tail}", "")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everything_counts() {
        let all = [
            uid("n1", "a", "x", 1),
            uid("n1", "a", "x", 2),
            uid("n1", "a", "y", 1),
            uid("n1", "b", "x", 1),
            uid("n2", "a", "x", 1),
            uid("n1a", "", "x", 1),
            after(&uid("n1", "a", "x", 1)),
            after(&after(&uid("n1", "a", "x", 1))),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(all[0], uid("n1", "a", "x", 1));
        for uid in all {
            let groups: Vec<usize> = uid.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{uid}");
            assert!(
                uid.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            );
            assert_eq!(&uid[14..15], "8", "{uid}");
            assert!("89ab".contains(&uid[19..20]), "{uid}");
        }
    }

    #[track_caller]
    fn check(manifest: &str, expected: &str) {
        assert_eq!(stamp(manifest, "u"), expected);
    }

    #[test]
    fn stamps() {
        check("metadata:\n  name: a\n", "metadata:\n  uid: u\n  name: a\n");
        check(
            "kind: Pod\nmetadata:\n    name: a\n",
            "kind: Pod\nmetadata:\n    uid: u\n    name: a\n",
        );
        check(
            "x:\n  metadata:\n    a: b\nmetadata:\n  name: a\n",
            "x:\n  metadata:\n    a: b\nmetadata:\n  uid: u\n  name: a\n",
        );
        // Left alone.
        check("metadata:\n  name: a\n  uid: own\n", "metadata:\n  name: a\n  uid: own\n");
        check("metadata: {name: a}\n", "metadata: {name: a}\n");
        check("no manifest", "no manifest");
    }

    #[test]
    fn a_rendered_manifest_names_its_uid() {
        let node = include_str!("../../../static-pods/tests/lab/n1.json");
        let node = basalt_model::node::Node::from_json("n1.json", node).unwrap();
        for pod in basalt_static_pods::render(&node).unwrap() {
            let uid = uid("n1", pod.name.as_str(), &pod.manifest, 1);
            let stamped = stamp(&pod.manifest, &uid);
            let identity = pod_identity(&stamped).unwrap();
            assert_eq!(identity.uid, Some(uid));
            assert_eq!(identity.name, pod.name.as_str());
        }
    }
}
