//! Manifests that are nested deeply or hold very much, at the linter's bounds and at the kubelet's own.

use basalt_static_pods::lint::{Effect, File, Rules, lint};

use crate::kubelet::Kubelet;

/// What the linter says, by effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Nothing that is wrong with the file as such.
    Nothing,
    /// That it did not read it.
    Unread,
    /// That the kubelet's parser refuses it.
    Refused,
}

/// A pod with so many levels of lists in a field that takes anything.
fn nested(levels: usize, is_json: bool) -> String {
    let [open, close] = ["[", "]"].map(|bracket| bracket.repeat(levels));
    let fields = format!("{{\"f:a\": {open}{close}}}");
    let pod = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {{\"name\": \"a\", \
         \"managedFields\": [{{\"operation\": \"Update\", \"fieldsType\": \"FieldsV1\", \"fieldsV1\": {fields}}}]}}, \
         \"spec\": {{\"containers\": [{{\"name\": \"a\", \"image\": \"a\"}}]}}}}\n"
    );
    if is_json { pod } else { format!("# YAML\n{pod}") }
}

/// A pod with `more` fields of its own.
fn pod(more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n{more}spec: {{containers: [{{name: a, image: a}}]}}\n"
    )
}

/// A pod whose container has so many arguments.
fn arguments(count: usize) -> String {
    let list = "a,".repeat(count);
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{name: a, image: a, args: [{list}]}}]}}\n"
    )
}

/// Ten aliases of ten aliases, and so on, in a field that nobody knows.
fn aliases(levels: usize) -> String {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..=levels {
        let alias = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", ")));
    }
    pod(&text)
}

#[test]
fn bounds_of_the_linter_and_of_the_kubelet() {
    let Some(kubelet) = Kubelet::find() else { return };
    // The pod itself takes four levels up to the field, and the field one.
    let rows = [
        ("deep YAML", nested(195, false), true, Said::Nothing),
        ("deeper YAML", nested(196, false), true, Said::Unread),
        ("deepest YAML", nested(9_990, false), true, Said::Unread),
        ("too deep YAML", nested(10_010, false), false, Said::Unread),
        ("deep JSON", nested(195, true), true, Said::Nothing),
        ("deeper JSON", nested(197, true), true, Said::Unread),
        ("too deep JSON", nested(10_010, true), false, Said::Unread),
        ("many values", arguments(999_900), true, Said::Nothing),
        ("more values", arguments(1_000_001), true, Said::Unread),
        ("few aliases", aliases(2), true, Said::Nothing),
        ("some aliases", aliases(3), true, Said::Nothing),
        ("too many aliases", aliases(4), false, Said::Refused),
        ("billions of aliases", aliases(9), false, Said::Unread),
    ];
    let folders: Vec<_> = rows
        .iter()
        .map(|(_, text, ..)| vec![("a.yaml".to_owned(), text.clone().into_bytes())])
        .collect();
    let verdicts = kubelet.look(&folders);
    for ((what, text, is_taken, said), verdict) in rows.iter().zip(verdicts) {
        let refused = &verdict[0].refused;
        assert_eq!(refused.is_empty(), *is_taken, "{what}: {refused}");
        let findings = lint(&[File { name: "a.yaml", bytes: text.as_bytes() }], Rules::Kubelet);
        let has = |effect| findings.iter().any(|finding| finding.effect == effect);
        let found = match (has(Effect::Unread), has(Effect::Refused)) {
            (true, _) => Said::Unread,
            (false, true) => Said::Refused,
            (false, false) => Said::Nothing,
        };
        assert_eq!(found, *said, "{what}: {findings:#?}");
    }
}
