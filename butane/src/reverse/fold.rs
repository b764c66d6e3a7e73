//! Sugar again: what a mount unit, a boot device or a user of GRUB stands for is found, taken away, and named.
//!
//! A guess costs nothing: it is written out as the compiler does it, and dropped when the config that comes out is not
//! the one that was read.

mod boot_device;
mod grub;
mod mount_units;

use super::input::Input;
use super::raise::{raise, says_nothing};
use super::subtract::subtract;
use crate::data;
use crate::lower::{Context, lower};
use crate::schema::config::CONFIG;
use crate::schema::{Kind, Type};
use crate::sugar;
use crate::tree::{Findings, Tree, Value};
use crate::validate;
use crate::version::Target;

/// The sugar of a config.
#[derive(Clone, Debug, Default)]
struct Sugar {
    boot_device: Option<Tree>,
    grub: Option<Tree>,
    /// Devices of the file systems that have a mount unit.
    mounted: Vec<String>,
}

/// The config in Butane's words, with contents still as data URLs.
pub(super) fn fold(input: &Input) -> Tree {
    let whole = Config { input, plain: prune(&input.config, input.target) };
    let mut best = whole.written(&Sugar::default());
    let mut known = Sugar::default();
    let mut offer = |guess: Sugar| {
        if let Some(written) = whole.attempt(&guess) {
            (best, known) = (written, guess);
            return true;
        }
        false
    };
    let boot_device = boot_device::guess(&whole.plain, input.target);
    let grub = grub::guess(&whole.plain, input.target);
    let mounted = mount_units::guess(&whole);
    let all = Sugar { boot_device, grub, mounted };
    if offer(all.clone()) {
        return best;
    }
    // Something of it is not as it seems: piece by piece then.
    let mut sure = Sugar::default();
    for guess in pieces(&all) {
        let more = Sugar {
            boot_device: sure.boot_device.clone().or(guess.boot_device),
            grub: sure.grub.clone().or(guess.grub),
            mounted: [sure.mounted.clone(), guess.mounted].concat(),
        };
        if offer(more.clone()) {
            sure = more;
        }
    }
    best
}

fn pieces(all: &Sugar) -> Vec<Sugar> {
    let mut pieces = Vec::new();
    if all.boot_device.is_some() {
        pieces.push(Sugar { boot_device: all.boot_device.clone(), ..Sugar::default() });
    }
    if all.grub.is_some() {
        pieces.push(Sugar { grub: all.grub.clone(), ..Sugar::default() });
    }
    let mounted = all.mounted.iter();
    pieces
        .extend(mounted.map(|device| Sugar { mounted: vec![device.clone()], ..Sugar::default() }));
    pieces
}

/// The config that was read.
struct Config<'i> {
    input: &'i Input,
    /// Without what says nothing, and without the version.
    plain: Tree,
}

impl Config<'_> {
    fn target(&self) -> &'static Target {
        self.input.target
    }

    /// Butane for the config with `sugar`, when it compiles to the config again.
    fn attempt(&self, sugar: &Sugar) -> Option<Tree> {
        let written = self.written(sugar);
        let mut findings = Findings::new("");
        validate::butane(&written, &CONFIG, self.target(), &mut findings);
        let compiled = prune(&self.expanded(&written, lower, &mut findings), self.target());
        (!findings.0.has_errors() && compiled.says_same(&self.plain)).then_some(written)
    }

    fn written(&self, sugar: &Sugar) -> Tree {
        let target = self.target();
        let mut written = raise(&self.plain, &CONFIG, target);
        self.name(sugar, &mut written);
        let nothing =
            |tree: &Tree, _: &'static _, _: &mut Context| Tree::map_at(&tree.origin, Vec::new());
        let part = self.expanded(&written, nothing, &mut Findings::new(""));
        if let Some(left) = subtract(&self.plain, &part, &CONFIG, target) {
            written = raise(&left, &CONFIG, target);
        } else {
            written = Tree::map_at(&self.plain.origin, Vec::new());
        }
        self.name(sugar, &mut written);
        written
    }

    /// Writes the header and the sugar's own words into a config.
    fn name(&self, sugar: &Sugar, written: &mut Tree) {
        for (name, value) in &self.input.header {
            written.set(name, value.clone());
        }
        for (name, section) in [("boot_device", &sugar.boot_device), ("grub", &sugar.grub)] {
            if let Some(section) = section {
                written.set(name, section.clone());
            }
        }
        let filesystems =
            written.get_mut("storage").and_then(|storage| storage.get_mut("filesystems"));
        let Some(Value::List(filesystems)) = filesystems.map(|list| &mut list.value) else {
            return;
        };
        for filesystem in filesystems {
            let device = filesystem.text("device").unwrap_or_default();
            if sugar.mounted.iter().any(|mounted| mounted == device) {
                let flag = Tree::flag_at(&filesystem.origin, true);
                filesystem.set("with_mount_unit", flag);
            }
        }
    }

    /// What the compiler makes of Butane's words, with what `lower` makes of all that is no sugar.
    fn expanded(
        &self,
        written: &Tree,
        lower: impl Fn(&Tree, &'static Type, &mut Context) -> Tree,
        findings: &mut Findings,
    ) -> Tree {
        let mut context = Context { files_dir: None, target: self.target(), findings };
        let config = lower(written, &CONFIG, &mut context);
        let mut config = sugar::expand(written, config, &mut context);
        data::pack(&mut config, context.findings);
        config
    }
}

/// A config without what says nothing, and without its version: that is the target's.
fn prune(config: &Tree, target: &'static Target) -> Tree {
    let mut config = config.clone();
    if let Some(Value::Map(entries)) = config.get_mut("ignition").map(|tree| &mut tree.value) {
        entries.retain(|(name, _)| *name != "version");
    }
    pruned(&config, &CONFIG, target)
}

fn pruned(tree: &Tree, ty: &'static Type, target: &'static Target) -> Tree {
    let entries = tree.entries().iter().filter_map(|(name, value)| {
        let field = ty.ignition_field(name, target)?;
        let value = match field.kind {
            Kind::Map(ty) => pruned(value, ty, target),
            Kind::Maps(ty, _) => Tree::list_at(
                &value.origin,
                value.list().iter().map(|item| pruned(item, ty, target)).collect(),
            ),
            _ => value.clone(),
        };
        let is_kept = field.kept_when_empty || !says_nothing(&value, Kind::Text);
        is_kept.then_some((*name, value))
    });
    Tree::map_at(&tree.origin, entries.collect())
}
