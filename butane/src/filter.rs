//! What a variant does not take of what its specification has.

use crate::schema::{Kind, Type};
use crate::tree::{Origin, Tree, Value};
use crate::validate::Check;

/// A part of an Ignition config that has to be empty.
#[derive(Debug)]
pub(crate) struct Filter {
    /// Ignition's names, without positions in lists: `storage.files.append`.
    pub path: &'static str,
    /// Why it is refused.
    pub message: &'static str,
    /// What to do instead.
    pub hint: Option<&'static str>,
    /// Whether an empty text counts as nothing: sugar sets it.
    pub allows_empty_text: bool,
}

const fn filter(path: &'static str, message: &'static str) -> Filter {
    Filter { path, message, hint: None, allows_empty_text: false }
}

impl Filter {
    const fn instead(mut self, hint: &'static str) -> Filter {
        self.hint = Some(hint);
        self
    }
}

pub(crate) const FLATCAR_1_0: &[Filter] =
    &[filter("storage.luks.clevis", "Flatcar cannot unlock with Clevis in this version")];

pub(crate) const FLATCAR_1_2: &[Filter] =
    &[filter("storage.luks.cex", "Flatcar does not run on machines with CEX")];

/// RHEL for Edge and Fedora IoT: Ignition runs in a system that is installed already.
pub(crate) const EDGE: &[Filter] = &[
    filter("kernelArguments", "this variant cannot change kernel arguments"),
    filter("storage.disks", "this variant cannot partition disks"),
    filter("storage.filesystems", "this variant cannot make file systems"),
    filter("storage.luks", "this variant cannot encrypt disks"),
    filter("storage.raid", "this variant cannot make arrays"),
];

/// The machine config operator would refuse it, or not see a change of it.
const USER_FIELD: &str = "OpenShift sets only the SSH keys of a user, and from 4.13 the password";

macro_rules! openshift {
    ($($more:expr),* $(,)?) => {
        &[
            filter("passwd.groups", "OpenShift does not make groups"),
            filter("passwd.users.gecos", USER_FIELD),
            filter("passwd.users.groups", USER_FIELD),
            filter("passwd.users.homeDir", USER_FIELD),
            filter("passwd.users.noCreateHome", USER_FIELD),
            filter("passwd.users.noLogInit", USER_FIELD),
            filter("passwd.users.noUserGroup", USER_FIELD),
            filter("passwd.users.primaryGroup", USER_FIELD),
            filter("passwd.users.shell", USER_FIELD),
            filter("passwd.users.shouldExist", USER_FIELD),
            filter("passwd.users.system", USER_FIELD),
            filter("passwd.users.uid", USER_FIELD),
            filter("storage.directories", "OpenShift does not make folders")
                .instead("a file brings the folders that it is in"),
            filter("storage.files.append", "OpenShift does not append to files")
                .instead("set the whole file with `contents`"),
            filter("storage.files.contents.httpHeaders", "OpenShift does not fetch contents"),
            filter("storage.links", "OpenShift does not make links")
                .instead("make it with a unit, or write the file itself"),
            $($more),*
        ]
    };
}

const PASSWORD: Filter = filter("passwd.users.passwordHash", USER_FIELD);

pub(crate) const OPENSHIFT_4_8: &[Filter] = openshift![
    PASSWORD,
    Filter {
        allows_empty_text: true,
        ..filter(
            "storage.files.contents.compression",
            "OpenShift 4.8 and 4.9 write compressed contents as they are",
        )
        .instead("leave `compression` away, and give contents that are not compressed")
    },
];

pub(crate) const OPENSHIFT_4_10: &[Filter] = openshift![PASSWORD];

pub(crate) const OPENSHIFT_4_13: &[Filter] = openshift![];

pub(crate) const OPENSHIFT_4_14: &[Filter] = openshift![
    filter("kernelArguments", "OpenShift does not take kernel arguments from Ignition")
        .instead("use `openshift.kernel_arguments`"),
];

/// Reports what `filters` forbid in a finished config of type `ty`.
pub(crate) fn check(config: &Tree, ty: &'static Type, filters: &[Filter], check: &mut Check) {
    if !filters.is_empty() {
        below(config, ty, filters, "", check);
    }
}

fn below(tree: &Tree, ty: &'static Type, filters: &[Filter], path: &str, check: &mut Check) {
    for (name, value) in tree.entries() {
        let Some(field) = ty.ignition_field(name, check.target()) else { continue };
        let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        if let Some(filter) = filters.iter().find(|filter| filter.path == path) {
            if !is_empty(value, field.kind, filter, check) {
                let (message, hint) =
                    of_sugar(filter, &value.origin).unwrap_or((filter.message, filter.hint));
                let finding = check.error(&value.origin, message);
                if let Some(hint) = hint {
                    finding.hint(hint);
                }
            }
            continue;
        }
        match field.kind {
            Kind::Map(ty) => below(value, ty, filters, &path, check),
            Kind::Maps(ty, _) => {
                value.list().iter().for_each(|item| below(item, ty, filters, &path, check));
            }
            _ => {}
        }
    }
}

/// What to say when the part is not what a person wrote, but what a short form stands for.
fn of_sugar(filter: &Filter, origin: &Origin) -> Option<(&'static str, Option<&'static str>)> {
    let is_below = |path: &str| origin.path.starts_with(path);
    match filter.path {
        "storage.files.append" if is_below("$.grub") => Some((
            "passwords of GRUB are appended to a file, which OpenShift does not do",
            Some("leave `grub` away; version 4.23.0-experimental writes the whole file"),
        )),
        "storage.links" if is_below("$.storage.trees") => Some((
            "there are symbolic links in the tree, and OpenShift does not make links",
            Some("leave them out of the folder, or put files in their places"),
        )),
        "storage.links" if is_below("$.systemd.quadlets") => Some((
            "an instance of a quadlet is a link, and OpenShift does not make links",
            Some("write each quadlet out, without `@`"),
        )),
        "storage.directories" if is_below("$.storage.trees") => Some((
            "with an owner or a `dir_mode` a tree makes folders, which OpenShift does not",
            Some("leave `user`, `group` and `dir_mode` away"),
        )),
        _ => None,
    }
}

/// Whether a value says nothing. What a person wrote as empty text says something, unless the field always has text.
fn is_empty(tree: &Tree, kind: Kind, filter: &Filter, check: &Check) -> bool {
    match (&tree.value, kind) {
        (Value::Map(entries), Kind::Map(ty)) => entries.iter().all(|(name, value)| {
            let field = ty.ignition_field(name, check.target());
            field.is_none_or(|field| is_empty(value, field.kind, filter, check))
        }),
        (Value::List(items), _) => items.is_empty(),
        (Value::Text(text), Kind::RequiredText | Kind::FilledText) => text.is_empty(),
        (Value::Text(text), _) => filter.allows_empty_text && text.is_empty(),
        (Value::Integer(number), Kind::Number) => *number == 0,
        // It has been reported.
        (Value::Broken, _) => true,
        _ => false,
    }
}
