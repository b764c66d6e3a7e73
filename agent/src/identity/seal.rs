//! Secrets at rest: sealed by `systemd-creds` to this machine, by its TPM where there is one and by a key of the host
//! otherwise. Where the program is missing a secret stays in the clear in a file of root, and status says so.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::secret::Secret;

/// The program.
const SYSTEMD_CREDS: &str = "systemd-creds";
/// Another place for the key of the host. The program reads it.
const HOST_KEY_VARIABLE: &str = "SYSTEMD_CREDENTIAL_SECRET";
/// Where the key of the host is.
const HOST_KEY_PATH: &str = "/var/lib/systemd/credential.secret";
/// No answer of the program is larger.
const MAX_BYTES: usize = 1 << 20;

/// A secret as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sealed {
    /// Who can open it.
    pub(crate) by: Sealer,
    /// What is kept. For [`Sealer::File`] that is the secret itself.
    text: Kept,
}

/// Who can open a sealed secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sealer {
    /// The TPM or the key of this host, through the program.
    SystemdCreds,
    /// Whoever may read the file.
    File,
}

impl Sealer {
    /// Its name in status.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sealer::SystemdCreds => SYSTEMD_CREDS,
            Sealer::File => "file",
        }
    }
}

/// Text that may be a secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Kept(String);

impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.0 == other.0
    }
}

impl Eq for Kept {}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(sealed)")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// A secret that was sealed cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnsealError {
    /// The program is missing or cannot be run.
    #[error("cannot run `{SYSTEMD_CREDS}`")]
    Start(#[source] io::Error),
    /// It says no: another machine, another TPM, a lost host key, a changed file.
    #[error("`{SYSTEMD_CREDS}` does not open it: {0}")]
    Refused(String),
}

/// Where secrets are sealed.
#[derive(Clone, Debug)]
pub(crate) struct Vise {
    program: String,
    /// For a directory that stands for a machine: its own host key.
    host_key: Option<String>,
}

impl Vise {
    /// The one of a host.
    pub(crate) fn of(host: &Host) -> Vise {
        let host_key = (!host.is_this_machine()).then(|| host.real(HOST_KEY_PATH).into_string());
        Vise { program: SYSTEMD_CREDS.to_owned(), host_key }
    }

    #[cfg(test)]
    pub(crate) fn with_program(&mut self, program: &str) {
        self.program = program.to_owned();
    }

    /// Seals a secret under a name, which has to be the same when it is opened. Gives why it stays in the clear when it
    /// does.
    pub(crate) async fn seal(
        &self,
        name: &'static str,
        secret: &Secret,
    ) -> (Sealed, Option<String>) {
        // `auto` takes the TPM where there is one. A TPM that fails is no reason to give up what the host key can do.
        let mut reason = String::new();
        for key in ["auto", "host"] {
            match self.run("encrypt", name, &[&format!("--with-key={key}"), NO_PCRS], secret).await
            {
                Ok(blob) => {
                    let text = Kept(blob.expose().to_owned());
                    return (Sealed { by: Sealer::SystemdCreds, text }, None);
                }
                Err(error) => reason = crate::causes::chain(&error),
            }
        }
        let text = Kept(secret.expose().to_owned());
        (Sealed { by: Sealer::File, text }, Some(reason))
    }

    /// Opens what was sealed under `name`.
    ///
    /// # Errors
    /// When this machine is not the one that sealed it.
    pub(crate) async fn open(
        &self,
        name: &'static str,
        sealed: &Sealed,
    ) -> Result<Secret, UnsealError> {
        let kept = Secret::new(sealed.text.0.clone());
        match sealed.by {
            Sealer::File => Ok(kept),
            Sealer::SystemdCreds => self.run("decrypt", name, &[], &kept).await,
        }
    }

    async fn run(
        &self,
        verb: &str,
        name: &str,
        options: &[&str],
        input: &Secret,
    ) -> Result<Secret, UnsealError> {
        let mut command = Command::new(&self.program);
        command.arg(verb).arg(format!("--name={name}")).args(options).args(["-", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(path) = &self.host_key {
            command.env(HOST_KEY_VARIABLE, path);
        }
        let input = input.clone();
        // A TPM takes a second or two.
        let done = tokio::task::spawn_blocking(move || feed(command, &input));
        done.await.unwrap_or_else(|error| Err(UnsealError::Start(io::Error::other(error))))
    }
}

/// The secret is bound to the TPM itself and to no measurement: an update of firmware or boot loader changes those, and
/// would take a whole fleet its identities.
const NO_PCRS: &str = "--tpm2-pcrs=";

fn feed(mut command: Command, input: &Secret) -> Result<Secret, UnsealError> {
    let mut child = command.spawn().map_err(UnsealError::Start)?;
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    // It says itself what is wrong when it does not even read.
    let _ = stdin.write_all(input.expose().as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(UnsealError::Start)?;
    let text = zeroize::Zeroizing::new(output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or("it says nothing");
        return Err(UnsealError::Refused(input.scrub(last)));
    }
    match std::str::from_utf8(&text) {
        Ok(text) if !text.is_empty() && text.len() <= MAX_BYTES => Ok(Secret::new(text.to_owned())),
        _ => Err(UnsealError::Refused("what it gives is no text".to_owned())),
    }
}

/// As if `text` had been sealed.
#[cfg(test)]
pub(crate) fn sealed_for_test(text: &str) -> Sealed {
    Sealed { by: Sealer::SystemdCreds, text: Kept(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_host;

    fn secret() -> Secret {
        Secret::new("-----BEGIN PRIVATE KEY-----\nhunter2\n".to_owned())
    }

    /// With the real program where there is one.
    #[tokio::test]
    async fn what_is_sealed_opens_on_the_same_machine_only() {
        let (_keep, host) = scratch_host();
        std::fs::create_dir_all(host.path("/var/lib/systemd")).unwrap();
        let vise = Vise::of(&host);
        let (sealed, warning) = vise.seal("node-key", &secret()).await;
        if let Some(warning) = warning {
            eprintln!("skipped: systemd-creds: {warning}");
            return;
        }
        assert_eq!(sealed.by, Sealer::SystemdCreds);
        assert!(!serde_json::to_string(&sealed).unwrap().contains("hunter2"));
        assert_eq!(vise.open("node-key", &sealed).await.unwrap().expose(), secret().expose());
        let other_name = vise.open("other", &sealed).await.unwrap_err();
        assert!(matches!(other_name, UnsealError::Refused(_)), "{other_name}");
        let (_keep, other) = scratch_host();
        std::fs::create_dir_all(other.path("/var/lib/systemd")).unwrap();
        let refused = Vise::of(&other).open("node-key", &sealed).await.unwrap_err();
        assert!(matches!(refused, UnsealError::Refused(_)), "{refused}");
    }

    #[tokio::test]
    async fn without_the_program_it_stays_in_the_clear_and_says_so() {
        let (_keep, host) = scratch_host();
        for program in ["no-such-program", "false"] {
            let mut vise = Vise::of(&host);
            vise.with_program(program);
            let (sealed, warning) = vise.seal("node-key", &secret()).await;
            assert_eq!(sealed.by, Sealer::File);
            assert!(!warning.unwrap().contains("hunter2"));
            assert!(!format!("{sealed:?}").contains("hunter2"));
            assert_eq!(vise.open("node-key", &sealed).await.unwrap().expose(), secret().expose());
        }
    }
}
