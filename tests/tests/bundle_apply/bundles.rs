//! Bundles for tests, made and signed as `cargo xtask bundle` makes and signs them.

use basalt_image::bundle::{About, Built, ContentFile, Index, ObjectRef, Wave, build, content};
use basalt_image::sign::{self, PrivateKey, Signature};

/// Who signs.
pub(crate) struct Signer {
    key: PrivateKey,
}

/// A bundle with its signatures.
pub(crate) struct Signed {
    pub(crate) built: Built,
    pub(crate) signatures: Vec<Signature>,
    pub(crate) generation: u64,
}

/// What a bundle is made of.
#[derive(Clone, Default)]
pub(crate) struct Recipe {
    files: Vec<(String, String)>,
    pub(crate) create_only: Vec<ObjectRef>,
    pub(crate) never_prune: Vec<ObjectRef>,
}

impl Recipe {
    /// Adds a file of objects.
    pub(crate) fn with(mut self, path: &str, text: &str) -> Recipe {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    pub(crate) fn without(mut self, paths: &[&str]) -> Recipe {
        self.files.retain(|(path, _)| !paths.contains(&path.as_str()));
        self
    }
}

impl Signer {
    pub(crate) fn new() -> Signer {
        let pem = PrivateKey::generate().unwrap();
        Signer { key: PrivateKey::from_pem(&pem).unwrap() }
    }

    pub(crate) fn public_key(&self) -> String {
        self.key.public().to_pem()
    }

    pub(crate) fn sign(&self, generation: u64, recipe: &Recipe) -> Signed {
        let built = build_of(generation, recipe);
        let reference = format!("registry.lab.example/hello:{generation}");
        let signatures = sign::sign(&self.key, &built.manifest, &reference).unwrap().into();
        Signed { built, signatures, generation }
    }
}

fn build_of(generation: u64, recipe: &Recipe) -> Built {
    let file =
        |(path, text): &(String, String)| ContentFile { path: path.clone(), text: text.clone() };
    let mut files: Vec<ContentFile> = recipe.files.iter().map(file).collect();
    content::sort(&mut files);
    let mut waves: Vec<Wave> = Vec::new();
    for file in &files {
        let objects = file.text.matches("apiVersion:").count();
        match waves.last_mut() {
            Some(wave) if wave.name == file.wave() => {
                wave.files += 1;
                wave.objects += objects;
            }
            _ => waves.push(Wave { name: file.wave().to_owned(), files: 1, objects }),
        }
    }
    let index = Index {
        schema: 1,
        generation,
        least_agent: "0.1.0".to_owned(),
        least_kubernetes: "1.33".to_owned(),
        waves,
        readiness: Vec::new(),
        create_only: recipe.create_only.clone(),
        never_prune: recipe.never_prune.clone(),
        images: Vec::new(),
    };
    let about = About {
        created: 0,
        source: "https://git.lab.example/hello".to_owned(),
        revision: "main".to_owned(),
    };
    build(&files, &index, &about)
}

pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: hello}}\ndata: {{value: \"{value}\"}}\n"
    )
}

/// A Deployment that is well as soon as its controller has seen it (no replicas), or never (one, and no node to run it).
pub(crate) fn deployment(name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: hello}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: main, image: \"registry.lab.example/hello:1\"}}]}}
"
    )
}

pub(crate) const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: hello}\n";

/// A kind of its own, with the versions that it has and the one that is stored.
pub(crate) fn definition(versions: &[&str], stored: &str) -> String {
    let mut text = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: greetings.hello.example}
spec:
  group: hello.example
  names: {kind: Greeting, plural: greetings, singular: greeting, listKind: GreetingList}
  scope: Namespaced
  versions:
"
    .to_owned();
    for version in versions {
        text += &format!(
            "  - name: {version}
    served: true
    storage: {}
    schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{text: {{type: string}}}}}}}}}}}}
",
            *version == stored
        );
    }
    text
}

pub(crate) const GREETING: &str = "apiVersion: hello.example/v1
kind: Greeting
metadata: {name: first, namespace: hello}
spec: {text: hello}
";

/// A namespace, a kind of its own with an object of it, a Deployment, a Service, and nine maps.
pub(crate) fn hello() -> Recipe {
    let service = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: hello}
spec: {selector: {app: operator}, ports: [{port: 80}]}
";
    let account =
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: operator, namespace: hello}\n";
    let mut recipe = Recipe::default()
        .with("00-base/definition.yaml", &definition(&["v1"], "v1"))
        .with("00-base/namespace.yaml", NAMESPACE)
        .with("10-access/account.yaml", account)
        .with("30-operator/operator.yaml", &deployment("operator", 0))
        .with("30-operator/service.yaml", service)
        .with("50-first/greeting.yaml", GREETING);
    for number in 1..=9 {
        let name = format!("map-{number}");
        recipe = recipe.with(&format!("40-maps/{name}.yaml"), &config_map(&name, "one"));
    }
    recipe
}
