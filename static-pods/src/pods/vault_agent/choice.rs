//! Which of Vault's servers vault-agent asks, where there are several.
//!
//! The program takes one address and keeps to it. So a shell is the container's first process: it asks the servers in
//! their order, starts the program with the first that is unsealed, and starts it anew with another one when that
//! server has been silent twice while the other answers. `status` of the same program asks, without a login: each server
//! is held against the trust anchor by the name in its own address, and the image needs nothing but `/bin/sh` and
//! `sleep`. What has been rendered stays in place meanwhile.

use std::fmt::Write as _;

/// Pause between two questions, in seconds. With [`ANSWER_SECONDS`], a dead server is left after 40 s at the most.
const PAUSE_SECONDS: u32 = 15;

/// A server of one site answers within milliseconds.
const ANSWER_SECONDS: u32 = 5;

/// The container's first process. `ca` is the path of the trust anchor, `config` that of the config; `addresses` are
/// checked, so that none has a quote in it.
///
/// A signal is passed on to the program, whose exit status is the script's.
pub(super) fn start_script(addresses: &[String], ca: &str, config: &str) -> String {
    let quoted = addresses.iter().fold(String::new(), |mut list, address| {
        // Writing to a string cannot fail.
        let _ = write!(list, " '{address}'");
        list
    });
    format!(
        r#"set --{quoted}
agent=
answers() {{
  VAULT_CLIENT_TIMEOUT={ANSWER_SECONDS}s VAULT_MAX_RETRIES=0 vault status -address="$1" -ca-cert={ca} >/dev/null 2>&1
}}
choose() {{
  for one; do
    if answers "$one"; then address=$one; return 0; fi
  done
  return 1
}}
finish() {{
  if [ -n "$agent" ]; then kill -TERM $agent; wait $agent; fi
}}
stop() {{
  trap : TERM INT
  finish
  exit $?
}}
trap stop TERM INT
address=$1
choose "$@" || echo "no Vault server answers yet; beginning with $address" >&2
while :; do
  vault agent -config={config} -address="$address" &
  agent=$!
  silent=
  while kill -0 $agent 2>/dev/null; do
    sleep {PAUSE_SECONDS} &
    wait $!
    if answers "$address"; then silent=; continue; fi
    if [ "$silent" = once ] && choose "$@"; then break; fi
    silent=once
  done
  if ! kill -0 $agent 2>/dev/null; then
    wait $agent
    exit $?
  fi
  echo "the Vault server that was asked is silent; going on with $address" >&2
  finish
  agent=
done
"#
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Runs the script with a `vault` of its own that answers for the servers in the file `alive`, and gives the
    /// addresses that the program was started with. `steps` says which are alive after each pause.
    #[track_caller]
    fn check(steps: &[&str], status: i32, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}", folder.path().display()))
                .unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        for (number, alive) in steps.iter().enumerate() {
            std::fs::write(folder.path().join(format!("alive.{number}")), alive).unwrap();
        }
        std::fs::write(folder.path().join("number"), "0").unwrap();
        // The program runs until the last step, as if it then failed by itself.
        program(
            "vault",
            r#"read number < number
case $1 in
status) grep -qF "${2#-address=} " alive.$number ;;
agent)
  echo "${3#-address=}" >> started
  trap 'exit 0' TERM
  while [ -e alive.$number ]; do /bin/sleep 0.02; read number < number; done
  exit 7 ;;
esac
"#,
        );
        // By renaming: the others read it at any time.
        let sleep =
            "read number < number\necho $((number + 1)) > next\nmv next number\n/bin/sleep 0.3";
        program("sleep", sleep);
        let addresses = ["https://a:1", "https://[::2]:2", "https://c:3"].map(str::to_owned);
        let script = start_script(&addresses, "/ca.pem", "/agent.hcl");
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let done = Command::new("/bin/sh").args(["-c", &script]).env("PATH", path).output();
        let done = done.unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(status), "{said}");
        assert_eq!(started(folder.path()), expected, "{said}");
    }

    fn started(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("started")).unwrap().replace('\n', " ").trim().into()
    }

    const ALL: &str = "https://a:1 https://[::2]:2 https://c:3 ";

    #[test]
    fn which_server_is_asked() {
        check(&[ALL, ALL, ALL], 7, "https://a:1");
        // Away at the start.
        check(&["https://c:3 ", ALL, ALL], 7, "https://c:3");
        // All are away, and the first is the one that returns.
        check(&["", "", "", "https://a:1 ", ALL], 7, "https://a:1");
        check(&["", "", "https://[::2]:2 ", ALL], 7, "https://a:1 https://[::2]:2");
        // One silence is none.
        let others = "https://[::2]:2 https://c:3 ";
        check(&[ALL, others, ALL, others, ALL], 7, "https://a:1");
        // It dies, and so does the next one.
        check(
            &[ALL, others, others, others, "https://c:3 ", "https://c:3 ", ALL],
            7,
            "https://a:1 https://[::2]:2 https://c:3",
        );
    }
}
