//! MachineConfigs: what they have to say, and what OpenShift takes.

use super::{Check, disk, resource, url};
use crate::tree::{Origin, Tree, Value};

/// The label that says for which machines a MachineConfig is.
const ROLE: &str = "machineconfiguration.openshift.io/role";

/// What the machine needs to find the key that the crypto card protects.
const CEX_ARGUMENT: &str = "rd.luks.key=/etc/luks/cex.key";

/// Butane: the top of a config.
pub(crate) fn config(config: &Tree, check: &mut Check) {
    let Some(version) = check.target().openshift else {
        disk::fedora_coreos(config, check);
        return;
    };
    metadata(config, check);
    let section = config.get("openshift");
    if let Some(section) = section
        && let Some(kind) = section.text("kernel_type")
        && !matches!(kind, "" | "default" | "realtime")
    {
        check
            .error(&section.place_of("kernel_type"), format!("there is no kernel type `{kind}`"))
            .hint("there are `default` and `realtime`");
    }
    if version.minor >= 19 {
        cex_argument(config, section, check);
    }
}

fn metadata(config: &Tree, check: &mut Check) {
    let section = config.get("metadata");
    if section.is_some_and(|section| matches!(section.value, Value::Broken)) {
        return;
    }
    let place = |name: &str| match section {
        Some(section) => section.place_of(name),
        None => config.origin.below("metadata").below(name),
    };
    if section.is_none_or(|section| section.lacks("name")) {
        check.error(&place("name"), "a MachineConfig has a name").hint("set `metadata.name`");
    }
    let labels = section.and_then(|section| section.get("labels")).map(|labels| &labels.value);
    let has_role = match labels {
        Some(Value::Labels(labels)) => {
            labels.iter().any(|(name, value)| name == ROLE && value.as_text() != Some(""))
        }
        Some(Value::Broken) => true,
        _ => false,
    };
    if !has_role {
        check
            .error(&place("labels"), "nothing says which machines this is for")
            .hint(format!("add the label `{ROLE}`, with `worker` or `master`"));
    }
}

/// A root disk that the crypto card unlocks needs a kernel argument, which OpenShift sets elsewhere.
fn cex_argument(config: &Tree, section: Option<&Tree>, check: &mut Check) {
    let uses_cex =
        |tree: &Tree| tree.get("cex").is_some_and(|cex| cex.flag("enabled") == Some(true));
    let boot_device = config.get("boot_device").and_then(|boot_device| boot_device.get("luks"));
    let volumes = config.get("storage").map_or(&[][..], |storage| storage.items("luks"));
    let is_root = |volume: &&Tree| volume.text("name") == Some("root");
    let is_used = boot_device.is_some_and(uses_cex) || volumes.iter().filter(is_root).any(uses_cex);
    let arguments = section.map_or(&[][..], |section| section.items("kernel_arguments"));
    if is_used && !arguments.iter().any(|argument| argument.as_text() == Some(CEX_ARGUMENT)) {
        let origin: Origin = match section {
            Some(section) => section.place_of("kernel_arguments"),
            None => config.origin.below("openshift").below("kernel_arguments"),
        };
        check
            .error(
                &origin,
                "with `cex` on the root disk, the kernel has to be told where the key is",
            )
            .hint(format!("add `{CEX_ARGUMENT}` to `openshift.kernel_arguments`"));
    }
}

/// What OpenShift refuses in a finished config, besides what the filters say.
pub(crate) fn finished(config: &Tree, check: &mut Check) {
    let Some(version) = check.target().openshift else { return };
    let section = |name: &str, list: &'static str| {
        config.get(name).map_or(&[][..], |section| section.items(list))
    };
    for filesystem in section("storage", "filesystems") {
        let origin = filesystem.place_of("format");
        match filesystem.text("format") {
            Some("btrfs") => {
                check.error(&origin, "RHCOS has no btrfs").hint("use `xfs` or `ext4`");
            }
            Some("none") if version.minor >= 14 => {
                check
                    .error(&origin, "OpenShift does not take the format `none`")
                    .hint("leave the file system away, or give it a format");
            }
            _ => {}
        }
    }
    for file in section("storage", "files") {
        if let Some(contents) = file.get("contents")
            && let Some(source) = resource::written_source(contents)
            && url::parse(source).is_ok_and(|url| url.scheme != "data")
        {
            check
                .error(&contents.place_of("source"), "OpenShift does not fetch contents")
                .hint("put them into the config, with `inline` or `local`");
        }
        if version.minor >= 10 && file.integer("mode").is_some_and(|mode| mode & !0o777 != 0) {
            check
                .error(
                    &file.place_of("mode"),
                    "OpenShift does not set the setuid, setgid and sticky bits",
                )
                .hint("a mode has three octal digits here: `0755`");
        }
    }
    for user in section("passwd", "users") {
        if user.text("name").is_some_and(|name| name != "core") {
            check
                .error(&user.place_of("name"), "OpenShift manages no user but `core`")
                .hint("give the keys to `core`");
        }
    }
}
