//! What `bundle lint` says of the fields of objects, beside what a real API server says of the same objects when it is
//! asked to be strict.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use e2e::control_plane::{ControlPlane, Programs, Site, Wishes};
use serde_json::Value;

use super::Desk;

/// The rules that are about fields.
const RULES: [&str; 3] = ["unknown-field", "wrong-type", "schema"];

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      volumes: [{name: v, configMap: {name: c, defaultMode: 0644}}]
      containers:
      - name: main
        image: registry.lab.example/web:1
        args: [\"--level\", \"2\"]
        env: [{name: A, value: \"1\"}, {name: B, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 1e9}}
        securityContext: {capabilities: {drop: [ALL]}, runAsUser: 1000}
        ports: [{containerPort: 80, name: http}]
        readinessProbe: {httpGet: {port: http, path: /}, periodSeconds: 5}
        volumeMounts: [{name: v, mountPath: /v, readOnly: true}]
";
const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http, name: http}], publishNotReadyAddresses: yes}
";
const CRON_JOB: &str = "apiVersion: batch/v1
kind: CronJob
metadata: {name: tick, namespace: default}
spec:
  schedule: \"0 * * * *\"
  jobTemplate: {spec: {backoffLimit: 1, template: {spec: {restartPolicy: Never, containers: [{name: a, image: registry.lab.example/a:1}]}}}}
";
const STATEFUL_SET: &str = "apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: default}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: a, image: registry.lab.example/a:1}]}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
";
const INGRESS: &str = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: default}
spec: {rules: [{host: web.lab.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
";
const POLICY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 80, protocol: TCP}]}]}
";
const ROLE: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: lab-reader}
rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]
";
const SCALER: &str = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
";
const BUDGET: &str = "apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: default}
spec: {minAvailable: 50%, selector: {matchLabels: {app: web}}}
";
const QUOTA: &str = "apiVersion: v1
kind: ResourceQuota
metadata: {name: q, namespace: default}
spec: {hard: {cpu: 2, memory: 4Gi, pods: \"10\"}}
";
const MAP: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: m, namespace: default}
data: {a: \"1\"}
";
const HOOK: &str = "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hook}
webhooks:
- name: hook.lab.example
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {url: \"https://hook.lab.example/\"}
  rules: [{apiGroups: [\"\"], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
";
/// A kind of the bundle's own.
const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: greetings.hello.example}
spec:
  group: hello.example
  names: {kind: Greeting, plural: greetings, singular: greeting, listKind: GreetingList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [text, tone]
            properties:
              text: {type: string, minLength: 2}
              tone: {type: string, enum: [warm, cold], default: warm}
              times: {type: integer, minimum: 1, maximum: 9, exclusiveMaximum: true}
              port: {x-kubernetes-int-or-string: true}
              names: {type: array, items: {type: object, properties: {first: {type: string}}}}
              words: {type: object, additionalProperties: {type: string}}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              gone: {type: string, nullable: true}
";
const GREETING: &str = "apiVersion: hello.example/v1
kind: Greeting
metadata: {name: first, namespace: default, labels: {a: b}}
spec:
  text: hello
  times: 3
  port: http
  names: [{first: Ada}]
  words: {a: b}
  free: {any: [thing]}
  gone: null
";

/// What is replaced in a text, and by what.
type Change = (&'static str, &'static str);

/// Names and texts of objects, and changes of each; one at a time.
const CASES: [(&str, &str, &[Change]); 14] = [
    (
        "deployment",
        DEPLOYMENT,
        &[
            ("replicas: 2", "replica: 2"),
            ("replicas: 2", "replicas: \"2\""),
            ("replicas: 2", "replicas: two"),
            ("replicas: 2", "replicas: 2\n  surprise: {a: b}"),
            ("maxSurge: 25%", "maxSurge: true"),
            ("maxSurge: 25%", "maxsurge: 25%"),
            ("  template:\n", "  templates:\n"),
            ("automountServiceAccountToken: false", "automountServiceAccountToken: \"false\""),
            ("automountServiceAccountToken: false", "automountServiceAccountToken: 0"),
            ("automountServiceAccountToken: false", "serviceaccountName: a"),
            ("[\"--level\", \"2\"]", "[\"--level\", 2]"),
            ("[\"--level\", \"2\"]", "--level=2"),
            ("value: \"1\"", "value: 1"),
            ("value: \"1\"", "value: true"),
            ("cpu: 100m", "cpu: 0.1"),
            ("cpu: 100m", "cpu: 100 m"),
            ("memory: 64Mi", "memory: 64MB"),
            ("memory: 1e9", "memory: [1]"),
            ("{drop: [ALL]}", "{drop: ALL}"),
            ("runAsUser: 1000", "runAsUser: root"),
            ("runAsUser: 1000", "privileged: false"),
            ("containerPort: 80", "containerPort: http"),
            ("port: http,", "port: 80,"),
            ("periodSeconds: 5", "periodSeconds: 5s"),
            ("periodSeconds: 5", "periodSeconds: null"),
            ("readOnly: true", "readonly: true"),
            ("[{name: v, mountPath: /v, readOnly: true}]", "{name: v, mountPath: /v}"),
            ("defaultMode: 0644", "defaultMode: \"0644\""),
        ],
    ),
    (
        "service",
        SERVICE,
        &[
            ("targetPort: http", "targetPort: 8080"),
            ("port: 80", "port: \"80\""),
            ("selector: {app: web}", "selector: {matchLabels: {app: web}}"),
            ("selector: {app: web}", "selector: {app: 1}"),
        ],
    ),
    (
        "cron-job",
        CRON_JOB,
        &[("backoffLimit: 1", "backOffLimit: 1"), ("schedule: \"0 * * * *\"", "schedule: 5")],
    ),
    ("stateful-set", STATEFUL_SET, &[("{storage: 1Gi}", "{storage: {size: 1Gi}}")]),
    ("ingress", INGRESS, &[("port: {number: 80}", "port: 80"), ("service: {", "services: {")]),
    ("policy", POLICY, &[("cidr: 192.0.2.0/24", "cidrs: [192.0.2.0/24]"), ("port: 80", "port: x")]),
    ("role", ROLE, &[("verbs: [get]", "verbs: get"), ("rules:", "rule:")]),
    ("scaler", SCALER, &[("averageUtilization: 60", "averageUtilization: 60%")]),
    ("budget", BUDGET, &[("minAvailable: 50%", "minAvailable: 1.5")]),
    ("quota", QUOTA, &[("memory: 4Gi", "memory: lots")]),
    ("map", MAP, &[("{a: \"1\"}", "{a: 1}"), ("{a: \"1\"}", "[a]"), ("\ndata:", "\ndada:")]),
    ("hook", HOOK, &[("sideEffects: None", "sideEffect: None")]),
    (
        "definition",
        DEFINITION,
        &[
            ("minLength: 2", "minLenght: 2"),
            ("minLength: 2", "minLength: two"),
            ("additionalProperties: {type: string}", "additionalProperties: [string]"),
            ("additionalProperties: {type: string}", "additionalProperties: true"),
        ],
    ),
    (
        "greeting",
        GREETING,
        &[
            ("text: hello", "txt: hello"),
            ("text: hello", "text: 5"),
            ("text: hello", "text: h"),
            ("text: hello", "text: hello\n  tone: warm"),
            ("text: hello", "text: hello\n  tone: odd"),
            ("times: 3", "times: 9"),
            ("times: 3", "times: 3.5"),
            ("port: http", "port: 80"),
            ("port: http", "port: [80]"),
            ("[{first: Ada}]", "[{first: Ada, last: L}]"),
            ("[{first: Ada}]", "{first: Ada}"),
            ("{a: b}\n  free", "{a: 1}\n  free"),
            ("{any: [thing]}", "[thing]"),
            ("gone: null", "gone: 1"),
        ],
    ),
];

/// Name and text of each object.
fn objects() -> Vec<(String, String)> {
    let mut objects = Vec::new();
    for (name, text, changes) in CASES {
        // The definition itself is in its wave already.
        objects.push((name.to_owned(), text.to_owned()));
        for (number, (from, to)) in changes.iter().enumerate() {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{name}: {from}");
            objects.push((format!("{name}-{}", number + 1), changed));
        }
    }
    objects
}

#[test]
fn fields_are_refused_as_by_an_api_server() {
    let Some(programs) = Programs::find() else { return };
    let Some(desk) = Desk::new() else { return };
    let wishes = Wishes { api_alone: true, ..Wishes::default() };
    let plane = ControlPlane::start(&programs, Site::Loopback, wishes).unwrap();
    plane.apply_server_side(DEFINITION).unwrap();
    let waited = plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/greetings.hello.example",
        "--timeout=60s",
    ]);
    waited.unwrap();

    let objects = objects();
    let folder = desk.folder.path().join("fields");
    for wave in ["00-kinds", "10-objects"] {
        fs::create_dir_all(folder.join(wave)).unwrap();
    }
    fs::write(folder.join("bundle.yaml"), "generation: 1\n").unwrap();
    fs::write(folder.join("00-kinds/definition.yaml"), DEFINITION).unwrap();
    let file = |name: &str| folder.join(format!("10-objects/{name}.yaml"));
    for (name, text) in &objects {
        fs::write(file(name), text).unwrap();
    }
    let linted = desk.run(&["lint", "--output", "json", folder.to_str().unwrap()]);
    let rows: Value = serde_json::from_slice(&linted.stdout).unwrap();
    let rows = rows["findings"].as_array().or(rows.as_array()).unwrap();
    let found: BTreeSet<&str> = rows
        .iter()
        .filter(|row| RULES.contains(&row["rule"].as_str().unwrap()))
        .filter_map(|row| row["file"].as_str()?.rsplit('/').next()?.strip_suffix(".yaml"))
        .collect();

    let verdict = |name: &str| {
        let file = file(name).display().to_string();
        let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", &file];
        plane.kubectl(&dry).err().map(|error| format!("{error:#}"))
    };
    let verdicts: Vec<(&str, Option<String>)> = thread::scope(|scope| {
        let part = objects.len().div_ceil(4);
        let asked: Vec<_> = objects
            .chunks(part)
            .map(|part| {
                scope.spawn(move || {
                    part.iter().map(|(name, _)| (name.as_str(), verdict(name))).collect::<Vec<_>>()
                })
            })
            .collect();
        asked.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    let refused = verdicts.iter().filter(|(_, error)| error.is_some()).count();
    assert!(refused > 40 && verdicts.len() - refused > 20, "{refused} of {}", verdicts.len());
    let mut different = String::new();
    for (name, error) in verdicts {
        match (found.contains(name), error) {
            (false, Some(error)) => different += &format!("{name}: lint finds nothing; {error}\n"),
            (true, None) => different += &format!("{name}: the API server takes it\n"),
            _ => {}
        }
    }
    assert!(different.is_empty(), "{different}");
}

/// `UPDATE_EXPECT=1` writes the table anew.
#[test]
fn the_fields_are_those_of_kubernetes() {
    let Some(peer) = e2e::peers::peer("kube-kinds") else { return };
    let table = super::succeeds(std::process::Command::new(&peer.program).arg("fields"));
    expect_test::expect_file!["../../../xtask/src/bundle/fields.txt"].assert_eq(&table);
}
