//! `xtask butane` as a program, beside the reference's: the same command line, exit status, output and findings.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "butane/unpack.rs"]
mod unpack;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::needs;
use e2e::peers::{Peer, peer};
use e2e::programs::xtask;
use unpack::{unpack, value_of};

const GOOD: &str = "variant: fcos\nversion: 1.4.0\n";
const WARNS: &str = "variant: fcos\nversion: 1.4.0\nunknown: 1\n";
const BAD: &str = "variant: fcos\nversion: 1.4.0\nstorage: {files: [{path: a}]}\n";

/// A folder with configs and a files directory, and a program to run in it.
struct Bench {
    program: Command,
    folder: tempfile::TempDir,
}

impl Bench {
    /// Ours.
    fn new() -> Option<Bench> {
        let mut program = Command::new(xtask()?);
        program.arg("butane");
        Some(Bench::of(program))
    }

    /// The reference's.
    fn reference(butane: &Peer) -> Bench {
        Bench::of(Command::new(&butane.program))
    }

    fn of(mut program: Command) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("good.bu", GOOD), ("warns.bu", WARNS), ("bad.bu", BAD)] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("files")).unwrap();
        program.current_dir(folder.path()).env_remove("NO_COLOR").env("TERM", "xterm");
        Bench { program, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program.get_program());
        command.args(self.program.get_args()).current_dir(self.folder.path());
        for (name, value) in self.program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs with `input` on standard input.
    fn feed(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ended::of(child.wait_with_output().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.feed(arguments, b"")
    }

    /// Runs a script of bash in which `$BUTANE` is the command.
    fn bash(&self, script: &str) -> Ended {
        let mut words = vec![self.program.get_program().to_str().unwrap().to_owned()];
        words.extend(self.program.get_args().map(|word| word.to_str().unwrap().to_owned()));
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).current_dir(self.folder.path()).env("BUTANE", words.join(" "));
        Ended::of(bash.stdin(Stdio::null()).output().unwrap())
    }

    fn entries(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// How a program has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: Output) -> Ended {
        Ended {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn check(&self, status: i32, stdout: &str, stderr: &str) {
        let expected =
            Ended { status: Some(status), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        assert_eq!(*self, expected);
    }

    /// It failed, said why, and printed nothing.
    #[track_caller]
    fn failed(&self, why: &str) {
        assert!(self.status == Some(1) && self.stdout.is_empty(), "{self:?}");
        assert!(self.stderr.contains(why), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

const COMPILED: &str = "{\"ignition\":{\"version\":\"3.3.0\"}}\n";

#[test]
fn the_command_line_is_the_references() {
    let (Some(ours), Some(butane)) = (Bench::new(), peer("butane")) else { return };
    let theirs = Bench::reference(&butane);
    // Words, and what stands on standard input.
    for (line, input) in [
        ("good.bu", ""),
        ("warns.bu", ""),
        ("bad.bu", ""),
        ("absent.bu", ""),
        ("files", ""),
        ("", GOOD),
        ("", BAD),
        ("", ""),
        ("--", GOOD),
        ("-- good.bu", ""),
        ("-p good.bu", ""),
        ("good.bu --pretty", ""),
        ("--pretty=false good.bu", ""),
        ("-p=true good.bu", ""),
        ("--pretty=maybe good.bu", ""),
        ("-pp good.bu", ""),
        ("-psr good.bu", ""),
        ("-s good.bu", ""),
        ("-s warns.bu", ""),
        ("--strict=false warns.bu", ""),
        ("-c good.bu", ""),
        ("-c warns.bu", ""),
        ("-c bad.bu", ""),
        ("-cs warns.bu", ""),
        ("-r good.bu", ""),
        ("-d files good.bu", ""),
        ("-dfiles good.bu", ""),
        ("-d=files good.bu", ""),
        ("-d absent good.bu", ""),
        ("--files-dir= good.bu", ""),
        ("--raw-errors warns.bu", ""),
        ("--color warns.bu", ""),
        ("--color=never warns.bu", ""),
        ("--color=puce warns.bu", ""),
        ("--colour=no warns.bu", ""),
        ("--input good.bu", ""),
        ("--input=good.bu", ""),
        ("--input good.bu bad.bu", ""),
        ("--input= good.bu", ""),
        ("-D -c good.bu", ""),
        ("-o out good.bu", ""),
        ("-o out bad.bu", ""),
        ("-o one -o two good.bu", ""),
        ("--output= good.bu", ""),
        ("-c -o out good.bu", ""),
        ("-s -o out warns.bu", ""),
        ("-o absent/out good.bu", ""),
        ("-o files good.bu", ""),
        ("-o files/ good.bu", ""),
        ("-o /dev/null good.bu", ""),
        ("-o /dev/full good.bu", ""),
        ("-o /dev/stdout good.bu", ""),
        ("--help", ""),
        ("-h", ""),
        ("--help good.bu", ""),
        ("--help --nope", ""),
        ("-V --nope", ""),
        ("-hZ", ""),
        ("-V", ""),
        ("--version", ""),
        ("-pV absent.bu", ""),
        ("--nope", ""),
        ("-Z", ""),
        ("--pret", ""),
        ("-d", ""),
        ("-o", ""),
        ("--output", ""),
        ("--check=", ""),
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (found, expected) =
            (ours.feed(&words, input.as_bytes()), theirs.feed(&words, input.as_bytes()));
        assert_eq!(found.status, expected.status, "{line}: {found:?}");
        assert_eq!(ours.entries(), theirs.entries(), "{line}");
        let is_about_itself =
            ["-h", "-V", "--version", "-pV"].iter().any(|word| words.contains(word))
                || words.contains(&"--help");
        if is_about_itself {
            assert_eq!(found.stdout.is_empty(), expected.stdout.is_empty(), "{line}");
        } else {
            assert_eq!(found.stdout, expected.stdout, "{line}");
        }
        for name in ["out", "one", "two"] {
            let read = |bench: &Bench| fs::read_to_string(bench.path(name)).ok();
            assert_eq!(read(&ours), read(&theirs), "{line}");
            for bench in [&ours, &theirs] {
                let _ = fs::remove_file(bench.path(name));
            }
        }
    }
}

#[test]
fn the_version_names_the_reference_that_it_follows() {
    let (Some(ours), Some(butane)) = (Bench::new(), peer("butane")) else { return };
    let expected = Bench::reference(&butane).run(&["-V"]).stdout;
    let found = ours.run(&["-V"]).stdout;
    assert!(found.starts_with(&format!("{} (Basalt ", expected.trim_end())), "{found}");
}

/// What the reference says of nulls and aliases, at which it loses its way.
const LOST: &str = "context tree does not match";

/// What it says of merge keys, which it obeys nonetheless.
const MERGE_KEY: &str = "unused key <<";

/// A line is shown as it is up to here.
const SHOWN_WHOLE: usize = 160;

/// Severity, and `at PATH, line L col C`.
fn raw_findings(stderr: &str) -> BTreeSet<String> {
    let is_finding = |line: &&str| {
        (line.starts_with("error at ") || line.starts_with("warning at "))
            && ![LOST, MERGE_KEY].iter().any(|part| line.contains(part))
    };
    let place = |line: &str| line.split_once(": ").unwrap().0.to_owned();
    stderr.lines().filter(is_finding).map(place).collect()
}

/// The frames without their messages and hints.
fn frames(stderr: &str) -> BTreeSet<String> {
    let without_message = |line: &str| -> Option<String> {
        let is_hint = line.trim_start().starts_with("= hint: ") || line.starts_with("  hint: ");
        match line.rsplit_once('^') {
            _ if is_hint || line.contains(LOST) => None,
            Some((carets, _)) if carets.trim_start_matches([' ', '|', '^']).is_empty() => {
                Some(format!("{carets}^"))
            }
            _ if line.starts_with("error at ") || line.starts_with("warning at ") => {
                Some(line.split_once(": ")?.0.to_owned())
            }
            _ => Some(line.to_owned()),
        }
    };
    let mut frames: Vec<String> = Vec::new();
    for line in stderr.lines().filter_map(without_message) {
        if line.starts_with("error") || line.starts_with("warning") {
            frames.push(String::new());
        }
        if let Some(frame) = frames.last_mut().filter(|_| !line.starts_with("Error ")) {
            // The line between two frames belongs to none.
            frame.push_str(if line.is_empty() { "" } else { "\n" });
            frame.push_str(&line);
        }
    }
    frames.into_iter().collect()
}

#[test]
fn findings_are_printed_as_the_reference_prints_them() {
    let (Some(ours), Some(butane)) = (Bench::new(), peer("butane")) else { return };
    let theirs = Bench::reference(&butane);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../butane/tests/corpus");
    let files = corpus.join("files").canonicalize().unwrap();
    let (mut compared, mut faults) = (0, String::new());
    for entry in ["good", "bad"].iter().flat_map(|kind| fs::read_dir(corpus.join(kind)).unwrap()) {
        let path = entry.unwrap().path();
        let text = fs::read(&path).unwrap();
        let arguments = ["-d", files.to_str().unwrap(), "config.bu"];
        for bench in [&ours, &theirs] {
            fs::write(bench.path("config.bu"), &text).unwrap();
        }
        let raw = [&["--raw-errors"], &arguments[..]].concat();
        let (found, expected) = (ours.run(&raw), theirs.run(&raw));
        let name = path.file_name().unwrap().display();
        let (own, reference) = (raw_findings(&found.stderr), raw_findings(&expected.stderr));
        // What we find beyond the reference is weighed elsewhere, finding by finding.
        if !own.is_superset(&reference) || (own == reference && found.status != expected.status) {
            faults += &format!("{name}: {found:#?} and not {expected:#?}\n");
            continue;
        }
        if found.status == Some(0) {
            let (mut found, mut expected) = (value_of(&found.stdout), value_of(&expected.stdout));
            unpack(&mut found);
            unpack(&mut expected);
            if found != expected {
                faults += &format!("{name} becomes\n{found}\nand not\n{expected}\n");
            }
        } else {
            let end = "Error translating config: ";
            assert!(found.stderr.lines().last().unwrap().starts_with(end), "{name}: {found:?}");
            assert!(found.stdout.is_empty(), "{name}");
        }
        // The reference counts bytes where it draws, so only ASCII is in line; and it shows the longest line whole.
        let is_drawn_alike = text.is_ascii()
            && text.split(|byte| *byte == b'\n').all(|line| line.len() < SHOWN_WHOLE);
        let is_lost = [LOST, MERGE_KEY].iter().any(|part| expected.stderr.contains(part));
        if own != reference || !is_drawn_alike || is_lost {
            continue;
        }
        let (found, expected) = (ours.run(&arguments), theirs.run(&arguments));
        let (own, reference) = (frames(&found.stderr), frames(&expected.stderr));
        compared += reference.len();
        if own != reference {
            let (own, reference) = (found.stderr, expected.stderr);
            faults += &format!("{name} is shown\n{own}\nand not\n{reference}\n");
        }
    }
    assert!(faults.is_empty(), "{faults}");
    assert!(compared > 100, "{compared} frames");
}

#[test]
fn colors_are_the_references() {
    let (Some(ours), Some(butane)) = (Bench::new(), peer("butane")) else { return };
    let theirs = Bench::reference(&butane);
    for color in ["--color", "--color=always", "--color=auto", "--color=never"] {
        let frame = |bench: &Bench| {
            let stderr = bench.run(&[color, "warns.bu"]).stderr;
            stderr.replace("unused key unknown", "").replace("a config has no `unknown`", "")
        };
        assert_eq!(frame(&ours), frame(&theirs), "{color}");
        assert_eq!(
            frame(&ours).contains('\x1b'),
            !color.contains("au") && !color.contains("never"),
            "{color}"
        );
    }
}

#[test]
fn a_terminal_has_colors() {
    let Some(ours) = Bench::new() else { return };
    if Command::new("script").arg("--version").output().is_err() {
        return needs::skip("needs `script`, of util-linux, for a terminal");
    }
    for (set, is_colored) in [("", true), ("NO_COLOR=1", false), ("TERM=dumb", false)] {
        let script = format!("{set} script -qec \"$BUTANE warns.bu\" /dev/null");
        let ended = ours.bash(&script);
        assert_eq!(ended.stdout.contains("\x1b[1;33mwarning"), is_colored, "{set}: {ended:?}");
    }
}

#[test]
fn output_goes_where_it_is_wanted() {
    let Some(ours) = Bench::new() else { return };
    ours.run(&["good.bu", "-o", "-"]).check(0, COMPILED, "");
    ours.feed(&["-"], GOOD.as_bytes()).check(0, COMPILED, "");
    // What standard output was redirected to is written on.
    let script = "{ echo first; $BUTANE good.bu -o /dev/stdout; } >out; cat out";
    ours.bash(script).check(0, &format!("first\n{COMPILED}"), "");
    ours.bash("$BUTANE good.bu -o >(cat); wait $!").check(0, COMPILED, "");

    // A link stays, and so does a mode.
    fs::create_dir(ours.path("to")).unwrap();
    symlink("to/real", ours.path("link")).unwrap();
    for _ in 0..2 {
        ours.run(&["good.bu", "-o", "link"]).check(0, "", "");
        assert_eq!(fs::read_to_string(ours.path("to/real")).unwrap(), COMPILED);
    }
    assert!(ours.path("link").is_symlink());
    fs::set_permissions(ours.path("to/real"), fs::Permissions::from_mode(0o640)).unwrap();
    ours.run(&["good.bu", "-p", "-o", "link"]).check(0, "", "");
    let metadata = fs::metadata(ours.path("to/real")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);

    // A failure leaves what was there, and nothing beside it.
    let before = ours.entries();
    for arguments in [&["bad.bu", "-o", "link"][..], &["-s", "warns.bu", "-o", "link"]] {
        assert_eq!(ours.run(arguments).status, Some(1));
    }
    assert!(fs::read_to_string(ours.path("to/real")).unwrap().starts_with("{\n"));
    assert_eq!(ours.entries(), before);
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    if !needs::root_or_skip() {
        return;
    }
    let Some(ours) = Bench::new() else { return };
    let big = format!(
        "{GOOD}storage: {{files: [{{path: /a, contents: {{source: 'data:,{}'}}}}]}}\n",
        "x".repeat(200_000)
    );
    fs::write(ours.path("big.bu"), big).unwrap();
    let script = "set -e; mkdir full; mount -t tmpfs -o size=64k none full; echo old >full/out
        if $BUTANE big.bu -o full/out; then exit 9; fi; cat full/out; ls -A full; $BUTANE good.bu -o full/out; cat full/out";
    fs::write(ours.path("script"), script).unwrap();
    let ended = ours.bash("unshare --mount bash script");
    assert_eq!(
        (ended.status, ended.stdout),
        (Some(0), format!("old\nout\n{COMPILED}")),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("No space left on device"), "{}", ended.stderr);
}

#[test]
fn an_output_that_is_mounted_by_itself_is_written_in_place() {
    if !needs::root_or_skip() {
        return;
    }
    let Some(ours) = Bench::new() else { return };
    let script = "set -e; echo old >real; echo old >out; mount --bind real out
        $BUTANE good.bu -o out; cat out; umount out; cat real out; ls -A | grep -c butane- || true";
    fs::write(ours.path("script"), script).unwrap();
    let ended = ours.bash("unshare --mount bash script");
    ended.check(0, &format!("{COMPILED}{COMPILED}old\n0\n"), "");
}

#[test]
fn nobody_has_to_read() {
    let Some(ours) = Bench::new() else { return };
    for script in [
        "{ sleep 0.3; $BUTANE good.bu; echo $? >status; } | true; while ! test -s status; do sleep 0.05; done; cat status",
        "{ sleep 0.3; $BUTANE absent.bu; echo $? >status; } 2>&1 | true; while ! test -s status; do sleep 0.05; done; cat status",
        "{ sleep 0.3; $BUTANE bad.bu; echo $? >status; } 2>&1 | true; while ! test -s status; do sleep 0.05; done; cat status",
    ] {
        let _ = fs::remove_file(ours.path("status"));
        ours.bash(script).check(0, "1\n", "");
    }
    ours.bash("$BUTANE good.bu >/dev/full").failed("No space left on device");
}

#[test]
fn input_may_be_a_pipe_and_has_an_end() {
    let Some(ours) = Bench::new() else { return };
    ours.bash("$BUTANE <(cat good.bu)").check(0, COMPILED, "");
    ours.bash("mkfifo fifo; cat good.bu >fifo & $BUTANE fifo").check(0, COMPILED, "");
    ours.bash("cat good.bu | $BUTANE /dev/stdin").check(0, COMPILED, "");
    ours.run(&["/dev/zero"]).failed("`/dev/zero` has more than 33554432 bytes");
    ours.bash("yes | $BUTANE").failed("`<stdin>` has more than 33554432 bytes");
    ours.bash("truncate -s 101M big; $BUTANE big").failed("`big` has 105906176 bytes");
    ours.run(&["/dev/null"]).failed("error at line 1 col 1: ");
}

#[test]
fn bad_input_is_named() {
    let Some(ours) = Bench::new() else { return };
    ours.run(&["absent.bu"]).failed("cannot open `absent.bu`\n  caused by: No such file");
    ours.run(&["files"]).failed("`files` is a folder");
    ours.feed(&["--raw-errors"], b"variant: fcos\n\xff").failed("error at line 2 col 1: ");
    let with_mark = [b"\xef\xbb\xbf", GOOD.as_bytes()].concat();
    ours.feed(&[], &with_mark).check(0, COMPILED, "");
    ours.run(&["good.bu", "-d", "absent"]).check(
        0,
        COMPILED,
        "note: the files directory `absent` is not a folder\n",
    );
    let local = format!("{GOOD}storage: {{files: [{{path: /a, contents: {{local: b}}}}]}}\n");
    for folder in ["absent", "good.bu"] {
        let ended = ours.feed(&["--raw-errors", "-d", folder], local.as_bytes());
        ended.failed("error at $.storage.files.0.contents.local, line 3 col 48: ");
        ended.failed(&format!("note: the files directory `{folder}` is not a folder"));
    }
    // A name, a key and a value that would rather speak to the terminal.
    let hostile = "\x1b]0;title\x07";
    fs::write(ours.path(hostile), format!("{GOOD}\"\\e[31m\": 1\n# \x1b[2J\n")).unwrap();
    for arguments in [&[hostile][..], &["--raw-errors", hostile], &["absent\x1b[2J"]] {
        let ended = ours.run(arguments);
        assert!(ended.status == Some(1) && !ended.stderr.contains('\x1b'), "{ended:?}");
    }
}

#[test]
fn another_user_cannot_do_more() {
    if !needs::root_or_skip() {
        return;
    }
    const NOBODY: u32 = 65534;
    let Some(ours) = Bench::new() else { return };
    let program = ours.path("xtask");
    fs::copy(ours.program.get_program(), &program).unwrap();
    fs::set_permissions(ours.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(ours.path("warns.bu"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(ours.path("out"), "old").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("butane").args(arguments).current_dir(ours.folder.path());
        Ended::of(command.uid(NOBODY).gid(NOBODY).output().unwrap())
    };
    run(&["good.bu"]).check(0, COMPILED, "");
    run(&["warns.bu"]).failed("cannot open `warns.bu`\n  caused by: Permission denied");
    run(&["good.bu", "-o", "out"]).failed("cannot write `out`\n  caused by: Permission denied");
    run(&["good.bu", "-o", "new"]).failed("cannot write `new`\n  caused by: Permission denied");
    // May be written, and not replaced.
    fs::set_permissions(ours.path("out"), fs::Permissions::from_mode(0o666)).unwrap();
    run(&["good.bu", "-o", "out"]).check(0, "", "");
    assert_eq!(fs::read_to_string(ours.path("out")).unwrap(), COMPILED);
}

#[test]
fn several_files_and_variables() {
    let Some(ours) = Bench::new() else { return };
    let base = format!("{GOOD}storage:\n  files:\n    - path: /a\n      mode: 0644\n");
    let site = format!(
        "{GOOD}variables: {{mode: integer}}\nstorage: {{files: [{{path: /a, mode: '${{{{ mode }}}}'}}]}}\n"
    );
    fs::write(ours.path("base.bu"), base).unwrap();
    fs::write(ours.path("site.bu"), site).unwrap();
    let ended = ours.run(&["base.bu", "site.bu", "--var", "mode=384"]);
    let json = "{\"ignition\":{\"version\":\"3.3.0\"},\"storage\":{\"files\":[{\"path\":\"/a\",\"mode\":384}]}}";
    assert_eq!(value_of(&ended.stdout), value_of(json), "{ended:?}");
    let note = "note: site.bu:4:36: storage.files[/a].mode: 0600 takes the place of 0644 of base.bu:6:13\n";
    assert_eq!(ended.stderr, note);
    assert_eq!(ours.run(&["-q", "base.bu", "site.bu", "--var", "mode=384"]).stderr, "");
    let ended = ours.run(&["--raw-errors", "warns.bu", "bad.bu", "site.bu"]);
    for line in [
        "warning at $.unknown, warns.bu line 3 col 1: ",
        "error at $.storage.files.0.path, bad.bu line 3 col 26: ",
        "error at $.variables.mode, site.bu line 3 col 13: ",
    ] {
        ended.failed(line);
    }
    assert_eq!(ours.run(&["-", "-"]).status, Some(2));
}

#[test]
fn the_size_is_reported_instead() {
    let Some(ours) = Bench::new() else { return };
    let text = format!(
        "{GOOD}storage: {{files: [{{path: /a, contents: {{inline: '{}'}}}}]}}\n",
        "line ".repeat(400)
    );
    fs::write(ours.path("config.bu"), text).unwrap();
    let ended = ours.run(&["--size=json", "config.bu"]);
    let report = value_of(&ended.stdout);
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(report["output"], ours.run(&["config.bu"]).stdout.len());
    assert_eq!(report["items"][0]["name"], "/a");
    assert_eq!(report["items"][0]["contents"]["bytes"], 2000);
    let table = ours.run(&["--size", "config.bu", "-o", "out"]);
    table.check(0, "", "");
    assert!(fs::read_to_string(ours.path("out")).unwrap().contains("file /a  config.bu:3:19"));
    ours.run(&["--size", "bad.bu"]).failed("the path is not absolute");
    assert_eq!(ours.run(&["--size", "--check", "config.bu"]).status, Some(2));
}

#[test]
fn the_way_back() {
    let Some(ours) = Bench::new() else { return };
    let text = format!("{GOOD}storage: {{files: [{{path: /a, contents: {{inline: text}}}}]}}\n");
    let json = ours.feed(&[], text.as_bytes()).stdout;
    let butane = ours.feed(&["--reverse"], json.as_bytes());
    assert!(butane.status == Some(0) && butane.stdout.contains("inline: text"), "{butane:?}");
    ours.feed(&[], butane.stdout.as_bytes()).check(0, &json, "");
    let other = ours.feed(&["--reverse", "--variant", "flatcar", "-"], json.as_bytes()).stdout;
    assert!(other.starts_with("variant: flatcar\n"), "{other}");
    ours.feed(&["--reverse"], b"{}").failed("error");
    assert_eq!(ours.run(&["--reverse", "a", "b"]).status, Some(2));
}

#[test]
fn help_is_the_documentation() {
    let Some(ours) = Bench::new() else { return };
    let (help, summary) = (ours.run(&["--help"]), ours.run(&["-h"]));
    assert_eq!((help.status, summary.status), (Some(0), Some(0)));
    for word in ["--files-dir", "--raw-errors", "--size", "Exit status: 0 when"] {
        assert!(help.stdout.contains(word), "{word}");
    }
    assert!(summary.stdout.lines().count() * 2 < help.stdout.lines().count());
}
