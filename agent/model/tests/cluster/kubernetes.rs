//! The cluster that nodes join.

use basalt_model::cluster::Cluster;
use basalt_model::names::Endpoint;
use basalt_model::node::{
    Ask, CertificateLayout, CheckTls, HandOff, KeyUsage, KubeletIdentity, Node, Taint, TaintEffect,
};

use crate::LAB;

const SECTION: &str = "kubernetes:
  roles: [controller]
  ca: lab-vault
  cluster_dns: [10.96.0.10]
  service_networks: [10.96.0.0/16]
  labels: {lab.example/rack: r1, topology.kubernetes.io/zone: z1}
  taints: [{key: lab.example/only, value: \"yes\", effect: NoSchedule}]
  identity:
    vault: {mount: pki/kubernetes}
";

/// The lab with a section for the cluster to join, changed in one place.
fn read(from: &str, to: &str) -> Result<Cluster, Vec<String>> {
    assert_eq!(SECTION.matches(from).count(), 1, "`{from}` stands in the section once");
    let text = format!("{LAB}{}", SECTION.replace(from, to));
    match Cluster::parse("f", text.as_bytes()) {
        Ok((cluster, report)) if report.is_empty() => Ok(cluster),
        Ok((_, report)) => Err(messages(&report)),
        Err(refused) => Err(messages(&refused.0)),
    }
}

/// Findings without their lines, which the lab moves.
fn messages(report: &basalt_model::report::Report) -> Vec<String> {
    let text = |finding: String| {
        let rest = finding.splitn(4, ':').nth(3).unwrap_or_default().trim_start().to_owned();
        rest.lines().next().unwrap_or_default().to_owned()
    };
    report.sorted().iter().map(|finding| text(finding.to_string())).collect()
}

#[track_caller]
fn check(from: &str, to: &str, expected: &[&str]) {
    let found = read(from, to).err().unwrap_or_default();
    assert_eq!(found, expected);
}

#[test]
fn a_node_knows_its_way_into_the_cluster() {
    let cluster = read("ca: lab-vault", "ca: lab-vault").unwrap();
    let node = cluster.node("n1").unwrap();
    let kubernetes = node.kubernetes.as_ref().unwrap();
    assert_eq!(kubernetes.servers, node.api.servers);
    assert_eq!(kubernetes.server_name, node.api.host);
    assert_eq!(kubernetes.client_ca, kubernetes.ca);
    assert_eq!(kubernetes.identity, KubeletIdentity::Vault);
    assert_eq!(kubernetes.hand_off, HandOff::Automatic);
    assert_eq!(
        kubernetes.taints,
        [Taint {
            key: "lab.example/only".parse().unwrap(),
            value: Some("yes".parse().unwrap()),
            effect: TaintEffect::NoSchedule,
        }]
    );
    let again = Node::from_json("node.json", &node.to_json()).unwrap();
    assert_eq!(&again, node);

    let frontends = &node.haproxy.as_ref().unwrap().frontends;
    let local = frontends.iter().find(|it| it.name.as_str() == "kubernetes-api-local").unwrap();
    assert_eq!(local.binds, ["127.0.0.1:7445".parse::<Endpoint>().unwrap()]);
    let servers: Vec<Endpoint> = local.servers.iter().map(|server| server.address).collect();
    assert_eq!(servers, kubernetes.servers);
    assert!(matches!(&local.check.ask, Ask::Http { path, .. } if path == "/readyz"));
    let CheckTls::Verified(anchor) = &local.check.tls else { panic!("{:?}", local.check.tls) };
    assert_eq!((&anchor.ca, anchor.host.as_ref()), (&kubernetes.ca, Some(&kubernetes.server_name)));
}

#[test]
fn findings_stand_where_they_belong() {
    let found = |from: &str, to: &str, lab: &str| {
        let text = format!("{lab}{}", SECTION.replace(from, to));
        let report = Cluster::parse("f", text.as_bytes()).unwrap_err().0;
        let line = LAB.matches('\n').count() + 1;
        let rows = report.sorted().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        rows.replace(&format!("f:{}:", line + 1), "f:L+1:")
    };
    let none = found("roles: [controller]", "roles: []", LAB);
    assert!(none.starts_with("f:L+1:10: kubernetes.roles: no role is named"), "{none}");
    // Without the field, where it would be.
    let lab = LAB.replace("  servers: [192.0.2.11:6443, 192.0.2.12:6443, 192.0.2.13:6443]\n", "");
    assert_ne!(lab, LAB);
    let none = found("roles: [controller]", "servers: []\n  roles: [controller]", &lab);
    assert!(none.contains(":12: kubernetes.servers: there is no API server to join"), "{none}");
    let none = found("roles: [controller]", "roles: [controller]", &lab);
    assert!(none.contains(":3: kubernetes.servers: there is no API server to join"), "{none}");
    assert!(!none.contains("f:1:1:"), "{none}");

    let token = "abcdef.0123456789abcdef";
    let bootstrap = format!("bootstrap: {{token_file: {token}}}");
    let itself = found("vault: {mount: pki/kubernetes}", &bootstrap, LAB);
    let path = "kubernetes.identity.bootstrap.token_file";
    let expected = format!("{path}: looks like the secret itself\n  hint: give the path");
    assert!(itself.contains(&expected) && !itself.contains(token), "{itself}");
    assert_eq!(itself.matches("f:").count(), 1, "{itself}");
}

#[test]
fn kubelet_certificates_are_the_nodes_alone() {
    let cluster = read("ca: lab-vault", "ca: lab-vault").unwrap();
    for node in cluster.nodes.iter().filter(|node| node.kubernetes.is_some()) {
        let (client, serving) = node.kubelet_certificates().unwrap();
        for certificate in [client, serving] {
            assert_eq!(certificate.common_name, format!("system:node:{}", node.name));
            assert_eq!(certificate.pki_mount.as_deref(), Some("pki/kubernetes"));
            assert_eq!(certificate.layouts, [CertificateLayout::Combined]);
            assert_eq!((certificate.ttl_hours, certificate.survive_outage_hours), (168, 84));
        }
        assert_eq!(client.usages, [KeyUsage::Client]);
        assert_eq!(client.pki_role.as_deref(), Some("kubelet-client"));
        assert!(client.subject_alternative_names.is_empty());
        assert_eq!(serving.usages, [KeyUsage::Server]);
        let names: Vec<String> =
            serving.subject_alternative_names.iter().map(ToString::to_string).collect();
        assert!(names.contains(&node.name.to_string()), "{names:?}");
        assert!(names.contains(&node.kubelet.node_ip.to_string()), "{names:?}");
    }
    let bootstrap = "bootstrap: {token_file: /var/lib/basalt/enrolment/bootstrap-token}";
    let cluster = read("vault: {mount: pki/kubernetes}", bootstrap).unwrap();
    let node = cluster.node("n1").unwrap();
    assert_eq!(node.kubelet_certificates(), None);
    let identity = &node.kubernetes.as_ref().unwrap().identity;
    assert!(matches!(identity, KubeletIdentity::Bootstrap { .. }), "{identity:?}");
}

#[test]
fn everything_that_does_not_fit_is_found() {
    check(
        "ca: lab-vault",
        "ca: xlab-vault",
        &["kubernetes.ca: there is no trust anchor `xlab-vault`"],
    );
    check(
        "  identity:\n    vault: {mount: pki/kubernetes}\n",
        "  identity: {}\n",
        &["kubernetes.identity: exactly one of `vault` and `bootstrap` is wanted"],
    );
    check(
        "mount: pki/kubernetes",
        "mount: pki/kubernetes, ttl_hours: 24, survive_outage_hours: 24",
        &[
            "kubernetes.identity.vault.survive_outage_hours: 24 hours are not less than the 24 hours of life that are asked for",
        ],
    );
    check(
        "mount: pki/kubernetes",
        "mount: pki/lab, client_role: node",
        &[
            "vault.certificates[0].name: the role `node` of `pki/lab` signs for kubelets: whatever it signs counts among `system:nodes`",
        ],
    );
    check(
        "cluster_dns: [10.96.0.10]",
        "cluster_dns: [10.97.0.10]",
        &["kubernetes.cluster_dns[0]: `10.97.0.10` is in no network of the services"],
    );
    check(
        "mount: pki/kubernetes",
        "mount: pki/lab-identities, client_role: node",
        &[
            "kubernetes.identity.vault.mount: `pki/lab-identities` signs identities (vault.auth.node.pki.mount)",
        ],
    );
    for network in ["10.96.128.0/17", "10.64.0.0/10"] {
        check(
            "cluster_dns: [10.96.0.10]",
            &format!("cluster_dns: [10.96.0.10]\n  pod_networks: [{network}]"),
            &[&format!(
                "kubernetes.pod_networks[0]: `{network}` overlaps with kubernetes.service_networks[0]"
            )],
        );
    }
    let line = LAB.lines().count() + 7;
    let doubled = format!(
        "kubernetes.taints[1]: taint `lab.example/only:NoSchedule` is already used in line {line} (kubernetes.taints[0])"
    );
    check("taints: [", "taints: [{key: lab.example/only, effect: NoSchedule}, ", &[&doubled]);
    check(
        "roles: [controller]",
        "roles: []",
        &["kubernetes.roles: no role is named, so nothing runs it"],
    );
    check(
        "ca: lab-vault",
        "ca: lab-vault\n  local_port: 10250",
        &[
            "kubernetes.local_port: on nodes of the role `controller`, the kubelet and frontend `kubernetes-api-local` both listen on port 10250",
        ],
    );
}

#[test]
fn labels_that_a_kubelet_may_not_set() {
    let of = |label: &str| read("lab.example/rack", label).err().unwrap_or_default();
    for fine in [
        "rack",
        "lab.example/a.b_c-d",
        "node.kubernetes.io/controller",
        "kubelet.kubernetes.io/x",
        "topology.kubernetes.io/region",
    ] {
        assert_eq!(of(fine), [] as [&str; 0], "{fine}");
    }
    for refused in [
        "node-role.kubernetes.io/worker",
        "node-restriction.kubernetes.io/x",
        "k8s.io/x",
        "a.b.kubernetes.io/x",
    ] {
        let expected =
            format!("kubernetes.labels.{refused}: the API server lets no kubelet set `{refused}`");
        assert_eq!(of(refused), [expected]);
    }
    assert_eq!(
        of("kubernetes.io/hostname"),
        [
            "kubernetes.labels.kubernetes.io/hostname: the kubelet finds out `kubernetes.io/hostname` by itself"
        ]
    );
    assert_eq!(of("-x").len(), 1);
}

const BUNDLE: &str = "bundle:
  roles: [controller]
  reference: registry.lab.example/hello@sha256:0df48fafe8077448f0d8a202c1c2afb448b02d8821a59dabc7af7f55977dc6ca
  public_key: |
    -----BEGIN PUBLIC KEY-----
    -----END PUBLIC KEY-----
";

/// The lab with a bundle and these sections.
fn with_bundle(sections: &str) -> Result<Cluster, Vec<String>> {
    match Cluster::parse("f", format!("{LAB}{sections}{BUNDLE}").as_bytes()) {
        Ok((cluster, _)) => Ok(cluster),
        Err(refused) => Err(messages(&refused.0)),
    }
}

#[test]
fn agents_that_apply_have_a_certificate_of_their_own() {
    let cluster = with_bundle(SECTION).unwrap();
    for node in &cluster.nodes {
        let applies = node.bundle.as_ref().is_some_and(|bundle| bundle.kubeconfig.is_none());
        let certificate = node.applier_certificate();
        assert_eq!(certificate.is_some(), applies, "{}", node.name);
        let Some(certificate) = certificate else { continue };
        assert_eq!(certificate.common_name, format!("basalt:agent:{}", node.name));
        assert_eq!(certificate.organization(), Some("basalt:bundle-appliers"));
        assert_eq!(certificate.pki_role.as_deref(), Some("bundle-applier"));
        assert_eq!(certificate.usages, [KeyUsage::Client]);
        assert!(certificate.subject_alternative_names.is_empty());
    }
    assert!(cluster.node("n1").unwrap().applier_certificate().is_some());
    // Who brings a kubeconfig needs none.
    let own =
        SECTION.to_owned() + &BUNDLE.replace("bundle:\n", "bundle:\n  kubeconfig: /etc/own\n");
    let (cluster, _) = Cluster::parse("f", format!("{LAB}{own}").as_bytes()).unwrap();
    let node = cluster.node("n1").unwrap();
    assert_eq!(node.applier_certificate(), None);
    assert_eq!(node.bundle.as_ref().unwrap().kubeconfig_path(), "/etc/own");
}

#[test]
fn a_bundle_that_nobody_can_apply_is_found() {
    let nothing = "bundle.roles[0]: nodes of the role `controller` have nothing to apply it with";
    assert_eq!(with_bundle("").unwrap_err(), [nothing]);
    let token = "bootstrap: {token_file: /var/lib/basalt/enrolment/bootstrap-token}";
    let bootstrap = SECTION.replace("vault: {mount: pki/kubernetes}", token);
    assert_eq!(with_bundle(&bootstrap).unwrap_err(), [nothing]);
    let shared =
        SECTION.replace("pki/kubernetes}", "pki/kubernetes, applier_role: kubelet-client}");
    assert_eq!(
        with_bundle(&shared).unwrap_err(),
        ["kubernetes.identity.vault.applier_role: `kubelet-client` signs for kubelets"]
    );
}
