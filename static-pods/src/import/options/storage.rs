//! Options of mounts, devices and secrets.

use super::super::draft::{Draft, Mount, MountSource};
use super::super::notes::At;
use super::super::secrets::{SECRETS, file_name};
use super::super::values::{self, Mounted, VOLUMES, boolean, quantity};
use super::Outcome::{self, Broken, Carried, Changed, Invalid, Lost};
use super::apply::{carried, switch};

pub(super) fn mounted(draft: &mut Draft, read: Result<Mounted, &'static str>) -> Outcome {
    let (mut mount, other) = match read {
        Ok(read) => read,
        Err(error) => {
            return Broken(error.to_owned(), "mount a folder of the host by its absolute path");
        }
    };
    let is_named = matches!(&mount.source, MountSource::Named(_));
    let is_image = matches!(&mount.source, MountSource::Image(..));
    let is_overlay = other.iter().any(|option| option == "O");
    mount.read_only |= is_overlay;
    draft.mount(mount);
    if is_overlay && is_image {
        return Broken(
            "mounted read-only: a pod cannot write to an image".to_owned(),
            "where it has to write, let an init container copy the folder into an `emptyDir`",
        );
    }
    if is_overlay {
        return Broken(
            "mounted read-only: with `O` what the program writes there never reaches the host"
                .to_owned(),
            "where it has to write, let an init container copy the folder into an `emptyDir`",
        );
    }
    let is_label = |option: &&String| ["z", "Z"].contains(&option.as_str());
    let strange: Vec<&String> = other.iter().filter(|option| !is_label(option)).collect();
    if !strange.is_empty() {
        return Lost(
            format!(
                "mounted, without {}: a pod has no such options",
                basalt_model::decode::list(&strange)
            ),
            "see to owner, mode and options on the host",
        );
    }
    if !other.is_empty() {
        return Changed(
            "mounted, but the kubelet does not relabel what is on the host".to_owned(),
            "label the path for containers (`container_file_t`) with the node's Butane config",
        );
    }
    if is_named {
        return Changed(
            format!("as a folder of the host below `{VOLUMES}`"),
            "move the data there; a new folder is empty and root's, whatever the image has at the path",
        );
    }
    if is_image {
        return Changed(
            "as a volume of the image, which has to be on the node as the container's own has to"
                .to_owned(),
            "name the image by digest, and list its archive under `image.preload`",
        );
    }
    carried("volumeMounts")
}

/// Where a volume of podman is on the host, unless it says so itself.
pub(in super::super) fn named_volume(name: &str) -> MountSource {
    MountSource::Host(format!("{VOLUMES}/{name}"), "DirectoryOrCreate")
}

pub(super) fn device(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let mut parts = value.split(':');
    let host = parts.next().unwrap_or_default();
    let host = host.strip_prefix('-').unwrap_or(host);
    let target = parts.next().filter(|part| part.starts_with('/')).unwrap_or(host);
    if !host.starts_with("/dev/") {
        return Lost(
            "only device nodes of the host are mounted".to_owned(),
            "devices by a name of CDI come from a device plugin: name the nodes themselves",
        );
    }
    if value.starts_with('-') {
        draft.opens_devices = true;
        return Changed(
            "not mounted, since it may be absent; the container is privileged and has every device of the host"
                .to_owned(),
            "a privileged container is root on the host: check that the program is trusted with that",
        );
    }
    let source = MountSource::Host(host.to_owned(), device_type(host));
    let target = target.to_owned();
    draft.mount(Mount { source, target, read_only: false, propagation: None });
    // https://github.com/opencontainers/runc/blob/main/libcontainer/specconv/spec_linux.go: AllowedDevices
    const OPEN_TO_ALL: [&str; 6] =
        ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
    if OPEN_TO_ALL.contains(&host) {
        return carried("volumeMounts");
    }
    draft.opens_devices = true;
    Changed(
        "mounted, and the container is privileged: the cgroup of any other one keeps it from opening the device"
            .to_owned(),
        "a privileged container is root on the host: check that the program is trusted with that",
    )
}

/// The type of a device by its name, since there is no host to ask.
fn device_type(path: &str) -> &'static str {
    const BLOCKS: [&str; 10] =
        ["sd", "vd", "xvd", "nvme", "dm-", "loop", "md", "mmcblk", "sr", "rbd"];
    const FOLDERS: [&str; 5] = ["/dev/dri", "/dev/snd", "/dev/bus/usb", "/dev/input", "/dev/vfio"];
    // Nodes of NVMe controllers and of LVM's control file are no disks.
    const CHARACTERS: [&str; 2] = ["/dev/mapper/control", "/dev/nvme-fabrics"];
    let path = path.trim_end_matches('/');
    let name = path.strip_prefix("/dev/").unwrap_or(path);
    if FOLDERS.contains(&path) {
        "Directory"
    } else if CHARACTERS.contains(&path) {
        "CharDevice"
    } else if name.starts_with("disk/")
        || name.starts_with("mapper/")
        || BLOCKS.iter().any(|block| name.starts_with(block))
    {
        "BlockDevice"
    } else {
        "CharDevice"
    }
}

pub(super) fn device_rule(draft: &mut Draft, _: &str, _: &At) -> Outcome {
    draft.opens_devices = true;
    Changed(
        "the container is privileged: no other one gets devices".to_owned(),
        "a privileged container is root on the host: check that the program is trusted with that",
    )
}

pub(super) fn image_volume(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "anonymous" | "bind" => {
            Carried("containerd makes a volume of what the image declares".to_owned())
        }
        _ => Lost(
            "containerd makes a volume of what the image declares".to_owned(),
            "mount something else at that path",
        ),
    }
}

pub(super) fn read_only(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    switch(draft, "securityContext.readOnlyRootFilesystem", value)
}

pub(super) fn read_only_memory(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let Some(is_on) = boolean(value) else { return Invalid("it is no boolean".to_owned()) };
    draft.keeps_run_read_only = !is_on;
    match is_on {
        true => {
            Carried("`/run`, `/tmp` and `/var/tmp` of a read-only container are memory".to_owned())
        }
        false => Carried("nothing is mounted at `/run`, `/tmp` and `/var/tmp`".to_owned()),
    }
}

pub(super) fn shared_memory(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    if quantity(value).is_none() {
        return Invalid("it is no amount".to_owned());
    }
    mounted(draft, values::tmpfs(&format!("/dev/shm:size={value}")))
}

pub(super) fn time_zone(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let path = match value {
        "local" => "/etc/localtime".to_owned(),
        zone if zone.starts_with('/') || zone.split('/').any(|part| part == "..") => {
            return Invalid("it is no time zone".to_owned());
        }
        zone => format!("/usr/share/zoneinfo/{zone}"),
    };
    let source = MountSource::Host(path, "File");
    let target = "/etc/localtime".to_owned();
    draft.mount(Mount { source, target, read_only: true, propagation: None });
    Carried("the host's file of the zone is mounted as `/etc/localtime`".to_owned())
}

pub(super) fn secret(draft: &mut Draft, value: &str, at: &At) -> Outcome {
    let mut parts = value.split(',');
    let name = parts.next().unwrap_or_default().to_owned();
    let (mut is_variable, mut target, mut owner) = (false, None, false);
    for part in parts {
        match part.split_once('=').unwrap_or((part, "")) {
            ("type", "env") => is_variable = true,
            ("type", "mount") => {}
            ("target", value) => target = Some(value.to_owned()),
            ("uid" | "gid" | "mode", _) => owner = true,
            _ => return Invalid("podman has no such option of a secret".to_owned()),
        }
    }
    let file = file_name(&name);
    if file.is_empty() {
        return Invalid("it has no name".to_owned());
    }
    if is_variable {
        let path = format!("/run/secrets/{name}");
        draft.mount_secret(&file, &path);
        let variable = target.unwrap_or(name);
        draft.environment.insert(format!("{variable}_FILE"), (path, at.clone()));
        return Broken(
            format!(
                "a secret is no variable of a pod: `{variable}_FILE` names the file `{SECRETS}/{file}` instead"
            ),
            "let vault-agent write the file by the template of the snippet, and check that the program reads \
             such a variable",
        );
    }
    let path = match target {
        Some(target) if target.starts_with('/') => target,
        Some(target) => format!("/run/secrets/{target}"),
        None => format!("/run/secrets/{name}"),
    };
    draft.mount_secret(&file, &path);
    let remedy = match owner {
        true => {
            "fill in its path in Vault in the template of the snippet, which also sets the mode; its owner is root"
        }
        false => "fill in its path in Vault in the template of the snippet",
    };
    Changed(format!("as the file `{SECRETS}/{file}` of the host, which vault-agent writes"), remedy)
}
