//! The operator bundle of the showcase, as its team makes it: built, signed, pushed, and what it may do granted.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use basalt_image::oci::Architecture;
use basalt_image::pause::pause;
use serde_json::{Value, json};

use crate::checkout;
use crate::control_plane::ControlPlane;
use crate::images::PodImage;
use crate::network::Switch;
use crate::registry::Registry;

/// A bundle in a registry.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    /// By digest, as `cluster.yaml` names it.
    pub(super) reference: String,
    /// The public key that its signature is checked with, PEM.
    pub(super) public_key: String,
}

/// Publishes `tests/bundles/hello` from the place of the switch's client, and lets agents of the cluster apply it.
pub(super) fn publish(
    xtask: &Path,
    switch: &Switch,
    registry: &Registry,
    plane: &ControlPlane<'_>,
    folder: &Path,
) -> Result<Bundle> {
    let verb = |arguments: &[&str]| {
        let mut command = switch.command(&xtask.display().to_string());
        command.args(["--quiet", "bundle"]).args(arguments);
        output(&mut command)
    };
    let path = |name: &str| folder.join(name).display().to_string();
    let hello = checkout::root().join("tests/bundles/hello").display().to_string();
    let (layout, key) = (path("hello.bundle"), path("bundle.key"));
    let name = registry.reference("operators/hello:1");
    let authority = registry.authority_file().display().to_string();
    verb(&["build", &hello, "--output", &layout])?;
    verb(&["key", &key])?;
    verb(&["sign", &layout, &name, "--key", &key])?;
    let reference = verb(&["push", &layout, &name, "--certificate-authority", &authority])?;
    plane.apply_server_side(&verb(&["rbac", &layout])?)?;
    let public_key = fs::read_to_string(format!("{key}.pub"))?;
    Ok(Bundle { reference: reference.trim().to_owned(), public_key })
}

/// The image of the operator in `hello`: Basalt's pause image under a name of its own.
pub(super) fn operator_image(folder: &Path) -> Result<PodImage> {
    let pause = pause(Architecture::Amd64).context("there is no pause image for amd64")?;
    let image = PodImage {
        repository: "registry.lab.example/basalt/hello-operator".to_owned(),
        tag: "1".to_owned(),
        digest: pause.manifest.to_string(),
        archive: folder.join("hello-operator.tar"),
    };
    fs::write(&image.archive, named(&pause.archive, &image.tagged())?)?;
    Ok(image)
}

/// The archive of an image with the name by which containerd is to know it.
fn named(archive: &[u8], name: &str) -> Result<Vec<u8>> {
    const INDEX: &str = "index.json";
    let mut to = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let (mut header, mut contents) = (entry.header().clone(), Vec::new());
        entry.read_to_end(&mut contents)?;
        if entry.path()?.as_os_str() == INDEX {
            let mut index: Value = serde_json::from_slice(&contents)?;
            index["manifests"][0]["annotations"] = json!({"io.containerd.image.name": name});
            contents = index.to_string().into_bytes();
            header.set_size(contents.len().try_into()?);
            header.set_cksum();
        }
        to.append(&header, &contents[..])?;
    }
    Ok(to.into_inner()?)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}
