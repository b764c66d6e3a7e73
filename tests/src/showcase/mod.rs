//! The whole product on one machine: what `cargo xtask lab` shows to people, and end-to-end tests look at.

mod bundle;
mod cluster;
mod core;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value as Json;

use self::core::Core;
pub use self::core::Operator;
use crate::fleet::{CLIENT_ADDRESSES, FleetNode, PLACES, Yard};
use crate::network::Switch;
use crate::peers::{Peer, peer};
use crate::tree::Tree;
use crate::virtual_address::ADDRESS;
use crate::virtual_address::backends::Backends;
use crate::wait;

/// A busy machine takes its time to start three kubelets.
const START_LIMIT: Duration = Duration::from_secs(180);
/// The plugins by which the cluster's pods get a network.
const NETWORK_PLUGINS: [(&str, &str); 3] =
    [("cni-bridge", "bridge"), ("cni-host-local", "host-local"), ("cni-loopback", "loopback")];

/// Three nodes from one `cluster.yaml`, and what they talk to. Dropped, all of it is gone.
#[derive(Debug)]
pub struct Showcase {
    // Machines go before the network they are plugged into.
    nodes: Vec<FleetNode>,
    core: Core,
    _backends: Backends,
    switch: Arc<Switch>,
    _yard: Yard,
}

impl Showcase {
    /// Starts everything with these builds of our own programs, and says each stage before it begins.
    ///
    /// # Errors
    /// When something is missing, or a part does not start: with what it says.
    pub fn start(xtask: PathBuf, agent: PathBuf, tell: &mut dyn FnMut(&str)) -> Result<Showcase> {
        let wanted = |name: &'static str| {
            peer(name).with_context(|| format!("{name} is missing: `cargo xtask peers` gets it"))
        };
        let plugins: Vec<(Peer, &str)> = NETWORK_PLUGINS
            .iter()
            .map(|(name, program)| Ok((wanted(name)?, *program)))
            .collect::<Result<_>>()?;
        let haproxy = wanted("haproxy")?;
        tell("making container images of haproxy, keepalived and the pause container");
        let yard = Yard::of(xtask.clone(), agent)
            .context("a program is missing: `cargo xtask peers` gets it")?;
        let operator = bundle::operator_image(yard.folder())?;
        tell("plugging in a switch and the servers behind the virtual address");
        let switch = Arc::new(Switch::new(&CLIENT_ADDRESSES)?);
        let backends = Backends::start(&haproxy, &switch, yard.folder())?;
        let mut core = Core::start(&switch, xtask, tell)?;
        tell("running build-image for three nodes");
        let text = cluster::text(&yard, &core);
        let dist = yard.build(&text)?;
        core.set_up(&text, yard.folder(), &dist.folder, tell)?;
        let mut nodes: Vec<FleetNode> = Vec::new();
        for place in &PLACES {
            tell(&format!("{}: Ignition provisions it, systemd boots it", place.name));
            let tree = yard.provision(&dist, place, &[&operator])?;
            plug_in_pods(&tree, &plugins, nodes.len())?;
            let node = yard.boot_tree(tree, place, &switch, nodes.first())?;
            nodes.push(node);
        }
        let showcase = Showcase { nodes, core, _backends: backends, switch, _yard: yard };
        for node in &showcase.nodes {
            tell(&format!("{}: waiting until its pods are proven", node.place.name));
            node.wait_until_serving(START_LIMIT)?;
        }
        for node in &showcase.nodes {
            tell(&format!("{}: waiting until it is a ready node of the cluster", node.place.name));
            showcase.wait_until_joined(node)?;
        }
        tell("waiting until the bundle is committed");
        showcase.wait_until_bundled()?;
        for node in &showcase.nodes {
            node.machine.end_turn()?;
        }
        Ok(showcase)
    }

    /// The nodes, in the order of their names.
    pub fn nodes(&self) -> &[FleetNode] {
        &self.nodes
    }

    /// What runs beside them.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// What runs beside them: its name, and where it answers on the network of the nodes.
    pub fn services(&self) -> Vec<(String, String)> {
        let vault = ("vault".to_owned(), self.core.vault.address());
        let kubernetes = ("kubernetes".to_owned(), self.core.plane.url());
        let registry =
            ("registry".to_owned(), format!("https://{}", self.core.registry.reference("")));
        vec![("address".to_owned(), format!("https://{ADDRESS}/")), vault, kubernetes, registry]
    }

    /// What it takes to be the operator of what runs beside them.
    ///
    /// # Errors
    /// When Vault's token cannot be kept in a file.
    pub fn operator(&self) -> Result<Operator> {
        self.core.operator()
    }

    /// The network they are plugged into.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// Until some node says that the bundle is applied and healthy.
    fn wait_until_bundled(&self) -> Result<()> {
        let ask = ["basalt-agent", "bundle", "status", "--output", "json"];
        let state = |node: &FleetNode| {
            let picture: Json = serde_json::from_str(&node.machine.output(&ask).ok()?).ok()?;
            (picture["state"] == "committed").then_some(())
        };
        let committed = || self.nodes.iter().find_map(state);
        wait::until("the bundle to be committed", START_LIMIT, committed).with_context(|| {
            let look = |node: &FleetNode| {
                let seen = node.machine.run(&["basalt-agent", "bundle", "status"]).ok()?;
                let text = String::from_utf8_lossy(&seen.stdout).into_owned();
                Some(format!("{}:\n{text}", node.place.name))
            };
            self.nodes.iter().filter_map(look).collect::<String>()
        })
    }

    fn wait_until_joined(&self, node: &FleetNode) -> Result<()> {
        let ready = || {
            let list = self.core.plane.kubectl(&["get", "nodes", "-o", "json"]).ok()?;
            let list: Json = serde_json::from_str(&list).ok()?;
            let mut nodes = list["items"].as_array()?.iter();
            let own = nodes.find(|it| it["metadata"]["name"] == node.place.name)?;
            let mut conditions = own["status"]["conditions"].as_array()?.iter();
            conditions.any(|it| it["type"] == "Ready" && it["status"] == "True").then_some(())
        };
        wait::until(&format!("`{}` to be ready", node.place.name), START_LIMIT, ready)
            .with_context(|| node.tell())
    }
}

/// Gives the cluster's pods of a node a network: a bridge of their own, which leads nowhere else.
fn plug_in_pods(tree: &Tree, plugins: &[(Peer, &str)], number: usize) -> Result<()> {
    let folder = tree.path("/opt/cni/bin");
    fs::create_dir_all(&folder)?;
    for (plugin, name) in plugins {
        fs::copy(&plugin.program, folder.join(name))?;
    }
    let config = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "lab",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": format!("10.244.{number}.0/24")}]],
            },
        }],
    });
    tree.write("/etc/cni/net.d/10-lab.conflist", config.to_string(), 0o644)
}
