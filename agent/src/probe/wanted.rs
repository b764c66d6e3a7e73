//! What a manifest wants of its pod, as far as probes ask about it. Pure.
//!
//! Manifests come from here and from people, so every form that the kubelet takes is read; what is not understood is
//! passed over, for the linter has spoken about it before.

use basalt_model::report::Report;
use basalt_model::yaml::scalar::{as_bool, as_integer};
use basalt_model::yaml::{Value, Yaml, parse_first};

/// The kubelet's default (`terminationGracePeriodSeconds`).
const DEFAULT_GRACE_SECONDS: u64 = 30;
/// The kubelet's default (`timeoutSeconds` of a probe).
const DEFAULT_TIMEOUT_SECONDS: u64 = 1;

/// One pod as its manifest wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodWanted {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) grace_seconds: u64,
    pub(crate) uses_host_network: bool,
    /// Whether it has a priority as a number alone, which no API server takes.
    pub(crate) has_bare_priority: bool,
    pub(crate) containers: Vec<ContainerWanted>,
    /// Images of init containers, which have run and ended by the time anything is probed, and those that are mounted.
    pub(crate) other_images: Vec<String>,
}

/// One container as its manifest wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerWanted {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) readiness: Option<Readiness>,
}

/// How a container says that it does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) action: Action,
    pub(crate) timeout_seconds: u64,
}

/// What is done to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Exec {
        command: Vec<String>,
    },
    Http {
        host: Option<String>,
        port: u16,
        path: String,
        tls: bool,
    },
    Tcp {
        host: Option<String>,
        port: u16,
    },
    /// gRPC, or something that is not understood.
    Other,
}

impl PodWanted {
    /// Reads a manifest; `None` when it names no pod.
    pub(crate) fn read(manifest: &str) -> Option<PodWanted> {
        let mut report = Report::new("manifest");
        let root = parse_first(manifest.as_bytes(), &mut report)?.first?;
        let metadata = field(&root, "metadata")?;
        let spec = field(&root, "spec");
        let of_spec = |name: &str| spec.and_then(|spec| field(spec, name));
        let namespace = field(metadata, "namespace").and_then(text);
        Some(PodWanted {
            name: field(metadata, "name").and_then(text)?,
            namespace: namespace.filter(|it| !it.is_empty()).unwrap_or("default".to_owned()),
            grace_seconds: of_spec("terminationGracePeriodSeconds")
                .and_then(number)
                .unwrap_or(DEFAULT_GRACE_SECONDS),
            uses_host_network: of_spec("hostNetwork").is_some_and(is_true),
            has_bare_priority: of_spec("priority").is_some()
                && of_spec("priorityClassName").is_none(),
            containers: list(of_spec("containers")).filter_map(container).collect(),
            other_images: (list(of_spec("initContainers")).map(|it| field(it, "image")))
                .chain(list(of_spec("volumes")).map(|it| field(field(it, "image")?, "reference")))
                .filter_map(|image| image.and_then(text))
                .collect(),
        })
    }

    /// Every image it names.
    pub(crate) fn images(&self) -> impl Iterator<Item = &String> {
        self.containers.iter().map(|container| &container.image).chain(&self.other_images)
    }
}

fn container(yaml: &Yaml) -> Option<ContainerWanted> {
    let ports: Vec<(String, u16)> = list(field(yaml, "ports"))
        .filter_map(|port| {
            let name = field(port, "name").and_then(text).unwrap_or_default();
            Some((name, field(port, "containerPort").and_then(number)?.try_into().ok()?))
        })
        .collect();
    Some(ContainerWanted {
        name: field(yaml, "name").and_then(text)?,
        image: field(yaml, "image").and_then(text)?,
        readiness: field(yaml, "readinessProbe").map(|probe| Readiness {
            action: action(probe, &ports).unwrap_or(Action::Other),
            timeout_seconds: field(probe, "timeoutSeconds")
                .and_then(number)
                .unwrap_or(DEFAULT_TIMEOUT_SECONDS)
                .max(1),
        }),
    })
}

fn action(probe: &Yaml, ports: &[(String, u16)]) -> Option<Action> {
    // A port is a number, or the name of one that the container declares.
    let port = |action: &Yaml| -> Option<u16> {
        let port = field(action, "port")?;
        let name = text(port)?;
        let declared = || ports.iter().find(|(other, _)| *other == name).map(|(_, port)| *port);
        number(port).and_then(|port| port.try_into().ok()).or_else(declared)
    };
    if let Some(exec) = field(probe, "exec") {
        let command: Vec<String> = list(field(exec, "command")).filter_map(text).collect();
        return (!command.is_empty()).then_some(Action::Exec { command });
    }
    if let Some(http) = field(probe, "httpGet") {
        let is_tls = field(http, "scheme").and_then(text).is_some_and(|it| it == "HTTPS");
        return Some(Action::Http {
            host: field(http, "host").and_then(text),
            port: port(http)?,
            path: field(http, "path").and_then(text).unwrap_or("/".to_owned()),
            tls: is_tls,
        });
    }
    let tcp = field(probe, "tcpSocket")?;
    Some(Action::Tcp { host: field(tcp, "host").and_then(text), port: port(tcp)? })
}

/// A field that is set; the last of several with one name, as in the kubelet.
fn field<'a>(yaml: &'a Yaml, name: &str) -> Option<&'a Yaml> {
    let Value::Map(entries) = &yaml.resolved().value else { return None };
    let is_it = |key: &Yaml| key.as_scalar().is_some_and(|key| key.text == name);
    let found = entries.iter().rev().find(|(key, _)| is_it(key)).map(|(_, value)| value)?;
    (!found.is_null()).then_some(found)
}

fn list(yaml: Option<&Yaml>) -> impl Iterator<Item = &Yaml> {
    match yaml.map(|yaml| &yaml.resolved().value) {
        Some(Value::List(items)) => items.iter(),
        _ => [].iter(),
    }
}

fn text(yaml: &Yaml) -> Option<String> {
    yaml.as_scalar().map(|scalar| scalar.text.clone())
}

fn number(yaml: &Yaml) -> Option<u64> {
    yaml.as_scalar().and_then(as_integer).and_then(|number| number.try_into().ok())
}

fn is_true(yaml: &Yaml) -> bool {
    yaml.as_scalar().and_then(as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use basalt_model::node::Node;

    use super::*;

    #[test]
    fn our_own_manifests_are_understood() {
        let node = include_str!("../../../static-pods/tests/lab/n1.json");
        let node = Node::from_json("n1.json", node).unwrap();
        let pods = basalt_static_pods::render(&node).unwrap();
        assert!(pods.len() >= 3);
        for pod in pods {
            let wanted = PodWanted::read(&pod.manifest).unwrap();
            assert_eq!(
                (wanted.name.as_str(), wanted.namespace.as_str()),
                (pod.name.as_str(), "kube-system")
            );
            assert!(wanted.uses_host_network && wanted.grace_seconds != DEFAULT_GRACE_SECONDS);
            let [container] = &wanted.containers[..] else { panic!("{wanted:?}") };
            assert!(container.image.contains("@sha256:"));
            let readiness = container.readiness.as_ref().unwrap();
            assert!(!matches!(readiness.action, Action::Other), "{readiness:?}");
        }
    }

    #[test]
    fn what_people_write() {
        let pod = |text: &str| PodWanted::read(text).unwrap();
        assert_eq!(PodWanted::read("kind: Pod"), None);
        let bare = pod("metadata: {name: a}");
        assert_eq!((bare.namespace.as_str(), bare.grace_seconds), ("default", 30));
        let json = pod(
            r#"{"metadata": {"name": "a", "namespace": "b"}, "spec": {"hostNetwork": true,
            "initContainers": [{"name": "i", "image": "init"}], "containers": [{"name": "c", "image": "x",
            "ports": [{"name": "web", "containerPort": 8080}], "readinessProbe": {"httpGet": {"port": "web"}}}],
            "volumes": [{"name": "d", "emptyDir": {}}, {"name": "v", "image": {"reference": "data"}}]}}"#,
        );
        assert_eq!(json.images().collect::<Vec<_>>(), ["x", "init", "data"]);
        let expected = Action::Http { host: None, port: 8080, path: "/".into(), tls: false };
        let readiness = json.containers[0].readiness.as_ref().unwrap();
        assert_eq!((&readiness.action, readiness.timeout_seconds), (&expected, 1));
        let grpc = "metadata: {name: a}\nspec: {containers: [{name: c, image: x, readinessProbe: {grpc: {port: 1}}}]}";
        assert_eq!(pod(grpc).containers[0].readiness.as_ref().unwrap().action, Action::Other);
    }
}
