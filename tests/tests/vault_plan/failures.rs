//! What is said when Vault is not there, not ready, or not for us.

use e2e::ports::free_address;
use e2e::vault_server::{Place, VaultServer, program};

use crate::setup::{Setup, text};

#[test]
fn a_token_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let Some(setup) = Setup::new() else { return };
    let file = setup.folder.path().join("token");
    std::fs::write(&file, setup.vault.root_token()).unwrap();
    for (mode, expected) in [(0o644, "open to every user of this machine (mode 0644)"), (0o600, "")]
    {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let plan = ["plan", "--token-file", file.to_str().unwrap()];
        let output = setup.command(&plan).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.contains("chmod 600"), mode == 0o644, "{said}");
        assert!(!said.contains(setup.vault.root_token()));
    }
}

#[test]
fn what_is_wrong_is_said() {
    let Some(setup) = Setup::new() else { return };
    #[track_caller]
    fn check(output: &std::process::Output, expected: &str) {
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(output.stdout.is_empty());
    }
    let no_token = setup.command(&["plan"]).output().unwrap();
    check(&no_token, "there is no token; put one into the variable VAULT_TOKEN");
    let word = "s.notatokenofthisvault12345";
    let wrong = setup.command(&["plan"]).env("VAULT_TOKEN", word).output().unwrap();
    check(&wrong, "the token may not GET `sys/mounts`, or is no longer valid");
    assert!(!text(&wrong.stderr).contains(word));
    let empty = setup.folder.path().join("token");
    std::fs::write(&empty, " \n").unwrap();
    let empty = setup.xtask(&["plan", "--token-file", empty.to_str().unwrap()]);
    check(&empty, "holds no token");
    let itself = "hvs.CAESIJ3ooPAymGbPdnzq";
    let given = setup.xtask(&["plan", "--token-file", itself]);
    check(&given, "what `--token-file` says looks like the secret itself; give the path of a file");
    assert!(!text(&given.stderr).contains(itself));

    let nobody = free_address().unwrap();
    let address = format!("https://{nobody}");
    check(&setup.xtask(&["plan", "--address", &address]), &format!("`{address}` does not answer"));
    let plain = setup.xtask(&["plan", "--address", "http://127.0.0.1:1"]);
    check(&plain, "what `--address` says is not the address of a server");
    let password = "a-password-of-somebody";
    let address = format!("https://user:{password}@{nobody}");
    let with_password = setup.xtask(&["plan", "--address", &address]);
    check(&with_password, "what `--address` says is not the address of a server");
    assert!(!text(&with_password.stderr).contains(password));

    // The same kind of server, but nobody that the cluster trusts.
    let Some(program) = program() else { return };
    let mut other = VaultServer::start_uninitialised(&program, &Place::Loopback).unwrap();
    let refused = setup.xtask(&["plan", "--address", &other.address()]);
    check(&refused, "invalid peer certificate");
    let cluster = std::fs::read_to_string(&setup.cluster).unwrap();
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let trusting = cluster.replace(&indented(setup.vault.ca_pem()), &indented(other.ca_pem()));
    assert_ne!(trusting, cluster);
    std::fs::write(&setup.cluster, trusting).unwrap();
    let at_other = || setup.xtask(&["plan", "--address", &other.address()]);
    check(&at_other(), "was never initialised");
    other.init().unwrap();
    let sealed = setup.xtask(&["plan", "--address", &other.address()]);
    check(&sealed, "is sealed; unseal it first");
    // No call with the token went to a server that was not ready, or not trusted.
    let asked = other.requests().unwrap();
    let own = ["sys/health", "sys/init", "sys/seal-status", "sys/unseal"];
    assert!(asked.iter().all(|request| own.contains(&request.path.as_str())), "{asked:?}");
}
