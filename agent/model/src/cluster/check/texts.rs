//! Texts that end up inside other files: one line each, in the form their reader expects.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::decode::Located;
use crate::input::ClusterInput;
use crate::names::reference::{is_name, is_registry};
use crate::report::Report;

/// The key types that OpenSSH of Fedora CoreOS accepts.
const SSH_KEY_TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
];

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    let node_keys = input.nodes.iter().flat_map(|node| &node.ssh_authorized_keys);
    for key in input.ssh_authorized_keys.iter().chain(node_keys) {
        ssh_key(key, report);
    }
    let role_arguments = input.roles.values().flat_map(|role| &role.kernel_arguments);
    let node_arguments = input.nodes.iter().flat_map(|node| &node.kernel_arguments);
    for argument in input.kernel_arguments.iter().chain(role_arguments).chain(node_arguments) {
        word(argument, "a kernel argument", report);
        boot_word(argument, "kernel argument", report);
    }
    for node in &input.nodes {
        let keys = input.ssh_authorized_keys.iter().chain(&node.ssh_authorized_keys);
        super::unique("SSH key", keys.map(super::Item::of), report);
        let role = input.roles.get(&node.role.value).map(|role| role.kernel_arguments.as_slice());
        let lists = [&input.kernel_arguments, role.unwrap_or_default(), &node.kernel_arguments];
        super::unique("kernel argument", lists.into_iter().flatten().map(super::Item::of), report);
    }
    for disk in input.nodes.iter().filter_map(|node| node.install_disk.as_ref()) {
        if disk.as_str().contains(char::is_whitespace) {
            let message = "not the path of a disk: it has white space in it";
            report.error(disk.place, &disk.path, message);
        } else if !disk.as_str().starts_with("/dev/") {
            report
                .error(disk.place, &disk.path, "not a device below `/dev`")
                .hint("write it like `/dev/disk/by-id/…`");
        }
        let text =
            Located { value: disk.value.to_string(), place: disk.place, path: disk.path.clone() };
        boot_word(&text, "disk", report);
    }
    if let Some(containerd) = &input.containerd {
        image_name(&containerd.sandbox_image, report);
        for base in containerd.mirrors.values().flatten() {
            url(base, &["https://", "http://"], report);
        }
    }
}

/// An OpenSSH public key: type, base64, comment.
fn ssh_key(key: &Located<String>, report: &mut Report) {
    let mut parts = key.split_ascii_whitespace();
    let kind = parts.next().filter(|kind| SSH_KEY_TYPES.contains(kind));
    let blob = parts.next().and_then(|body| STANDARD.decode(body).ok());
    let (Some(kind), Some(blob), false) = (kind, blob, key.contains(['\n', '\r'])) else {
        report
            .error(key.place, &key.path, "not an OpenSSH public key")
            .hint("write one line as in `id_ed25519.pub`: `ssh-ed25519 AAAA… comment`");
        return;
    };
    // That type is one of signatures as well, which the key itself does not tell.
    let kind = kind.strip_prefix("webauthn-").unwrap_or(kind);
    if ssh_strings(&blob).is_none_or(|fields| fields.len() < 2 || fields[0] != kind.as_bytes()) {
        report
            .error(key.place, &key.path, "the public key is cut or damaged")
            .hint("copy it again, all of the line");
    }
}

/// The strings that a public key is made of, each behind its length; `None` when they are not all of it.
///
/// Format: <https://www.rfc-editor.org/rfc/rfc4253#section-6.6>
fn ssh_strings(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut strings = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        strings.push(string);
        blob = rest;
    }
    Some(strings)
}

/// The name of an image in a registry, as it is pulled.
pub(super) fn image_name(text: &Located<String>, report: &mut Report) {
    if !is_name(text) {
        report.error(text.place, &text.path, "not the name of an image in a registry").hint(
            "write `registry/name:tag`, in lower case, without a digest and without `docker://`",
        );
    }
}

/// A word that iPXE leaves as it is: it expands `${…}`, and knows no quotes (<https://ipxe.org/scripting>).
fn boot_word(text: &Located<String>, what: &str, report: &mut Report) {
    let is_operator = matches!(text.as_str(), "&&" | "||" | ";");
    if is_operator || text.contains("${") {
        let shown = text.value.escape_debug();
        let message = format!("the {what} `{shown}` means something else to iPXE");
        report
            .error(text.place, &text.path, message)
            .hint("leave out `${`, and do not write `&&`, `||` or `;` alone");
    }
}

/// One word: no white space, no control characters, not empty.
pub(super) fn word(text: &Located<String>, what: &str, report: &mut Report) {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        report.error(
            text.place,
            &text.path,
            format!("not {what}: it is empty or has white space in it"),
        );
    }
}

/// A URL with one of `schemes`, a host with or without a port, and a path that needs no quoting.
pub(super) fn url(text: &Located<String>, schemes: &[&str], report: &mut Report) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
    let is_url = schemes.iter().filter_map(|scheme| text.strip_prefix(scheme)).any(|rest| {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        is_registry(authority) && path.chars().all(is_plain)
    });
    if !is_url {
        let message = format!("not a URL that starts with `{}`", schemes.join("` or `"));
        report
            .error(text.place, &text.path, message)
            .hint("write a host in lower case, or an IP address (IPv6 in brackets), and a port up to 65535");
    }
}
