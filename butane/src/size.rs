//! What makes a config big: its parts by size, and how the whole compares to what platforms take.

use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use serde::Serialize;
use serde_json::Value as Json;

use crate::compile::{Compiled, Layout};
use crate::tree::{Origin, Tree};
use crate::validate::data_url;

/// Where the sizes in a config come from. All sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizeReport {
    /// What is printed, in the layout asked for and with its final newline: what a platform has to take.
    pub output: usize,
    /// The Ignition config as JSON in one line, which [`items`](Self::items) and [`rest`](Self::rest) add up to.
    pub ignition: usize,
    /// The parts of the config, largest first; parts of one size in the order of the config.
    pub items: Vec<Item>,
    /// What belongs to no item: names of sections, commas and braces.
    pub rest: usize,
    /// What the output is compared to, smallest first.
    pub limits: Vec<Limit>,
}

/// A part of a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// `file`, `unit`, `drop-in`, …
    pub kind: &'static str,
    /// What it is called in the config: a path, a unit's name. Its index, when it has no name.
    pub name: String,
    /// The Butane file it comes from.
    pub file: String,
    /// The value it comes from, `$.storage.files.0`.
    pub path: String,
    /// Where in the file, counted from 1.
    pub line: u32,
    /// Where in the line, in characters from 1.
    pub column: u32,
    /// What it takes in the config, everything included.
    pub bytes: usize,
    /// The contents that it carries; null when it has none, or the machine fetches them.
    pub contents: Option<Contents>,
}

/// Contents that a config carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// As they are on the machine.
    pub bytes: u64,
    /// As they are in the config.
    pub encoded: usize,
    /// How they are encoded; several when there are several contents, as with `append`.
    pub forms: Vec<Form>,
}

/// How contents are written in a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As a JSON text.
    Text,
    /// As a data URL with percent escapes.
    Escaped,
    /// As a data URL in base64.
    Base64,
    /// As a data URL of compressed bytes.
    Gzip,
}

/// The largest config that a platform takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// What has the limit: `EC2 user data`.
    pub name: &'static str,
    /// The most that it takes, before it is base64-encoded where it has to be.
    pub bytes: usize,
    /// Where that is written down.
    pub reference: &'static str,
}

/// Where an Ignition config goes.
const USER_DATA: [Limit; 5] = [
    Limit {
        name: "EC2 user data",
        bytes: 16 * 1024,
        reference: "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html",
    },
    Limit {
        name: "OpenStack user data",
        // 65535 bytes after base64: three bytes become four.
        bytes: 65535 / 4 * 3,
        reference: "https://docs.openstack.org/nova/latest/user/metadata.html",
    },
    Limit {
        name: "Azure custom data",
        bytes: 65535,
        reference: "https://learn.microsoft.com/en-us/azure/virtual-machines/custom-data",
    },
    Limit {
        name: "IBM Cloud VPC user data",
        bytes: 64 * 1024,
        reference: "https://cloud.ibm.com/docs/vpc?topic=vpc-user-data",
    },
    Limit {
        name: "Google Compute Engine metadata value",
        bytes: 256 * 1024,
        reference: "https://cloud.google.com/compute/docs/metadata/setting-custom-metadata",
    },
];

/// Where a MachineConfig goes.
const OBJECT: [Limit; 1] = [Limit {
    name: "etcd request, by default",
    bytes: 1536 * 1024,
    reference: "https://etcd.io/docs/latest/dev-guide/limit/",
}];

/// The most that is unpacked to learn the size of compressed contents: a small file can stand for any number of bytes.
const MAX_UNPACKED: u64 = 1024 * 1024 * 1024;

/// Measures a compiled config that is printed in `layout`.
pub fn size(compiled: &Compiled, layout: Layout) -> SizeReport {
    let json = compiled.ignition().to_value();
    let tree = compiled.ignition().tree();
    let mut items = Vec::new();
    for section in SECTIONS {
        let below = section
            .path
            .iter()
            .try_fold((tree, &json), |(tree, json), name| Some((tree.get(name)?, json.get(name)?)));
        let Some((tree, json)) = below else { continue };
        match json {
            Json::Array(jsons) => {
                for (index, (tree, json)) in tree.list().iter().zip(jsons).enumerate() {
                    add(section, index, tree, json, &mut items);
                }
            }
            json => add(section, 0, tree, json, &mut items),
        }
    }
    let ignition = printed_bytes(&json);
    let rest = ignition - items.iter().map(|item| item.bytes).sum::<usize>();
    items.sort_by_key(|item| std::cmp::Reverse(item.bytes));
    let limits = if compiled.is_machine_config() { OBJECT.to_vec() } else { USER_DATA.to_vec() };
    let mut output = Counter(0);
    compiled.write(layout, &mut output).expect("counting takes every byte");
    SizeReport { output: output.0, ignition, items, rest, limits }
}

/// A list or mapping of the config whose parts are items.
struct Section {
    path: &'static [&'static str],
    kind: &'static str,
    /// The field that names an item.
    name: Option<&'static str>,
}

const fn section(
    path: &'static [&'static str],
    kind: &'static str,
    name: Option<&'static str>,
) -> Section {
    Section { path, kind, name }
}

const SECTIONS: &[Section] = &[
    section(&["ignition", "config", "merge"], "merged config", None),
    section(&["ignition", "config", "replace"], "replacing config", None),
    section(
        &["ignition", "security", "tls", "certificateAuthorities"],
        "certificate authority",
        None,
    ),
    section(&["kernelArguments"], "kernel arguments", None),
    section(&["passwd", "groups"], "group", Some("name")),
    section(&["passwd", "users"], "user", Some("name")),
    section(&["storage", "directories"], "directory", Some("path")),
    section(&["storage", "disks"], "disk", Some("device")),
    section(&["storage", "files"], "file", Some("path")),
    section(&["storage", "filesystems"], "filesystem", Some("device")),
    section(&["storage", "links"], "link", Some("path")),
    section(&["storage", "luks"], "LUKS volume", Some("name")),
    section(&["storage", "raid"], "RAID", Some("name")),
    section(&["systemd", "units"], "unit", Some("name")),
];

fn add(section: &Section, index: usize, tree: &Tree, json: &Json, items: &mut Vec<Item>) {
    let name = match section.name.and_then(|field| tree.some_text(field)) {
        Some(name) => name.to_owned(),
        None => index.to_string(),
    };
    let mut bytes = printed_bytes(json);
    // A drop-in is a file of its own on the machine.
    let drop_ins = json.get("dropins").and_then(Json::as_array).into_iter().flatten();
    for (tree, json) in tree.items("dropins").iter().zip(drop_ins) {
        let drop_in = format!("{name}.d/{}", tree.text("name").unwrap_or_default());
        bytes -= printed_bytes(json);
        items.push(item("drop-in", drop_in, &tree.origin, printed_bytes(json), unit_text(json)));
    }
    let contents = if section.kind == "unit" { unit_text(json) } else { resources(json) };
    items.push(item(section.kind, name, &tree.origin, bytes, contents));
}

fn item(
    kind: &'static str,
    name: String,
    origin: &Origin,
    bytes: usize,
    contents: Option<Contents>,
) -> Item {
    Item {
        kind,
        name,
        file: origin.file.to_string(),
        path: origin.path.to_string(),
        line: origin.place.line,
        column: origin.place.column,
        bytes,
        contents,
    }
}

/// The text of a unit or drop-in.
fn unit_text(json: &Json) -> Option<Contents> {
    let contents = json.get("contents")?;
    let bytes = contents.as_str()?.len() as u64;
    // Without the quotes.
    let encoded = printed_bytes(contents) - 2;
    Some(Contents { bytes, encoded, forms: vec![Form::Text] })
}

/// All contents in data URLs below `json`, taken together.
fn resources(json: &Json) -> Option<Contents> {
    let children: Box<dyn Iterator<Item = &Json>> = match json {
        Json::Object(fields) => Box::new(fields.values()),
        Json::Array(items) => Box::new(items.iter()),
        _ => return None,
    };
    let own = resource(json);
    own.into_iter().chain(children.filter_map(resources)).reduce(|mut all, more| {
        all.bytes += more.bytes;
        all.encoded += more.encoded;
        all.forms.extend(more.forms);
        all.forms.sort_unstable();
        all.forms.dedup();
        all
    })
}

/// The contents of a resource in its own data URL.
fn resource(json: &Json) -> Option<Contents> {
    let source = json.get("source")?.as_str()?;
    let decoded = data_url::decode(source).ok()?;
    let is_gzip = json.get("compression").and_then(Json::as_str) == Some("gzip");
    let (bytes, form) = if is_gzip {
        (unpacked(&decoded)?, Form::Gzip)
    } else if source.split(',').next().is_some_and(|head| head.ends_with(";base64")) {
        (decoded.len() as u64, Form::Base64)
    } else {
        (decoded.len() as u64, Form::Escaped)
    };
    Some(Contents { bytes, encoded: source.len(), forms: vec![form] })
}

fn unpacked(gzip: &[u8]) -> Option<u64> {
    let mut unpacked = MultiGzDecoder::new(gzip).take(MAX_UNPACKED + 1);
    let bytes = io::copy(&mut unpacked, &mut io::sink()).ok()?;
    (bytes <= MAX_UNPACKED).then_some(bytes)
}

/// Counts what is written.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long `json` is when it is printed in one line, with the escapes that Go's encoder has and serde's does not.
fn printed_bytes(json: &Json) -> usize {
    let text = json.to_string();
    let escaped = |c: char| match c {
        '<' | '>' | '&' => 5,
        '\u{2028}' | '\u{2029}' => 3,
        _ => 0,
    };
    text.len() + text.chars().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Options, Output, Warnings, compile};

    fn report(config: &str, layout: Layout) -> SizeReport {
        let options =
            Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Variant };
        let (compiled, report) = compile("a.bu", config.as_bytes(), &options);
        size(&compiled.unwrap_or_else(|| panic!("{report}")), layout)
    }

    const CONFIG: &str = r#"
variant: fcos
version: 1.4.0
ignition:
  config: {merge: [{source: "https://example.com/a"}]}
storage:
  files:
    - {path: /small, contents: {inline: "a b"}}
    - path: /zipped
      contents: {inline: "LINES"}
    - {path: /bytes, contents: {source: "data:;base64,AAEC"}, append: [{inline: <&>}]}
    - {path: /remote, contents: {source: "https://example.com/b"}}
systemd:
  units:
    - name: a.service
      contents: "[Unit]\nDescription=<"
      dropins: [{name: 10-b.conf, contents: "[Unit]"}]
"#;

    #[test]
    fn items_and_rest_are_the_whole() {
        let report = report(&CONFIG.replace("LINES", &"line ".repeat(200)), Layout::Compact);
        let sum: usize = report.items.iter().map(|item| item.bytes).sum();
        assert_eq!((sum + report.rest, report.ignition + 1), (report.ignition, report.output));
        assert!(report.items.is_sorted_by(|a, b| a.bytes >= b.bytes));
    }

    #[test]
    fn contents_are_counted_as_they_are_on_the_machine() {
        let config = CONFIG.replace("LINES", &"line ".repeat(200));
        let mut found: Vec<_> = report(&config, Layout::Compact)
            .items
            .into_iter()
            .map(|item| {
                let contents = item.contents.map(|c| (c.bytes, c.forms));
                (item.path, item.line, item.kind, item.name, contents)
            })
            .collect();
        found.sort();
        let row = |path: &str, line, kind, name: &str, contents: Option<(u64, &[Form])>| {
            let contents = contents.map(|(bytes, forms)| (bytes, forms.to_vec()));
            (path.to_owned(), line, kind, name.to_owned(), contents)
        };
        use Form::{Base64, Escaped, Gzip, Text};
        assert_eq!(
            found,
            [
                row("$.ignition.config.merge.0", 5, "merged config", "0", None),
                row("$.storage.files.0", 8, "file", "/small", Some((3, &[Escaped]))),
                row("$.storage.files.1", 9, "file", "/zipped", Some((1000, &[Gzip]))),
                row("$.storage.files.2", 11, "file", "/bytes", Some((6, &[Escaped, Base64]))),
                row("$.storage.files.3", 12, "file", "/remote", None),
                row("$.systemd.units.0", 15, "unit", "a.service", Some((20, &[Text]))),
                row(
                    "$.systemd.units.0.dropins.0",
                    17,
                    "drop-in",
                    "a.service.d/10-b.conf",
                    Some((6, &[Text]))
                ),
            ]
        );
    }

    #[test]
    fn the_layout_counts_for_the_output_only() {
        let (compact, pretty) = (report(CONFIG, Layout::Compact), report(CONFIG, Layout::Pretty));
        assert!(pretty.output > compact.output);
        assert_eq!((pretty.ignition, pretty.items), (compact.ignition, compact.items));
    }

    #[test]
    fn machine_configs_are_objects() {
        let config = "variant: openshift\nversion: 4.14.0\nmetadata: {name: a, labels: {machineconfiguration.openshift.io/role: worker}}\n";
        let limits = report(config, Layout::Compact).limits;
        assert_eq!(limits, OBJECT);
        assert!(USER_DATA.is_sorted_by_key(|limit| limit.bytes));
    }

    #[test]
    fn what_unpacks_to_nothing_sensible_has_no_contents() {
        assert_eq!(unpacked(b"not gzip"), None);
        let config = "variant: fcos\nversion: 1.4.0\nstorage:\n  files:\n    - {path: /a, contents: {source: 'data:,no', compression: gzip}}\n";
        assert_eq!(report(config, Layout::Compact).items[0].contents, None);
    }
}
