//! Model of a disk, with the changes that are durable and the changes that were only requested.
//!
//! The model assumes the guarantees of POSIX and of a disk with a working flush:
//! - a file's content and length are durable once a later `fsync` or `fdatasync` of the file has
//!   returned without an error;
//! - a created, renamed or removed name is durable once an `fsync` of its directory has returned; an
//!   `fsync` of the file itself does not make its name durable;
//! - a rename within a directory happens whole or not at all;
//! - 512 bytes that begin at a multiple of 512 are written whole or not at all;
//! - durable data stays, and bytes that were never written read as zeros.
//!
//! All other changes can become durable in any order and combination. After a failed sync, the file's
//! changes are never written, although every process still reads them. Linux behaves this way, because
//! the kernel marks the pages clean.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::cut::Cut;
use crate::file_content::Content;

/// The size in bytes of the unit that a disk writes atomically.
pub(crate) const SECTOR: u64 = 512;

pub(crate) type Id = usize;

/// The position of a request in the order of all requests of a recording.
pub(crate) type When = u64;

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { at: u64, bytes: Arc<[u8]> },
    Length(u64),
}

#[derive(Debug, Clone)]
enum Naming {
    Link(String, Id),
    Unlink(String, Id),
    Rename { from: String, to: String, id: Id },
}

#[derive(Debug, Clone)]
enum Node {
    File {
        length: u64,
        durable: Arc<Content>,
        pending: Vec<(When, Change)>,
    },
    Directory {
        names: BTreeMap<String, Id>,
        durable: BTreeMap<String, Id>,
        pending: Vec<(When, Naming)>,
    },
}

/// A tree of files and directories; the root is durable from the start.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
}

/// The state after a power cut: for each path, the file's content, or `None` for a directory.
pub(crate) type Tree = BTreeMap<String, Option<Arc<Content>>>;

impl Disk {
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![directory()],
        }
    }

    /// Creates a disk on which everything in a tree is durable.
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut disk = Self::new();
        // A directory comes before the names below it, because trees are sorted.
        for (path, content) in tree {
            let Some(content) = content else {
                disk.make_directory(path, 0);
                continue;
            };
            let id = disk.make_file(path, 0);
            disk.nodes[id] = Node::File {
                length: content.length,
                durable: Arc::clone(content),
                pending: Vec::new(),
            };
        }
        for id in 0..disk.nodes.len() {
            disk.sync(id, 0);
        }
        disk
    }

    pub(crate) fn find(&self, path: &str) -> Option<Id> {
        let mut steps = path.split('/').filter(|step| !step.is_empty());
        steps.try_fold(0, |id, step| match &self.nodes[id] {
            Node::Directory { names, .. } => names.get(step).copied(),
            Node::File { .. } => None,
        })
    }

    /// Returns the current path of a node.
    pub(crate) fn path_of(&self, id: Id) -> Option<String> {
        if id == 0 {
            return Some(String::new());
        }
        let named = self
            .nodes
            .iter()
            .enumerate()
            .find_map(|(parent, node)| match node {
                Node::Directory { names, .. } => {
                    let mut names = names.iter();
                    let (name, _) = names.find(|(_, named)| **named == id)?;
                    Some((parent, name))
                }
                Node::File { .. } => None,
            });
        let (parent, name) = named?;
        Some(
            format!("{}/{name}", self.path_of(parent)?)
                .trim_start_matches('/')
                .to_owned(),
        )
    }

    pub(crate) fn length(&self, id: Id) -> u64 {
        match &self.nodes[id] {
            Node::File { length, .. } => *length,
            Node::Directory { .. } => 0,
        }
    }

    pub(crate) fn make_file(&mut self, path: &str, when: When) -> Id {
        let file = Node::File {
            length: 0,
            durable: Arc::default(),
            pending: Vec::new(),
        };
        self.link(path, file, when)
    }

    pub(crate) fn make_directory(&mut self, path: &str, when: When) -> Id {
        self.link(path, directory(), when)
    }

    fn link(&mut self, path: &str, node: Node, when: When) -> Id {
        let id = self.nodes.len();
        self.nodes.push(node);
        let (parent, name) = self.place(path);
        self.name(parent, when, Naming::Link(name, id));
        id
    }

    pub(crate) fn unlink(&mut self, path: &str, when: When) {
        let (parent, name) = self.place(path);
        let id = self.find(path).unwrap();
        self.name(parent, when, Naming::Unlink(name, id));
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str, when: When) {
        let id = self.find(from).unwrap();
        let ((parent, from), (target, to)) = (self.place(from), self.place(to));
        assert_eq!(parent, target, "a rename from one directory into another");
        self.name(parent, when, Naming::Rename { from, to, id });
    }

    pub(crate) fn change(&mut self, id: Id, when: When, change: Change) {
        let Node::File {
            length, pending, ..
        } = &mut self.nodes[id]
        else {
            panic!("a directory is written to");
        };
        *length = match &change {
            Change::Write { at, bytes } => (*length).max(at + bytes.len() as u64),
            Change::Length(length) => *length,
        };
        pending.push((when, change));
    }

    /// Marks all requests that a file or directory received up to `until` as durable.
    pub(crate) fn sync(&mut self, id: Id, until: When) {
        match &mut self.nodes[id] {
            Node::File {
                durable, pending, ..
            } => {
                let kept = pending.iter().filter(|(when, _)| *when <= until);
                let kept: Vec<_> = kept.cloned().collect();
                pending.retain(|(when, _)| *when > until);
                if !kept.is_empty() {
                    apply(Arc::make_mut(durable), id, &kept, &Cut::Everything);
                }
            }
            Node::Directory {
                durable, pending, ..
            } => {
                for (_, naming) in pending.iter().filter(|(when, _)| *when <= until) {
                    rename(durable, naming);
                }
                pending.retain(|(when, _)| *when > until);
            }
        }
    }

    /// Drops the pending changes of a file whose sync failed or had no effect. The changes of a
    /// directory stay pending.
    pub(crate) fn lose(&mut self, id: Id) {
        if let Node::File { pending, .. } = &mut self.nodes[id] {
            pending.clear();
        }
    }

    /// Returns when each pending change was requested, and the offset and length in bytes of each
    /// write.
    pub(crate) fn pending(&self) -> Vec<(When, Option<(u64, u64)>)> {
        let mut all = Vec::new();
        for node in &self.nodes {
            match node {
                Node::File { pending, .. } => all.extend(pending.iter().map(|(when, change)| {
                    let stretch = match change {
                        Change::Write { at, bytes } => Some((*at, bytes.len() as u64)),
                        Change::Length(_) => None,
                    };
                    (*when, stretch)
                })),
                Node::Directory { pending, .. } => {
                    all.extend(pending.iter().map(|(when, _)| (*when, None)));
                }
            }
        }
        all.sort_unstable();
        all
    }

    /// Returns the tree after a power cut at this point. `cut` selects the pending changes that
    /// reach the disk.
    pub(crate) fn after(&self, cut: &Cut) -> Tree {
        let mut tree = Tree::new();
        self.gather(0, "", cut, &mut tree);
        tree
    }

    fn gather(&self, id: Id, path: &str, cut: &Cut, tree: &mut Tree) {
        match &self.nodes[id] {
            Node::File {
                durable, pending, ..
            } => {
                let mut content = Arc::clone(durable);
                if !pending.is_empty() {
                    apply(Arc::make_mut(&mut content), id, pending, cut);
                }
                tree.insert(path.to_owned(), Some(content));
            }
            Node::Directory {
                durable, pending, ..
            } => {
                if id != 0 {
                    tree.insert(path.to_owned(), None);
                }
                let mut names = durable.clone();
                let kept = pending.iter().filter(|(when, _)| cut.keeps_name(*when));
                kept.for_each(|(_, naming)| rename(&mut names, naming));
                for (name, id) in names {
                    let below = [path, &name].join("/");
                    self.gather(id, below.trim_start_matches('/'), cut, tree);
                }
            }
        }
    }

    fn name(&mut self, parent: Id, when: When, naming: Naming) {
        let Node::Directory { names, pending, .. } = &mut self.nodes[parent] else {
            panic!("a name below a file");
        };
        rename(names, &naming);
        pending.push((when, naming));
    }

    fn place(&self, path: &str) -> (Id, String) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        (self.find(parent).unwrap(), name.to_owned())
    }
}

fn directory() -> Node {
    Node::Directory {
        names: BTreeMap::new(),
        durable: BTreeMap::new(),
        pending: Vec::new(),
    }
}

fn rename(names: &mut BTreeMap<String, Id>, naming: &Naming) {
    let mut remove = |name: &String, id: Id| {
        if names.get(name) == Some(&id) {
            names.remove(name);
        }
    };
    match naming {
        Naming::Link(name, id) => drop(names.insert(name.clone(), *id)),
        Naming::Unlink(name, id) => remove(name, *id),
        Naming::Rename { from, to, id } => {
            remove(from, *id);
            names.insert(to.clone(), *id);
        }
    }
}

/// Applies to a file the changes that reach the disk under `cut`.
fn apply(content: &mut Content, id: Id, pending: &[(When, Change)], cut: &Cut) {
    for (when, change) in pending {
        let keeps_length = cut.keeps_length(*when);
        match change {
            Change::Length(length) if keeps_length => content.set_length(*length),
            Change::Length(_) => {}
            Change::Write { at, bytes } => {
                let until = at + bytes.len() as u64;
                let mut from = *at;
                while from < until {
                    let end = until.min((from / SECTOR + 1) * SECTOR);
                    let kept = cut.keeps_bytes(*when, id, *at, from, end, until);
                    if kept > from {
                        content.write(from, &bytes[(from - at) as usize..(kept - at) as usize]);
                    }
                    from = end;
                }
                if keeps_length {
                    content.set_length_at_least(until);
                }
            }
        }
    }
}

/// Returns a hash of some files of a tree and of the expectations about these files.
pub(crate) fn digest<'a>(
    files: impl Iterator<Item = (&'a String, &'a Option<Arc<Content>>)>,
    expected: impl Hash,
) -> u64 {
    let mut hasher = DefaultHasher::new();
    files.for_each(|file| file.hash(&mut hasher));
    expected.hash(&mut hasher);
    hasher.finish()
}
