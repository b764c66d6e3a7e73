use basalt_image::bundle::ContentFile;

use super::*;

fn input(settings: &str, files: &[(&str, &str)]) -> Input {
    let file = |(path, text): &(&str, &str)| ContentFile {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    Input {
        path: "b".into(),
        files: files.iter().map(file).collect(),
        about: About::Folder(settings.as_bytes().to_vec()),
        strangers: Vec::new(),
    }
}

/// What is found, one line each: `FILE:LINE rule path`.
#[track_caller]
fn check(settings: &str, files: &[(&str, &str)], expected: &[&str]) {
    let checked = super::check(&input(settings, files));
    let line = |row: &Row| {
        let file = row.file.strip_prefix("b/").unwrap_or(&row.file);
        format!("{file}:{} {} {}", row.place.line, row.rule, row.path)
    };
    let found: Vec<String> = checked.rows.iter().map(line).collect();
    assert_eq!(found, expected, "{:#?}", checked.rows);
}

const SETTINGS: &str = "generation: 1\n";

/// One object in one file of the first wave.
#[track_caller]
fn check_one(text: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|row| format!("00-a/a.yaml:{row}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(SETTINGS, &[("00-a/a.yaml", text)], &expected);
}

fn object(api_version: &str, kind: &str, rest: &str) -> String {
    format!("apiVersion: {api_version}\nkind: {kind}\n{rest}")
}

#[test]
fn good_objects() {
    check_one(&object("v1", "Namespace", "metadata: {name: a}\n"), &[]);
    check_one(&object("v1", "ConfigMap", "metadata: {name: a.b, namespace: default}\n"), &[]);
    let role = object("rbac.authorization.k8s.io/v1", "ClusterRole", "metadata: {name: 'a:b:C'}\n");
    check_one(&role, &[]);
}

#[test]
fn yaml_and_identity() {
    check_one("a: [\n", &["2 yaml "]);
    check_one("- a\n", &["1 yaml "]);
    check_one("# nothing\n", &["1 yaml "]);
    check_one("kind: A\n", &["1 yaml apiVersion", "1 yaml metadata.name"]);
    let twice = object("v1", "Namespace", "metadata: {name: a, name: b}\n");
    check_one(&twice, &["3 yaml metadata"]);
    check_one(&object("v1", "Namespace", "metadata: {name: 1}\n"), &["3 yaml metadata.name"]);
    check_one(&object("v1", "Namespace", "metadata: {name: A_b}\n"), &["3 name metadata.name"]);
    let service = object("v1", "Service", "metadata: {name: 1a, namespace: default}\n");
    check_one(&service, &["3 name metadata.name"]);
    let generated = object("v1", "ConfigMap", "metadata: {generateName: a-, namespace: default}\n");
    check_one(&generated, &["3 generate-name metadata.generateName"]);
    let list = object("v1", "List", "items: []\n");
    check_one(&list, &["3 list items"]);
}

#[test]
fn what_servers_set() {
    let text = "metadata:\n  name: a\n  uid: x\n  creationTimestamp: null\n  ownerReferences: [{}]\n  labels: {a: yes}\nstatus: {phase: Active}\n";
    check_one(
        &object("v1", "Namespace", text),
        &[
            "5 set-by-server metadata.uid",
            "7 set-by-server metadata.ownerReferences",
            "8 not-text metadata.labels[a]",
            "9 status status",
        ],
    );
}

#[test]
fn kinds() {
    let named = "metadata: {name: a}\n";
    let spaced = "metadata: {name: a, namespace: default}\n";
    check_one(&object("extensions/v1beta1", "Ingress", spaced), &["1 unknown-kind apiVersion"]);
    check_one(&object("b.example/v1", "A", named), &["1 unknown-kind apiVersion"]);
    check_one(&object("authentication.k8s.io/v1", "TokenReview", named), &["1 not-applied kind"]);
    check_one(&object("resource.k8s.io/v1", "DeviceClass", named), &["1 kind-too-new apiVersion"]);
    let newer = "generation: 1\nleast_kubernetes: \"1.34\"\n";
    let class = object("resource.k8s.io/v1", "DeviceClass", named);
    check(newer, &[("00-a/a.yaml", &class)], &[]);
    let gone = object("storage.k8s.io/v1alpha1", "VolumeAttributesClass", named);
    check_one(&gone, &["1 kind-gone apiVersion"]);
    let beta = object("networking.k8s.io/v1beta1", "IPAddress", named);
    check_one(&beta, &["1 kind-off apiVersion"]);
}

#[test]
fn namespaces() {
    let map =
        |namespace: &str| object("v1", "ConfigMap", &format!("metadata: {{name: a{namespace}}}\n"));
    let space = object("v1", "Namespace", "metadata: {name: ns}\n");
    check_one(&map(""), &["1 namespace metadata.namespace"]);
    check_one(&map(", namespace: ns"), &["3 namespace metadata.namespace"]);
    let in_space = map(", namespace: ns");
    check(SETTINGS, &[("00-a/n.yaml", &space), ("10-b/a.yaml", &in_space)], &[]);
    check(
        SETTINGS,
        &[("00-a/a.yaml", &in_space), ("00-a/n.yaml", &space)],
        &["00-a/a.yaml:3 too-early metadata.namespace"],
    );
    let spaced = object("v1", "Namespace", "metadata: {name: a, namespace: default}\n");
    check_one(&spaced, &["3 namespace metadata.namespace"]);
    let both = format!("{space}---\n{space}");
    check_one(&both, &["7 twice metadata.name"]);
}

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: as.b.example}\nspec:\n  group: b.example\n  names: {kind: A, plural: as}\n  scope: Cluster\n  versions: [{name: v1, served: true, storage: true}]\n";

#[test]
fn definitions() {
    let own = object("b.example/v1", "A", "metadata: {name: a}\n");
    check(SETTINGS, &[("00-a/d.yaml", DEFINITION), ("10-b/a.yaml", &own)], &[]);
    let early = [("00-a/a.yaml", own.as_str()), ("00-a/d.yaml", DEFINITION)];
    check(SETTINGS, &early, &["00-a/a.yaml:1 too-early kind"]);
    let other = own.replace("v1", "v2");
    let files = [("00-a/d.yaml", DEFINITION), ("10-b/a.yaml", other.as_str())];
    check(SETTINGS, &files, &["10-b/a.yaml:1 unknown-kind apiVersion"]);
    let misnamed = DEFINITION.replace("name: as.b", "name: a.b");
    check_one(&misnamed, &["3 definition metadata.name"]);
    let unstored = DEFINITION.replace("storage: true", "storage: false");
    check_one(&unstored, &["8 definition spec.versions"]);
}

#[test]
fn fields() {
    let deployment = |spec: &str| {
        object(
            "apps/v1",
            "Deployment",
            &format!("metadata: {{name: a, namespace: default}}\nspec:\n{spec}"),
        )
    };
    check_one(&deployment("  replicas: 1\n  paused: null\n"), &[]);
    check_one(&deployment("  replica: 1\n"), &["5 unknown-field spec.replica"]);
    check_one(&deployment("  replicas: 5000000000\n"), &["5 wrong-type spec.replicas"]);
    check_one(&deployment("  replicas: '1'\n"), &["5 wrong-type spec.replicas"]);
    check_one(&deployment("  selector: [a]\n"), &["5 wrong-type spec.selector"]);
    let strategy = "  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 25%}}\n";
    check_one(&deployment(strategy), &[]);
    let checked = super::check(&input(SETTINGS, &[("00-a/a.yaml", &deployment("  replica: 1\n"))]));
    let row = &checked.rows[0];
    assert_eq!((row.place.line, row.place.column), (5, 3));
    assert_eq!(row.remedy.as_deref(), Some("did you mean `replicas`?"));
}

#[test]
fn fields_of_the_bundles_own_kinds() {
    let schema = "{type: object, properties: {spec: {type: object, required: [times, tone], properties: {times: {type: integer}, tone: {type: string, default: a}, port: {x-kubernetes-int-or-string: true}}}}}";
    let definition = DEFINITION
        .replace("storage: true", &format!("storage: true, schema: {{openAPIV3Schema: {schema}}}"));
    let own =
        |spec: &str| object("b.example/v1", "A", &format!("metadata: {{name: a}}\nspec: {spec}\n"));
    #[track_caller]
    fn check_own(definition: &str, own: &str, expected: &[&str]) {
        let files = [("00-a/d.yaml", definition), ("10-b/a.yaml", own)];
        let expected: Vec<String> =
            expected.iter().map(|row| format!("10-b/a.yaml:{row}")).collect();
        check(SETTINGS, &files, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
    check_own(&definition, &own("{times: 1, port: a}"), &[]);
    check_own(&definition, &own("{times: 1, m: 1}"), &["4 unknown-field spec.m"]);
    check_own(&definition, &own("{times: often}"), &["4 schema spec.times"]);
    check_own(&definition, &own("{port: 1}"), &["4 schema spec.times"]);
    check_own(&definition, &own("{times: 1, port: [1]}"), &["4 schema spec.port"]);
    let wrong = own("{times: hidden-value}");
    let files = [("00-a/d.yaml", definition.as_str()), ("10-b/a.yaml", wrong.as_str())];
    let checked = super::check(&input(SETTINGS, &files));
    assert!(
        checked.rows.iter().all(|row| !row.message.contains("hidden-value")),
        "{:?}",
        checked.rows
    );
    let broken = definition.replace("type: integer", "type: 5");
    check(
        SETTINGS,
        &[("00-a/d.yaml", &broken), ("10-b/a.yaml", &own("{times: 1}"))],
        &[
            "00-a/d.yaml:8 definition spec.versions",
            "00-a/d.yaml:8 wrong-type spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.times.type",
        ],
    );
}

#[test]
fn images_by_digest() {
    let pinned = format!("registry.example/a@sha256:{}", "0".repeat(64));
    let text = format!(
        "metadata: {{name: a, namespace: default}}\nspec:\n  template:\n    spec:\n      initContainers: [{{name: a, image: 'registry.example/a:1'}}]\n      containers:\n      - {{name: b, image: '{pinned}'}}\n      - name: c\n      - {{name: d, image: '{pinned}', env: [{{name: RELATED_IMAGE_X, value: 'x:1'}}]}}\n"
    );
    let text = object("apps/v1", "Deployment", &text);
    check_one(
        &text,
        &[
            "7 image spec.template.spec.initContainers[0].image",
            "10 image spec.template.spec.containers[1]",
            "11 image spec.template.spec.containers[2].env[0].value",
        ],
    );
    let checked = super::check(&input(SETTINGS, &[("00-a/a.yaml", &text)]));
    assert_eq!(checked.images.into_iter().collect::<Vec<_>>(), [pinned]);
}

#[test]
fn no_secrets() {
    let metadata = "metadata: {name: a, namespace: default}\n";
    let secret = object("v1", "Secret", &format!("{metadata}stringData: {{a: hidden-value}}\n"));
    check_one(&secret, &["4 secret-value stringData"]);
    check_one(&object("v1", "Secret", metadata), &[]);
    let map = object(
        "v1",
        "ConfigMap",
        &format!("{metadata}data:\n  a: |\n    -----BEGIN PRIVATE KEY-----\n"),
    );
    check_one(&map, &["5 secret-value data.a"]);
    let pod = format!(
        "{metadata}spec:\n  containers:\n  - name: a\n    image: 'registry.example/a@sha256:{}'\n    env:\n    - {{name: A_PASSWORD, value: hidden-value}}\n    - {{name: B_PASSWORD, valueFrom: {{}}}}\n",
        "0".repeat(64)
    );
    let pod = object("v1", "Pod", &pod);
    check_one(&pod, &["9 secret-value spec.containers[0].env[0].value"]);
    for text in [&secret, &pod] {
        let checked = super::check(&input(SETTINGS, &[("00-a/a.yaml", text)]));
        assert!(checked.rows.iter().all(|row| !row.message.contains("hidden-value")));
    }
}

#[test]
fn settings() {
    let space = object("v1", "Namespace", "metadata: {name: ns}\n");
    let files = [("00-a/a.yaml", space.as_str())];
    check("", &files, &["bundle.yaml:1 settings "]);
    check("generation: 0\n", &files, &["bundle.yaml:1 settings generation"]);
    let text =
        "generation: 1\nleast_agent: x\nleast_kubernetes: 1.32\nfuture: 1\nimages: ['a:1']\n";
    check(
        text,
        &files,
        &[
            "bundle.yaml:2 settings least_agent",
            "bundle.yaml:3 settings least_kubernetes",
            "bundle.yaml:4 settings future",
            "bundle.yaml:5 settings images[0]",
        ],
    );
    let text = "generation: 1\nnever_prune:\n- {api_version: v1, kind: Namespace, name: ns}\n- {api_version: v1, kind: Namespace, name: m}\nreadiness:\n- {api_version: v1, kind: Pod}\n";
    check(
        text,
        &files,
        &["bundle.yaml:4 listed never_prune[1]", "bundle.yaml:6 listed readiness[0]"],
    );
}
