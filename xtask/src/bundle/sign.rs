//! `cargo xtask bundle key`, `sign` and `verify`: whose a bundle is.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use basalt_image::bundle::{self, Built, Opened, store};
use basalt_image::io::digest::Digest;
use basalt_image::oci::registry::{Reference, Version};
use basalt_image::sign::{self, KeyError, PrivateKey, PublicKey};
use camino::{Utf8Path, Utf8PathBuf};
use zeroize::Zeroizing;

use super::with_hint;
use crate::output::print;
use crate::progress::Progress;
use crate::source;

/// The largest key file, in bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Make a key pair to sign with.
///
/// The private key (ECDSA over P-256, PKCS #8) goes to FILE, which only its owner can read, and the public one to
/// FILE.pub. Neither file may exist. What `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes is as
/// good.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArguments {
    /// The file for the private key.
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
}

/// Sign a bundle.
///
/// The signatures are written beside the bundle, in its layout or archive, in both forms that are read today: `bundle
/// push` puts one under the tag `sha256-….sig`, which skopeo, podman and rpm-ostree read, and the other where cosign 3
/// and Flux look. Signatures by other keys stay.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bundle: an OCI layout or archive.
    #[arg(value_name = "LAYOUT")]
    bundle: Utf8PathBuf,

    /// The name under which it will be pushed, with its tag: skopeo and podman compare it with what they are asked for.
    #[arg(value_name = "REFERENCE")]
    reference: Reference,

    /// The file with the private key. No one else may be able to read it.
    #[arg(long, value_name = "FILE")]
    key: Utf8PathBuf,
}

/// Check whose a bundle is.
///
/// One signature by one of the keys is enough, in either form. Prints the digest of the bundle.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    /// The bundle: an OCI layout or archive.
    #[arg(value_name = "LAYOUT")]
    bundle: Utf8PathBuf,

    /// A file with a public key that is trusted.
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<Utf8PathBuf>,

    /// The digest that the bundle has to have.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
}

pub(super) fn key(arguments: &KeyArguments, progress: &Progress) -> Result<ExitCode> {
    let file = &arguments.file;
    let public_file = Utf8PathBuf::from(format!("{file}.pub"));
    if fs::symlink_metadata(&public_file).is_ok() {
        bail!("`{public_file}` exists already; name another file");
    }
    let private = PrivateKey::generate().map_err(explain)?;
    let public = PrivateKey::from_pem(&private).map_err(explain)?.public().to_pem();
    write_new(file, 0o600, private.as_bytes())?;
    write_new(&public_file, 0o644, public.as_bytes())?;
    progress.step(format!("wrote `{file}` and `{public_file}`"));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let Version::Tag(_) = &arguments.reference.version else {
        bail!("`{}` names no tag; give the name and tag to push to", arguments.reference);
    };
    let key = private_key(&arguments.key)?;
    let Opened { artefact, parts, mut signatures } = open(&arguments.bundle, None)?;
    let reference = arguments.reference.to_string();
    let made = sign::sign(&key, &artefact.manifest, &reference).map_err(explain)?;
    // A second time with the same key adds nothing.
    let keys = [key.public()];
    signatures.retain(|signature| {
        let own = sign::verify(std::slice::from_ref(signature), &keys, &artefact.manifest).is_ok();
        !own || is_for_another_name(signature, &reference)
    });
    signatures.extend(made);
    let built = Built { manifest: artefact.manifest, parts };
    store::write(&arguments.bundle, &built, &signatures).map_err(|error| {
        let hint = error.hint();
        with_hint(error, hint)
    })?;
    progress.step(format!("signed {} as `{reference}`", artefact.manifest));
    Ok(ExitCode::SUCCESS)
}

/// Whether a simple signature names another reference, and so counts beside a new one.
fn is_for_another_name(signature: &sign::Signature, reference: &str) -> bool {
    let sign::Signature::Simple(signed) = signature else { return false };
    serde_json::from_slice::<serde_json::Value>(&signed.payload)
        .is_ok_and(|payload| payload["critical"]["identity"]["docker-reference"] != reference)
}

pub(super) fn verify(arguments: &VerifyArguments) -> Result<ExitCode> {
    let keys: Vec<PublicKey> =
        arguments.keys.iter().map(|file| public_key(file)).collect::<Result<_>>()?;
    let opened = open(&arguments.bundle, arguments.digest.as_ref())?;
    let digest = opened.artefact.manifest;
    sign::verify(&opened.signatures, &keys, &digest).map_err(|error| {
        let hint = error.hint();
        with_hint(error, hint)
    })?;
    print(format_args!("{digest}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a bundle with its signatures.
pub(super) fn open(path: &Utf8Path, digest: Option<&Digest>) -> Result<Opened> {
    bundle::open(path, digest).map_err(|error| {
        let hint = error.hint();
        with_hint(error, hint)
    })
}

fn private_key(path: &Utf8Path) -> Result<PrivateKey> {
    let failed = || format!("cannot read the private key `{path}`");
    let file = fs::File::open(path).with_context(failed)?;
    let metadata = file.metadata().with_context(failed)?;
    if !metadata.is_file() {
        bail!("the private key `{path}` is not a regular file");
    }
    if metadata.mode() & 0o077 != 0 {
        bail!("others can read the private key `{path}`; take their rights off with `chmod 600`");
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_KEY_BYTES).read_to_string(&mut text).with_context(failed)?;
    PrivateKey::from_pem(&text)
        .map_err(explain)
        .with_context(|| format!("cannot use the private key `{path}`"))
}

fn public_key(path: &Utf8Path) -> Result<PublicKey> {
    let bytes =
        source::read(path).with_context(|| format!("cannot read the public key `{path}`"))?;
    PublicKey::from_pem(&String::from_utf8_lossy(&bytes))
        .map_err(explain)
        .with_context(|| format!("cannot use the public key `{path}`"))
}

fn explain(error: KeyError) -> anyhow::Error {
    with_hint(error, error.hint())
}

fn write_new(path: &Utf8Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let failed = || format!("cannot write `{path}`");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(failed)
}
