//! `vault wrap`: the secret for one node's first login, for its Ignition config or for the node itself.

use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use basalt_model::node::{NodeIdentity, VaultAuth, WRAPPED_SECRET_ID_PATH};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::connect::Connection;
use super::wanted::{LONGEST_WAIT_SECONDS, wrap_path};
use crate::build_image::rewrite;
use crate::output::{print, say};

/// Make the secret for one node's first login.
///
/// It is a response-wrapping token: whoever opens it first gets a secret id of the node's own AppRole, which works for one
/// login, and the node notices when somebody else was first. It is written as an Ignition config, to be merged into the
/// node's own, or put into the node's config in a finished build. Both can be read by their owner alone.
///
/// A node that runs and cannot log in any more, because it was off for longer than its identity lives, takes a new secret
/// from a file there, without a restart and within five minutes: `cargo xtask vault wrap NODE --bare --output - | ssh NODE
/// sudo install -D -m 600 /dev/stdin /var/lib/basalt/enrolment/wrapped-secret-id`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The node's name.
    node: String,

    #[command(flatten)]
    connection: Connection,

    /// How long the secret waits for its node: `2h`, `30m`; a week at most.
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = wait)]
    ttl: Duration,

    /// Where the Ignition config goes, or the secret with `--bare`; `-` is standard output.
    #[arg(long, value_name = "FILE", required_unless_present = "into")]
    output: Option<Utf8PathBuf>,

    /// Writes the secret alone instead of an Ignition config, for a node that runs.
    #[arg(long, conflicts_with = "into")]
    bare: bool,

    /// The folder of a finished build (`build-image --dist`) whose config of the node gets the secret.
    ///
    /// Both forms of it, `nodes/NODE/config.ign` and `pxe/ignition/NODE.ign`; a secret from before is replaced. The next
    /// build takes it out again.
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    into: Option<Utf8PathBuf>,

    /// Replaces a file that is there.
    #[arg(long)]
    force: bool,
}

/// A time that a secret may wait; Vault allows no longer one.
fn wait(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time.as_secs() {
        1..=LONGEST_WAIT_SECONDS => Ok(time),
        _ => Err("a secret waits for a second at least and a week at most".to_owned()),
    }
}

/// Runs the verb.
///
/// # Errors
/// When the node has no identity of its own to earn, or Vault does not make the secret.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let cluster = arguments.connection.cluster()?;
    let name = &arguments.node;
    let node = cluster.node(name).with_context(|| {
        let names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        format!("there is no node `{name}`; the nodes are {}", names.join(", "))
    })?;
    let Some(VaultAuth::Node(identity)) = node.vault.as_ref().map(|vault| &vault.auth) else {
        bail!("nodes of this cluster do not log in with `vault.auth.node`: nothing is wrapped");
    };
    // Nothing is asked of Vault that could not be delivered.
    let target = Target::new(arguments)?;
    let client = arguments.connection.client(&cluster)?;
    let wrapped = wrap(&client, identity, name, arguments.ttl)?;
    let form = if arguments.bare { Form::Bare } else { Form::Config };
    target.deliver(name, &wrapped.token, form).with_context(|| {
        format!(
            "the secret for `{name}` was made and is lost; it ends in {}, or at once with `bao token revoke -accessor {}`",
            humantime::format_duration(Duration::from_secs(wrapped.seconds)),
            wrapped.accessor
        )
    })?;
    say(format_args!(
        "the secret for `{name}` works once, until {}; its accessor is {}",
        humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(wrapped.seconds)),
        wrapped.accessor
    ));
    Ok(ExitCode::SUCCESS)
}

struct Wrapped {
    token: Zeroizing<String>,
    accessor: String,
    seconds: u64,
}

fn wrap(
    client: &super::client::Client,
    identity: &NodeIdentity,
    node: &str,
    ttl: Duration,
) -> Result<Wrapped> {
    let seconds = ttl.as_secs();
    let path = wrap_path(identity);
    // The role that signs identities looks at this name: with the secret nobody can be another node.
    let metadata = json!({"node": node}).to_string();
    let body = json!({"metadata": metadata, "ttl": format!("{seconds}s"), "num_uses": 1});
    let wrapping = client.write_wrapped(&path, &body, seconds).with_context(|| {
        format!("cannot make a secret for `{node}`; has `cargo xtask vault apply` been run?")
    })?;
    let text =
        |name: &str| wrapping.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let token = Zeroizing::new(text("token"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text("creation_path") != path || token.is_empty() || !token.chars().all(is_plain) {
        bail!("Vault has wrapped something else than the secret that was asked for");
    }
    let seconds = wrapping.get("ttl").and_then(Json::as_u64).unwrap_or(seconds);
    Ok(Wrapped { token, accessor: text("accessor"), seconds })
}

/// What is written of the secret.
#[derive(Clone, Copy)]
enum Form {
    /// An Ignition config with nothing but the file that holds it.
    Config,
    /// What belongs into that file.
    Bare,
}

impl Form {
    fn text(self, token: &str) -> Result<Zeroizing<String>> {
        match self {
            Form::Config => config(&secret_file(token)),
            Form::Bare => Ok(Zeroizing::new(format!("{token}\n"))),
        }
    }
}

/// Where the secret goes.
enum Target {
    Stdout,
    File(SecretFile),
    Build(rewrite::Build),
}

impl Target {
    /// Looks whether it can be delivered.
    fn new(arguments: &Arguments) -> Result<Target> {
        match (&arguments.output, &arguments.into) {
            (_, Some(dist)) => Ok(Target::Build(rewrite::Build::open(dist, &arguments.node)?)),
            (Some(file), None) if file == "-" => Ok(Target::Stdout),
            (Some(file), None) => {
                if file.is_dir() {
                    bail!("`{file}` is a folder; name a file in it");
                }
                if file.symlink_metadata().is_ok() && !arguments.force {
                    bail!("`{file}` is there already; replace it with `--force`");
                }
                Ok(Target::File(SecretFile::begin(file)?))
            }
            (None, None) => bail!("say where the secret goes with `--output` or `--into`"),
        }
    }

    fn deliver(self, node: &str, token: &str, form: Form) -> Result<()> {
        match self {
            Target::Stdout => print(form.text(token)?.as_str()),
            Target::File(file) => file.finish(form.text(token)?.as_bytes()),
            Target::Build(build) => build
                .rewrite(|config| put_file(config, &secret_file(token)))
                .with_context(|| format!("cannot put the secret into the config of `{node}`")),
        }
    }
}

/// The file in the words of Ignition's specification 3.
fn secret_file(token: &str) -> Json {
    json!({
        "path": WRAPPED_SECRET_ID_PATH,
        "overwrite": true,
        "contents": {"source": format!("data:,{token}")},
        "mode": 0o600,
    })
}

/// A config with nothing but the file.
fn config(file: &Json) -> Result<Zeroizing<String>> {
    let config = json!({"ignition": {"version": "3.3.0"}, "storage": {"files": [file]}});
    Ok(Zeroizing::new(serde_json::to_string_pretty(&config)? + "\n"))
}

/// Puts the file into a config, in the place of one that it has already.
fn put_file(config: &mut Json, file: &Json) -> Result<()> {
    let files = &mut config["storage"]["files"];
    if files.is_null() {
        *files = json!([]);
    }
    let files = files.as_array_mut().context("`storage.files` is no list")?;
    files.retain(|old| old["path"] != file["path"]);
    files.push(file.clone());
    Ok(())
}

/// A file that only its owner may read from the first byte on, and that has its name once it is whole.
struct SecretFile {
    path: Utf8PathBuf,
    partial: tempfile::NamedTempFile,
}

impl SecretFile {
    /// Makes sure that there can be such a file.
    fn begin(path: &Utf8Path) -> Result<SecretFile> {
        let folder = path.parent().filter(|folder| !folder.as_str().is_empty());
        let folder = folder.unwrap_or(Utf8Path::new("."));
        let doing = || format!("cannot write `{path}`");
        let mut partial = tempfile::Builder::new()
            .prefix(".partial-")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)
            .with_context(doing)?;
        // A full disk takes the name of a file and nothing else.
        partial.write_all(&[b'\n'; ROOM]).with_context(doing)?;
        partial.as_file().sync_all().with_context(doing)?;
        Ok(SecretFile { path: path.to_owned(), partial })
    }

    fn finish(mut self, bytes: &[u8]) -> Result<()> {
        let doing = || format!("cannot write `{}`", self.path);
        self.partial.rewind().with_context(doing)?;
        self.partial.write_all(bytes).with_context(doing)?;
        let file = self.partial.as_file();
        file.set_len(bytes.len() as u64).and_then(|()| file.sync_all()).with_context(doing)?;
        self.partial.persist(&self.path).with_context(doing)?;
        Ok(())
    }
}

/// As much as a secret takes with all around it.
const ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_waits_for_a_week_at_most() {
        assert_eq!(wait("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(wait("7d"), Ok(Duration::from_secs(604_800)));
        for text in ["0s", "999ms", "7d 1s", "30d", "5years", "soon"] {
            assert!(wait(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_config_has_one_secret() {
        let mut config =
            json!({"ignition": {"version": "3.3.0"}, "storage": {"files": [{"path": "/etc/a"}]}});
        put_file(&mut config, &secret_file("s.one")).unwrap();
        put_file(&mut config, &secret_file("s.two")).unwrap();
        let files = config["storage"]["files"].as_array().unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[1]["contents"]["source"], "data:,s.two");
        assert_eq!(files[1]["mode"], 384);
        let mut bare = json!({"ignition": {"version": "3.3.0"}});
        put_file(&mut bare, &secret_file("s.one")).unwrap();
        assert_eq!(bare["storage"]["files"][0]["path"], WRAPPED_SECRET_ID_PATH);
    }

    #[test]
    fn a_secret_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("n1.ign");
        let file = SecretFile::begin(&path).unwrap();
        assert!(!path.exists(), "there is nothing before there is all of it");
        file.finish(b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(SecretFile::begin(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
