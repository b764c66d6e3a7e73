//! Units that are enabled, and whether that does anything: systemd does what `[Install]` says, and without it nothing.
//!
//! Ignition enables units by a preset. What presets do was tried with `systemctl --root preset-all` of systemd 252.

use std::collections::HashMap;

use super::{Check, unit_file};
use crate::tree::Tree;

/// A unit that is enabled, and has contents.
pub(crate) fn unit(unit: &Tree, check: &mut Check) {
    if unit.flag("enabled") != Some(true) || !lacks_install(unit) {
        return;
    }
    let origin = unit.place_of("contents");
    if is_installed_by_dropin(unit) {
        // systemd reads it; Ignition warns of it on the machine as well.
        let message = "the unit is enabled, and `[Install]` is in a drop-in alone";
        check.warning(&origin, message).hint("move it here: Ignition looks at the unit file only");
    } else {
        let message = "the unit is enabled, and without options in `[Install]` that does nothing";
        check.warning(&origin, message).hint(match unit.text("name").map(suffix) {
            Some("mount") => "add `[Install]` with `RequiredBy=local-fs.target`, for example",
            Some("swap") => "add `[Install]` with `RequiredBy=swap.target`, for example",
            Some("timer") => "add `[Install]` with `WantedBy=timers.target`, for example",
            Some("socket") => "add `[Install]` with `WantedBy=sockets.target`, for example",
            _ => "add `[Install]` with `WantedBy=multi-user.target`, for example",
        });
    }
}

/// All units: an instance is enabled by its template, and a template by itself is nothing to be started.
pub(crate) fn systemd(systemd: &Tree, check: &mut Check) {
    let units = systemd.items("units");
    let by_name: HashMap<&str, &Tree> =
        units.iter().filter_map(|unit| Some((unit.text("name")?, unit))).collect();
    for unit in units.iter().filter(|unit| unit.flag("enabled") == Some(true)) {
        let name = unit.text("name").unwrap_or_default();
        let suffix = suffix(name);
        let Some(stem) = name.strip_suffix(suffix).and_then(|name| name.strip_suffix('.')) else {
            continue;
        };
        match stem.split_once('@') {
            Some((stem, "")) if !stem.is_empty() => template(unit, check),
            Some((stem, _)) if !stem.is_empty() => {
                let name = format!("{stem}@.{suffix}");
                if let Some(template) = by_name.get(name.as_str()) {
                    instance(unit, template, &name, check);
                }
            }
            _ => {}
        }
    }
}

fn template(template: &Tree, check: &mut Check) {
    let Some(contents) = template.some_text("contents") else { return };
    if lacks_install(template) {
        return;
    }
    // A template may be wanted by another one, and drop-ins may say more.
    let is_more = |line: &str| line.starts_with("DefaultInstance") || line.contains("@.");
    if !contents.lines().any(is_more) && template.items("dropins").is_empty() {
        check
            .warning(
                &template.place_of("enabled"),
                "a template without `DefaultInstance` is enabled, and that does nothing",
            )
            .hint("enable instances of it, by their names");
    }
}

fn instance(unit: &Tree, template: &Tree, name: &str, check: &mut Check) {
    if !lacks_install(template) {
        return;
    }
    let is_installed = is_installed_by_dropin(template) || is_installed_by_dropin(unit);
    // Ignition looks at services alone, and not into drop-ins.
    if is_installed && !name.ends_with(".service") {
        return;
    }
    let message = match is_installed {
        false => {
            format!(
                "`{name}` has no options in `[Install]`, so that enabling an instance does nothing"
            )
        }
        true => {
            format!("the instance is enabled, and `[Install]` of `{name}` is in a drop-in alone")
        }
    };
    check.warning(&unit.place_of("contents"), message);
}

/// Whether there are contents that can be read, without options in `[Install]`.
fn lacks_install(unit: &Tree) -> bool {
    let file = unit.some_text("contents").map(unit_file::check);
    matches!(file, Some(Ok(file)) if !file.has_install)
}

fn is_installed_by_dropin(unit: &Tree) -> bool {
    unit.items("dropins")
        .iter()
        .filter_map(|dropin| dropin.text("contents"))
        .any(|contents| unit_file::check(contents).is_ok_and(|file| file.has_install))
}

/// What is behind the last full stop.
fn suffix(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, suffix)| suffix)
}

#[cfg(test)]
mod tests {
    use crate::{Options, Output, Warnings, compile};

    /// What is said of the units, which follow in one line.
    #[track_caller]
    fn check(units: &str, expected: &[(&str, &str)]) {
        let text = format!("variant: fcos\nversion: 1.5.0\nsystemd: {{units: [{units}]}}\n");
        let options =
            Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Variant };
        let (config, report) = compile("a.bu", text.as_bytes(), &options);
        assert!(config.is_some(), "{report}");
        let found: Vec<(&str, &str)> = report
            .sorted()
            .into_iter()
            .map(|finding| {
                (finding.path.strip_prefix("$.systemd.units.").unwrap(), finding.message.as_str())
            })
            .collect();
        assert_eq!(found, expected, "{units}");
    }

    const INSTALL: &str = r#""[Install]\nWantedBy=a.target""#;
    const NOTHING: &str =
        "the unit is enabled, and without options in `[Install]` that does nothing";

    #[test]
    fn units_by_themselves() {
        let unit = |rest: &str| format!("{{name: a.service, {rest}}}");
        check(&unit(&format!("enabled: true, contents: {INSTALL}")), &[]);
        check(&unit("enabled: false, contents: '[Unit]'"), &[]);
        check(&unit("enabled: true, contents: ''"), &[]);
        check(&unit("enabled: true"), &[]);
        check(&unit("enabled: true, contents: '[Unit]'"), &[("0.contents", NOTHING)]);
        check(&unit("enabled: true, contents: '[Install]'"), &[("0.contents", NOTHING)]);
        check(
            &unit(&format!(
                "enabled: true, contents: '[Unit]', dropins: [{{name: a.conf, contents: {INSTALL}}}]"
            )),
            &[("0.contents", "the unit is enabled, and `[Install]` is in a drop-in alone")],
        );
    }

    #[test]
    fn templates_and_instances() {
        let nothing = "a template without `DefaultInstance` is enabled, and that does nothing";
        let template = |rest: &str| format!("{{name: a@.timer, {rest}}}");
        check(&template(&format!("enabled: true, contents: {INSTALL}")), &[("0.enabled", nothing)]);
        check(&template("enabled: true, contents: '[Unit]'"), &[("0.contents", NOTHING)]);
        check(
            &template(
                r#"enabled: true, contents: "[Install]\nWantedBy=a.target\nDefaultInstance=x""#,
            ),
            &[],
        );
        check(&template(r#"enabled: true, contents: "[Install]\nWantedBy=b@.target""#), &[]);
        let with = |contents: &str, rest: &str| {
            format!(
                "{{name: a@.timer, contents: {contents}}}, {{name: a@b.timer, enabled: true{rest}}}"
            )
        };
        check(&with(INSTALL, ""), &[]);
        check(
            &with("'[Timer]'", ""),
            &[(
                "1.contents",
                "`a@.timer` has no options in `[Install]`, so that enabling an instance does nothing",
            )],
        );
        check(
            &with("'[Timer]'", &format!(", dropins: [{{name: a.conf, contents: {INSTALL}}}]")),
            &[],
        );
    }
}
