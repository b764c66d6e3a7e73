//! Values that are no one's business: a manifest is in `node.json`, in the Ignition config and on the host, and is read
//! by everyone who may read one of them. A message never repeats what was found.

use super::tree::At;
use super::{Effect, Sink};
use basalt_model::secret_value::{is_plain, is_secret_name, looks_secret};

pub(super) fn check(container: &At<'_>, sink: &mut Sink<'_>) {
    for variable in container.get("env").items() {
        let value = variable.get("value");
        if is_secret_name(variable.get("name").text()) && !is_place(value.text()) {
            let message = "the value of a variable that is called like a secret";
            refuse(&value, message, sink);
        } else {
            text(&value, sink);
        }
    }
    for list in ["command", "args"] {
        container.get(list).items().iter().for_each(|word| text(word, sink));
    }
}

fn text(at: &At<'_>, sink: &mut Sink<'_>) {
    if let Some(what) = looks_secret(at.text()) {
        refuse(at, what, sink);
    }
}

fn refuse(at: &At<'_>, message: &str, sink: &mut Sink<'_>) {
    let remedy = "let vault-agent write it into a file, mount that, and name its path";
    sink.add(Effect::Unsafe, "basalt-secret-value", at, message, remedy);
}

/// What tells nobody anything: in a manifest that is the name of another variable too.
fn is_place(value: &str) -> bool {
    is_plain(value) || value.starts_with('$')
}
