//! Manifests from the table of what a Pod may say and our [pools]: mostly good, with a few twists each.

use basalt_static_pods::lint::fields::{Field, POD, Takes};

use crate::odd;
use crate::pools::{self, Pool};
use crate::random::Random;
use crate::types::{ROOT, inner};
use crate::yaml::Node;

/// What an object of a type is useless without.
const NEEDED: &[(&str, &[&str])] = &[
    ("Pod", &["apiVersion", "kind", "metadata", "spec"]),
    ("ObjectMeta", &["name"]),
    ("PodSpec", &["containers"]),
    ("Container", &["name", "image"]),
    ("EphemeralContainer", &["name", "image"]),
    ("Volume", &["name"]),
    ("VolumeMount", &["name", "mountPath"]),
    ("VolumeDevice", &["name", "devicePath"]),
    ("EnvVar", &["name"]),
    ("ContainerPort", &["containerPort"]),
    ("HostPathVolumeSource", &["path"]),
    ("NFSVolumeSource", &["server", "path"]),
    ("ISCSIVolumeSource", &["targetPortal", "iqn", "lun"]),
    ("FCVolumeSource", &["lun"]),
    ("DownwardAPIVolumeFile", &["path"]),
    ("ObjectFieldSelector", &["fieldPath"]),
    ("ResourceFieldSelector", &["containerName", "resource"]),
    ("FileKeySelector", &["volumeName", "path", "key"]),
    ("ContainerResizePolicy", &["resourceName", "restartPolicy"]),
    ("ContainerRestartRule", &["action", "exitCodes"]),
    ("ContainerRestartRuleOnExitCodes", &["operator", "values"]),
    ("HTTPGetAction", &["port"]),
    ("TCPSocketAction", &["port"]),
    ("GRPCAction", &["port"]),
    ("ExecAction", &["command"]),
    ("HTTPHeader", &["name", "value"]),
    ("SleepAction", &["seconds"]),
    ("SeccompProfile", &["type"]),
    ("AppArmorProfile", &["type"]),
    ("Sysctl", &["name", "value"]),
    ("NodeAffinity", &[]),
    ("NodeSelector", &["nodeSelectorTerms"]),
    ("NodeSelectorRequirement", &["key", "operator"]),
    ("LabelSelectorRequirement", &["key", "operator"]),
    ("PreferredSchedulingTerm", &["weight", "preference"]),
    ("WeightedPodAffinityTerm", &["weight", "podAffinityTerm"]),
    ("PodAffinityTerm", &["topologyKey"]),
    ("TopologySpreadConstraint", &["maxSkew", "topologyKey", "whenUnsatisfiable"]),
    ("HostAlias", &["ip"]),
    ("PodDNSConfigOption", &["name"]),
    ("PodReadinessGate", &["conditionType"]),
    ("PodSchedulingGate", &["name"]),
    ("PodOS", &["name"]),
    ("PodResourceClaim", &["name"]),
    ("OwnerReference", &["apiVersion", "kind", "name", "uid"]),
    ("ImageVolumeSource", &["reference"]),
];

/// Types of which exactly one field is set, besides those that are needed.
const UNIONS: &[&str] =
    &["Volume", "EnvVarSource", "EnvFromSource", "VolumeProjection", "LifecycleHandler"];
/// Those of a probe.
const HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
/// Volumes that are not refused outright, so that what is in them counts.
const SOURCES: &[&str] =
    &["emptyDir", "hostPath", "downwardAPI", "image", "nfs", "iscsi", "fc", "gitRepo"];

/// What gets most pods refused, and is looked at for itself.
const SELDOM: &[&str] = &[
    "status",
    "ephemeralContainers",
    "resourceClaims",
    "claims",
    "managedFields",
    "volumeDevices",
    "schedulingGates",
    "serviceAccountName",
    "serviceAccount",
    "imagePullSecrets",
    "envFrom",
    "runtimeClassName",
    "restartPolicyRules",
    "seLinuxChangePolicy",
    "sysctls",
    "resources",
    "overhead",
    "generateName",
    "secretRef",
    "stopSignal",
    "procMount",
    "hostUsers",
    "hostPort",
];

/// Makes the manifest of this seed: a tree, with the choices that are left.
pub(crate) fn pod(seed: u64) -> (Node, Random) {
    let mut random = Random::new(seed);
    let twist = *random.pick(&[0, 0, 1, 2, 3, 5, 10, 20]);
    let density = *random.pick(&[3, 6, 10, 15, 25]);
    let mut generator = Generator { random, twist, density, focus: Vec::new() };
    generator.focus = generator.focus();
    let mut node = generator.object("Pod", 0, true);
    if !generator.is_twist() {
        add_volumes(&mut node);
    }
    (node, generator.random)
}

/// A value for a field, for a manifest that is there.
pub(crate) fn value(
    of: &'static str,
    field: &'static Field,
    random: &mut Random,
    twist: usize,
) -> Node {
    let taken = std::mem::replace(random, Random::new(0));
    let mut generator = Generator { random: taken, twist, density: 10, focus: Vec::new() };
    let node = generator.value(of, field.name, &field.takes, 4, true);
    *random = generator.random;
    node
}

/// Adds the volumes that are mounted and not there.
fn add_volumes(pod: &mut Node) {
    let Some(Node::Map(spec)) = entry(pod, "spec") else { return };
    let mut names = Vec::new();
    for (_, list) in spec.iter().filter(|(key, _)| key.ends_with("ontainers")) {
        let Node::List(containers) = list else { continue };
        for container in containers {
            let Node::Map(fields) = container else { continue };
            for (_, mounts) in fields.iter().filter(|(key, _)| key == "volumeMounts") {
                let Node::List(mounts) = mounts else { continue };
                for mount in mounts {
                    let Node::Map(fields) = mount else { continue };
                    names.extend(
                        fields.iter().filter(|(key, _)| key == "name").map(|(_, n)| n.clone()),
                    );
                }
            }
        }
    }
    if !spec.iter().any(|(key, _)| key == "volumes") && !names.is_empty() {
        spec.push(("volumes".to_owned(), Node::List(Vec::new())));
    }
    let Some((_, Node::List(volumes))) = spec.iter_mut().find(|(key, _)| key == "volumes") else {
        return;
    };
    for name in names {
        let has = |volume: &Node| match volume {
            Node::Map(fields) => fields.iter().any(|(key, value)| key == "name" && *value == name),
            _ => false,
        };
        if !volumes.iter().any(has) {
            let empty = ("emptyDir".to_owned(), Node::Map(Vec::new()));
            volumes.push(Node::Map(vec![("name".to_owned(), name), empty]));
        }
    }
}

fn entry<'n>(node: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    let Node::Map(entries) = node else { return None };
    entries.iter_mut().find(|(key, _)| key == name).map(|(_, node)| node)
}

struct Generator {
    random: Random,
    /// How likely a value is not what is wanted, in percent.
    twist: usize,
    /// How likely a field is set, in percent.
    density: usize,
    /// The fields of each level that the manifest is about.
    focus: Vec<&'static str>,
}

impl Generator {
    /// Walks down from the pod to a field somewhere below.
    fn focus(&mut self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            let mut current = ROOT;
            while let Takes::Object(of) = current {
                let fields = POD.fields_of(of);
                let mut field = self.random.pick(fields);
                // Most of a pod is in its spec, and most of that in its containers.
                if *of == "Pod" && self.random.percent(80) {
                    field = &fields[3];
                }
                if *of == "PodSpec" && self.random.percent(40) {
                    field = fields.iter().find(|field| field.name == "containers").unwrap();
                }
                if field.name == "status" {
                    continue;
                }
                names.push(field.name);
                current = &field.takes;
                while let Some(inside) = inner(current) {
                    current = inside;
                }
            }
        }
        names
    }

    fn is_twist(&mut self) -> bool {
        let twist = self.twist;
        self.random.percent(twist)
    }

    fn object(&mut self, ty: &'static str, depth: usize, in_focus: bool) -> Node {
        let fields = POD.fields_of(ty);
        let needed = NEEDED.iter().find(|(name, _)| *name == ty).map_or(&[][..], |(_, n)| n);
        let mut wanted: Vec<&Field> = Vec::new();
        let one_of: Vec<&Field> = match ty {
            "Probe" => fields.iter().filter(|field| HANDLERS.contains(&field.name)).collect(),
            "Volume" if self.random.percent(85) => {
                fields.iter().filter(|field| SOURCES.contains(&field.name)).collect()
            }
            _ if UNIONS.contains(&ty) => {
                fields.iter().filter(|field| !needed.contains(&field.name)).collect()
            }
            _ => Vec::new(),
        };
        let focused = one_of.iter().find(|field| in_focus && self.focus.contains(&field.name));
        let chosen = match (focused.copied(), one_of.is_empty()) {
            (Some(field), _) => Some(field),
            (None, false) if !self.is_twist() => Some(*self.random.pick(&one_of)),
            _ => None,
        };
        for field in fields {
            let is_one_of = one_of.iter().any(|other| other.name == field.name);
            let density = if depth > 8 { 1 } else { self.density };
            let is_wanted = if needed.contains(&field.name) {
                // Without what is on top there is no pod to look at.
                !self.is_twist() || !self.random.percent(if depth < 3 { 2 } else { 50 })
            } else if chosen.is_some_and(|chosen| chosen.name == field.name) {
                true
            } else if is_one_of || (ty == "Volume" && !needed.contains(&field.name)) {
                self.is_twist() && self.random.percent(20)
            } else if SELDOM.contains(&field.name) {
                (in_focus && self.focus.contains(&field.name)) || self.random.percent(1)
            } else {
                (in_focus && self.focus.contains(&field.name)) || self.random.percent(density / 3)
            };
            if is_wanted {
                wanted.push(field);
            }
        }
        let mut entries = Vec::new();
        for field in wanted {
            let in_focus = in_focus && (depth < 1 || self.focus.contains(&field.name));
            let node = self.value(ty, field.name, &field.takes, depth + 1, in_focus);
            entries.push((field.name.to_owned(), node));
        }
        if self.is_twist() && self.random.percent(10) {
            self.disturb(&mut entries);
        }
        Node::Map(entries)
    }

    /// An unknown key, a key in other case, a key twice.
    fn disturb(&mut self, entries: &mut Vec<(String, Node)>) {
        match self.random.below(3) {
            0 => {
                let key = (*self.random.pick(odd::KEYS)).to_owned();
                entries.push((key, Node::Scalar("a".to_owned())));
            }
            1 if !entries.is_empty() => {
                let at = self.random.below(entries.len());
                let mut letters = entries[at].0.chars();
                let first = letters.next().map(|letter| letter.to_ascii_uppercase());
                entries[at].0 = first.into_iter().chain(letters).collect();
            }
            _ if !entries.is_empty() => {
                let at = self.random.below(entries.len());
                let again = entries[at].clone();
                entries.push(again);
            }
            _ => {}
        }
    }

    fn value(
        &mut self,
        of: &'static str,
        field: &'static str,
        takes: &'static Takes,
        depth: usize,
        in_focus: bool,
    ) -> Node {
        if self.is_twist() && self.random.percent(if depth < 4 { 2 } else { 15 }) {
            return scalar(self.random.pick(odd::COLLECTIONS));
        }
        if let Takes::List(item) = takes {
            let most = if depth > 6 { 2 } else { 3 };
            let count = if self.is_twist() { 0 } else { 1 + self.random.below(most) };
            let count =
                if field == "containers" && self.random.percent(70) { count.min(1) } else { count };
            return Node::List(
                (0..count).map(|_| self.value(of, field, item, depth + 1, in_focus)).collect(),
            );
        }
        if let Takes::Map(inside) = takes {
            let keys = pools::keys(of, field);
            // The first keys are the usual ones.
            let most = if self.is_twist() { keys.len() } else { keys.len().min(4) };
            let mut entries: Vec<(String, Node)> = Vec::new();
            for _ in 0..1 + self.random.below(3) {
                let key = keys[self.random.below(most)];
                if !entries.iter().any(|(other, _)| other == key) || self.is_twist() {
                    let node = match field {
                        "annotations" if self.random.percent(50) => {
                            scalar(self.random.pick(pools::ANNOTATIONS))
                        }
                        _ => self.value(of, field, inside, depth + 1, in_focus),
                    };
                    let key = if key.is_empty() { "\"\"" } else { key };
                    entries.push((key.to_owned(), node));
                }
            }
            return Node::Map(entries);
        }
        if let Takes::Object(of) = takes {
            return self.object(of, depth, in_focus);
        }
        let pool = pools::pool(of, field).unwrap_or_else(|| usual(takes));
        if self.is_twist() {
            return match pool.edge.is_empty() || self.random.percent(40) {
                true => scalar(self.random.pick(odd::scalars(takes))),
                false => scalar(self.random.pick(&pool.edge[..])),
            };
        }
        let edge = !pool.edge.is_empty() && self.random.percent(self.twist / 2);
        scalar(self.random.pick(if edge { &pool.edge[..] } else { &pool.good[..] }))
    }
}

fn usual(takes: &Takes) -> Pool {
    let good: &[&'static str] = match takes {
        Takes::Integer32 | Takes::Integer64 => &["1", "0", "2"],
        Takes::Flag => &["true", "false"],
        Takes::Quantity => &["1", "100m", "64Mi", "1Gi", "2", "200m"],
        Takes::NumberOrText => &["80", "http"],
        Takes::Time => &["2001-01-01T00:00:00Z", "null"],
        Takes::Any => &["{}"],
        _ => &["a", "\"\""],
    };
    Pool { good: good.to_vec(), edge: Vec::new() }
}

/// A scalar, or an empty collection.
pub(crate) fn scalar(text: impl AsRef<str>) -> Node {
    let text = text.as_ref().replace("\\x20", " ");
    // Only a collection begins so.
    match text.as_str() {
        "{}" => Node::Map(Vec::new()),
        "[]" => Node::List(Vec::new()),
        _ => Node::Scalar(text),
    }
}
