//! Images of a disk after a power cut, and the check that a vault opens from each of them.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use chartlock::storage::{FileStorage, Storage};
use chartlock::{Error, Vault};

use crate::common::content::Random;
use crate::common::{Fixed, ids, session};
use crate::disk::Tree;
use crate::file_content::Content;
use crate::model::{Model, read_chart};
use crate::place;
use crate::recorder::is_shared_memory;
use crate::script::{RESTORED, restored_record};

/// The minimum length in bytes of the segment files that states share through hard links.
const LINKED: u64 = 64 << 10;

/// Disk state after a cut, with the contents that a vault opened from this state must return.
#[derive(Clone)]
pub(crate) struct State {
    /// The number of the state, which also selects the variant of the check.
    pub(crate) number: u64,
    pub(crate) tree: Tree,
    pub(crate) model: Model,
    pub(crate) begun: BTreeMap<String, String>,
    pub(crate) copies: Vec<CopyImage>,
    pub(crate) words: String,
}

pub(crate) fn open_all(
    place: &Path,
    name: &str,
    states: &Mutex<Receiver<State>>,
    failures: &Mutex<Vec<String>>,
) {
    let mut shelf = Shelf::new(place.with_extension("shelf"));
    loop {
        let Ok(state) = states.lock().unwrap().recv() else {
            return;
        };
        if failures.lock().unwrap().len() >= 50 {
            continue;
        }
        lay_out(place, &state.tree, &mut shelf);
        if state.number.is_multiple_of(2) {
            add_shared_memory(place, &state);
        }
        let words = state.words.clone();
        let checked = catch_unwind(AssertUnwindSafe(|| check(place, name, state)));
        if let Err(why) = checked {
            let failure = format!("{words}: {}", panic_message(&*why));
            failures.lock().unwrap().push(failure);
        }
        fs::remove_dir_all(place).unwrap();
    }
}

/// Asserts that acknowledged changes are present, that unfinished changes are complete or absent,
/// and that the vault accepts further writes.
fn check(place: &Path, name: &str, state: State) {
    for copy in &state.copies {
        copy.check(place, &state.tree);
    }
    let directory = &place.join(name);
    let mut model = state.model;
    if state.number.is_multiple_of(4) && model.created && !place::is_split(directory) {
        read_only(directory);
    }
    model.compare(directory, &state.begun);
    let storage = place::open(directory).unwrap();
    let vault = match Vault::open(storage.clone(), &Fixed(1)) {
        Err(Error::NoVault) => Vault::create(storage.clone(), &Fixed(1)).unwrap(),
        opened => opened.unwrap(),
    };
    let id = ids::record("afterwards", "note");
    assert_eq!(session(&vault).put(&id, b"goes on"), Ok(1));
    drop((vault, storage));
    let vault = Vault::open(place::open(directory).unwrap(), &Fixed(1)).unwrap();
    let record = session(&vault).get(&id).unwrap();
    assert_eq!(record.unwrap().to_vec(), b"goes on");
}

/// Asserts that the image opens read-only before any writer has opened it, and contains a vault header.
fn read_only(directory: &Path) {
    let storage = FileStorage::open_read_only(directory).unwrap();
    assert!(storage.read(&[b"v"]).unwrap()[0].is_some(), "no header");
    assert!(storage.integrity().unwrap().is_clean());
}

/// Asserts that a vault is clean and contains the acknowledged versions. Later versions are
/// allowed.
fn assert_contained(model: &Model, directory: &Path) {
    let vault = Vault::open(place::open(directory).unwrap(), &Fixed(1)).unwrap();
    assert!(vault.verify(None).unwrap().is_clean());
    for (patient, chart) in &model.charts {
        let stored = read_chart(&vault, patient).unwrap_or_default();
        for (name, versions) in chart.iter().flatten() {
            let stored = stored.get(name).map_or(&[][..], Vec::as_slice);
            assert!(stored.starts_with(versions), "{name} lost a version");
        }
    }
}

/// Copy of a storage that a child made or began to make, by a backup or by way of an archive.
#[derive(Clone)]
pub(crate) struct CopyImage {
    pub(crate) name: String,
    /// The acknowledged changes when the copy began.
    pub(crate) model: Model,
    pub(crate) is_acknowledged: bool,
    /// `true` if no other operation ran during the copy.
    pub(crate) is_alone: bool,
    /// `true` if a put into the copy was acknowledged.
    pub(crate) is_used: bool,
}

impl CopyImage {
    /// Returns the properties that determine how [`check`](Self::check) judges the files.
    pub(crate) fn expectation(&self) -> (&str, bool, bool, bool) {
        (
            &self.name,
            self.is_acknowledged,
            self.is_alone,
            self.is_used,
        )
    }

    /// Asserts that a finished copy opens and is complete, and that an unfinished one is complete
    /// or is no vault.
    fn check(&self, place: &Path, tree: &Tree) {
        let directory = place.join(&self.name);
        if !self.is_acknowledged && !self.is_vault(&directory, tree) {
            return;
        }
        match self.is_alone {
            true => drop(self.model.clone().compare(&directory, &BTreeMap::new())),
            false => assert_contained(&self.model, &directory),
        }
        let vault = Vault::open(place::open(&directory).unwrap(), &Fixed(1)).unwrap();
        let restored = session(&vault).get(&restored_record()).unwrap();
        match restored {
            Some(record) => assert_eq!(record.to_vec(), RESTORED),
            None => assert!(!self.is_used, "the copy lost a put"),
        }
    }

    /// Returns `true` if an unfinished copy is a vault. A restore writes the header last, and a
    /// backup writes the complete marker last.
    fn is_vault(&self, directory: &Path, tree: &Tree) -> bool {
        let sides: &[&str] = match place::is_split(directory) {
            true => &["/keys", "/data"],
            false => &[""],
        };
        let has_begun = |side| tree.contains_key(&format!("{}{side}/marker", self.name));
        if !sides.iter().all(has_begun) {
            return false;
        }
        let is_backup = self.name.starts_with("backup");
        match place::open(directory) {
            Err(_) if is_backup => false,
            storage => match Vault::open(storage.unwrap(), &Fixed(1)) {
                Err(Error::NoVault) if !is_backup => false,
                vault => vault.is_ok() || panic!("{:?}", vault.err()),
            },
        }
    }
}

/// Files that are never written again, so that states can hard-link them instead of copying them.
pub(crate) struct Shelf {
    place: PathBuf,
    kept: HashMap<*const Content, (Arc<Content>, PathBuf)>,
}

impl Shelf {
    pub(crate) fn new(place: PathBuf) -> Self {
        fs::create_dir(&place).unwrap();
        let kept = HashMap::new();
        Self { place, kept }
    }

    fn link(&mut self, content: &Arc<Content>, path: &Path) {
        let count = self.kept.len();
        let (_, kept) = self.kept.entry(Arc::as_ptr(content)).or_insert_with(|| {
            let kept = self.place.join(count.to_string());
            write(&kept, content);
            (Arc::clone(content), kept)
        });
        fs::hard_link(kept, path).unwrap();
    }
}

pub(crate) fn lay_out(place: &Path, tree: &Tree, shelf: &mut Shelf) {
    fs::create_dir(place).unwrap();
    for (path, content) in tree {
        // Link only segment files, because they are written once. Content without another reference
        // is torn, and belongs to this state only.
        let is_value = path.contains("/segments/");
        let is_large = content
            .as_ref()
            .is_some_and(|content| content.length >= LINKED);
        let is_whole = content
            .as_ref()
            .is_some_and(|content| Arc::strong_count(content) > 1);
        let path = place.join(path);
        match content {
            None => fs::create_dir(path).unwrap(),
            Some(content) if is_value && is_large && is_whole => shelf.link(content, &path),
            Some(content) => write(&path, content),
        }
    }
}

fn write(path: &Path, content: &Content) {
    fs::write(path, &content.bytes).unwrap();
    if content.length > content.bytes.len() as u64 {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(content.length).unwrap();
    }
}

/// Writes arbitrary bytes as the index of each write-ahead log. A power cut can leave such bytes,
/// because nothing syncs the index.
fn add_shared_memory(place: &Path, state: &State) {
    let mut random = Random(state.number);
    for path in state.tree.keys().filter(|path| path.ends_with("/vault.db")) {
        let words = 1 + random.below(2 * 32_768 / 8);
        let bytes: Vec<_> = (0..words)
            .flat_map(|_| random.next().to_le_bytes())
            .collect();
        fs::write(place.join(format!("{path}-shm")), bytes).unwrap();
    }
}

/// Reads a directory tree, without the shared memory of write-ahead logs.
pub(crate) fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if path.is_dir() {
                tree.insert(name, None);
                waiting.push(path);
                continue;
            }
            if is_shared_memory(&name) {
                continue;
            }
            let content = Content::of(fs::read(&path).unwrap());
            tree.insert(name, Some(Arc::new(content)));
        }
    }
    tree
}

fn panic_message(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| why.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked").chars().take(600).collect()
}
