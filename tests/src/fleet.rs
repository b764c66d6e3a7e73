//! Several nodes at once, the whole way: `build-image` makes them from one `cluster.yaml`, the real Ignition
//! provisions them, systemd boots them, and they run their static pods on a kubelet of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::dist::{Dist, build_image};
use crate::ignition::provision;
use crate::images::{self, PodImage, Recipe};
use crate::namespaces::Machine;
use crate::network::Switch;
use crate::peers::{Peer, peer};
use crate::pod_host::PodHost;
use crate::programs;
use crate::tree::Tree;
use crate::wait;

/// Everything nodes are made with. Keep it for as long as they run.
#[derive(Debug)]
pub struct Yard {
    folder: tempfile::TempDir,
    host: PodHost,
    xtask: PathBuf,
    agent: PathBuf,
    ignition: Peer,
    umoci: Peer,
    /// Image of the haproxy of this machine.
    pub haproxy: PodImage,
    /// Image of the keepalived of this machine, with curl.
    pub keepalived: PodImage,
}

/// A node to make.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name in `cluster.yaml`.
    pub name: &'static str,
    /// The interface that is plugged into the switch.
    pub interface: &'static str,
    /// The addresses of the interface, with the lengths of their networks.
    pub addresses: &'static [&'static str],
}

/// The nodes of the fleet's clusters: three on one switch.
pub const PLACES: [Place; 3] = [
    Place { name: "n1", interface: "eth0", addresses: &["192.0.2.11/24", "2001:db8:2::11/64"] },
    Place { name: "n2", interface: "eth0", addresses: &["192.0.2.12/24", "2001:db8:2::12/64"] },
    Place { name: "n3", interface: "eth0", addresses: &["192.0.2.13/24", "2001:db8:2::13/64"] },
];
/// The addresses that the client on the switch and the servers beside it have.
pub const CLIENT_ADDRESSES: [&str; 3] = ["192.0.2.1/24", "192.0.2.2/24", "2001:db8:2::1/64"];
/// The one of the servers.
pub const SERVER_ADDRESS: &str = "192.0.2.2";

/// A running node.
#[derive(Debug)]
pub struct FleetNode {
    /// What it was made as.
    pub place: Place,
    /// The machine.
    pub machine: Machine,
}

const AGENT_LIMIT: Duration = Duration::from_secs(60);

impl Yard {
    /// What it takes to make nodes. `None` means that something is missing: it was said what, the test returns.
    ///
    /// # Panics
    /// When the images cannot be made from the programs that are there.
    pub fn new() -> Option<Yard> {
        Yard::of(programs::xtask()?, programs::agent()?)
    }

    /// The same with these builds of our own programs.
    ///
    /// # Panics
    /// When the images cannot be made from the programs that are there.
    pub fn of(xtask: PathBuf, agent: PathBuf) -> Option<Yard> {
        let (ignition, umoci) = (peer("ignition-2.24")?, peer("umoci")?);
        let (busybox, curl) = (peer("busybox")?, peer("curl")?);
        let (haproxy, keepalived) = (peer("haproxy")?, peer("keepalived")?);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host = PodHost::new(folder.path())?;
        let applets = ["sh", "cat", "kill", "rm", "sleep", "test"];
        let haproxy = Recipe {
            name: "haproxy",
            tag: "2.6",
            programs: &[&haproxy],
            applets: &applets,
            entrypoint: &["haproxy"],
        };
        let keepalived = Recipe {
            name: "keepalived",
            tag: "2.2",
            programs: &[&keepalived, &curl],
            applets: &applets,
            entrypoint: &["keepalived"],
        };
        let make = |recipe: &Recipe<'_>| {
            images::make(recipe, &busybox, folder.path()).expect("an image of programs can be made")
        };
        let (haproxy, keepalived) = (make(&haproxy), make(&keepalived));
        Some(Yard { folder, host, xtask, agent, ignition, umoci, haproxy, keepalived })
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `build-image` on the text of a `cluster.yaml`.
    ///
    /// # Errors
    /// When it refuses it: with what it printed.
    pub fn build(&self, cluster: &str) -> Result<Dist> {
        let folder = tempfile::tempdir_in(self.folder.path())?.keep();
        let file = folder.join("cluster.yaml");
        fs::write(&file, cluster)?;
        let dist = folder.join("dist");
        let output = build_image(&self.xtask, &self.agent, &file, &dist, &[]);
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(Dist::open(&dist))
    }

    /// The tree of a node as it is before its first boot, with `images` besides those of its own pods.
    ///
    /// # Errors
    /// When Ignition or umoci refuses what was built, or the tree cannot be had.
    pub fn provision(&self, dist: &Dist, place: &Place, images: &[&PodImage]) -> Result<Tree> {
        let tree = Tree::debian().context("no tree can be made")?;
        let config = fs::read_to_string(dist.file("ignition", Some(place.name)))?;
        provision(&self.ignition, &tree, &config)?;
        let layout = dist.file("oci-layout", None);
        let layout = layout.parent().context("a layout is a folder")?;
        tree.unpack_image(&self.umoci, layout, REFERENCE)?;
        let (address, _) = place.addresses[0].split_once('/').context("an address has a length")?;
        self.host.equip(&tree, place.name, address)?;
        self.host.preload(&tree, &[&[&self.haproxy, &self.keepalived], images].concat())?;
        Ok(tree)
    }

    /// Makes and boots the nodes at `places`, and plugs them into the switch. Their pods may still be starting.
    ///
    /// # Errors
    /// When one of them does not boot.
    pub fn boot(&self, dist: &Dist, places: &[Place], switch: &Switch) -> Result<Vec<FleetNode>> {
        let mut nodes: Vec<FleetNode> = Vec::new();
        for place in places {
            nodes.push(self.boot_one(dist, place, switch, nodes.first())?);
        }
        Ok(nodes)
    }

    /// Makes and boots the node at `place`, and plugs it into the switch; `beside` is one that runs already.
    ///
    /// # Errors
    /// When it does not boot.
    pub fn boot_one(
        &self,
        dist: &Dist,
        place: &Place,
        switch: &Switch,
        beside: Option<&FleetNode>,
    ) -> Result<FleetNode> {
        self.boot_tree(self.provision(dist, place, &[])?, place, switch, beside)
    }

    /// Boots what [`Yard::provision`] made, and plugs it into the switch; `beside` is one that runs already.
    ///
    /// # Errors
    /// When it does not boot.
    pub fn boot_tree(
        &self,
        tree: Tree,
        place: &Place,
        switch: &Switch,
        beside: Option<&FleetNode>,
    ) -> Result<FleetNode> {
        let machine = match beside {
            None => Machine::boot(tree)?,
            Some(other) => other.machine.boot_beside(tree)?,
        };
        switch.plug(&machine, place.interface, place.addresses)?;
        machine.wait_for_unit("basalt-agent.service", "active", AGENT_LIMIT)?;
        Ok(FleetNode { place: place.clone(), machine })
    }
}

impl FleetNode {
    /// Until its agent has committed its pods.
    ///
    /// # Errors
    /// When it does not in time: with what the node says.
    pub fn wait_until_serving(&self, limit: Duration) -> Result<()> {
        let status = ["basalt-agent", "status", "--output", "json"];
        let serving = || {
            let output = self.machine.output(&status).ok()?;
            let status: serde_json::Value = serde_json::from_str(&output).ok()?;
            (status["phase"]["name"] == "serving").then_some(())
        };
        wait::until(&format!("`{}` to serve", self.place.name), limit, serving)
            .with_context(|| self.tell())
    }

    /// What it has to say when something is wrong: status, addresses, the ends of logs.
    pub fn tell(&self) -> String {
        let look = "basalt-agent status; ip address show; tail -n15 /var/log/pods/*/*/*.log;
            journalctl --no-pager -n30 -u kubelet -u basalt-agent";
        match self.machine.run(&["sh", "-c", look]) {
            Ok(seen) => format!("{}:\n{}", self.place.name, String::from_utf8_lossy(&seen.stdout)),
            Err(error) => format!("{}: {error:#}", self.place.name),
        }
    }
}

/// The image's name in the layout.
const REFERENCE: &str = "basalt-fleet:1";

/// A `cluster.yaml` for [`PLACES`]: one virtual address in front of two servers on the switch, an API server at
/// port 6443 and a web server at port 8080 of [`SERVER_ADDRESS`].
pub fn cluster(yard: &Yard, generation: u32) -> String {
    let api = format!("{SERVER_ADDRESS}:6443");
    cluster_with(yard, generation, &Addition { api: &api, frontends: "", sections: "" })
}

/// What a `cluster.yaml` has besides what [`cluster`] says.
#[derive(Clone, Copy, Debug)]
pub struct Addition<'a> {
    /// The API server.
    pub api: &'a str,
    /// More frontends of haproxy, as YAML.
    pub frontends: &'a str,
    /// More sections of the file.
    pub sections: &'a str,
}

/// The same with more in it.
pub fn cluster_with(yard: &Yard, generation: u32, addition: &Addition<'_>) -> String {
    let node = |(number, place): (usize, &Place)| {
        format!(
            "  - name: {}
    role: controller
    interfaces:
      - name: {}
        mac: \"52:54:00:00:02:0{}\"
        addresses: [{}, \"{}\"]
",
            place.name,
            place.interface,
            number + 1,
            place.addresses[0],
            place.addresses[1],
        )
    };
    let nodes: String = PLACES.iter().enumerate().map(node).collect();
    format!(
        "name: fleet
generation: {generation}
ssh_authorized_keys:
  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIY3y0AnjTKk3FE7/efvBIqiF/jSB9PtqX+Q5L42xaD2 operator@lab.example
roles:
  controller: {{}}
nodes:
{nodes}api:
  host: api.lab.example
  virtual_addresses: [192.0.2.10, \"2001:db8:2::10\"]
  servers: [\"{api}\"]
haproxy:
  image: {haproxy}
  roles: [controller]
  # What builds and tests these machines may open few files.
  max_connections: 2000
  frontends:
    - name: web
      mode: http
      binds: [192.0.2.10:80, \"[2001:db8:2::10]:80\"]
      check:
        path: /healthz
      servers:
        - name: s1
          address: {SERVER_ADDRESS}:8080
{frontends}keepalived:
  image: {keepalived}
  instances:
    - name: api-v4
      virtual_router_id: 51
      virtual_addresses: [192.0.2.10]
      priorities: {{controller: 100}}
    - name: api-v6
      virtual_router_id: 52
      virtual_addresses: [\"2001:db8:2::10\"]
      priorities: {{controller: 100}}
containerd:
  sandbox_image: {pause}
image:
  name: basalt-fleet
  version: \"1\"
  base: scratch
  reference: registry.lab.example/basalt/fleet:stable
{sections}",
        api = addition.api,
        frontends = addition.frontends,
        sections = addition.sections,
        haproxy = yard.haproxy.reference(),
        keepalived = yard.keepalived.reference(),
        pause = yard.host.pause().tagged(),
    )
}
