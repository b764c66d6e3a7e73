//! The operator bundle: five hundred objects by the agent and by `kubectl apply --server-side`, on the same API server.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use basalt_image::bundle::{About, Built, ContentFile, Index, Wave, build, content, store};
use basalt_image::sign::{self, PrivateKey};
use basalt_model::node::{Bundle, BundleOwner, Node};
use camino::Utf8Path;
use e2e::control_plane::{ControlPlane, Programs, Site, Subject, Wishes};
use e2e::peers::peer;
use e2e::wait::until;
use serde_json::Value as Json;

use super::agent::Running;
use super::cost::{Cost, measure, mebibytes, seconds};
use crate::output;
use crate::progress::Progress;
use crate::table::table;

/// Objects of the bundle, the namespace among them.
const OBJECTS: usize = 500;
const LIMIT: Duration = Duration::from_secs(300);
/// How often the agent looks whether anything has changed.
const INTERVAL: Duration = Duration::from_secs(2);
/// For how long it is watched while nothing changes.
const QUIET: Duration = Duration::from_secs(20);
/// The user that the agent is to the API server, and the one that `kubectl` is.
const USERS: [&str; 2] = ["basalt:agent:n1", "kubernetes-admin"];

/// What everything is written down for.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: Metadata}
";

/// The namespace of the bundle, and of the same objects as `kubectl` applies them.
const NAMESPACES: [&str; 2] = ["hello", "hello-by-kubectl"];

/// What one run showed.
struct Figures {
    /// From an API server that is ready until every object is applied and well.
    applied: Duration,
    /// From then on until the bundle is committed.
    committed: Duration,
    /// Processor time of a round over nothing.
    round: Duration,
    /// Writes of all those rounds.
    writes: usize,
    /// Bytes.
    resident: u64,
    first: Cost,
    again: Cost,
    writes_again: usize,
}

/// Measures and prints: the run with the middle time until the bundle is committed.
pub(super) fn run(agent: &Path, node: &Node, runs: u16, progress: &Progress) -> Result<()> {
    let missing = "a program is missing: `cargo xtask peers` gets it";
    let (programs, kubectl) = Programs::find().zip(peer("kubectl")).context(missing)?;
    let mut all = Vec::new();
    for run in 1..=runs {
        progress.step(format!("applying {OBJECTS} objects (run {run} of {runs})"));
        all.push(one(agent, node, &programs, &kubectl.program)?);
    }
    all.sort_by_key(|figures| figures.committed);
    let most = all.iter().map(|figures| figures.resident).max().unwrap_or_default();
    let Some(middle) = all.get(all.len() / 2) else { return Ok(()) };
    let row = |name: &str, ours: String, theirs: String| [name.to_owned(), ours, theirs];
    let none = || "-".to_owned();
    output::print(table(&[
        row(
            &format!("bundle of {OBJECTS} objects"),
            "ours".to_owned(),
            "kubectl apply --server-side".to_owned(),
        ),
        row("API ready to applied", seconds(middle.applied), seconds(middle.first.wall)),
        row("API ready to committed, 1 s of it settling", seconds(middle.committed), none()),
        row("nothing changed, CPU", seconds(middle.round), seconds(middle.again.cpu)),
        row("nothing changed, writes", middle.writes.to_string(), middle.writes_again.to_string()),
        row("resident at most", mebibytes(most), mebibytes(middle.first.peak)),
    ]))
}

fn one(agent: &Path, node: &Node, programs: &Programs, kubectl: &Path) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    fs::write(&policy, AUDIT_POLICY)?;
    let arguments = vec![
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
        "--audit-log-mode=blocking".to_owned(),
    ];
    // Nothing of the bundle needs a controller, and while they start none would get on with it.
    let wishes = Wishes { arguments, api_alone: true, ..Wishes::default() };
    let mut plane = ControlPlane::start(programs, Site::Loopback, wishes)?;
    let root = tempfile::tempdir()?;
    equip(root.path(), node, &plane, &objects(NAMESPACES[0]))?;

    plane.kill_api();
    let agent_log = folder.path().join("agent.log");
    let mut command = Command::new(agent);
    command.arg("--root").arg(root.path()).arg("run");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&agent_log)?);
    let running = Running::start(&mut command)?;
    plane.start_api_again()?;
    let ready = Instant::now();
    let wait = |what: &str, states: &[&str]| {
        until(what, LIMIT, || {
            let state = picture(root.path())?["state"].as_str()?.to_owned();
            states.contains(&state.as_str()).then_some(())
        })
        .with_context(|| {
            let seen = picture(root.path()).unwrap_or_default();
            let log = fs::read_to_string(&agent_log).unwrap_or_default();
            format!("the agent says {}: {}\n{log}", seen["state"], seen["message"])
        })
    };
    wait("every object to be well", &["settling", "committed"])?;
    let applied = ready.elapsed();
    wait("the bundle to be committed", &["committed"])?;
    let committed = ready.elapsed();
    let (before, used) = (writes(&log, USERS[0])?, running.processor_time()?);
    std::thread::sleep(QUIET);
    let rounds = QUIET.as_secs_f64() / INTERVAL.as_secs_f64();
    let round = (running.processor_time()? - used).div_f64(rounds);
    let writes_of_rounds = writes(&log, USERS[0])? - before;
    let resident = running.resident_at_most()?;
    drop(running);

    let file = folder.path().join("all.yaml");
    fs::write(&file, objects(NAMESPACES[1]).join("---\n"))?;
    let apply = || {
        let mut command = Command::new(kubectl);
        command.arg("--kubeconfig").arg(plane.admin_kubeconfig());
        command.arg(format!("--cache-dir={}", folder.path().join("cache").display()));
        measure(command.args(["apply", "--server-side", "-f"]).arg(&file))
    };
    let first = apply()?;
    let before = writes(&log, USERS[1])?;
    let again = apply()?;
    let writes_again = writes(&log, USERS[1])? - before;
    let writes = writes_of_rounds;
    Ok(Figures { applied, committed, round, writes, resident, first, again, writes_again })
}

/// What the agent says of the bundle.
fn picture(root: &Path) -> Option<Json> {
    serde_json::from_slice(&fs::read(root.join("run/basalt/bundle.json")).ok()?).ok()
}

/// A namespace and what is in it, one text each.
fn objects(namespace: &str) -> Vec<String> {
    let map = |number: usize| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map-{number}, namespace: {namespace}}}\ndata: {{value: one}}\n"
        )
    };
    let first = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
    std::iter::once(first).chain((1..OBJECTS).map(map)).collect()
}

/// Gives a directory that stands for a machine the bundle, a node that wants it and a way to the cluster.
fn equip(root: &Path, node: &Node, plane: &ControlPlane<'_>, objects: &[String]) -> Result<()> {
    let key = PrivateKey::from_pem(&PrivateKey::generate()?)?;
    let built = bundle_of(objects);
    let digest = built.manifest.to_string();
    let signature = sign::sign(&key, &built.manifest, "registry.lab.example/hello:1")?;
    let hex = digest.trim_start_matches("sha256:");
    let folder = root.join("usr/share/basalt/bundles");
    fs::create_dir_all(&folder)?;
    let place = folder.join(format!("{hex}.tar"));
    let place = Utf8Path::from_path(&place).context("a temporary folder has a plain name")?;
    store::write(place, &built, &Vec::from(signature))?;

    let user = plane.kubeconfig("agent", &Subject::user(USERS[0]).of("system:masters"))?;
    let path = "/etc/kubernetes/basalt-bundle.kubeconfig";
    let kubeconfig = format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: lab, cluster: {{server: \"{}\", certificate-authority: ca.pem}}}}]
users: [{{name: agent, user: {{client-certificate: bundle.pem, client-key: bundle.pem}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: agent}}}}]
current-context: lab
",
        plane.url()
    );
    let mut node = node.clone();
    (node.haproxy, node.keepalived, node.vault, node.vault_agent) = (None, None, None, None);
    node.pods.clear();
    node.bundle = Some(Bundle {
        reference: format!("registry.lab.example/hello@{digest}").parse()?,
        public_key: key.public().to_pem(),
        kubeconfig: Some(path.parse()?),
        prune_percent: 25,
        is_paused: false,
        owner: BundleOwner::Agent,
    });
    let settings = format!(
        "{{\"generations\": {{\"proof\": \"none\"}}, \"bundle\": {{\"interval_seconds\": {}, \"settle_seconds\": 1}}}}",
        INTERVAL.as_secs()
    );
    for (path, text) in [
        ("/etc/basalt/node.json", node.to_json()),
        ("/etc/basalt/agent.conf.d/50-bench.json", settings),
        (path, kubeconfig),
        ("/etc/kubernetes/ca.pem", plane.authority().pem().to_owned()),
        ("/etc/kubernetes/bundle.pem", fs::read_to_string(user.with_extension("pem"))?),
    ] {
        let file = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
        fs::write(file, text)?;
    }
    Ok(())
}

/// The namespace first, and everything else behind it.
fn bundle_of(objects: &[String]) -> Built {
    let file = |(number, text): (usize, &String)| ContentFile {
        path: match number {
            0 => "00-base/namespace.yaml".to_owned(),
            number => format!("40-maps/map-{number}.yaml"),
        },
        text: text.clone(),
    };
    let mut files: Vec<ContentFile> = objects.iter().enumerate().map(file).collect();
    content::sort(&mut files);
    let wave = |name: &str, count| Wave { name: name.to_owned(), files: count, objects: count };
    let index = Index {
        schema: 1,
        generation: 1,
        least_agent: "0.1.0".to_owned(),
        least_kubernetes: "1.33".to_owned(),
        waves: vec![wave("00-base", 1), wave("40-maps", objects.len() - 1)],
        readiness: Vec::new(),
        create_only: Vec::new(),
        never_prune: Vec::new(),
        images: Vec::new(),
    };
    let about = About {
        created: 0,
        source: "https://git.lab.example/hello".to_owned(),
        revision: "main".to_owned(),
    };
    build(&files, &index, &about)
}

/// How many objects a user has asked to write so far, its lease and rehearsals aside.
fn writes(log: &Path, user: &str) -> Result<usize> {
    let text = fs::read_to_string(log)?;
    let is_write = |line: &&str| {
        let Ok(event) = serde_json::from_str::<Json>(line) else { return false };
        let is_dry = event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All"));
        event["user"]["username"] == user && event["objectRef"]["resource"] != "leases" && !is_dry
    };
    Ok(text.lines().filter(is_write).count())
}
