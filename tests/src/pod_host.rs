//! What a root tree needs to run static pods: containerd, runc and a standalone kubelet, with images but no registry.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::checkout;
use crate::images::{self, PodImage, Recipe};
use crate::namespaces::Machine;
use crate::peers::{Peer, peer};
use crate::tree::Tree;
use crate::wait;

/// The folder that the kubelet reads manifests from.
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// The folder of the kubelet's drop-ins.
pub const KUBELET_DROP_INS: &str = "/etc/kubernetes/kubelet.conf.d";
/// The lab's own drop-in: behind the node's, in front of what joins it to a cluster.
pub const LAB_DROP_IN: &str = "15-lab.conf";
/// The socket of containerd.
pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Where archives of images lie until they are imported.
const ARCHIVES: &str = "/var/lib/lab-images";
/// containerd's namespace for the images and containers of pods.
const NAMESPACE: &str = "--namespace=k8s.io";
/// A busy machine takes its time; a kubelet that needs longer has hung.
const START_LIMIT: Duration = Duration::from_secs(90);

/// The programs that run pods.
#[derive(Clone, Debug)]
pub struct PodHost {
    programs: Vec<Peer>,
    pause: PodImage,
}

/// The unit as containerd ships it, less the module it loads: the machine shares its host's kernel.
const CONTAINERD_UNIT: &str = "[Unit]
Description=containerd
[Service]
Type=notify
ExecStart=/usr/bin/containerd --config /usr/lib/basalt/containerd/config.toml
Delegate=yes
KillMode=process
Restart=always
RestartSec=1
LimitNOFILE=infinity
TasksMax=infinity
OOMScoreAdjust=-999
[Install]
WantedBy=multi-user.target
";

const IMAGES_UNIT: &str = "[Unit]
Description=Images for the lab's pods
Requires=containerd.service
After=containerd.service
Before=kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /etc/lab-images.sh
";

/// What the first boot would write for a node: where its manifests are.
const NODE_KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /etc/kubernetes/manifests
";

/// What is the lab's own: it shares a kernel of any age, a disk and control groups with its host, and lets tests ask the
/// kubelet for its pods.
const LAB_KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
enableServer: true
authentication: {anonymous: {enabled: true}}
cgroupDriver: cgroupfs
failCgroupV1: false
enforceNodeAllocatable: []
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%, imagefs.inodesFree: 1%, pid.available: 1%}
evictionSoft: {memory.available: 60Mi, nodefs.available: 2%, imagefs.available: 2%}
imageGCHighThresholdPercent: 100
";

/// The files of the operating system image that configure the kubelet and containerd: where each is on a node, and where
/// in the checkout.
const SHIPPED: [(&str, &str); 4] = [
    ("/etc/systemd/system/kubelet.service", "kubelet/kubelet.service"),
    ("/usr/lib/basalt/kubelet/kubelet.yaml", "kubelet/kubelet.yaml"),
    ("/usr/lib/basalt/kubelet/nobody.pem", "kubelet/nobody.pem"),
    ("/usr/lib/basalt/containerd/config.toml", "containerd/config.toml"),
];

impl PodHost {
    /// The programs, and the image every pod needs; the image is made in `folder`. `None` means that a peer is
    /// missing: this function has said which, the test returns.
    ///
    /// # Panics
    /// When the image cannot be made.
    pub fn new(folder: &std::path::Path) -> Option<PodHost> {
        let names = ["containerd", "containerd-shim-runc-v2", "ctr", "kubelet"];
        let programs = names.map(peer).into_iter().collect::<Option<Vec<Peer>>>()?;
        let pause = pause_image(&peer("busybox")?, folder).expect("the pause image can be made");
        Some(PodHost { programs, pause })
    }

    /// Puts the programs and their units on the tree of a node called `name`, known by `address`.
    ///
    /// # Errors
    /// When the tree cannot be written to.
    pub fn equip(&self, tree: &Tree, name: &str, address: &str) -> Result<()> {
        for program in &self.programs {
            let target = tree.path("/usr/bin").join(program.name);
            fs::copy(&program.program, &target)
                .with_context(|| format!("cannot copy `{}`", program.name))?;
        }
        fs::create_dir_all(tree.path("/var/lib/containerd"))?;
        fs::create_dir_all(tree.path(MANIFESTS))?;
        for (path, source) in SHIPPED {
            let contents = fs::read(checkout::root().join("agent/dist").join(source))?;
            tree.write(path, contents, 0o644)?;
        }
        tree.write("/etc/containerd/conf.d/90-lab.toml", self.containerd_config(), 0o644)?;
        tree.write("/etc/systemd/system/containerd.service", CONTAINERD_UNIT, 0o644)?;
        // The kernel's log is the host's; the kubelet only wants to open one.
        tree.write("/etc/tmpfiles.d/lab.conf", "L /dev/kmsg - - - - /dev/null\n", 0o644)?;
        // Without these files no pod starts: the kubelet and containerd copy them for each.
        tree.write("/etc/resolv.conf", "", 0o644)?;
        tree.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644)?;
        for (file, contents) in [("10-node.conf", NODE_KUBELET), (LAB_DROP_IN, LAB_KUBELET)] {
            tree.write(&format!("{KUBELET_DROP_INS}/{file}"), contents, 0o644)?;
        }
        let environment = format!("BASALT_NODE_NAME={name}\nBASALT_NODE_IP={address}\n");
        tree.write("/etc/kubernetes/kubelet.env", environment, 0o644)?;
        Ok(())
    }

    /// Starts containerd on a booted machine and gives it the pause image and `images`.
    ///
    /// # Errors
    /// When it does not start, or refuses an image.
    pub fn start_containerd(&self, machine: &Machine, images: &[&PodImage]) -> Result<()> {
        machine.output(&["systemctl", "start", "containerd.service"])?;
        let look = || machine.output(&["ctr", NAMESPACE, "version"]).ok();
        wait::until("containerd to answer", START_LIMIT, look)?;
        for image in images.iter().chain([&&self.pause]) {
            self.import(machine, image)?;
        }
        Ok(())
    }

    /// Gives containerd an image under `repository:tag` and `repository@digest`, both pinned.
    ///
    /// # Errors
    /// When containerd refuses it.
    pub fn import(&self, machine: &Machine, image: &PodImage) -> Result<()> {
        let file = image.archive.file_name().context("an archive is a file")?;
        let inside = PathBuf::from(ARCHIVES).join(file);
        let outside = machine.root().join(ARCHIVES.trim_start_matches('/'));
        fs::create_dir_all(&outside)?;
        fs::copy(&image.archive, outside.join(file))?;
        let mut ctr = |arguments: &[&str]| {
            let whole: Vec<&str> =
                ["ctr", NAMESPACE].into_iter().chain(arguments.iter().copied()).collect();
            machine.output(&whole)
        };
        images::import(&mut ctr, image, &inside.display().to_string())
    }

    /// Starts the kubelet and waits until it is healthy.
    ///
    /// # Errors
    /// When it is not in time: with the end of its journal.
    pub fn start_kubelet(&self, machine: &Machine) -> Result<()> {
        machine.output(&["systemctl", "start", "--no-block", "kubelet.service"])?;
        let healthy = || machine.output(&["curl", "-fsS", "http://127.0.0.1:10248/healthz"]).ok();
        if let Err(error) = wait::until("the kubelet to be healthy", START_LIMIT, healthy) {
            let journal = machine.run(&["journalctl", "--no-pager", "-n60", "-u", "kubelet"])?;
            bail!("{error}:\n{}", String::from_utf8_lossy(&journal.stdout));
        }
        Ok(())
    }

    /// Has a tree give containerd the pause image and `images` at each boot, before the kubelet starts.
    ///
    /// # Errors
    /// When the tree cannot be written to.
    pub fn preload(&self, tree: &Tree, images: &[&PodImage]) -> Result<()> {
        let mut script = String::from("set -e\n");
        fs::create_dir_all(tree.path(ARCHIVES))?;
        for image in images.iter().chain([&&self.pause]) {
            let file = image.archive.file_name().context("an archive is a file")?;
            let inside = PathBuf::from(ARCHIVES).join(file);
            fs::copy(&image.archive, tree.path(ARCHIVES).join(file))?;
            let mut ctr = |arguments: &[&str]| {
                script.push_str(&format!("ctr {NAMESPACE} {}\n", arguments.join(" ")));
                Ok(String::new())
            };
            images::import(&mut ctr, image, &inside.display().to_string())?;
        }
        tree.write("/etc/lab-images.sh", script, 0o644)?;
        tree.write("/etc/systemd/system/lab-images.service", IMAGES_UNIT, 0o644)?;
        for (target, unit) in [
            ("kubelet.service.requires", "lab-images.service"),
            ("multi-user.target.wants", "kubelet.service"),
        ] {
            let folder = tree.path("/etc/systemd/system").join(target);
            fs::create_dir_all(&folder)?;
            let link = folder.join(unit);
            if fs::symlink_metadata(&link).is_err() {
                std::os::unix::fs::symlink(PathBuf::from("/etc/systemd/system").join(unit), link)?;
            }
        }
        Ok(())
    }

    /// The image of every pod's first container.
    pub fn pause(&self) -> &PodImage {
        &self.pause
    }

    fn containerd_config(&self) -> String {
        format!(
            "version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{pause}'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false
",
            pause = self.pause.tagged()
        )
    }
}

/// Waits for signals and for processes without a parent.
fn pause_image(busybox: &Peer, folder: &std::path::Path) -> Result<PodImage> {
    let script = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done";
    let entrypoint = ["/usr/bin/sh", "-c", script];
    let recipe = Recipe::of_busybox("pause", "3.10", &["sh", "sleep"], &entrypoint);
    images::make(&recipe, busybox, folder)
}
