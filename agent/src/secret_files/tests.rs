use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use basalt_model::node::{Reload, SecretFile};

use super::*;
use crate::testing::{node_json, scratch_host};

/// A Vault that has one password, and counts.
struct Faked {
    password: Option<&'static str>,
    asked: Vec<String>,
}

impl Ask for Faked {
    async fn ask(&mut self, place: &Place) -> Result<SecretMap, String> {
        self.asked.push(place.to_string());
        let password = self.password.ok_or("Vault is sealed")?;
        let map = serde_json::json!({"password": password});
        Ok(SecretMap::new(map.as_object().unwrap().clone()))
    }
}

fn node() -> Node {
    Node::from_json("", &node_json(1, "lab")).unwrap()
}

fn file(template: &str) -> SecretFile {
    SecretFile {
        name: "registry".parse().unwrap(),
        template: template.to_owned(),
        destination: "/var/lib/registry/secrets/password".parse().unwrap(),
        mode: "0640".parse().unwrap(),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        refresh_minutes: 60,
        reload: Vec::new(),
    }
}

const TEMPLATE: &str = "p={{ kv('secret', 'registry').password }}\n";

#[tokio::test(flavor = "current_thread")]
async fn a_file_is_written_when_something_has_changed() {
    let (_keep, host) = scratch_host();
    let mut vault = Faked { password: Some("one"), asked: Vec::new() };
    let refresh = async |vault: &mut Faked, file: &SecretFile| {
        refresh(&host, &node(), file, vault).await.map_err(|error| error.to_string())
    };
    let path = host.path("/var/lib/registry/secrets/password");
    let seen = |path: &camino::Utf8Path| {
        let metadata = path.metadata().unwrap();
        (std::fs::read_to_string(path).unwrap(), metadata.mode() & 0o7777, metadata.ino())
    };
    let changed = refresh(&mut vault, &file(TEMPLATE)).await.unwrap();
    assert!(matches!(changed, Refreshed::Changed(_)), "{changed:?}");
    let (text, mode, number) = seen(&path);
    assert_eq!((text.as_str(), mode), ("p=one\n", 0o640));
    assert_eq!(vault.asked, ["kv(\"secret\", \"registry\")"]);

    assert_eq!(refresh(&mut vault, &file(TEMPLATE)).await, Ok(Refreshed::Same));
    assert_eq!(seen(&path).2, number, "nobody wrote");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(refresh(&mut vault, &file(TEMPLATE)).await, Ok(Refreshed::Changed(_))));
    assert_eq!(seen(&path).1, 0o640, "others could read it");

    vault.password = Some("two");
    assert!(matches!(refresh(&mut vault, &file(TEMPLATE)).await, Ok(Refreshed::Changed(_))));
    assert_eq!(seen(&path).0, "p=two\n");

    // What fails leaves the file as it was.
    for (wrong, password, expected) in [
        (
            file("{{ kv('secret', 'registry').pasword }}"),
            Some("three"),
            "secret file `registry`: line 1 of the template: something it names is not there; it reads kv(\"secret\", \"registry\")",
        ),
        (
            file(TEMPLATE),
            None,
            "secret file `registry`: cannot read kv(\"secret\", \"registry\"): Vault is sealed",
        ),
        (
            SecretFile { owner: "nobody-here".to_owned(), ..file(TEMPLATE) },
            Some("three"),
            "secret file `registry`: the node has no user `nobody-here`",
        ),
        (
            SecretFile { destination: "/dev/null/x".parse().unwrap(), ..file(TEMPLATE) },
            Some("three"),
            "secret file `registry`: cannot write `/dev/null/x`: ",
        ),
        (
            file("{% for i in range(99) %}{{ kv('a', i ~ '').password }}{% endfor %}"),
            Some("three"),
            "secret file `registry`: its template asks for more than 64 secrets",
        ),
    ] {
        std::fs::create_dir_all(host.path("/dev")).unwrap();
        std::fs::write(host.path("/dev/null"), "").unwrap();
        vault.password = password;
        let said = refresh(&mut vault, &wrong).await.unwrap_err();
        assert!(said.starts_with(expected) && !said.contains("three"), "{said}");
        assert_eq!(seen(&path).0, "p=two\n");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn those_who_read_it_are_told_or_named() {
    let (_keep, host) = scratch_host();
    let mut vault = Faked { password: Some("one"), asked: Vec::new() };
    let mut file = file(TEMPLATE);
    file.reload = vec![
        Reload::Unit("web.service".parse().unwrap()),
        Reload::Unit("kubelet.service".parse().unwrap()),
        Reload::Pod("registry".parse().unwrap()),
    ];
    let changed = refresh(&host, &node(), &file, &mut vault).await.unwrap();
    let Refreshed::Changed(Changed { activation, failures }) = changed else {
        panic!("{changed:?}")
    };
    assert_eq!(
        failures,
        ["unit web.service: no system bus at `/run/dbus/system_bus_socket`"],
        "a directory has none"
    );
    assert_eq!(activation.told[0].way, "rereads by itself");
    assert_eq!(activation.skipped[0].what, "pod registry", "no runtime, no pod");
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_hangs_is_left() {
    struct Hanging;
    impl Ask for Hanging {
        async fn ask(&mut self, _: &Place) -> Result<SecretMap, String> {
            std::future::pending().await
        }
    }
    let (_keep, host) = scratch_host();
    let said = refresh(&host, &node(), &file(TEMPLATE), &mut Hanging).await.unwrap_err();
    assert_eq!(
        said.to_string(),
        "secret file `registry`: Vault has not answered everything within 60 s"
    );
}

#[test]
fn pauses() {
    let now = Instant::now();
    let file = file("");
    let mut pace = Pace::new(now);
    assert_eq!(pace.due(), now);
    pace.succeeded(&file, now, 0.0);
    assert_eq!(pace.due() - now, Duration::from_secs(3600));
    pace.succeeded(&file, now, 1.0);
    assert_eq!(pace.due() - now, Duration::from_secs(3240));
    let mut pauses = Vec::new();
    for _ in 0..12 {
        pace.failed(&file, now, 1.0);
        pauses.push((pace.due() - now).as_secs());
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
    pace.failed(&file, now, 0.0);
    assert_eq!((pace.due() - now).as_secs(), 1, "never without a pause");
}
