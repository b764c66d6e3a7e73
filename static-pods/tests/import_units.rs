//! What systemd units and quadlet files say of limits and rights, and what their pods may do then.

#![allow(clippy::unwrap_used)]

mod imported;

use imported::{imported, linted, said};

/// Of a container's limits and its unit's the tighter ones hold, whichever come first.
#[test]
fn the_tighter_limit_holds() {
    let unit = |own: &str, of_unit: &str| {
        let text = format!(
            "[Container]\nImage=r.example/a\nPodmanArgs={own}\n[Service]\nRestart=always\n{of_unit}\n"
        );
        imported(&[("a.container", &text)], &["a.container"]).pods[0].manifest.clone()
    };
    for (own, of_unit, cpu, memory) in [
        ("--cpus=1.5 --memory=2g", "CPUQuota=200%\nMemoryMax=3G", "1500m", "2Gi"),
        ("--cpus=2 --memory=3g", "CPUQuota=150%\nMemoryMax=2G", "1500m", "2Gi"),
        ("--cpu-quota=150000 --memory=2g", "CPUQuota=200%\nMemoryMax=3G", "1500m", "2Gi"),
    ] {
        let manifest = unit(own, of_unit);
        let limits = format!("      limits:\n        cpu: '{cpu}'\n        memory: '{memory}'\n");
        assert!(manifest.contains(&limits), "{own} {of_unit}\n{manifest}");
    }
}

/// What is said of a pod holds for its containers.
#[test]
fn a_pod_hands_on_what_it_has() {
    let image = "Image=r.example/a\nPod=p.pod\n";
    let files = [
        (
            "p.pod",
            "[Pod]\nPodmanArgs=--memory=1g --cpus=2 --device=/dev/fuse --security-opt=label=disable --security-opt=seccomp=/a.json\n[Service]\nRestart=always\nMemoryMax=512M\n",
        ),
        ("a.container", &format!("[Container]\n{image}PodmanArgs=--memory=400m\n")),
        (
            "b.container",
            &format!(
                "[Container]\n{image}PodmanArgs=--memory=2g --security-opt=seccomp=unconfined\n"
            ),
        ),
    ];
    let made = imported(&files, &["p.pod", "a.container", "b.container"]);
    linted(&made);
    let manifest = &made.pods[0].manifest;
    // Together they may have more than the pod, but not request it.
    for expected in [
        "  restartPolicy: Always\n",
        "  resources:\n    limits:\n      cpu: '2'\n      memory: '512Mi'\n",
        "      limits:\n        memory: '400Mi'\n      requests:\n        memory: '0'\n",
        "      limits:\n        memory: '512Mi'\n      requests:\n        memory: '0'\n",
        "      seccompProfile:\n        localhostProfile: a.json\n        type: Localhost\n",
        "      seccompProfile:\n        type: Unconfined\n",
    ] {
        assert!(manifest.contains(expected), "{expected}\n{manifest}");
    }
    for of_both in ["privileged: true", "type: spc_t", "mountPath: /dev/fuse"] {
        assert_eq!(manifest.matches(of_both).count(), 2, "{of_both}\n{manifest}");
    }
}

/// A container that opens devices is privileged, whatever else is said of it.
#[test]
fn devices_need_privileges() {
    for arguments in
        ["--device=/dev/kvm --privileged=false", "--privileged=false --device=/dev/kvm"]
    {
        let text = format!("[Container]\nImage=r.example/a\nPodmanArgs={arguments}\n");
        let made = imported(&[("a.container", &text)], &["a.container"]);
        assert!(made.pods[0].manifest.contains("privileged: true"), "{}", made.pods[0].manifest);
    }
}

/// What podman keeps away from the host is not written there by the pod.
#[test]
fn overlays_are_read_only() {
    let text = "[Container]\nImage=r.example/a\nVolume=/srv/a:/a:O\n";
    let made = imported(&[("a.container", text)], &["a.container"]);
    let mount = "- name: a\n      mountPath: /a\n      readOnly: true\n";
    assert!(made.pods[0].manifest.contains(mount), "{}", made.pods[0].manifest);
    let said = said(&made, "a.container").join("\n");
    assert!(said.contains("broken: Container.Volume: mounted read-only"), "{said}");
}

/// Capabilities of other users than root are lost, and said to be.
#[test]
fn capabilities_of_users() {
    for (user, expected) in [
        ("", None),
        ("User=0\n", None),
        ("User=root\n", None),
        (
            "User=42\n",
            Some(
                "lost: the program runs as user 42, and has `NET_ADMIN` only if its file in the image has",
            ),
        ),
    ] {
        let text = format!("[Container]\nImage=r.example/a\nAddCapability=CAP_NET_ADMIN\n{user}");
        let made = imported(&[("a.container", &text)], &["a.container"]);
        let said = said(&made, "a.container").join("\n");
        match expected {
            Some(expected) => assert!(said.contains(expected), "{user} {said}"),
            None => assert!(!said.contains("program runs as"), "{user} {said}"),
        }
    }
}
