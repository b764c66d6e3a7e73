//! What systemd says of the units of a Butane config, at the lines they are written in.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use basalt_butane::{Options, Output, Source, VerifyError, Warnings, compile, verify_units};
use camino::Utf8Path;
use e2e::peers::peer;

const CONFIG: &str = "variant: fcos
version: 1.4.0
storage:
  filesystems:
    - device: /dev/vdb
      format: xfs
      path: /var/lib/data
      with_mount_unit: true
systemd:
  units:
    - name: misspelled.service
      enabled: true
      contents: |
        [Unit]
        Wants=only-on-the-node.service

        [Service]
        Exce=/usr/bin/true
        ExecStart=/usr/bin/only-on-the-node
          Restart=allways

        [Install]
        WantedBy=multi-user.target
      dropins:
        - name: 10-environment.conf
          contents: |
            [Service]
            Enviroment=A=b
    - name: of-the-system.service
      dropins:
        - name: 10-limits.conf
          contents: |
            [Service]
            LimitNOFILES=1
    - name: template@.service
      contents: |
        [Service]
        ExecStart=/usr/bin/sleep %i
        KillMod=none
    - name: other-name.mount
      contents: |
        [Mount]
        What=/dev/vdc
        Where=/var/other
    - name: folded.timer
      contents: \"[Timer]\\nOnCalendar=weekly\\nPersistant=true\\n\"
    - name: runs.service
      contents: |
        [Service]
        ExecCondition=/usr/bin/touch MARKER
        ExecStart=/usr/bin/touch MARKER
";

/// Only what is wrong with the units is said; what this machine lacks is not, and nothing of them is run.
#[test]
fn systemd_has_its_say_at_the_lines_of_the_butane_text() {
    let Some(systemd) = peer("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    let text = CONFIG.replace("MARKER", marker.to_str().unwrap());
    let options = Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Variant };
    let (config, report) = compile("a.bu", text.as_bytes(), &options);
    let config = config.unwrap_or_else(|| panic!("{report}"));
    let source = Source { file: "a.bu", bytes: text.as_bytes() };
    let report = verify_units(config.ignition(), &[source], None, &systemd.program).unwrap();
    let found: Vec<String> = report
        .sorted()
        .iter()
        .map(|finding| {
            format!(
                "{} {}",
                finding.place,
                finding.message.split('\'').nth(1).unwrap_or(&finding.message)
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "18:9 Exce",
            "20:11 systemd says: Failed to parse service restart specifier, ignoring: allways",
            "28:13 Enviroment",
            "34:13 LimitNOFILES",
            "39:9 KillMod",
            // Said without a line, so at the contents.
            "41:17 t match unit name. Refusing",
            // The text has no line of its own.
            "46:17 Persistant",
        ],
        "{report}"
    );
    assert!(!report.has_errors());
    assert!(!marker.exists());
}

#[test]
fn units_from_local_files_have_the_lines_of_those() {
    let Some(systemd) = peer("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let files = Utf8Path::from_path(folder.path()).unwrap();
    fs::write(files.join("a.service"), "[Service]\nExecStart=/usr/bin/a\n Typ=simple\n").unwrap();
    let text = "variant: fcos
version: 1.5.0
systemd:
  units:
    - name: a.service
      contents_local: a.service
";
    let options =
        Options { files_dir: Some(files), warnings: Warnings::Allowed, output: Output::Variant };
    let (config, report) = compile("a.bu", text.as_bytes(), &options);
    let config = config.unwrap_or_else(|| panic!("{report}"));
    let source = Source { file: "a.bu", bytes: text.as_bytes() };
    let report = verify_units(config.ignition(), &[source], Some(files), &systemd.program).unwrap();
    let [finding] = report.sorted()[..] else { panic!("{report}") };
    assert_eq!(finding.file, files.join("a.service"));
    assert_eq!(finding.place.to_string(), "3:2");
    assert_eq!(finding.path, "$.systemd.units.0.contents_local");
}

#[test]
fn without_systemd_there_is_a_note() {
    let options = Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Variant };
    let config = compile("a.bu", CONFIG.as_bytes(), &options).0.unwrap();
    let verified =
        verify_units(config.ignition(), &[], None, Path::new("/nowhere/systemd-analyze"));
    let error = verified.unwrap_err();
    assert!(matches!(error, VerifyError::Missing(_)), "{error}");
    assert!(error.to_string().contains("/nowhere/systemd-analyze"));
}
