//! The files that make a standalone kubelet a node of a cluster. Pure.
//!
//! Two belong together: `joined.env` gives the kubelet a flag, `20-joined.conf` its configuration. With the flag alone the
//! kubelet runs its pods and joins nothing; with the configuration alone it does not start. So the flag is written
//! first and removed last.

use std::net::IpAddr;

use basalt_model::node::{KUBELET_PORT, KubeletIdentity, Kubernetes, Node};
use basalt_static_pods::TRUST_DIRECTORY;
use serde_json::{Value, json};

/// Who the kubelet is and where the API server is.
pub(crate) const KUBECONFIG_PATH: &str = "/etc/kubernetes/kubelet.kubeconfig";
/// By what the kubelet asks for its first certificate.
pub(crate) const BOOTSTRAP_PATH: &str = "/etc/kubernetes/kubelet.bootstrap.kubeconfig";
/// The flags of the joined kubelet, which kubelet.service reads at each start.
pub(crate) const FLAGS_PATH: &str = "/etc/kubernetes/joined.env";
/// The configuration of the joined kubelet, behind the node's and in front of people's own.
pub(crate) const CONFIG_PATH: &str = "/etc/kubernetes/kubelet.conf.d/20-joined.conf";
/// What kubelet.service calls the flags.
const FLAGS_VARIABLE: &str = "BASALT_KUBELET_JOINED";
/// The certificate that a kubelet with a bootstrap token gets from the cluster, with its key.
const BOOTSTRAPPED_PAIR: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) contents: String,
    pub(crate) mode: u32,
}

/// The files, in the order in which they are written.
pub(crate) fn joined(node: &Node, kubernetes: &Kubernetes) -> Vec<File> {
    let mut files = match &kubernetes.identity {
        KubeletIdentity::Vault => {
            let pair = client_pair(node, kubernetes);
            let user = json!({"client-certificate": pair, "client-key": pair});
            vec![private(KUBECONFIG_PATH, kubeconfig(kubernetes, &user))]
        }
        // The kubelet writes the other one itself, when it has a certificate.
        KubeletIdentity::Bootstrap { token_file } => {
            let user = json!({"tokenFile": token_file.as_str()});
            vec![private(BOOTSTRAP_PATH, kubeconfig(kubernetes, &user))]
        }
    };
    files.push(private(FLAGS_PATH, flags(kubernetes)));
    files.push(private(CONFIG_PATH, config(node, kubernetes)));
    files
}

/// Everything that makes a kubelet a joined one, in the order in which it is removed.
pub(crate) const REMOVED: [&str; 4] = [CONFIG_PATH, FLAGS_PATH, KUBECONFIG_PATH, BOOTSTRAP_PATH];

/// The file with certificate and key by which the kubelet is known to the API server.
pub(crate) fn client_pair(node: &Node, kubernetes: &Kubernetes) -> String {
    match (&kubernetes.identity, node.kubelet_certificates()) {
        (KubeletIdentity::Vault, Some((client, _))) => combined(client.directory.as_str()),
        (KubeletIdentity::Vault, None) | (KubeletIdentity::Bootstrap { .. }, _) => {
            BOOTSTRAPPED_PAIR.to_owned()
        }
    }
}

/// The file with certificate and key that the kubelet shows; absent where it makes its own.
pub(crate) fn serving_pair(node: &Node, kubernetes: &Kubernetes) -> Option<String> {
    match (&kubernetes.identity, node.kubelet_certificates()) {
        (KubeletIdentity::Vault, Some((_, serving))) => Some(combined(serving.directory.as_str())),
        (KubeletIdentity::Vault, None) | (KubeletIdentity::Bootstrap { .. }, _) => None,
    }
}

/// Where the trust anchor of the API servers is.
pub(crate) fn anchor(kubernetes: &Kubernetes) -> String {
    format!("{TRUST_DIRECTORY}/{}.pem", kubernetes.ca)
}

/// The user that the API server takes this kubelet for.
pub(crate) fn user(node: &Node) -> String {
    format!("system:node:{}", node.name)
}

/// Where the node's own programs reach an API server.
pub(crate) fn server(kubernetes: &Kubernetes) -> String {
    format!("https://127.0.0.1:{}", kubernetes.local_port)
}

fn combined(directory: &str) -> String {
    format!("{directory}/combined.pem")
}

fn private(path: &'static str, contents: String) -> File {
    File { path, contents, mode: 0o600 }
}

/// Files by path, so that a renewed certificate is taken into use without a restart.
/// <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>
fn kubeconfig(kubernetes: &Kubernetes, user: &Value) -> String {
    let cluster = json!({
        "server": server(kubernetes),
        "tls-server-name": kubernetes.server_name.as_str(),
        "certificate-authority": anchor(kubernetes),
    });
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "kubelet", "user": user}],
        "contexts": [{"name": "kubelet", "context": {"cluster": "cluster", "user": "kubelet"}}],
        "current-context": "kubelet",
    });
    pretty(&document)
}

fn flags(kubernetes: &Kubernetes) -> String {
    let mut flags = vec![format!("--kubeconfig={KUBECONFIG_PATH}")];
    if let KubeletIdentity::Bootstrap { .. } = &kubernetes.identity {
        flags.push(format!("--bootstrap-kubeconfig={BOOTSTRAP_PATH}"));
    }
    if !kubernetes.labels.is_empty() {
        let labels: Vec<String> =
            kubernetes.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        // The only setting that is a flag alone.
        flags.push(format!("--node-labels={}", labels.join(",")));
    }
    format!("{FLAGS_VARIABLE}={}\n", flags.join(" "))
}

/// <https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/>
fn config(node: &Node, kubernetes: &Kubernetes) -> String {
    let taint = |taint: &basalt_model::node::Taint| {
        let mut value = json!({"key": taint.key.as_str(), "effect": taint.effect});
        if let Some(text) = &taint.value {
            value["value"] = json!(text.as_str());
        }
        value
    };
    // Every address of the node, so that the kubelet starts also while the network still comes up.
    let address = match node.kubelet.node_ip {
        IpAddr::V4(_) => "0.0.0.0",
        IpAddr::V6(_) => "::",
    };
    let is_bootstrapped = matches!(kubernetes.identity, KubeletIdentity::Bootstrap { .. });
    let mut document = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "enableServer": true,
        "address": address,
        "port": KUBELET_PORT,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{TRUST_DIRECTORY}/{}.pem", kubernetes.client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "registerNode": true,
        // With certificates from Vault the kubelet must not ask the cluster for others.
        "rotateCertificates": is_bootstrapped,
        "serverTLSBootstrap": false,
        "clusterDomain": kubernetes.cluster_domain.as_str(),
        "clusterDNS": kubernetes.cluster_dns,
    });
    if !kubernetes.taints.is_empty() {
        document["registerWithTaints"] = kubernetes.taints.iter().map(taint).collect();
    }
    if let Some(pair) = serving_pair(node, kubernetes) {
        document["tlsCertFile"] = json!(pair);
        document["tlsPrivateKeyFile"] = json!(pair);
    }
    pretty(&document)
}

/// JSON is YAML.
fn pretty(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("it has string keys only");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::hand_off::testing::{bootstrapping, joining};

    fn contents(files: &[File], path: &str) -> String {
        files.iter().find(|file| file.path == path).unwrap().contents.clone()
    }

    #[test]
    fn a_node_with_certificates_from_vault() {
        let node = joining();
        let files = joined(&node, node.kubernetes.as_ref().unwrap());
        let paths: Vec<&str> = files.iter().map(|file| file.path).collect();
        assert_eq!(paths, [KUBECONFIG_PATH, FLAGS_PATH, CONFIG_PATH]);
        expect![[r#"
            BASALT_KUBELET_JOINED=--kubeconfig=/etc/kubernetes/kubelet.kubeconfig --node-labels=lab.example/rack=r1,topology.kubernetes.io/zone=
        "#]]
        .assert_eq(&contents(&files, FLAGS_PATH));
        let config: Value = serde_json::from_str(&contents(&files, CONFIG_PATH)).unwrap();
        assert_eq!(config["authentication"]["anonymous"]["enabled"], false);
        assert_eq!(config["authentication"]["webhook"]["enabled"], true);
        assert_eq!(config["authorization"]["mode"], "Webhook");
        assert_eq!(config["readOnlyPort"], 0);
        assert_eq!(config["rotateCertificates"], false);
        let pair = "/var/lib/basalt/certificates/kubelet-serving/combined.pem";
        assert_eq!(
            (&config["tlsCertFile"], &config["tlsPrivateKeyFile"]),
            (&json!(pair), &json!(pair))
        );
        assert_eq!(
            config["registerWithTaints"],
            json!([{"key": "lab.example/only", "effect": "NoSchedule", "value": "yes"}])
        );
        let kubeconfig: Value = serde_json::from_str(&contents(&files, KUBECONFIG_PATH)).unwrap();
        let user = &kubeconfig["users"][0]["user"];
        let pair = "/var/lib/basalt/certificates/kubelet-client/combined.pem";
        assert_eq!(
            (&user["client-certificate"], &user["client-key"]),
            (&json!(pair), &json!(pair))
        );
        let cluster = &kubeconfig["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://127.0.0.1:7445");
        assert_eq!(cluster["tls-server-name"], "api.lab.example");
    }

    #[test]
    fn a_node_with_a_bootstrap_token() {
        let node = bootstrapping();
        let files = joined(&node, node.kubernetes.as_ref().unwrap());
        let paths: Vec<&str> = files.iter().map(|file| file.path).collect();
        assert_eq!(paths, [BOOTSTRAP_PATH, FLAGS_PATH, CONFIG_PATH]);
        assert!(contents(&files, FLAGS_PATH).contains("--bootstrap-kubeconfig="));
        let config: Value = serde_json::from_str(&contents(&files, CONFIG_PATH)).unwrap();
        assert_eq!(
            (&config["rotateCertificates"], &config["tlsCertFile"]),
            (&json!(true), &Value::Null)
        );
        // The token stays where it is.
        let text = contents(&files, BOOTSTRAP_PATH);
        assert!(
            text.contains("\"tokenFile\": \"/var/lib/basalt/enrolment/bootstrap-token\""),
            "{text}"
        );
    }

    #[test]
    fn what_is_written_is_what_is_removed() {
        for node in [joining(), bootstrapping()] {
            for file in joined(&node, node.kubernetes.as_ref().unwrap()) {
                assert!(REMOVED.contains(&file.path), "{}", file.path);
            }
        }
    }
}
