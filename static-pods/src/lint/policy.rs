//! What the rules of Basalt are told besides the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::FileType;
use std::os::unix::fs::FileTypeExt;

use basalt_model::node::OwnPod;

/// What a node's pods may do, and what is known of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The capabilities that a pod may add, without `CAP_`, by the name of the pod. One that is not listed may add none.
    pub capabilities: BTreeMap<String, BTreeSet<String>>,
    /// The pods that may be privileged.
    pub privileged: BTreeSet<String>,
    /// Without it, what depends on the host is not looked at.
    pub host: Option<Host>,
}

impl Policy {
    /// For Basalt's own kinds of pods, on a host that is not known.
    pub fn of_own_pods() -> Policy {
        let names = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect();
        let capabilities = crate::pods::capabilities()
            .map(|(pod, allowed)| (pod.to_owned(), names(&allowed)))
            .collect();
        Policy { capabilities, privileged: BTreeSet::new(), host: None }
    }

    /// For our own pods and those that people list.
    pub fn of_node<'p>(pods: impl IntoIterator<Item = &'p OwnPod>) -> Policy {
        let mut policy = Policy::of_own_pods();
        for pod in pods {
            let name = pod.name.to_string();
            let allowed = pod.capabilities.iter().map(|name| name.to_ascii_uppercase());
            policy.capabilities.insert(name.clone(), allowed.collect());
            if pod.is_privileged {
                policy.privileged.insert(name);
            }
        }
        policy
    }
}

/// What a host has of what manifests ask for: the answers to [`super::asked`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// What is at the paths that manifests mount. A path that is not listed has not been looked at.
    pub paths: BTreeMap<String, HostPath>,
    /// References of the images that are there; `None` when that is not known.
    pub images: Option<BTreeSet<String>>,
}

/// What is at a path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPath {
    /// Nothing.
    Missing,
    /// Something, with its SELinux label (`system_u:object_r:etc_t:s0`) where there is one.
    Found {
        /// What it is.
        kind: HostPathKind,
        /// Its label.
        label: Option<String>,
    },
}

/// What a thing at a path is; links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPathKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// Something that no `type` of a `hostPath` names.
    Other,
}

impl From<FileType> for HostPathKind {
    fn from(file: FileType) -> HostPathKind {
        if file.is_dir() {
            HostPathKind::Folder
        } else if file.is_file() {
            HostPathKind::File
        } else if file.is_socket() {
            HostPathKind::Socket
        } else if file.is_char_device() {
            HostPathKind::CharDevice
        } else if file.is_block_device() {
            HostPathKind::BlockDevice
        } else {
            HostPathKind::Other
        }
    }
}

/// What manifests ask of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Paths that they mount.
    pub paths: BTreeSet<String>,
    /// Those among them that are made when they are not there, `DirectoryOrCreate` and `FileOrCreate`.
    pub made: BTreeSet<String>,
    /// Images that they run or mount.
    pub images: BTreeSet<String>,
}
