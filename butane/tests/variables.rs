//! Variables: what is put in, what is refused, and that no secret gets out.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use basalt_butane::{
    Composed, Layout, Options, Output, Readers, Source, Values, ValuesFile, Warnings, compile_all,
};
use proptest::prelude::*;

const OPTIONS: Options<'_> =
    Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Variant };

/// Puts values into `a.bu` and so on, which get the head of fcos 1.4.0. What begins with `=` is an argument; everything
/// else is a file that only its owner can read, or with `!` before it, everyone.
fn compose(texts: &[&str], given: &[&str]) -> Composed {
    let names = ["a.bu", "b.bu"];
    let texts: Vec<String> =
        texts.iter().map(|text| format!("variant: fcos\nversion: 1.4.0\n{text}")).collect();
    let sources: Vec<Source> = names
        .iter()
        .zip(&texts)
        .map(|(file, text)| Source { file, bytes: text.as_bytes() })
        .collect();
    let arguments: Vec<String> =
        given.iter().filter_map(|text| text.strip_prefix('=')).map(str::to_owned).collect();
    let files: Vec<ValuesFile> = given
        .iter()
        .filter(|text| !text.starts_with('='))
        .zip(["one.yaml", "two.yaml"])
        .map(|(text, file)| match text.strip_prefix('!') {
            Some(text) => ValuesFile { file, bytes: text.as_bytes(), readers: Readers::Everyone },
            None => ValuesFile { file, bytes: text.as_bytes(), readers: Readers::Owner },
        })
        .collect();
    compile_all(&sources, &Values { arguments: &arguments, files: &files }, &OPTIONS)
}

/// The config without its head.
#[track_caller]
fn check(text: &str, given: &[&str], expected: &str) {
    let Composed { config, report, .. } = compose(&[text], given);
    assert!(report.is_empty(), "{report}");
    let json = config.unwrap().text(Layout::Compact);
    assert_eq!(json.trim_end().replace(r#"{"ignition":{"version":"3.3.0"},"#, "{"), expected);
}

#[track_caller]
fn refuse(text: &str, given: &[&str], expected: &str) {
    refuse_all(&[text], given, expected);
}

#[track_caller]
fn refuse_all(texts: &[&str], given: &[&str], expected: &str) {
    let Composed { config, report, .. } = compose(texts, given);
    assert_eq!(report.to_string(), expected);
    assert!(config.is_none());
}

/// A variable `x`, and a user whose shell is `shell`.
fn shell(declaration: &str, shell: &str) -> String {
    format!("variables: {{x: {declaration}}}\npasswd: {{users: [{{name: a, shell: {shell}}}]}}")
}

fn with_shell(shell: &str) -> String {
    format!(r#"{{"passwd":{{"users":[{{"name":"a","shell":"{shell}"}}]}}}}"#)
}

#[test]
fn values_come_from_arguments_files_and_defaults() {
    let text = shell("{type: text, default: d}", "'${{ x }}'");
    check(&text, &[], &with_shell("d"));
    check(&text, &["x: one"], &with_shell("one"));
    check(&text, &["x: one", "x: two"], &with_shell("two"));
    check(&text, &["x: one", "=x=a=b"], &with_shell("a=b"));
    check(&text, &["=x="], &with_shell(""));
    check(&shell("text", "'<${{ x }}>'"), &["x: no"], &with_shell("\\u003cno\\u003e"));
    let Composed { overrides, .. } = compose(&[&text], &["x: one", "x: two", "=x=three"]);
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    assert_eq!(
        overrides,
        [
            "two.yaml:1:4: variables.x: takes the place of one.yaml:1:4",
            "--var x: variables.x: takes the place of two.yaml:1:4",
        ]
    );
}

#[test]
fn whole_values_have_the_type_and_texts_are_text() {
    let text = "variables:\n  id: integer\n  on: boolean\n  keys: list\n  t: {type: text, description: a text, default: 12}\npasswd:\n  users:\n    - name: u${{ id }}-${{ on }}\n      uid: ${{ id }}\n      system: \"${{ on }}\"\n      groups: ${{ keys }}\n      shell: ${{ t }}\n";
    check(
        text,
        &["id: 0x10\nkeys: [a, 1.50]", "=on=yes"],
        r#"{"passwd":{"users":[{"groups":["a","1.50"],"name":"u0x10-yes","shell":"12","system":true,"uid":16}]}}"#,
    );
    refuse(
        &shell("integer", "b").replace("shell: b", "uid: '1${{ x }}'"),
        &["=x=2"],
        "a.bu:4:33: $.passwd.users.0.uid: a whole number is wanted here, not the text `12`\n  hint: the variable `x` is from `--var x`",
    );
    refuse(
        &shell("text", "b").replace("shell: b", "uid: '${{ x }}'"),
        &["x: '2'"],
        "a.bu:4:33: $.passwd.users.0.uid: a whole number is wanted here, not the text `2`\n  hint: the variable `x` is from one.yaml:1:4",
    );
    refuse(
        &shell("list", "' ${{ x }}'"),
        &["x: [a]"],
        "a.bu:4:35: $.passwd.users.0.shell: `x` is a list, which cannot stand in a text\n  hint: write the reference alone, where a list is wanted",
    );
}

#[test]
fn values_of_a_wrong_type() {
    for (declaration, given, expected) in [
        ("integer", "=x=1.5", "--var x:1:1: `x` is a whole number, not `1.5`"),
        (
            "integer",
            "=x=99999999999999999999",
            "--var x:1:1: `x` is a whole number, not `99999999999999999999`",
        ),
        ("integer", "x: '1'", "one.yaml:1:4: x: `x` is a whole number, not the text `1`"),
        ("boolean", "=x=2", "--var x:1:1: `x` is `true` or `false`, not `2`"),
        ("text", "x: [a]", "one.yaml:1:4: x: `x` is text, not a list"),
        ("text", "x:", "one.yaml:1:3: x: `x` is text, not nothing"),
        ("list", "x: [[a]]", "one.yaml:1:4: x: `x` is a list of texts, not a list"),
        (
            "list",
            "=x=[a]",
            "--var x:1:1: `x` is a list of texts, not `[a]`\n  hint: give it in a file, with `--vars FILE`",
        ),
        ("{type: text, one_of: [a, b]}", "=x=c", "--var x:1:1: `x` is one of `a` and `b`"),
        ("{type: integer, one_of: [0644]}", "=x=0600", "--var x:1:1: `x` is one of `0644`"),
    ] {
        refuse(&shell(declaration, "'${{ x }}'"), &[given], expected);
    }
    check(&shell("{type: integer, one_of: [0644]}", "'${{ x }}'"), &["=x=420"], &with_shell("420"));
}

#[test]
fn declarations_that_are_wrong() {
    // What follows from them is not said: `x` is referred to and given.
    let refuse = |declarations: &str, expected: &str| {
        let text = format!("variables: {declarations}\n");
        refuse(&text, &[], expected);
        let referred = format!("{text}passwd: {{users: [{{name: a, uid: '${{{{ x }}}}'}}]}}\n");
        if expected.contains("$.variables.x.") || expected.contains("`type` is missing") {
            refuse_all(&[&referred], &["x: hunter2"], expected);
        }
    };
    refuse(
        "[x]",
        "a.bu:3:12: $.variables: a mapping is wanted here, not a list\n  hint: write `name: {type: text}`",
    );
    refuse(
        "{x: }",
        "a.bu:3:16: $.variables.x: a mapping is wanted here, not nothing\n  hint: write `x: {type: text}`",
    );
    refuse(
        "{1x: text}",
        "a.bu:3:13: $.variables.1x: `1x` cannot be the name of a variable\n  hint: a name is letters, digits, `_` and `-`, and begins with a letter",
    );
    refuse(
        "{x: texts}",
        "a.bu:3:16: $.variables.x: there is no type `texts`\n  hint: did you mean `text`?",
    );
    refuse(
        "{x: {default: 1}}",
        "a.bu:3:16: $.variables.x: `type` is missing\n  hint: there are `text`, `integer`, `boolean` and `list`",
    );
    refuse(
        "{x: {type: text, defualt: 1}}",
        "a.bu:3:29: $.variables.x.defualt: a variable has no `defualt`\n  hint: did you mean `default`?",
    );
    refuse(
        "{x: {type: integer, default: a}}",
        "a.bu:3:41: $.variables.x.default: a whole number is wanted here, not `a`",
    );
    refuse(
        "{x: {type: text, default: a, one_of: [b]}}",
        "a.bu:3:38: $.variables.x.default: `x` is one of `b`",
    );
    refuse(
        "{x: {type: text, one_of: []}}",
        "a.bu:3:37: $.variables.x.one_of: a list of values is wanted here",
    );
    refuse(
        "{x: {type: text, secret: maybe}}",
        "a.bu:3:37: $.variables.x.secret: `true` or `false` is wanted here",
    );
    refuse(
        "{x: {type: text, secret: true, default: hunter2}}",
        "a.bu:3:52: $.variables.x.default: a secret has no default\n  hint: it would stand in the config for everyone to read: use `--vars FILE`",
    );
    refuse(
        "{x: text, x: text}",
        "a.bu:3:13: $.variables.x: `x` has no value\n  hint: give it with `--var x=VALUE` or `--vars FILE`\n\
         a.bu:3:13: $.variables.x: nothing refers to `x`\n  hint: remove it, or write `${{ x }}` where it is wanted\n\
         a.bu:3:22: $.variables.x: `x` is declared in line 3 already\n  hint: one declaration holds in all documents of a file",
    );
    refuse(
        "{x: {type: text, type: text}}",
        "a.bu:3:29: $.variables.x: `type` is already set in line 3",
    );
    refuse("{}\nvariables: {}", "a.bu:4:1: $.variables: there is a section `variables` already");
}

#[test]
fn names_that_are_not_there_or_not_wanted() {
    refuse(
        &shell("text", "'${{ y }}'"),
        &["=x=1"],
        "a.bu:3:13: $.variables.x: nothing refers to `x`\n  hint: remove it, or write `${{ x }}` where it is wanted\n\
         a.bu:4:35: $.passwd.users.0.shell: no variable `y` is declared\n  hint: declare it under `variables`, or write `$${{` for the characters themselves",
    );
    refuse(
        &shell("text", "'${{ x }}'"),
        &[],
        "a.bu:3:13: $.variables.x: `x` has no value\n  hint: give it with `--var x=VALUE` or `--vars FILE`",
    );
    refuse(
        &shell("text", "'${{ x }}'").replace("x }", "channel }").replace("{x:", "{channel:"),
        &["=chanel=1", "channel: a\nport: 1"],
        "--var chanel:1:1: no file declares `chanel`\n  hint: did you mean `channel`?\n\
         one.yaml:2:7: port: no file declares `port`\n  hint: a file declares its variables under `variables`",
    );
    refuse(&shell("text", "'${{ x }}'"), &["=x=1", "=x=2"], "--var x:1:1: `x` is given twice");
    refuse(
        &shell("{type: text, default: a}", "'${{ x }}'"),
        &["=hunter2"],
        "--var:1:1: an argument has no `=`\n  hint: write `--var NAME=VALUE`",
    );
    refuse(
        &shell("text", "'${{ x'"),
        &["=x=1"],
        "a.bu:3:13: $.variables.x: nothing refers to `x`\n  hint: remove it, or write `${{ x }}` where it is wanted\na.bu:4:35: $.passwd.users.0.shell: `${{` begins a reference to a variable, and no name and `}}` follow\n  hint: write `$${{` for the characters themselves",
    );
    refuse(
        "variables: {}\n'${{ x }}': 1",
        &[],
        "a.bu:4:1: warning: $.${{ x }}: a config has no `${{ x }}`\n\
         a.bu:4:1: $.${{ x }}: a key cannot have a variable in it\n  hint: write `$${{` for the characters themselves",
    );
}

#[test]
fn files_of_values_that_are_wrong() {
    let text = shell("{type: text, default: a}", "'${{ x }}'");
    refuse(
        &text,
        &["[hunter2]"],
        "one.yaml:1:1: a mapping is wanted here\n  hint: write a line `name: value` for each variable",
    );
    refuse(
        &text,
        &["hunter2"],
        "one.yaml:1:1: a mapping is wanted here\n  hint: write a line `name: value` for each variable",
    );
    refuse(
        &text,
        &["x: 1\n---\ny: 1"],
        "one.yaml:3:1: values are one document\n  hint: give several files instead",
    );
    refuse(
        &text,
        &["x: *hunter2"],
        "one.yaml:1:4: `*` begins the name of an anchor, and this one is not set above\n  hint: write the value in quotes",
    );
    refuse(&text, &["x: 1\nx: 2"], "one.yaml:2:1: `x` is already set in line 1");
    check(&text, &["# Nothing.\n"], &with_shell("a"));
}

#[test]
fn only_files_that_declare_variables_are_touched() {
    check("passwd: {users: [{name: a, shell: '$${{ x }}'}]}", &[], &with_shell("$${{ x }}"));
    check(&shell("text", "'$${{ x }} ${{ x }}'"), &["=x=1"], &with_shell("${{ x }} 1"));
    let (one, two) =
        (shell("text", "'${{ x }}'"), "passwd: {users: [{name: b, shell: '${{ x }}'}]}");
    let Composed { config, report, .. } = compose(&[&one, two], &["=x=1"]);
    assert!(report.is_empty(), "{report}");
    assert!(config.unwrap().text(Layout::Compact).contains("${{ x }}"));
}

#[test]
fn declarations_hold_in_all_documents_of_a_file() {
    check(
        "variables: {x: text}\n---\npasswd: {users: [{name: a, shell: '${{ x }}'}]}\n",
        &["=x=1"],
        &with_shell("1"),
    );
    refuse(
        "variables: {x: text}\n---\nvariables: {x: text}\npasswd: {users: [{name: a, shell: '${{ x }}'}]}\n",
        &["=x=1"],
        "a.bu:5:13: $.variables.x: `x` is declared in line 3 already\n  hint: one declaration holds in all documents of a file",
    );
}

#[test]
fn files_agree_on_what_a_name_is() {
    let text = shell("text", "'${{ x }}'");
    refuse_all(
        &[&text, &shell("integer", "'${{ x }}'")],
        &["=x=1"],
        "b.bu:3:13: $.variables.x: `x` is `text` in a.bu:3:13, and `integer` here\n  hint: give one of them another name",
    );
    let Composed { report, .. } = compose(&[&text, &text], &["=x=1"]);
    assert!(report.is_empty(), "{report}");
}

#[test]
fn aliases_are_followed() {
    check(
        "variables: {x: text}\npasswd:\n  users:\n    - {name: a, shell: &s '${{ x }}'}\n    - {name: b, shell: *s}\n    - &u {name: c, home_dir: '${{ x }}'}\n",
        &["=x=1"],
        r#"{"passwd":{"users":[{"name":"a","shell":"1"},{"name":"b","shell":"1"},{"homeDir":"1","name":"c"}]}}"#,
    );
    refuse(
        "variables: {x: text}\npasswd:\n  users:\n    - {name: a, shell: &s '${{ x }}'}\n    - {name: b, uid: *s}\n",
        &["=x=t"],
        "a.bu:7:22: $.passwd.users.1.uid: a whole number is wanted here, not the text `t`\n  hint: the variable `x` is from `--var x`",
    );
}

fn secret(rest: &str) -> String {
    format!("variables: {{x: {{type: text, secret: true}}}}\n{rest}")
}

#[test]
fn secrets_stand_where_secrets_are_held() {
    let given = &["x: hunter2"];
    for (text, part) in [
        ("passwd: {users: [{name: a, password_hash: '${{ x }}'}]}", "\"hunter2\""),
        ("passwd: {groups: [{name: a, password_hash: '${{ x }}'}]}", "\"hunter2\""),
        (
            "storage: {files: [{path: /a, mode: 0600, contents: {inline: 'k=${{ x }}'}}]}",
            "k%3Dhunter2",
        ),
        (
            "storage: {files: [{path: /a, mode: 0600, append: [{inline: '${{ x }}'}]}]}",
            "data:,hunter2",
        ),
        (
            "storage: {files: [{path: /a, mode: 0600, contents: {source: 'https://a/?${{ x }}'}}]}",
            "https://a/?hunter2",
        ),
        (
            "storage: {luks: [{name: a, device: /dev/a, key_file: {inline: '${{ x }}'}}]}",
            "data:,hunter2",
        ),
        (
            "storage: {luks: [{name: a, device: /dev/a, clevis: {custom: {pin: sss, config: '${{ x }}'}}}]}",
            "\"hunter2\"",
        ),
        (
            "storage: {files: [{path: /a, contents: {source: 'https://a', http_headers: [{name: a, value: 'Bearer ${{ x }}'}]}}]}",
            "Bearer hunter2",
        ),
    ] {
        let Composed { config, report, .. } = compose(&[&secret(text)], given);
        assert!(report.is_empty(), "{report}");
        let json = config.unwrap().text(Layout::Compact);
        assert!(json.contains(part), "{json}");
    }
}

#[test]
fn secrets_stand_nowhere_else() {
    const HINT: &str = "a secret would be seen by everyone here\n  hint: secrets can stand in password hashes, keys, contents and headers; the variable `x` is from one.yaml:1:4";
    for (text, place) in [
        ("passwd: {users: [{name: a, shell: '${{ x }}'}]}", "4:35: $.passwd.users.0.shell"),
        ("passwd: {users: [{name: '${{ x }}'}]}", "4:25: $.passwd.users.0.name"),
        (
            "systemd: {units: [{name: a.service, contents: '${{ x }}'}]}",
            "4:47: $.systemd.units.0.contents",
        ),
        ("storage: {files: [{path: '/${{ x }}'}]}", "4:26: $.storage.files.0.path"),
        (
            "ignition: {config: {merge: [{inline: '${{ x }}'}]}}",
            "4:38: $.ignition.config.merge.0.inline",
        ),
        (
            "kernel_arguments: {should_exist: ['${{ x }}']}",
            "4:35: $.kernel_arguments.should_exist.0",
        ),
    ] {
        refuse(&secret(text), &["x: hunter2"], &format!("a.bu:{place}: {HINT}"));
    }
}

#[test]
fn fields_of_secrets_take_nothing_else() {
    const MESSAGE: &str = "this holds a secret, and a variable in it is not declared as one\n  hint: declare it with `secret: true`; the variable `x` is from `--var x`";
    for (text, place) in [
        (
            "passwd: {users: [{name: a, password_hash: '${{ x }}'}]}",
            "4:43: $.passwd.users.0.password_hash",
        ),
        (
            "storage: {luks: [{name: a, device: /dev/a, key_file: {inline: '${{ x }}'}}]}",
            "4:63: $.storage.luks.0.key_file.inline",
        ),
    ] {
        refuse(
            &format!("variables: {{x: text}}\n{text}"),
            &["=x=hunter2"],
            &format!("a.bu:{place}: {MESSAGE}"),
        );
    }
    // Where the key is fetched from is not the key.
    check(
        "variables: {x: text}\nstorage: {luks: [{name: a, device: /dev/a, key_file: {source: 'https://${{ x }}/'}}]}",
        &["=x=h"],
        r#"{"storage":{"luks":[{"device":"/dev/a","keyFile":{"source":"https://h/"},"name":"a"}]}}"#,
    );
}

#[test]
fn secrets_come_from_files_that_few_can_read() {
    let text = secret("passwd: {users: [{name: a, password_hash: '${{ x }}'}]}");
    refuse(
        &text,
        &["=x=hunter2"],
        "--var x:1:1: `x` is a secret, and every user of this machine can read arguments\n  hint: put it into a file that only you can read, and use `--vars FILE`",
    );
    refuse(
        &text,
        &[],
        "a.bu:3:13: $.variables.x: `x` has no value\n  hint: give it in a file, `x: VALUE`, with `--vars FILE`",
    );
    let Composed { config, report, .. } = compose(&[&text], &["!x: hunter2"]);
    assert_eq!(
        report.to_string(),
        "one.yaml:1:4: warning: x: every user of this machine can read the secret `x`\n  hint: take the right away: `chmod go= one.yaml`"
    );
    assert!(config.is_some());
    let Composed { report, .. } = compose(&[&shell("text", "'${{ x }}'")], &["!x: a"]);
    assert!(report.is_empty(), "{report}");
}

#[test]
fn secrets_in_files_that_everyone_can_read() {
    for mode in ["", ", mode: 0644"] {
        let text = secret(&format!(
            "storage: {{files: [{{path: /a{mode}, contents: {{inline: '${{{{ x }}}}'}}}}]}}"
        ));
        let Composed { report, .. } = compose(&[&text], &["x: hunter2"]);
        let report = report.to_string();
        assert!(report.contains("warning: $.storage.files.0.contents.inline: every user of the machine can read this secret\n  hint: set `mode: 0600`"), "{report}");
    }
}

#[test]
fn no_report_shows_a_secret() {
    let text = "variables: {x: {type: text, secret: true}}\nstorage: {files: [{path: /a, mode: 0600, contents: {source: '${{ x }}', http_headers: [{name: a, value: '${{ x }}'}]}}]}";
    let other = "storage: {files: [{path: /a, contents: {source: 'https://b', http_headers: [{name: a, value: c}]}}]}";
    for value in [
        "hunter2",
        "'::hunter2`'",
        "'https://a/\nhunter2'",
        "'%zzhunter2'",
        "data:hunter2",
        "'arn:hunter2:x'",
    ] {
        let Composed { report, overrides, .. } = compose(&[text, other], &[&format!("x: {value}")]);
        let shown = format!("{report}{}", serde_json::to_string(&overrides).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        let Composed { report, overrides, .. } = compose(&[text], &[&format!("x: {value}")]);
        let shown = format!("{report}{overrides:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    // As what it is not.
    for value in ["[hunter2]", "{hunter2: 1}", "hunter2"] {
        let text = text.replace("type: text", "type: integer");
        let Composed { report, .. } = compose(&[&text], &[&format!("x: {value}")]);
        assert!(report.has_errors() && !report.to_string().contains("hunter2"), "{report}");
    }
    let values = ["x: hunter2".to_owned()];
    let files = [ValuesFile { file: "v", bytes: values[0].as_bytes(), readers: Readers::Owner }];
    let debug = format!("{:?}", Values { arguments: &["x=hunter2".to_owned()], files: &files });
    assert!(!debug.contains("hunter2"), "{debug}");
}

#[test]
fn strict_refuses_what_is_warned_of() {
    let text = format!(
        "variant: fcos\nversion: 1.4.0\n{}",
        secret("passwd: {users: [{name: a, password_hash: '${{ x }}'}]}")
    );
    let files = [ValuesFile { file: "v", bytes: b"x: y", readers: Readers::Everyone }];
    let options = Options { warnings: Warnings::Refused, ..OPTIONS };
    let sources = [Source { file: "a.bu", bytes: text.as_bytes() }];
    let composed = compile_all(&sources, &Values { arguments: &[], files: &files }, &options);
    assert!(composed.config.is_none() && composed.report.has_errors());
}

proptest! {
    #[test]
    fn values_are_taken_as_they_are(value in "[$\\{\\} xa%`*&'\\\\:#-]{0,12}|\\$\\{\\{ x \\}\\}") {
        let text = shell("text", "'${{ x }}'");
        let argument = format!("=x={value}");
        let Composed { config, report, .. } = compose(&[&text], &[&argument]);
        prop_assert!(report.is_empty(), "{}", report);
        let json: serde_json::Value =
            serde_json::from_str(&config.unwrap().text(Layout::Compact)).unwrap();
        prop_assert_eq!(&json["passwd"]["users"][0]["shell"], &serde_json::Value::from(value));
    }

    #[test]
    fn anything_can_be_given(text in "(?s).{0,80}", values in "(?s).{0,60}") {
        let declared = format!("variables: {{x: text}}\n{text}");
        let given = values.trim_start_matches(['=', '!']);
        let Composed { config, report, .. } = compose(&[&declared], &[given]);
        prop_assert_eq!(config.is_none(), report.has_errors());
    }
}
