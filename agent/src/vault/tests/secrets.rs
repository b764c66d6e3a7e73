//! Every secret of a node's life with the real OpenBao, looked for in everything that it wrote and said.

use std::io::Write;
use std::sync::{Arc, Mutex};

use basalt_model::node::{IDENTITY_KEY_PATH, WRAPPED_SECRET_ID_PATH};
use e2e::secrets_hunt::{Hunt, assert_nothing};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::lab::{Lab, PASSWORD, web_request};
use super::token_auth;
use crate::identity::enrolment::Stage;
use crate::identity::seal::{Sealer, Vise};
use crate::identity::store::{IDENTITY_PATH, load_record, with_steps};
use crate::vault::Vault;
use crate::vault::enrol::{SECRET_ID_NAME, TOKEN_NAME};

/// Everything that is logged, down to the last detail of the libraries.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

fn session_token(vault: &Vault) -> String {
    vault.token.as_ref().unwrap().secret.expose().to_owned()
}

#[tokio::test]
async fn no_secret_is_where_it_may_not_be() {
    let Some(lab) = Lab::start() else { return };
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let mut hunt = Hunt::new();
    let mut said = Vec::new();
    hunt.secret("the password", PASSWORD);

    // A first login that dies with each of its secrets on disk.
    let wrapped = lab.deliver("120s");
    hunt.secret("the wrapping token", &wrapped);
    hunt.allow(lab.path(WRAPPED_SECRET_ID_PATH).as_std_path(), "the wrapping token");
    let vise = Vise::of(&lab.host);
    for (steps, name) in [(4, SECRET_ID_NAME), (2, TOKEN_NAME)] {
        let (outcome, _) = with_steps(steps, async { lab.as_node().maintain().await }).await;
        said.extend(outcome.err().map(|error| format!("{error} {error:?}")));
        let record = load_record(&lab.host).unwrap().unwrap();
        let sealed = match &record.stage {
            Stage::Unwrapped { secret_id } if name == SECRET_ID_NAME => secret_id,
            Stage::LoggedIn { token, .. } if name == TOKEN_NAME => token,
            stage => panic!("{stage:?}"),
        };
        if sealed.by == Sealer::File {
            eprintln!("skipped: secrets are not sealed without systemd-creds");
            return;
        }
        hunt.secret(name, vise.open(name, sealed).await.unwrap().expose());
    }
    let mut vault = lab.as_node();
    vault.maintain().await.unwrap();

    // A session that uses everything, with a token that is denied something, and one that Vault never heard of.
    let (request, _) = web_request();
    vault.sign(&request).await.unwrap();
    let kv = vault.kv("secret", "registry").await.unwrap();
    said.push(format!("{kv:?}"));
    hunt.secret("the session's token", &session_token(&vault));
    vault.age_identity();
    vault.maintain().await.unwrap();
    hunt.secret("the session's token", &session_token(&vault));
    said.push(format!("{:?}", vault.kv("secret", "forbidden").await.unwrap_err()));
    let key = std::fs::read_to_string(lab.path(IDENTITY_KEY_PATH)).unwrap();
    hunt.secret("the key", &key);
    hunt.allow(lab.path("/run/basalt/identity").as_std_path(), "the key");
    said.push(serde_json::to_string(&vault.report()).unwrap() + &format!("{:?}", vault.report()));
    for token in [lab.token(json!({"policies": ["node"]})), "s.nobodyknowsthisone".to_owned()] {
        hunt.secret("the token in a file", &token);
        let mut vault = lab.talk(token_auth(&lab.host, &token));
        let outcome = vault.kv("secret", "registry").await;
        said.push(format!("{outcome:?} {:?}", vault.report()));
    }
    hunt.allow(lab.path("/etc/basalt/token").as_std_path(), "the token in a file");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the node has an identity") && log.contains("TRACE"), "{log}");
    assert_nothing(&hunt.text("the log", &log));
    for text in said {
        assert_nothing(&hunt.text("what was said", &text));
    }
    assert!(lab.path(IDENTITY_PATH).exists());
    assert_nothing(&hunt.folder(lab.path("/").as_std_path()));
}
