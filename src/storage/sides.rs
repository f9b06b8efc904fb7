//! Pair of storages, in which the first byte of a key selects the storage.
//!
//! Guarantees: each key is read and written on one side only; no commit of this process falls between the
//! snapshots of both sides. Must not know: the types of the two storages, the content of values, or more
//! of a storage key than its first byte.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::storage::{
    Integrity, Scan, ScanPage, Snapshot, Storage, StorageError, Stored, UnreadableRange,
};

/// Side of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The storage of the named classes.
    Named,
    /// The storage of all other classes.
    Rest,
}

/// First bytes of the keys on the side [`Side::Named`].
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedClasses(pub(super) &'static [u8]);

impl NamedClasses {
    pub(super) fn side_of(self, key: &[u8]) -> Side {
        match key.first() {
            Some(class) if self.0.contains(class) => Side::Named,
            _ => Side::Rest,
        }
    }

    /// Calls `ask` once for each side with the keys of that side, and returns the answers in the order of all
    /// keys.
    fn ask<T>(
        self,
        keys: &[&[u8]],
        ask: impl Fn(Side, &[&[u8]]) -> Result<Vec<Option<T>>, StorageError>,
    ) -> Result<Vec<Option<T>>, StorageError> {
        let answers = |side| {
            let asked = keys.iter().copied();
            let asked: Vec<_> = asked.filter(|key| self.side_of(key) == side).collect();
            match asked.is_empty() {
                true => Ok(VecDeque::new()),
                false => ask(side, &asked).map(VecDeque::from),
            }
        };
        let (mut named, mut rest) = (answers(Side::Named)?, answers(Side::Rest)?);
        let answer = |key: &&[u8]| match self.side_of(key) {
            Side::Named => named.pop_front().flatten(),
            Side::Rest => rest.pop_front().flatten(),
        };
        Ok(keys.iter().map(answer).collect())
    }

    /// Returns `true` if keys of these classes may exist above `after`, up to `end`.
    fn may_have_keys(self, after: Option<&[u8]>, end: &[u8]) -> bool {
        let first = after.and_then(|after| after.first().copied());
        let mut classes = self.0.iter();
        classes.any(|class| Some(*class) >= first && [*class].as_slice() <= end)
    }

    /// Scans the side of the prefix. The empty prefix is on both sides.
    fn scan(
        self,
        scan: Scan<'_>,
        of: impl Fn(Side) -> Result<ScanPage, StorageError>,
    ) -> Result<ScanPage, StorageError> {
        if scan.prefix.is_empty() {
            let rest = of(Side::Rest)?;
            // Do not read values of keys above the end of this page, because the next page reads them again.
            let is_above = |end| !self.may_have_keys(scan.after, end);
            let named = match rest.more && rest.end().is_some_and(is_above) {
                true => ScanPage::default(),
                false => of(Side::Named)?,
            };
            return Ok(merge([named, rest], scan.limit.max(1)));
        }
        of(self.side_of(scan.prefix))
    }
}

/// Two storages, with a lock that lets a snapshot of both begin between two commits.
#[derive(Debug)]
pub(super) struct Sides<N, R> {
    pub(super) named: N,
    pub(super) rest: R,
    pub(super) classes: NamedClasses,
    /// Locked for reading during each commit, and for writing while a snapshot of both sides begins.
    commits: RwLock<()>,
}

impl<N: Storage, R: Storage> Sides<N, R> {
    pub(super) fn new(classes: NamedClasses, named: N, rest: R) -> Self {
        Self {
            named,
            rest,
            classes,
            commits: RwLock::default(),
        }
    }

    pub(super) fn storage(&self, side: Side) -> &dyn Storage {
        match side {
            Side::Named => &self.named,
            Side::Rest => &self.rest,
        }
    }

    /// Blocks snapshots during a commit, because a snapshot must contain both sides of a change or neither.
    pub(super) fn block_snapshots(&self) -> RwLockReadGuard<'_, ()> {
        self.commits.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.classes
            .ask(keys, |side, keys| self.storage(side).read(keys))
    }

    pub(super) fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.classes
            .scan(scan, |side| self.storage(side).scan(scan))
    }

    pub(super) fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let last = |side, prefixes: &[&[u8]]| self.storage(side).last(prefixes);
        let mut found = self.classes.ask(prefixes, last)?;
        for (found, prefix) in found.iter_mut().zip(prefixes) {
            // The empty prefix is on both sides.
            if prefix.is_empty() {
                let named = last(Side::Named, &[*prefix])?.pop().flatten();
                *found = found.take().max(named);
            }
        }
        Ok(found)
    }

    pub(super) fn is_exclusive(&self) -> bool {
        self.named.is_exclusive() && self.rest.is_exclusive()
    }

    pub(super) fn integrity(&self) -> Result<Integrity, StorageError> {
        let mut integrity = self.named.integrity()?;
        let rest = self.rest.integrity()?;
        integrity.structure_faults += rest.structure_faults;
        integrity.missing_values.extend(rest.missing_values);
        Ok(integrity)
    }

    pub(super) fn close(&self) -> Result<(), StorageError> {
        // Close both, even if one fails.
        let named = self.named.close();
        self.rest.close().and(named)
    }

    /// Takes a view of each side while it blocks the commits of this process.
    pub(super) fn at_once<A, B>(
        &self,
        of_named: impl FnOnce(&N) -> Result<A, StorageError>,
        of_rest: impl FnOnce(&R) -> Result<B, StorageError>,
    ) -> Result<(A, B), StorageError> {
        let _no_commit = self.commits.write().unwrap_or_else(PoisonError::into_inner);
        // Begin with the rest, which refers to the named classes. If another process commits in between, the
        // view of the named classes is newer, and contains all objects to which the view of the rest refers.
        let rest = of_rest(&self.rest)?;
        Ok((of_named(&self.named)?, rest))
    }

    pub(super) fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        let (named, rest) = self.at_once(N::snapshot, R::snapshot)?;
        let classes = self.classes;
        Ok(Box::new(SidesSnapshot {
            named,
            rest,
            classes,
        }))
    }
}

/// Snapshot of both sides.
#[derive(Debug)]
struct SidesSnapshot {
    named: Box<dyn Snapshot>,
    rest: Box<dyn Snapshot>,
    classes: NamedClasses,
}

impl SidesSnapshot {
    fn of(&self, side: Side) -> &dyn Snapshot {
        match side {
            Side::Named => &*self.named,
            Side::Rest => &*self.rest,
        }
    }
}

impl Snapshot for SidesSnapshot {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.classes
            .ask(keys, |side, keys| self.of(side).read(keys))
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.classes.scan(scan, |side| self.of(side).scan(scan))
    }
}

/// Merges the pages of both storages. The result ends at the smallest end of an incomplete page, because the
/// storage of that page may contain more keys after it.
fn merge(pages: [ScanPage; 2], limit: usize) -> ScanPage {
    let mut more = pages.iter().any(|page| page.more);
    let horizon = pages
        .iter()
        .filter(|page| page.more)
        .filter_map(|page| page.end().map(<[u8]>::to_vec))
        .min();
    let is_within = |key: &Vec<u8>| horizon.as_ref().is_none_or(|horizon| key <= horizon);
    let [mut one, other] = pages;
    one.items.extend(other.items);
    one.unreadable.extend(other.unreadable);
    one.items
        .sort_unstable_by(|one, other| one.key.cmp(&other.key));
    one.unreadable
        .sort_unstable_by(|one, other| one.first.cmp(&other.first));
    let known = one.items.len();
    one.items.retain(|item| is_within(&item.key));
    one.items.truncate(limit);
    more |= one.items.len() < known;
    // A range after the end of this page belongs to a later page.
    let end = one.items.last().map(|item| item.key.clone());
    let is_in_page = |range: &UnreadableRange| end.as_ref().is_none_or(|end| range.first <= *end);
    one.unreadable
        .retain(|range| is_within(&range.first) && (!more || is_in_page(range)));
    ScanPage { more, ..one }
}
