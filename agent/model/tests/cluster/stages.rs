//! What later stages would refuse, and that everything is found at once.

use basalt_model::cluster::{Cluster, Reading};
use basalt_model::report::Severity;

use crate::vault::URL_HINT;
use crate::{LAB, check};

const NO_KEY: &str = "not an OpenSSH public key\n  hint: write one line as in `id_ed25519.pub`: `ssh-ed25519 AAAA… comment`";
const CUT_KEY: &str = "the public key is cut or damaged\n  hint: copy it again, all of the line";

#[test]
fn images() {
    let image = "image: registry.lab.example/basalt/haproxy:2.6@";
    let digest = "sha256:0df48fafe8077448f0d8a202c1c2afb448b02d8821a59dabc7af7f55977dc6ca";
    for name in ["Basalt/haproxy:2.6", "basalt/haproxy:", "basalt/haproxy:2:6"] {
        let name = format!("registry.lab.example/{name}");
        let message =
            "is not an image reference with a digest (`registry/name@sha256:` and 64 hex digits)";
        let expected = format!("f:L:10: haproxy.image: `{name}@{digest}` {message}");
        check(image, &format!("image: {name}@"), &[&expected]);
    }
    let hint = "\n  hint: write `registry/name:tag`, in lower case, without a digest and without `docker://`";
    let wrong = "not the name of an image in a registry";
    for name in ["pause:3.10", "docker://registry.lab.example/basalt/pause:3.10"] {
        check(
            "containerd:\n",
            &format!("containerd:\n  sandbox_image: {name}\n"),
            &[&format!("f:L+1:18: containerd.sandbox_image: {wrong}{hint}")],
        );
    }
    check(
        "reference: registry.lab.example/basalt/lab:stable",
        "reference: registry.lab.example/basalt/lab:stable:2",
        &[&format!("f:L:14: image.reference: {wrong}{hint}")],
    );
}

#[test]
fn the_pause_image_is_on_the_node() {
    let own = "containerd:\n  sandbox_image: registry.lab.example/pause:3.10\n";
    let message = "no archive in `image.preload` is `registry.lab.example/pause:3.10`: a node that cannot reach the registry starts no pod";
    let hint = "preload it, or leave the line out: the build then makes and bakes in a pause image";
    check(
        "containerd:\n",
        own,
        &[&format!("f:L+1:18: warning: containerd.sandbox_image: {message}\n  hint: {hint}")],
    );
    check("containerd:\n", "containerd:\n  sandbox_image: localhost/basalt/pause:1\n", &[]);
    let preload = format!(
        "  version: \"1\"\n  preload:\n    - reference: registry.lab.example/pause:3.10@sha256:{0}\n      archive: pause.tar\n      sha256: {0}\n",
        "1".repeat(64)
    );
    let text = LAB.replace("containerd:\n", own).replace("  version: \"1\"\n", &preload);
    let (_, report) = Cluster::parse("f", text.as_bytes()).unwrap();
    assert!(report.is_empty(), "{report}");
}

#[test]
fn mirrors() {
    let mirrors = "    registry.lab.example: [";
    for registry in ["registry:5000", "\"[2001:db8::1]:5000\"", "registry"] {
        check(mirrors, &format!("    {registry}: ["), &[]);
    }
    for registry in ["registry:port", "registry:0", "https://registry", "2001:db8::1"] {
        let place = format!("f:L:5: containerd.mirrors.{registry}");
        let message = "is not a registry like `registry.example` or `registry:5000`";
        check(
            mirrors,
            &format!("    {registry}: ["),
            &[&format!("{place}: `{registry}` {message}")],
        );
    }
}

/// What a later stage would find, without a place and once for each node, is found here.
#[test]
fn what_later_stages_refuse() {
    check(
        "  roles: [controller]\n  frontends:",
        "  roles: [controller]\n  max_connections: 900000\n  frontends:",
        &["f:L+1:20: haproxy.max_connections: 900000 is not between 1 and 500000"],
    );
    check(
        "    - name: dashboard\n      mode: http",
        "    - name: basalt-monitor\n      mode: http",
        &[
            "f:L:13: haproxy.frontends[0].name: names that begin with `basalt-` are of haproxy's own sections\n  hint: choose another name",
        ],
    );
    let ipxe = "means something else to iPXE\n  hint: leave out `${`, and do not write `&&`, `||` or `;` alone";
    for argument in ["a=${b}", "||"] {
        check(
            "kernel_arguments: [mitigations=auto,",
            &format!("kernel_arguments: [\"{argument}\","),
            &[&format!("f:L:20: kernel_arguments[0]: the kernel argument `{argument}` {ipxe}")],
        );
    }
    check(
        "/dev/disk/by-id/virtio-lab-n1",
        "/dev/disk/${x}",
        &[&format!("f:L:19: nodes[0].install_disk: the disk `/dev/disk/${{x}}` {ipxe}")],
    );
    check(
        "/dev/disk/by-id/virtio-lab-n1",
        "/disk",
        &[
            "f:L:19: nodes[0].install_disk: not a device below `/dev`\n  hint: write it like `/dev/disk/by-id/…`",
        ],
    );
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIY3y0AnjTKk3FE7/efvBIqiF/jSB9PtqX+Q5L42xaD2 operator@lab.example";
    check(
        "- name: n3\n    role: controller\n",
        &format!("- name: n3\n    role: controller\n    ssh_authorized_keys: [{key}]\n"),
        &[&format!(
            "f:L+2:27: nodes[2].ssh_authorized_keys[0]: SSH key `{key}` is already used in line <ssh-ed25519> (ssh_authorized_keys[0])"
        )],
    );
    for (damaged, message) in [
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIY3y0AnjTKk3FE7/efv me", CUT_KEY),
        ("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIIY3y0AnjTKk3FE7/efvBIqiF/jSB9PtqX+Q5L42xaD2", CUT_KEY),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", CUT_KEY),
        ("ssh-ed25519 rubbish!rubbish!", NO_KEY),
        ("ssh-ed25519", NO_KEY),
        ("AAAAC3NzaC1lZDI1NTE5AAAAIIY3y0AnjTKk3FE7/efvBIqiF/jSB9PtqX+Q5L42xaD2", NO_KEY),
    ] {
        check(key, damaged, &[&format!("f:L:5: ssh_authorized_keys[0]: {message}")]);
    }
    let certificate = "      include_node_name: true\n";
    let place = "vault.certificates[0]";
    for (field, message) in [
        (
            "mode: \"0000\"",
            format!(
                "f:L+1:13: {place}.mode: mode `0000` lets not even the owner read the files\n  hint: use \"0600\", or \"0640\" with a group"
            ),
        ),
        (
            "directory: /srv/a b",
            format!(
                "f:L+1:18: {place}.directory: haproxy cannot be told the folder `/srv/a b`\n  hint: use letters, digits, `.`, `_` and `-`"
            ),
        ),
    ] {
        check(certificate, &format!("{certificate}      {field}\n"), &[&message]);
    }
    check(
        crate::vault::NODE_AUTH,
        "    app_role:\n      role_id: a b\n      secret_id_file: /secret\n",
        &[
            "f:L+1:16: vault.auth.app_role.role_id: not a role id: it is empty or has white space in it",
            "f:L+2:23: vault.auth.app_role.secret_id_file: vault-agent would be given the whole folder\n  hint: use a folder of its own, like `/var/lib/basalt/identity`",
        ],
    );
    let long = "c".repeat(52);
    let report = Cluster::parse(
        "f",
        LAB.replace("certificate: dashboard", &format!("certificate: {long}"))
            .replace(
                "    - name: dashboard\n      roles",
                &format!("    - name: {long}\n      roles"),
            )
            .as_bytes(),
    )
    .unwrap_err();
    assert!(report.to_string().contains("at most 51 characters fit"), "{report}");
}

#[test]
fn texts() {
    check(
        "kernel_arguments: [scsi_mod.use_blk_mq=1]",
        "kernel_arguments: [mitigations=auto]",
        &[
            "f:L:24: nodes[2].kernel_arguments[0]: kernel argument `mitigations=auto` is already used in line <kernel_arguments: [mitigations> (kernel_arguments[0])",
        ],
    );
    check(
        "/dev/disk/by-id/virtio-lab-n1",
        "/dev/a b",
        &["f:L:19: nodes[0].install_disk: not the path of a disk: it has white space in it"],
    );
    check(
        "[\"https://mirror1.lab.example\",",
        "[\"ftp://mirror1.lab.example\",",
        &[&format!(
            "f:L:28: containerd.mirrors.registry.lab.example[0]: not a URL that starts with `https://` or `http://`{URL_HINT}"
        )],
    );
    check(
        "mitigations=auto,",
        "\"mitigations=auto quiet\",",
        &[
            "f:L:20: kernel_arguments[0]: not a kernel argument: it is empty or has white space in it",
        ],
    );
    check(
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----",
        &[
            "f:<lab-vault: |>:14: trust_anchors.lab-vault: holds something else than certificates\n  hint: a trust anchor is public; a private key does not belong into this file",
        ],
    );
    let line = "    xC0VB9PtP4AZ78KJzBlpXR6GX4+xLQ==\n";
    let damaged = "certificate is cut or damaged\n  hint: copy it again, every line of it";
    for wrong in
        ["", "    xC0VB9PtP4AZ78KJzBlpXR6GX4+x!Q==\n", "    xC0VB9PtP4AZ78KJzBlpXR6GX4+x\n"]
    {
        check(line, wrong, &[&format!("f:<lab-vault: |>:14: trust_anchors.lab-vault: {damaged}")]);
    }
    check(
        "  base: scratch",
        "  base: quay.io/fedora/fedora-coreos:stable",
        &[
            "f:L:9: image.base: `quay.io/fedora/fedora-coreos:stable` is not a base image\n  hint: write `scratch`, `oci:FOLDER`, or `registry/name@sha256:…`: a tag alone may name another image tomorrow",
        ],
    );
}

/// Everything at once: no finding of the cross-checks hides another.
#[test]
fn all_at_once() {
    let text = LAB
        .replace("virtual_router_id: 52", "virtual_router_id: 51")
        .replace("ca: lab-vault", "ca: other")
        .replace("  controller: {}", "  controller: {}\n  storage: {}")
        .replace("- name: n2\n    role", "- name: n1\n    role");
    let refused = Cluster::parse("f", text.as_bytes()).unwrap_err();
    assert_eq!(refused.0.sorted().len(), 4, "{refused}");
}

/// What cannot be read hides nothing of the rest, and is not taken for missing.
#[test]
fn what_cannot_be_read_hides_nothing() {
    let all = |changes: &[(&str, &str)]| {
        let mut text = LAB.to_owned();
        for (from, to) in changes {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, to);
        }
        let report = Cluster::parse("f", text.as_bytes()).unwrap_err().0;
        let errors =
            report.sorted().into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| format!("{}: {}", finding.path, finding.message)).collect::<Vec<_>>()
    };
    let role = ("- name: n3\n    role: controller", "- name: n3\n    role: controler");
    let no_role = "nodes[2].role: there is no role `controler`";
    let own = "`192.0.2.12` is a machine's own address (nodes[1].interfaces[2].addresses[0])";
    assert_eq!(
        all(&[
            ("generation: 1\n", "generation: x\n"),
            role,
            ("virtual_addresses: [192.0.2.10]", "virtual_addresses: [192.0.2.12]"),
        ]),
        [
            "generation: a whole number is wanted here, not `x`".to_owned(),
            no_role.to_owned(),
            format!("keepalived.instances[0].virtual_addresses[0]: {own}"),
        ]
    );
    // The VRRP instances have too few nodes that can be read, and the API's address is in no network that can be.
    assert_eq!(
        all(&[
            ("- name: n1\n    role", "- name: N1\n    role"),
            ("- name: n2\n    role", "- name: N2\n    role"),
            role,
        ]),
        [
            "nodes[0].name: `N1` is not an RFC 1123 label that is no number (a-z, 0-9 and `-`, at most 63 characters)",
            "nodes[1].name: `N2` is not an RFC 1123 label that is no number (a-z, 0-9 and `-`, at most 63 characters)",
            no_role,
        ]
    );
    // One interface stays, without the card and the addresses that it has.
    assert_eq!(
        all(&[
            ("mac: \"52:54:00:00:02:01\"", "mac: no"),
            ("addresses: [192.0.2.11/24, \"2001:db8:2::11/64\"]", "adresses: [192.0.2.11/24]"),
            ("ca: lab-vault", "ca: other"),
            ("virtual_router_id: 52", "virtual_router_id: 51"),
        ]),
        [
            "nodes[0].interfaces[0].mac: `no` is not an Ethernet address of one network card like `52:54:00:12:34:56`, in lower case",
            "nodes[0].interfaces[0].adresses: unknown field",
            "keepalived.instances[1].virtual_router_id: VRID `51` is already used in line 114 (keepalived.instances[0].virtual_router_id)",
            "vault.ca: there is no trust anchor `other`",
        ]
    );
    // Whole sections and required fields of them.
    assert_eq!(
        all(&[
            ("  host: api.lab.example\n", ""),
            ("  image: registry.lab.example/basalt/haproxy:2.6@", "  image: haproxy@"),
            ("mount: pki/lab\n    role: node\n", "mount: pki/lab\n"),
            ("  name: basalt-lab\n", "  name: Lab\n"),
            ("certificate: dashboard", "certificate: dashbord"),
            role,
        ]),
        [
            no_role,
            "api: `host` is missing",
            "haproxy.image: `haproxy@sha256:0df48fafe8077448f0d8a202c1c2afb448b02d8821a59dabc7af7f55977dc6ca` is not an image reference with a digest (`registry/name@sha256:` and 64 hex digits)",
            "haproxy.frontends[0].certificate: there is no certificate `dashbord`",
            "vault.pki: `role` is missing",
            "image.name: `Lab` is not an RFC 1123 label (a-z, 0-9 and `-`, at most 63 characters)",
        ]
    );
    let text =
        LAB.replace("generation: 1\n", "generation: 1\ngeneration: 1\n").replace(role.0, role.1);
    let report = Cluster::parse("f", format!("{text}---\n").as_bytes()).unwrap_err().to_string();
    for part in ["`generation` is already set", "a second document", "no role `controler`"] {
        assert!(report.contains(part), "{report}");
    }
}

/// The files that a refused cluster names can be looked at.
#[test]
fn files_of_a_refused_cluster() {
    let reading = Reading::of("f", LAB.replace("generation: 1\n", "").as_bytes());
    assert!(reading.cluster.is_none() && reading.report.has_errors());
    let butane: Vec<&str> = reading.butane.iter().map(|file| file.as_str()).collect();
    assert_eq!(butane, ["butane/all.bu", "butane/n3.bu"]);
    assert_eq!(reading.image.unwrap().files[0].source.as_str(), "files/crictl.yaml");
    let nothing = Reading::of("f", b"[");
    assert!(nothing.report.has_errors() && nothing.butane.is_empty() && nothing.image.is_none());
}
