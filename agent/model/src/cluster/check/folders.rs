//! Folders that pods and certificates get on the node: their own, and nobody else's.

use super::Item;
use crate::cluster::resolve::directory_of;
use crate::decode::Located;
use crate::input::ClusterInput;
use crate::names::AbsolutePath;
use crate::node::KUBERNETES_DIRECTORY;
use crate::report::{Place, Report};

/// What others rely on, whole. A pod that may write there could change the node.
///
/// Links are here by both names, as Fedora CoreOS has them: `/bin` is `/usr/bin`, `/root` is `/var/roothome`.
const TAKEN: [&str; 60] = [
    "/bin",
    "/boot",
    "/dev",
    "/efi",
    "/etc/NetworkManager",
    "/etc/basalt",
    "/etc/cni",
    "/etc/containerd",
    "/etc/containers",
    "/etc/cron.d",
    "/etc/crypto-policies",
    "/etc/dbus-1",
    "/etc/default",
    "/etc/dracut.conf.d",
    "/etc/kernel",
    "/etc/kubernetes",
    "/etc/modprobe.d",
    "/etc/modules-load.d",
    "/etc/ostree",
    "/etc/pam.d",
    "/etc/pki/ca-trust",
    "/etc/pki/rpm-gpg",
    "/etc/polkit-1",
    "/etc/profile.d",
    "/etc/rpm-ostreed.conf.d",
    "/etc/security",
    "/etc/selinux",
    "/etc/skel",
    "/etc/ssh",
    "/etc/sudoers.d",
    "/etc/sysconfig",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/tmpfiles.d",
    "/etc/udev",
    "/etc/zincati",
    "/lib",
    "/lib64",
    "/ostree",
    "/proc",
    "/root",
    "/run/basalt",
    "/run/containerd",
    "/run/credentials",
    "/run/dbus",
    "/run/haproxy",
    "/run/keepalived",
    "/run/systemd",
    "/run/udev",
    "/run/user",
    "/sbin",
    "/sys",
    "/sysroot",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/systemd",
    "/var/log",
    "/var/roothome",
    "/var/run",
];

/// Folders that hold those of many programs: a folder inside is fine, the folder itself is not.
const SHARED: [&str; 25] = [
    "/",
    "/etc",
    "/etc/pki",
    "/etc/pki/tls",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/private",
    "/etc/ssl",
    "/etc/ssl/certs",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/run",
    "/srv",
    "/tmp",
    "/var",
    "/var/cache",
    "/var/home",
    "/var/lib",
    "/var/lib/basalt",
    "/var/lib/basalt/certificates",
    "/var/mnt",
    "/var/opt",
    "/var/srv",
    "/var/tmp",
];

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    for template in input.vault_agent.iter().flat_map(|agent| &agent.templates) {
        let destination = &template.destination;
        own(folder_of(destination.as_str()), destination.place, &destination.path, report);
    }
    for secret in input.vault.iter().flat_map(|vault| &vault.secrets) {
        let destination = &secret.destination;
        own(folder_of(destination.as_str()), destination.place, &destination.path, report);
    }
    for item in input.vault.iter().flat_map(|vault| &vault.certificates) {
        if let Some(directory) = &item.directory {
            own(directory_of(item).as_str(), directory.place, &directory.path, report);
        }
    }
    identity(input, report);
    if let Some(kubelet) = &input.kubelet {
        let folder = &kubelet.static_pod_directory;
        if !folder.as_str().starts_with(KUBERNETES_DIRECTORY) {
            report
                .error(
                    folder.place,
                    &folder.path,
                    format!("`{}` is not below `{KUBERNETES_DIRECTORY}`", folder.value),
                )
                .hint("the agent owns the folder and may write there alone");
        }
    }
    let templates = input.vault_agent.iter().flat_map(|agent| &agent.templates);
    let folders = templates.filter_map(|template| {
        let folder = folder_of(template.destination.as_str());
        let mut certificates = input.vault.iter().flat_map(|vault| &vault.certificates);
        let taken = certificates.any(|item| directory_of(item).as_str() == folder);
        taken.then(|| Item::of(&template.destination))
    });
    for item in folders {
        report.error(
            item.place,
            item.path,
            format!("`{}` is in the folder of a certificate", item.key),
        );
    }
}

fn own(folder: &str, place: Place, path: &str, report: &mut Report) {
    let is_inside = |taken: &&str| {
        folder == *taken || folder.strip_prefix(*taken).is_some_and(|rest| rest.starts_with('/'))
    };
    let hint = "use a folder of its own, like `/var/lib/basalt/secrets`";
    if let Some(taken) = TAKEN.iter().find(|taken| is_inside(taken)) {
        report.error(place, path, format!("`{taken}` belongs to the node itself")).hint(hint);
    } else if SHARED.contains(&folder) || folder.is_empty() {
        report.error(place, path, "the folder is shared with other programs").hint(hint);
    } else if folder.contains(':') {
        report.error(place, path, "no pod can be given a folder with a `:` in its name").hint(hint);
    }
}

/// Where the agent keeps the identity that a node earns, and finds the secret of the first login.
const IDENTITY_FOLDERS: [&str; 2] = ["/var/lib/basalt/identity", "/var/lib/basalt/enrolment"];

/// The files by which the node proves who it is: their folders are what vault-agent may read, and hold nothing that
/// somebody else writes.
fn identity(input: &ClusterInput, report: &mut Report) {
    let Some(vault) = &input.vault else { return };
    let app_role = vault.auth.app_role.iter().map(|auth| &auth.secret_id_file);
    let cert = vault.auth.cert.iter().flat_map(|auth| [&auth.certificate_file, &auth.key_file]);
    let jwt = vault.auth.jwt.iter().map(|auth| &auth.token_file);
    let token = vault.auth.token.iter().map(|auth| &auth.token_file);
    let bootstrap = (input.kubernetes.iter())
        .filter_map(|kubernetes| kubernetes.identity.bootstrap.as_ref())
        .map(|bootstrap| &bootstrap.token_file);
    let files: Vec<&Located<AbsolutePath>> =
        app_role.chain(cert).chain(jwt).chain(token).chain(bootstrap).collect();
    if input.vault_agent.is_some() {
        // What could not be read has a stand-in, whose folder is nobody's.
        for file in files.iter().filter(|file| report.is_whole(&file.path)).collect::<Vec<_>>() {
            let folder = folder_of(file.as_str());
            if folder.is_empty() || SHARED.contains(&folder) || TAKEN.contains(&folder) {
                report
                    .error(file.place, &file.path, "vault-agent would be given the whole folder")
                    .hint("use a folder of its own, like `/var/lib/basalt/identity`");
            } else if folder.contains(':') {
                let message = "no pod can be given a folder with a `:` in its name";
                report.error(file.place, &file.path, message);
            }
        }
    }
    let of_agent = |folder: &str| {
        let is_agents = vault.auth.node.is_some() && IDENTITY_FOLDERS.contains(&folder);
        is_agents.then_some("vault.auth.node")
    };
    let holds_identity = |folder: &str| {
        let mut files = files.iter().filter(|file| folder_of(file.as_str()) == folder);
        files.next().map(|file| file.path.as_str()).or_else(|| of_agent(folder))
    };
    let certificates = vault.certificates.iter().filter_map(|item| {
        let directory = item.directory.as_ref()?;
        Some((directory.as_str(), directory.place, directory.path.as_str()))
    });
    let templates = input.vault_agent.iter().flat_map(|agent| &agent.templates).map(|template| {
        let destination = &template.destination;
        (folder_of(destination.as_str()), destination.place, destination.path.as_str())
    });
    let secrets = vault.secrets.iter().map(|secret| {
        let destination = &secret.destination;
        (folder_of(destination.as_str()), destination.place, destination.path.as_str())
    });
    for (folder, place, path) in certificates.chain(templates).chain(secrets) {
        if let Some(identity) = holds_identity(folder) {
            let message = format!("`{folder}` holds what the node proves itself with ({identity})");
            report.error(place, path, message).hint("use another folder");
        }
    }
}

/// The folder a file lies in; empty for one at the root of the file system.
fn folder_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}
