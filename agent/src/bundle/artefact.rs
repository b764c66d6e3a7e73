//! Bundles as they come: found, checked, and turned into objects.
//!
//! A bundle is looked for on the node itself before anything is fetched: the image may have brought it, and what was
//! applied once is kept, so that it can return without a registry.

use std::time::Duration;

use basalt_image::bundle::index::ReadinessOverride;
use basalt_image::bundle::{Artefact, Built, Index, Opened, StoreError, store};
use basalt_image::io::digest::Digest;
use basalt_image::oci::registry::{self, Access, Client, NotAReference, Reference};
use basalt_image::sign::{self, KeyError, PublicKey, VerifyError};
use basalt_model::names::ImageReference;
use basalt_model::node::Bundle as Wanted;
use basalt_static_pods::objects::{ObjectsError, objects};
use camino::Utf8PathBuf;
use serde_json::Value;

use super::inventory::{PART_OF, Release, apply_set};
use super::object::{Key, Object, group_and_version, hash, set_label};
use super::waves::rank;
use crate::causes::chain;
use crate::host::Host;
use crate::host::files::{Attributes, ensure_directory};

/// Where the operating system image brings bundles, as `HEX` or `HEX.tar`.
const BAKED_IN: &str = "/usr/share/basalt/bundles";
/// Where bundles are kept that were applied from here, as `HEX.tar`.
const KEPT: &str = "/var/lib/basalt/bundles";

/// How long a registry may take; the Lease waits meanwhile.
const FETCH_LIMIT: Duration = Duration::from_secs(15);

/// A bundle, checked, as objects in the order in which they are applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bundle {
    pub(crate) release: Release,
    pub(crate) least_agent: String,
    pub(crate) least_kubernetes: String,
    /// Names of the waves.
    pub(crate) waves: Vec<String>,
    pub(crate) objects: Vec<Object>,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("the digest of `{0}` is none")]
    Reference(String),
    #[error("`bundle.public_key` cannot be used")]
    Key(#[source] KeyError),
    #[error("the bundle cannot be read")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unsigned(#[from] VerifyError),
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    #[error("{file}: an object without apiVersion, kind or name")]
    Nameless { file: String },
    #[error(
        "bundle {digest} is neither in {BAKED_IN} nor in {KEPT}, and cannot be fetched: {reason}"
    )]
    Missing { digest: String, reason: String },
}

impl BundleError {
    /// The error with what caused it, on one line.
    pub(crate) fn chain(&self) -> String {
        chain(self)
    }
}

/// Loads a bundle, and keeps it on this node.
///
/// # Errors
/// When it is nowhere, or is not what it should be.
pub(crate) async fn load(
    host: &Host,
    reference: &ImageReference,
    wanted: &Wanted,
    authorities: &str,
) -> Result<Bundle, BundleError> {
    let key = PublicKey::from_pem(&wanted.public_key).map_err(BundleError::Key)?;
    let digest: Digest =
        reference.digest().parse().map_err(|_| BundleError::Reference(reference.to_string()))?;
    let hex = reference.digest().trim_start_matches("sha256:");
    let kept = host.real(&format!("{KEPT}/{hex}.tar"));
    let places: [Utf8PathBuf; 3] = [
        host.real(&format!("{BAKED_IN}/{hex}")),
        host.real(&format!("{BAKED_IN}/{hex}.tar")),
        kept.clone(),
    ];
    let opened = match places.iter().find(|place| place.exists()) {
        Some(place) => store::open(place, Some(&digest))?,
        None => fetch(reference, authorities).await.map_err(|reason| BundleError::Missing {
            digest: reference.digest().to_owned(),
            reason,
        })?,
    };
    if opened.artefact.manifest != digest {
        let reason = format!("the registry gave {}", opened.artefact.manifest);
        return Err(BundleError::Missing { digest: reference.digest().to_owned(), reason });
    }
    sign::verify(&opened.signatures, &[key], &digest)?;
    let bundle = bundle(reference, &opened.artefact)?;
    if !kept.exists() {
        keep(host, &kept, &digest, &opened);
    }
    Ok(bundle)
}

/// Fetches a bundle from its registry.
async fn fetch(reference: &ImageReference, authorities: &str) -> Result<Opened, String> {
    let said = |error: &dyn std::error::Error| chain(error);
    let name = format!("{}@{}", reference.repository(), reference.digest());
    let name: Reference = name.parse().map_err(|error: NotAReference| error.to_string())?;
    let authorities = (!authorities.is_empty()).then(|| authorities.as_bytes().to_vec());
    let access = Access { authorities, credentials: None };
    let client = Client::new(&name, access).map_err(|error| said(&error))?;
    let pulled = tokio::time::timeout(FETCH_LIMIT, registry::bundle::pull(&client));
    match pulled.await {
        Ok(pulled) => pulled.map_err(|error| said(&error)),
        Err(_) => Err(format!("no answer in {} s", FETCH_LIMIT.as_secs())),
    }
}

/// Keeps a bundle for the day when it has to return. That it cannot be kept keeps nobody from applying it.
fn keep(host: &Host, path: &Utf8PathBuf, digest: &Digest, opened: &Opened) {
    let attributes = Attributes { mode: 0o755, owner: host.owner, label: None };
    let built = Built { manifest: *digest, parts: opened.parts.clone() };
    let kept =
        ensure_directory(&host.real(KEPT), attributes).map_err(|error| error.to_string()).and_then(
            |()| store::write(path, &built, &opened.signatures).map_err(|error| error.to_string()),
        );
    if let Err(error) = kept {
        tracing::warn!(%path, %error, "cannot keep the bundle on this node");
    }
}

/// The objects of an artefact.
fn bundle(reference: &ImageReference, artefact: &Artefact) -> Result<Bundle, BundleError> {
    let index = &artefact.index;
    let waves: Vec<String> = index.waves.iter().map(|wave| wave.name.clone()).collect();
    let set = apply_set();
    let mut list = Vec::new();
    for file in &artefact.content {
        // Every file is in a wave of the index, or the artefact would not have been read.
        let wave = waves.iter().position(|wave| wave == file.wave()).unwrap_or(waves.len());
        for body in objects(&file.path, file.text.as_bytes())? {
            list.push(
                object(Value::Object(body), wave, index, &set)
                    .ok_or_else(|| BundleError::Nameless { file: file.path.clone() })?,
            );
        }
    }
    list.sort_by_key(|object| (object.wave, rank(&object.key)));
    Ok(Bundle {
        release: Release { generation: index.generation, reference: reference.to_string() },
        least_agent: index.least_agent.clone(),
        least_kubernetes: index.least_kubernetes.clone(),
        waves,
        objects: list,
    })
}

fn object(mut body: Value, wave: usize, index: &Index, set: &str) -> Option<Object> {
    let key = Key::of(&body)?;
    let api_version = body["apiVersion"].as_str()?.to_owned();
    // What a cluster fills in is not for a bundle to say.
    if let Some(fields) = body.as_object_mut() {
        fields.shift_remove("status");
    }
    set_label(&mut body, PART_OF, set);
    let is_listed = |list: &[basalt_image::bundle::ObjectRef]| {
        list.iter().any(|it| {
            it.api_version == api_version
                && it.kind == key.kind
                && it.namespace == key.namespace
                && it.name == key.name
        })
    };
    let is_judged = |it: &&ReadinessOverride| {
        it.api_version == api_version
            && it.kind == key.kind
            && it.namespace.as_ref().is_none_or(|it| Some(it) == key.namespace.as_ref())
            && it.name.as_ref().is_none_or(|it| *it == key.name)
    };
    let ready_by = index.readiness.iter().find(is_judged);
    Some(Object {
        version: group_and_version(&api_version).1.to_owned(),
        wave,
        hash: hash(&body),
        create_only: is_listed(&index.create_only),
        never_prune: is_listed(&index.never_prune),
        ready_by: ready_by.map(|it| (it.condition.clone(), it.status.clone())),
        key,
        body,
    })
}

#[cfg(test)]
mod tests {
    use basalt_image::bundle::{ContentFile, ObjectRef, Wave};
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_come_in_the_order_of_waves_and_kinds() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let reference: ImageReference = format!("registry.example/b@{digest}").parse().unwrap();
        let file = |path: &str, text: &str| ContentFile { path: path.into(), text: text.into() };
        let name = |name: &str, files| Wave { name: name.into(), files, objects: 1 };
        let own = ObjectRef {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: Some("hello".into()),
            name: "a".into(),
        };
        let artefact = Artefact {
            manifest: digest.parse().unwrap(),
            annotations: Default::default(),
            index: Index {
                schema: 1,
                generation: 7,
                least_agent: "0.1.0".into(),
                least_kubernetes: "1.33".into(),
                waves: vec![name("00-a", 2), name("10-b", 1)],
                readiness: vec![ReadinessOverride {
                    api_version: "apps/v1".into(),
                    kind: "Deployment".into(),
                    namespace: None,
                    name: None,
                    condition: "Available".into(),
                    status: "True".into(),
                }],
                create_only: vec![own.clone()],
                never_prune: vec![own],
                images: Vec::new(),
            },
            content: vec![
                file(
                    "00-a/a.yaml",
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: hello}\nstatus: {}\n",
                ),
                file("00-a/b.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: hello}\n"),
                file("10-b/a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"),
            ],
        };
        let bundle = bundle(&reference, &artefact).unwrap();
        let names: Vec<String> = bundle.objects.iter().map(|it| it.key.to_string()).collect();
        assert_eq!(names, ["Namespace hello", "ConfigMap hello/a", "Deployment.apps d"]);
        let [namespace, map, deployment] = &bundle.objects[..] else { panic!("three objects") };
        assert_eq!((map.create_only, map.never_prune, map.wave), (true, true, 0));
        assert_eq!((namespace.create_only, deployment.wave), (false, 1));
        assert_eq!(deployment.ready_by, Some(("Available".into(), "True".into())));
        assert_eq!(map.body["metadata"]["labels"], json!({PART_OF: apply_set()}));
        assert_eq!(map.body.get("status"), None);
        assert_eq!(bundle.release.generation, 7);
    }
}
