//! `cargo xtask bundle push`: a bundle with its signatures goes to a registry.

use std::env;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use basalt_image::oci::registry::{Access, Client, Credentials, Reference, bundle, credentials};
use camino::Utf8PathBuf;
use zeroize::Zeroizing;

use super::{sign, with_hint};
use crate::output::print;
use crate::progress::Progress;

/// Push a bundle with its signatures to a registry.
///
/// The signatures go before the tag, so that the tag never names a bundle without them. Credentials are those of `podman
/// login` and `skopeo login`. Prints the name of the bundle by digest, which is what a cluster.yaml wants.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bundle: an OCI layout or archive.
    #[arg(value_name = "LAYOUT")]
    bundle: Utf8PathBuf,

    /// Where to, with a tag: `registry.example/team/hello:1`.
    #[arg(value_name = "REFERENCE")]
    reference: Reference,

    /// Push it although it is not signed. Nodes refuse it.
    #[arg(long)]
    unsigned: bool,

    /// The file with credentials of registries.
    ///
    /// The default is the first that exists of `$REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`,
    /// `$XDG_CONFIG_HOME/containers/auth.json` and `$HOME/.docker/config.json`.
    #[arg(long, value_name = "FILE")]
    authfile: Option<Utf8PathBuf>,

    /// A file with certificates of authorities that are trusted besides those of the system.
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<Utf8PathBuf>,
}

pub(super) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let opened = sign::open(&arguments.bundle, None)?;
    if opened.signatures.is_empty() && !arguments.unsigned {
        bail!(
            "`{}` is not signed; sign it with `cargo xtask bundle sign`, or push it with `--unsigned`",
            arguments.bundle
        );
    }
    let reference = &arguments.reference;
    let authorities = match &arguments.certificate_authority {
        Some(file) => Some(fs::read(file).with_context(|| format!("cannot read `{file}`"))?),
        None => None,
    };
    let access = Access { authorities, credentials: credentials_for(arguments)? };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the client")?;
    let pushed = runtime.block_on(async {
        let client = Client::new(reference, access)?;
        bundle::push(&client, &opened).await
    });
    pushed.map_err(|error| {
        let hint = error.hint();
        with_hint(error, hint)
    })?;
    progress.step(format!("pushed `{reference}`"));
    print(format_args!("{}@{}\n", reference.name(), opened.artefact.manifest))?;
    Ok(ExitCode::SUCCESS)
}

fn credentials_for(arguments: &Arguments) -> Result<Option<Credentials>> {
    let (file, is_wanted) = match &arguments.authfile {
        Some(file) => (Some(file.clone()), true),
        None => match env::var("REGISTRY_AUTH_FILE") {
            Ok(file) => (Some(file.into()), true),
            Err(_) => (usual_files().into_iter().find(|file| file.is_file()), false),
        },
    };
    let Some(file) = file else { return Ok(None) };
    let text = match fs::read_to_string(&file) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if !is_wanted && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the credentials in `{file}`"));
        }
    };
    credentials::find(&text, &arguments.reference)
        .with_context(|| format!("cannot use the credentials in `{file}`"))
}

/// Where podman, skopeo and docker keep credentials.
fn usual_files() -> Vec<Utf8PathBuf> {
    let below = |variable: &str, path: &str| {
        env::var(variable).ok().map(|folder| Utf8PathBuf::from(folder).join(path))
    };
    let config = below("XDG_CONFIG_HOME", "containers/auth.json")
        .or_else(|| below("HOME", ".config/containers/auth.json"));
    let all = [
        below("XDG_RUNTIME_DIR", "containers/auth.json"),
        config,
        below("HOME", ".docker/config.json"),
    ];
    all.into_iter().flatten().collect()
}
