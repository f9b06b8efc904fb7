//! The log-structured engine: keyspaces, reading, scanning, one durable batch.
//!
//! Everything that names the engine's crate is here, but for its byte type.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fjall::config::CompressionPolicy;
use fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
    Readable, Snapshot, UserKey, UserValue,
};

use crate::storage::file::apart::Apart;
use crate::storage::file::class::{NAMES, apart_classes, class_of, is_entry};
use crate::storage::file::named::Named;
use crate::storage::file::place::{Place, Standing};
use crate::storage::file::ranges::ranges;
use crate::storage::file::revision::{Mark, revision};
use crate::storage::{Projection, Scan, ScanItem, ScanPage, StorageError, Stored};

/// Holds the number of the opening.
const META: &str = "meta";
const OPENING: &[u8] = b"opening";

/// Holds the counts of packs.
const PACKS: &str = "packs";

/// Small, as each keyspace that is written to holds one and up to three that wait: with twice as much,
/// writing takes a little less work, and much more memory.
const MEMTABLE_BYTES: u64 = 8 << 20;

/// The least that the engine allows, so that replaying the journal does not hold up an opening.
const JOURNAL_BYTES: u64 = 64 << 20;

/// A page of whole values ends once it holds so many bytes.
const PAGE_BYTES: usize = 8 << 20;

/// Below the numbers at which the engine itself makes a writer wait, see [`Engine::make_room`].
const SEALED_MEMTABLES_MAX: usize = 3;
const RUNS_MAX: usize = 18;

/// For how long closing waits, on a slow disk.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Engine {
    database: Database,
    classes: Vec<Keyspace>,
    meta: Keyspace,
    /// How many values each pack holds, u64, by its file.
    packs: Keyspace,
}

/// One opening among all of this storage.
pub(super) struct Opening {
    pub(super) number: u32,
    /// Whether the one before came to its end.
    pub(super) closed_before: bool,
}

impl Engine {
    /// Makes an empty engine in a directory, and closes it.
    pub(super) fn create(path: &Path) -> Result<(), StorageError> {
        let engine = Self::open(path, 0)?;
        engine.database.persist(PersistMode::SyncAll).map_err(error)
    }

    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, StorageError> {
        let database = Database::builder(path)
            .cache_size(cache_bytes)
            .journal_compression(CompressionType::None)
            .max_journaling_size(JOURNAL_BYTES)
            .open()
            .map_err(error)?;
        let keyspace = |name: &str| database.keyspace(name, options).map_err(error);
        let classes = NAMES.into_iter().map(keyspace).collect::<Result<_, _>>()?;
        let meta = keyspace(META)?;
        let packs = keyspace(PACKS)?;
        Ok(Self {
            database,
            classes,
            meta,
            packs,
        })
    }

    /// Counts this opening, durably: no revision of an earlier one comes again.
    pub(super) fn begin(&self) -> Result<Opening, StorageError> {
        let (last, closed_before) = match self.meta.get(OPENING).map_err(error)?.as_deref() {
            None => (0, true),
            Some(&[a, b, c, d, closed]) => (u32::from_be_bytes([a, b, c, d]), closed == 1),
            Some(_) => return Err(StorageError::Damaged),
        };
        let number = last.checked_add(1).ok_or(StorageError::Damaged)?;
        self.mark_opening(number, false, PersistMode::SyncData)?;
        Ok(Opening {
            number,
            closed_before,
        })
    }

    /// Notes that this opening left nothing to sweep. Losing the note only costs a sweep.
    pub(super) fn end(&self) {
        if let Ok(Some(standing)) = self.meta.get(OPENING)
            && let &[a, b, c, d, _] = &*standing
        {
            let number = u32::from_be_bytes([a, b, c, d]);
            let _best_effort = self.mark_opening(number, true, PersistMode::Buffer);
        }
    }

    /// Writes all that is in memory to tables. Whether it is done, and in time; no write may be under way.
    pub(super) fn flush(&self) -> bool {
        let deadline = Instant::now() + FLUSH_PATIENCE;
        let keyspaces = || self.classes.iter().chain([&self.meta, &self.packs]);
        // Whether background work has failed, and would never take what it is given.
        let is_well = || self.database.persist(PersistMode::Buffer).is_ok();
        if !is_well() || keyspaces().any(|keyspace| keyspace.rotate_memtable().is_err()) {
            return false;
        }
        while keyspaces().any(|keyspace| keyspace.sealed_memtable_count() > 0) {
            if !is_well() || Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        keyspaces().all(|keyspace| keyspace.tree.active_memtable().is_empty())
    }

    fn mark_opening(
        &self,
        number: u32,
        closed: bool,
        durability: PersistMode,
    ) -> Result<(), StorageError> {
        let [a, b, c, d] = number.to_be_bytes();
        let mut batch = self.database.batch().durability(Some(durability));
        batch.insert(&self.meta, OPENING, [a, b, c, d, u8::from(closed)]);
        batch.commit().map_err(error)
    }

    pub(super) fn read(
        &self,
        apart: &Apart,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        let mut missed: Option<Mark> = None;
        'again: loop {
            let snapshot = self.database.snapshot();
            let mut answers = Vec::with_capacity(keys.len());
            for key in keys {
                match self.look(&snapshot, apart, key, Projection::Values)? {
                    Look::Absent => answers.push(None),
                    Look::Found(stored) => answers.push(Some(stored)),
                    // Replaced since the snapshot was taken, or lost.
                    Look::Gone(mark) if missed == Some(mark) => {
                        return Err(StorageError::Damaged);
                    }
                    Look::Gone(mark) => {
                        missed = Some(mark);
                        continue 'again;
                    }
                }
            }
            return Ok(answers);
        }
    }

    pub(super) fn scan(&self, apart: &Apart, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let snapshot = self.database.snapshot();
        let mut page = ScanPage::default();
        let mut bytes = 0;
        for (class, lower, upper) in ranges(&scan) {
            let Some(keyspace) = self.classes.get(class) else {
                return Err(StorageError::Damaged);
            };
            for item in snapshot.range(keyspace, (lower, upper)) {
                if page.items.len() >= scan.limit.max(1) || bytes >= PAGE_BYTES {
                    page.more = true;
                    return Ok(page);
                }
                let (key, kept) = item.into_inner().map_err(error)?;
                let entry = self.entry(apart, &key, &kept, scan.projection)?;
                bytes += entry.as_ref().map_or(0, |entry| entry.value.len());
                page.items.extend(entry);
            }
        }
        Ok(page)
    }

    /// What stands under a key, for whoever is the only writer.
    pub(super) fn standing(
        &self,
        class: usize,
        key: &[u8],
    ) -> Result<Option<Standing>, StorageError> {
        let keyspace = self.classes.get(class).ok_or(StorageError::Damaged)?;
        let kept = keyspace.get(key).map_err(error)?;
        kept.map(|kept| Standing::parse(class, &kept).map(|(standing, _)| standing))
            .transpose()
    }

    /// How many values a pack holds, for whoever is the only writer; 0 for one not written yet.
    pub(super) fn in_pack(&self, file: &Mark) -> Result<u64, StorageError> {
        match self.packs.get(file).map_err(error)? {
            None => Ok(0),
            Some(count) => (*count)
                .try_into()
                .map(u64::from_be_bytes)
                .map_err(|_| StorageError::Damaged),
        }
    }

    /// All that is named in files.
    pub(super) fn named(&self) -> Result<Named, StorageError> {
        let mut named = Named::default();
        for class in apart_classes() {
            let keyspace = self.classes.get(class).ok_or(StorageError::Damaged)?;
            for item in keyspace.iter() {
                let kept = item.value().map_err(error)?;
                named.add(class, &Standing::parse(class, &kept)?.0);
            }
        }
        Ok(named)
    }

    /// Writes a batch and syncs it: the only write there is. No other batch may be under way.
    pub(super) fn write(
        &self,
        changes: impl Iterator<Item = (UserKey, Option<UserValue>)>,
        packs: impl Iterator<Item = (Mark, u64)>,
    ) -> Result<(), WriteError> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        let mut classes = HashSet::new();
        for (key, kept) in changes {
            let class = class_of(&key);
            let Some(keyspace) = self.classes.get(class) else {
                return Err(WriteError::NotBegun(StorageError::Damaged));
            };
            classes.insert(class);
            match kept {
                Some(kept) => batch.insert(keyspace, key, kept),
                None => batch.remove(keyspace, key),
            }
        }
        for (file, count) in packs {
            match count {
                0 => batch.remove(&self.packs, file),
                count => batch.insert(&self.packs, file, count.to_be_bytes()),
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.make_room(&classes)?;
        batch.commit().map_err(|failure| match failure {
            fjall::Error::Poisoned => WriteError::NotBegun(StorageError::Stopped),
            _ => WriteError::Begun,
        })
    }

    /// Waits until background work has caught up. The engine would wait too, but for ever if that
    /// work has failed meanwhile.
    fn make_room(&self, classes: &HashSet<usize>) -> Result<(), WriteError> {
        let is_behind = |class: &usize| {
            self.classes.get(*class).is_some_and(|keyspace| {
                keyspace.sealed_memtable_count() >= SEALED_MEMTABLES_MAX
                    || keyspace.tree.l0_run_count() >= RUNS_MAX
            })
        };
        while classes.iter().any(is_behind) {
            self.database
                .persist(PersistMode::Buffer)
                .map_err(|failure| WriteError::NotBegun(error(failure)))?;
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn look(
        &self,
        snapshot: &Snapshot,
        apart: &Apart,
        key: &[u8],
        projection: Projection,
    ) -> Result<Look, StorageError> {
        let class = class_of(key);
        let keyspace = self.classes.get(class).ok_or(StorageError::Damaged)?;
        let Some(kept) = snapshot.get(keyspace, key).map_err(error)? else {
            return Ok(Look::Absent);
        };
        let (standing, rest) = Standing::parse(class, &kept)?;
        let value = match standing.place {
            Place::Engine => Some(projection.of(rest).to_vec()),
            Place::Own | Place::Pack(_) => self.apart(apart, key, &standing, projection)?,
        };
        Ok(match value {
            None => Look::Gone(standing.mark),
            Some(value) => Look::Found(Stored {
                value,
                revision: revision(&standing.mark),
            }),
        })
    }

    /// The entry of a scan; `None` if its key was deleted meanwhile.
    fn entry(
        &self,
        apart: &Apart,
        key: &[u8],
        kept: &[u8],
        projection: Projection,
    ) -> Result<Option<ScanItem>, StorageError> {
        let (standing, rest) = Standing::parse(class_of(key), kept)?;
        let mark = standing.mark;
        let entry = |value: Vec<u8>, revision| ScanItem {
            key: key.to_vec(),
            value,
            revision,
        };
        if standing.place == Place::Engine {
            return Ok(Some(entry(projection.of(rest).to_vec(), revision(&mark))));
        }
        if let Some(value) = self.apart(apart, key, &standing, projection)? {
            return Ok(Some(entry(value, revision(&mark))));
        }
        let mut missed = mark;
        loop {
            match self.look(&self.database.snapshot(), apart, key, projection)? {
                Look::Absent => return Ok(None),
                Look::Found(stored) => return Ok(Some(entry(stored.value, stored.revision))),
                Look::Gone(mark) if mark == missed => return Err(StorageError::Damaged),
                Look::Gone(mark) => missed = mark,
            }
        }
    }

    /// What is wanted of a value in a file; `None` if it is gone, or may be.
    fn apart(
        &self,
        apart: &Apart,
        key: &[u8],
        standing: &Standing,
        projection: Projection,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let value = apart.read(standing, projection)?;
        let class = class_of(key);
        if !is_entry(class) || standing.place == Place::Own {
            return Ok(value);
        }
        // It is overwritten only after the engine names another one: if it names this one still, what was
        // read before is whole. A snapshot, as later ones will show no less.
        let keyspace = self.classes.get(class).ok_or(StorageError::Damaged)?;
        let snapshot = self.database.snapshot();
        let kept = snapshot.get(keyspace, key).map_err(error)?;
        let stands = kept.is_some_and(|kept| kept.starts_with(&standing.mark));
        Ok(value.filter(|_| stands))
    }
}

/// Of what the engine keeps under a key in any of its keyspaces: whether it notes that an opening came to
/// its end, if it is the note of an opening. Values of records are longer.
pub(super) fn is_opening_note(key: &[u8], value: &[u8]) -> Option<bool> {
    match value {
        &[_, _, _, _, closed] if key == OPENING => Some(closed == 1),
        _ => None,
    }
}

enum Look {
    Absent,
    Found(Stored),
    /// The value of this mark is not in its file any more.
    Gone(Mark),
}

/// How a write failed.
pub(super) enum WriteError {
    /// Before anything reached the journal.
    NotBegun(StorageError),
    /// Perhaps after it did.
    Begun,
}

fn options() -> KeyspaceCreateOptions {
    // What is kept is encrypted, so nothing in it can be compressed.
    KeyspaceCreateOptions::default()
        .data_block_compression_policy(CompressionPolicy::disabled())
        .index_block_compression_policy(CompressionPolicy::disabled())
        .max_memtable_size(MEMTABLE_BYTES)
}

fn error(error: fjall::Error) -> StorageError {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => io(error),
        fjall::Error::Poisoned => StorageError::Stopped,
        fjall::Error::Locked => StorageError::InUse,
        fjall::Error::InvalidVersion(_) => StorageError::Foreign,
        _ => StorageError::Damaged,
    }
}

fn io(error: io::Error) -> StorageError {
    match error.kind() {
        // The engine looks only for what it wrote.
        io::ErrorKind::NotFound
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput => StorageError::Damaged,
        _ => error.into(),
    }
}
