//! The files of a compose project, as one: those that are merged, those that are included, and the services of others
//! that services extend.
//!
//! Rules: <https://github.com/compose-spec/compose-spec/blob/main/14-include.md>, and `extends` of `05-services.md`.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::environment::{Dialect, Read, variables};
use super::super::interpolate::interpolated;
use super::super::notes::{At, Notes};
use super::super::{Reference, Source};
use super::merge::{merged, without_resets};
use super::settings;
use super::tree::{self, Entry, Node, Origin, Value};

/// The variables that values are put in from.
pub(super) type Variables = BTreeMap<String, String>;

/// What one file takes over from one that it includes.
const SECTIONS: [&str; 6] = ["services", "volumes", "networks", "secrets", "configs", "models"];

/// The deepest nesting of files that include files, and of services that extend services.
const MAX_DEPTH: usize = 16;

/// The most files that a project has: each may include several others, down to the deepest.
const MAX_FILES: usize = 200;

const GIVE: &str = "put the file where the path says, or write the path of the file";

impl Origin {
    /// A file that a person named.
    pub(super) fn named(file: &str) -> Origin {
        Origin { file: file.to_owned(), from: file.to_owned(), base: String::new() }
    }

    /// How a path in the file is asked for: the text that refers to it, and the path seen from there.
    pub(super) fn reference(&self, path: &str) -> (String, String) {
        (self.from.clone(), joined(&self.base, path))
    }

    /// The file at `path`, whose own relative paths begin in `base`.
    fn of(&self, path: &str, base: String) -> Origin {
        let file = joined(folder(&self.from), path);
        Origin { file, from: self.from.clone(), base }
    }
}

pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub(super) fn joined(folder: &str, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    if folder.is_empty() || path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", folder.trim_end_matches('/'))
    }
}

/// What the files of a project are together.
pub(super) struct Model {
    pub(super) root: Node,
    /// The files that are included, as they are shown.
    pub(super) included: Vec<String>,
    /// What values are put in from.
    pub(super) variables: Variables,
}

/// Files that are merged, in their order, and the `.env` that names them.
pub(super) struct Project<'s> {
    pub(super) sources: Vec<Source<'s>>,
    pub(super) env: Option<Source<'s>>,
}

/// The model that the files of `project` are together. `None`: one of them could not be read, which is noted.
pub(super) fn model(
    project: &Project<'_>,
    read: &mut Read<'_>,
    notes: &mut Notes,
) -> Option<Model> {
    let sources = &project.sources;
    let first = Origin::named(sources.first()?.name);
    // As compose does: what the `.env` says that it found first goes before that of the first file's folder.
    let mut variables = Variables::new();
    if let Some(env) = project.env {
        settings::noted(env.name, env.text, sources, notes);
        variables = tree::hidden(of_text(env.text, &variables));
    }
    let beside = joined(folder(&first.file), ".env");
    if project.env.is_none_or(|env| env.name != beside)
        && let Ok(text) = read(Reference { from: &first.from, path: ".env" })
    {
        settings::noted(&beside, &text, sources, notes);
    }
    let mut loader =
        Loader { read, notes, read_before: BTreeMap::new(), included: Vec::new(), files: 0 };
    let variables = loader.environment(&first, &[], variables);
    let mut files = Vec::new();
    for source in sources {
        let origin = Origin { file: source.name.to_owned(), ..first.clone() };
        files.push((Rc::new(origin), source.text.to_owned()));
    }
    let root = without_resets(loader.project(files, &variables, &[])?);
    Some(Model { root, included: loader.included, variables })
}

struct Loader<'l, 'r> {
    read: &'l mut Read<'r>,
    notes: &'l mut Notes,
    /// The services of files that others extend.
    read_before: BTreeMap<String, Option<Vec<Entry>>>,
    included: Vec<String>,
    /// How many files were read besides those that a person named.
    files: usize,
}

/// A service that is being extended: the file it is in, and its name.
type Step = (String, String);

impl Loader<'_, '_> {
    /// Files with the same folder, of which later ones are merged over earlier ones. `open` are the files that include
    /// them.
    fn project(
        &mut self,
        files: Vec<(Rc<Origin>, String)>,
        variables: &Variables,
        open: &[String],
    ) -> Option<Node> {
        let mut whole: Option<Node> = None;
        for (origin, text) in files {
            let root = tree::read(&origin, &text, variables, self.notes)?;
            let mut open = open.to_vec();
            open.push(origin.file.clone());
            let root = self.with_included(root, &origin, variables, &open);
            let root = self.with_extended(root, &origin, variables);
            whole = Some(match whole {
                Some(whole) => merged(whole, root, &[], self.notes),
                None => root,
            });
        }
        whole
    }

    /// `root` put over what it includes.
    fn with_included(
        &mut self,
        mut root: Node,
        origin: &Rc<Origin>,
        variables: &Variables,
        open: &[String],
    ) -> Node {
        let Some(include) = taken(&mut root, "include") else { return root };
        self.notes.carried(&include.spot.at("include"), "with the services of those files");
        for (index, item) in include.node.items().into_iter().enumerate() {
            let at = item.spot.at(&format!("include[{index}]"));
            let Some(included) = self.included(item, &at, origin, variables, open) else {
                continue;
            };
            let spot = included.spot.clone();
            let sections = included
                .entries()
                .iter()
                .filter(|entry| SECTIONS.contains(&entry.key.as_str()))
                .cloned()
                .collect();
            let sections = Node { spot, mark: None, value: Value::Map(sections) };
            root = merged(sections, root, &[], self.notes);
        }
        root
    }

    /// The model of one item of `include`.
    fn included(
        &mut self,
        item: &Node,
        at: &At,
        origin: &Rc<Origin>,
        variables: &Variables,
        open: &[String],
    ) -> Option<Node> {
        let mut paths = Vec::new();
        let (mut project, mut files) = (None, Vec::new());
        if let Some(text) = item.text() {
            paths.push(text);
        }
        for entry in item.entries() {
            let at = entry.spot.at(&format!("{}.{}", at.setting, entry.key));
            let texts = || entry.node.items().into_iter().filter_map(Node::text);
            match entry.key.as_str() {
                "path" => paths.extend(texts()),
                "project_directory" => project = entry.node.text(),
                "env_file" => files.extend(texts()),
                _ => self.notes.invalid(&at, "`include` has no such field", None),
            }
        }
        let Some(first) = paths.first() else {
            self.notes.invalid(at, "it has no path", None);
            return None;
        };
        let base = match project {
            Some(project) => joined(&origin.base, project),
            None => folder(&joined(&origin.base, first)).to_owned(),
        };
        let mut texts = Vec::new();
        for path in &paths {
            let path = joined(&origin.base, path);
            let one = Rc::new(origin.of(&path, base.clone()));
            if open.contains(&one.file) || open.len() > MAX_DEPTH {
                self.notes.invalid(at, "the file includes itself", Some("remove one of the two"));
                return None;
            }
            let text = self.text(origin, &path, at)?;
            self.included.push(one.file.clone());
            texts.push((one, text));
        }
        let files: Vec<String> = files.into_iter().map(|path| joined(&origin.base, path)).collect();
        let inside = Origin { base, ..(**origin).clone() };
        let variables = self.environment(&inside, &files, variables.clone());
        self.project(texts, &variables, open)
    }

    /// `root` with the services that others extend put below them.
    fn with_extended(
        &mut self,
        mut root: Node,
        origin: &Rc<Origin>,
        variables: &Variables,
    ) -> Node {
        let services = root.get("services").map(|node| node.entries().to_vec()).unwrap_or_default();
        let is_extending = |entry: &Entry| entry.node.get("extends").is_some();
        if !services.iter().any(is_extending) {
            return root;
        }
        let Value::Map(sections) = &mut root.value else { return root };
        for section in sections.iter_mut().filter(|section| section.key == "services") {
            let Value::Map(entries) = &mut section.node.value else { continue };
            for entry in entries.iter_mut().filter(|entry| is_extending(entry)) {
                let step = (origin.file.clone(), entry.key.clone());
                entry.node = self.extended(&entry.node, &services, origin, variables, &[step]);
            }
        }
        root
    }

    /// One service of `services`, which are those of `origin`, with what it extends below it.
    fn extended(
        &mut self,
        service: &Node,
        services: &[Entry],
        origin: &Rc<Origin>,
        variables: &Variables,
        steps: &[Step],
    ) -> Node {
        let mut service = service.clone();
        let Some(extends) = taken(&mut service, "extends") else { return service };
        let name = steps.first().map_or("", |(_, name)| name.as_str());
        let at = extends.spot.at(&format!("services.{name}.extends"));
        let (wanted, path) = match &extends.node.value {
            Value::Text(wanted) => (Some(wanted.as_str()), None),
            _ => (extends.node.text_of("service"), extends.node.text_of("file")),
        };
        for entry in extends.node.entries() {
            if !["service", "file"].contains(&entry.key.as_str()) {
                let at = entry.spot.at(&format!("{}.{}", at.setting, entry.key));
                self.notes.invalid(&at, "`extends` has no such field", None);
            }
        }
        let Some(wanted) = wanted else {
            self.notes.invalid(&at, "it names no service", Some("write `service`"));
            return service;
        };
        let (origin, services) = match path {
            None => (Rc::clone(origin), services.to_vec()),
            Some(path) => {
                let path = joined(&origin.base, path);
                let other = Rc::new(origin.of(&path, folder(&path).to_owned()));
                match self.services(origin, &other, &path, variables, &at) {
                    Some(services) => (other, services),
                    None => return service,
                }
            }
        };
        let step = (origin.file.clone(), wanted.to_owned());
        if steps.contains(&step) || steps.len() > MAX_DEPTH {
            self.notes.invalid(&at, "the service extends itself", Some("remove one of the two"));
            return service;
        }
        let Some(base) = services.iter().find(|entry| entry.key == wanted) else {
            let message = format!("`{}` has no service `{wanted}`", origin.file);
            let known = services.iter().map(|entry| entry.key.as_str());
            let near = basalt_model::decode::closest(wanted, known);
            let remedy = near.map(|near| format!("did you mean `{near}`?"));
            self.notes.invalid(&at, message, remedy.as_deref());
            return service;
        };
        self.notes.carried(&at, format!("as `{wanted}` of `{}` says", origin.file));
        let steps: Vec<Step> = steps.iter().cloned().chain([step]).collect();
        let base = self.extended(&base.node, &services, &origin, variables, &steps);
        merged(base, service, &["services", name], self.notes)
    }

    /// The services of a file that is extended.
    fn services(
        &mut self,
        from: &Origin,
        other: &Rc<Origin>,
        path: &str,
        variables: &Variables,
        at: &At,
    ) -> Option<Vec<Entry>> {
        if let Some(known) = self.read_before.get(&other.file) {
            return known.clone();
        }
        let text = self.text(from, path, at);
        let root = text.and_then(|text| tree::read(other, &text, variables, self.notes));
        let services = root.map(|root| {
            root.get("services").map(|node| node.entries().to_vec()).unwrap_or_default()
        });
        self.read_before.insert(other.file.clone(), services.clone());
        services
    }

    /// The text at `path`, which is seen from the folder of the file that a person named.
    fn text(&mut self, from: &Origin, path: &str, at: &At) -> Option<String> {
        if path.contains("://") || path.starts_with("git@") {
            let message = "the file is not on this machine, and nothing is fetched";
            self.notes.invalid(at, message, Some("fetch it, and write its path"));
            return None;
        }
        self.files += 1;
        if self.files > MAX_FILES {
            let message = format!("a project has no more than {MAX_FILES} files");
            self.notes.invalid(at, message, Some("look for files that include each other"));
            return None;
        }
        match (self.read)(Reference { from: &from.from, path }) {
            Ok(text) => Some(text),
            Err(error) => {
                let message = format!("the file `{path}` was not read ({error})");
                self.notes.invalid(at, message, Some(GIVE));
                None
            }
        }
    }

    /// The variables of `files`, or else of the `.env` that is beside `origin`; those that are `known` already stay.
    fn environment(&mut self, origin: &Origin, files: &[String], known: Variables) -> Variables {
        let (_, default) = origin.reference(".env");
        let mut all = known;
        for path in if files.is_empty() { std::slice::from_ref(&default) } else { files } {
            let Ok(text) = (self.read)(Reference { from: &origin.from, path }) else {
                if !files.is_empty() && path != "/dev/null" {
                    let at = At::start_of(&origin.file);
                    let message = format!("the file of variables `{path}` was not read");
                    self.notes.invalid(&at, message, Some(GIVE));
                }
                continue;
            };
            for (name, value) in tree::hidden(of_text(&text, &all)) {
                all.entry(name).or_insert(value);
            }
        }
        all
    }
}

pub(super) fn of_text(text: &str, known: &Variables) -> Variables {
    let mut found = Variables::new();
    for variable in variables(text, Dialect::Quoted) {
        let Some(value) = variable.value else { continue };
        let value = match variable.is_literal {
            true => value,
            false => {
                let mut all = found.clone();
                all.extend(known.clone());
                interpolated(&value, &all).0
            }
        };
        found.insert(variable.name, value);
    }
    found
}

/// Takes an entry out of a mapping.
fn taken(node: &mut Node, key: &str) -> Option<Entry> {
    let Value::Map(entries) = &mut node.value else { return None };
    let place = entries.iter().position(|entry| entry.key == key)?;
    Some(entries.remove(place))
}
