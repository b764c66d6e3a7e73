//! Renders the static pods of one node: takes a [`Node`], gives manifests and config files, touches nothing.

use basalt_model::names::{AbsolutePath, PodName};
use basalt_model::node::Node;

/// One static pod of a node, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPod {
    /// Also the stem of the manifest's file name, `NAME.yaml`.
    pub name: PodName,
    /// The manifest, YAML text with a final newline.
    pub manifest: String,
    /// The files it mounts, sorted by path. They have to exist before the manifest does.
    pub files: Vec<ConfigFile>,
}

/// One config file of a static pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// On the host; below [`CONFIG_DIRECTORY`].
    pub path: AbsolutePath,
    /// The text, without secrets.
    pub contents: String,
    /// Permission bits; owner and group are root.
    pub mode: u32,
}

/// The folder on the host under which each pod has a folder of its own with its config files. The agent owns it.
pub const CONFIG_DIRECTORY: &str = "/etc/basalt/pods";

/// What keeps a node's pods from being rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {}

/// Renders all static pods of `node`, sorted by name.
///
/// # Errors
/// See [`RenderError`].
pub fn render(_node: &Node) -> Result<Vec<StaticPod>, RenderError> {
    Ok(Vec::new())
}
