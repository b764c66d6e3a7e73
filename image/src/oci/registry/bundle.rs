//! A whole bundle with its signatures, in and out of a registry.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::bundle::content::MAX_CONTENT_BYTES;
use crate::bundle::{Opened, Parts, descriptors, parse};
use crate::io::digest::Digest;
use crate::oci::layout::{Descriptor, INDEX_TYPE, MANIFEST_TYPE, MAX_DOCUMENT_BYTES};
use crate::oci::registry::client::{Client, RegistryError};
use crate::oci::registry::reference::Version;
use crate::sign::document::{self, Documents, MAX_SIGNATURE_BYTES, Subject};
use crate::sign::{self, MAX_SIGNATURES, Signature, simple};

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// Uploads a bundle, then its signatures, then the tag, so that the tag never names what is missing or not signed.
/// Signatures that are there already stay.
///
/// # Errors
/// When the registry refuses. The tag is then what it was.
pub async fn push(client: &Client, bundle: &Opened) -> Result<(), RegistryError> {
    let Parts { manifest, config, content, index } = &bundle.parts;
    let digest = bundle.artefact.manifest;
    for blob in [content, index, config] {
        client.push_blob(blob).await?;
    }
    client.push_manifest(&Version::Digest(digest), manifest, MANIFEST_TYPE).await?;
    let subject = Subject { digest, size: manifest.len() as u64 };
    push_signatures(client, subject, &bundle.signatures).await?;
    if let Version::Tag(_) = &client.reference().version {
        client.push_manifest(&client.reference().version, manifest, MANIFEST_TYPE).await?;
    }
    Ok(())
}

/// Uploads the signatures over a manifest that is there, of a bundle or an image.
///
/// # Errors
/// When the registry refuses.
pub async fn push_signatures(
    client: &Client,
    subject: Subject,
    signatures: &[Signature],
) -> Result<(), RegistryError> {
    let mut all = simple_signatures(client, &subject.digest).await?;
    let added: Vec<Signature> = signatures
        .iter()
        .filter(|signature| matches!(signature, Signature::Simple(_)) && !all.contains(signature))
        .cloned()
        .collect();
    if !added.is_empty() {
        all.extend(added);
        if let Some(documents) = document::simple(&all) {
            let tag = Version::Tag(document::tag(&subject.digest));
            push_documents(client, &documents, &tag).await?;
        }
    }
    for documents in document::bundles(signatures, subject) {
        let digest = Digest::of(&documents.manifest);
        if !push_documents(client, &documents, &Version::Digest(digest)).await? {
            list(client, &subject.digest, &documents, &digest).await?;
        }
    }
    Ok(())
}

async fn push_documents(
    client: &Client,
    documents: &Documents,
    version: &Version,
) -> Result<bool, RegistryError> {
    for blob in &documents.blobs {
        client.push_blob(blob).await?;
    }
    client.push_manifest(version, &documents.manifest, MANIFEST_TYPE).await
}

/// Adds a manifest to the index of all that refers to `subject`, in place of a registry that keeps none itself.
async fn list(
    client: &Client,
    subject: &Digest,
    documents: &Documents,
    digest: &Digest,
) -> Result<(), RegistryError> {
    let tag = Version::Tag(document::referrers_tag(subject));
    let known = client.manifest(&tag).await?;
    let known: Option<Value> = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut manifests = known.map_or_else(Vec::new, |mut index| {
        index["manifests"].as_array_mut().map(std::mem::take).unwrap_or_default()
    });
    let text = digest.to_string();
    if manifests.iter().any(|entry| entry["digest"] == text.as_str()) {
        return Ok(());
    }
    manifests.push(json!({
        "mediaType": MANIFEST_TYPE,
        "digest": digest,
        "size": documents.manifest.len(),
        "artifactType": documents.artifact_type,
    }));
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests});
    client.push_manifest(&tag, index.to_string().as_bytes(), INDEX_TYPE).await.map(drop)
}

/// Downloads a bundle with its signatures. Everything is checked but whose they are.
///
/// # Errors
/// When it is not there, is another one, or is no bundle.
pub async fn pull(client: &Client) -> Result<Opened, RegistryError> {
    let reference = client.reference();
    let manifest = client.manifest(&reference.version).await?;
    let manifest = manifest.ok_or_else(|| RegistryError::Missing {
        registry: reference.registry.clone(),
        what: format!("`{reference}`"),
    })?;
    let digest = Digest::of(&manifest);
    let found = descriptors(&digest, &manifest)?;
    let parts = Parts {
        config: client.blob(&found.config, MAX_DOCUMENT_BYTES).await?,
        content: client.blob(&found.content, MAX_CONTENT_BYTES).await?,
        index: client.blob(&found.index, MAX_DOCUMENT_BYTES).await?,
        manifest,
    };
    let artefact = parse(&digest, &parts)?;
    Ok(Opened { artefact, parts, signatures: signatures(client, &digest).await? })
}

/// Downloads the signatures over a manifest, in both forms. What is no signature is passed over.
///
/// # Errors
/// When the registry does not answer, or with something else.
pub async fn signatures(
    client: &Client,
    subject: &Digest,
) -> Result<Vec<Signature>, RegistryError> {
    let mut signatures = simple_signatures(client, subject).await?;
    let listed = match client.referrers(subject).await? {
        Some(index) => Some(index),
        None => client.manifest(&Version::Tag(document::referrers_tag(subject))).await?,
    };
    let listed = listed.and_then(|bytes| serde_json::from_slice::<Index>(&bytes).ok());
    let entries = listed.map_or_else(Vec::new, |index| index.manifests);
    let ours = entries
        .iter()
        .filter(|entry| entry.artifact_type.as_deref() == Some(sign::bundle::MEDIA_TYPE));
    for entry in ours.take(MAX_SIGNATURES) {
        let Some(manifest) = client.manifest(&Version::Digest(entry.digest)).await? else {
            continue;
        };
        if let Ok(Some(layer)) = document::bundle_of(&manifest, subject) {
            signatures.push(Signature::Bundle(client.blob(&layer, MAX_SIGNATURE_BYTES).await?));
        }
    }
    Ok(signatures)
}

async fn simple_signatures(
    client: &Client,
    subject: &Digest,
) -> Result<Vec<Signature>, RegistryError> {
    let tag = Version::Tag(document::tag(subject));
    let Some(manifest) = client.manifest(&tag).await? else { return Ok(Vec::new()) };
    let mut signatures = Vec::new();
    let mut seen = BTreeSet::new();
    for (layer, signature) in document::payloads(&manifest).unwrap_or_default() {
        if !seen.insert((layer.digest, signature.clone())) {
            continue;
        }
        let payload = client.blob(&layer, MAX_SIGNATURE_BYTES).await?;
        signatures.push(Signature::Simple(simple::Signed { payload, signature }));
    }
    Ok(signatures)
}
