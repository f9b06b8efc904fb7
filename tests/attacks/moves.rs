//! The moves of a storage writer: each changed object or state, and the storage after the change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chartlock::internals::journal::page_of;

use crate::common::objects::Objects;
use crate::fixture::Fixture;
use crate::judge::is_upload;

/// Class of the objects that a move changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The objects of a class of storage keys.
    Key(u8),
    /// Segments and intents of an upload that did not end.
    Upload,
    /// All objects.
    Storage,
    /// A journal page that an auditor seals, as a page of an auditor or as a page of the vault.
    AuditorsPage { is_own: bool },
    /// Objects that a former insider seals with the keys that were copied before the rotations.
    Insider,
    /// The clock of the machine.
    Clock,
}

/// Kind of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Delete,
    Truncate,
    Flip,
    /// Replaces a value by the value of another object of the class.
    Replace,
    /// Swaps two values of the class.
    Swap,
    /// Stores a copy of a value under a fresh key of the class.
    PlantCopy,
    /// Stores junk under a fresh key of the class.
    PlantJunk,
    /// Stores a copy or junk under a key of another chain, record, stream or patient.
    PlantStray,
    /// Puts back an earlier value of one object.
    PutBack,
    /// Puts back an earlier value of a version whose content is the same, only its wrapped key is not.
    PutBackRewrapped,
    /// Puts back an object that was deleted.
    PutBackDeleted,
    /// Puts back all objects of the class.
    PutBackClass,
    /// Puts back all objects except the header and the journal.
    PutBackPatients,
    /// Puts back all objects except the journal.
    PutBackAllButJournal,
    DeleteClass,
    /// Cuts the end of a chain of journal pages.
    CutTail,
    RemoveChain,
    /// Stores a forged page, in addition to all pages.
    AddForged,
    /// Replaces a page by a forged page.
    ReplaceForged,
    /// Seals content under a patient key that is still in use.
    Graft,
    /// Replaces all records by those of a copy on which the insider works.
    GraftClass,
    /// Seals content under a patient key that was rotated.
    GraftUnderRotatedKey,
    /// Works under the former header, and leaves the storage so.
    WorkLeft,
    /// Works under the former header, and puts the current header back.
    WorkUnderCurrentHeader,
    ClockAhead,
    ClockBehind,
    /// Cuts the end of the newest chain.
    CutNewest,
    RemoveNewest,
}

/// A move, and the storage after it.
pub(crate) struct Move {
    pub(crate) class: Class,
    pub(crate) kind: Kind,
    /// Name of the changed object, or of the earlier state that is put back.
    pub(crate) detail: String,
    /// Storage key of the only object that changes.
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) after: Objects,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            Class::Key(class) => char::from(class).to_string(),
            other => format!("{other:?}"),
        };
        write!(f, "{class} {:?} {}", self.kind, self.detail)
    }
}

/// Collects moves.
struct Moves<'a> {
    fixture: &'a Fixture,
    made: Vec<Move>,
}

impl Moves<'_> {
    /// Adds a move, unless it changes nothing.
    fn add(&mut self, class: Class, kind: Kind, detail: String, change: impl FnOnce(&mut Objects)) {
        let mut after = self.fixture.now.clone();
        change(&mut after);
        let now = &self.fixture.now;
        let keys: BTreeSet<_> = now.keys().chain(after.keys()).collect();
        let changed = keys
            .into_iter()
            .filter(|key| now.get(*key) != after.get(*key));
        let changed: Vec<_> = changed.cloned().collect();
        if !changed.is_empty() {
            let key = <[_; 1]>::try_from(changed).ok().map(|[key]| key);
            self.made.push(Move {
                class,
                kind,
                detail,
                key,
                after,
            });
        }
    }

    fn set(&mut self, class: Class, kind: Kind, key: &[u8], value: Vec<u8>) {
        self.add(class, kind, hex(key), |to| {
            to.insert(key.to_vec(), value);
        });
    }
}

fn hex(key: &[u8]) -> String {
    let hex = key[1..].iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

fn class_of(objects: &Objects, key: &[u8]) -> Class {
    match is_upload(objects, key) {
        true => Class::Upload,
        false => Class::Key(key[0]),
    }
}

/// Returns all moves of a storage writer.
pub(crate) fn all(fixture: &Fixture) -> Vec<Move> {
    let mut moves = Moves {
        fixture,
        made: Vec::new(),
    };
    let mut classes = BTreeMap::<Class, Vec<&Vec<u8>>>::new();
    for key in fixture.now.keys() {
        classes
            .entry(class_of(&fixture.now, key))
            .or_default()
            .push(key);
    }
    for (class, keys) in &classes {
        for (place, key) in keys.iter().enumerate() {
            on_object(&mut moves, *class, key, place);
            on_pair(&mut moves, *class, key, keys[(place + 1) % keys.len()]);
        }
        on_class(&mut moves, *class);
    }
    put_back_deleted(&mut moves);
    on_chains(&mut moves);
    for (name, earlier) in &fixture.earlier {
        let mut put_back = |kind, kept: &[u8]| {
            moves.add(Class::Storage, kind, (*name).to_owned(), |to| {
                to.retain(|key, _| kept.contains(&key[0]));
                let of = earlier.iter().filter(|(key, _)| !kept.contains(&key[0]));
                to.extend(of.map(|(key, value)| (key.clone(), value.clone())));
            });
        };
        put_back(Kind::PutBackClass, b"");
        put_back(Kind::PutBackPatients, b"vja");
        put_back(Kind::PutBackAllButJournal, b"ja");
    }
    moves.made
}

fn on_object(moves: &mut Moves<'_>, class: Class, key: &[u8], place: usize) {
    let now = &moves.fixture.now;
    let value = now[key].clone();
    // The last page of the newest chain: a writer's identifier begins with the time.
    let is_newest = key[0] == b'j'
        && now
            .range(key.to_vec()..)
            .nth(1)
            .is_none_or(|(next, _)| next[0] != b'j');
    let delete = if is_newest {
        Kind::CutNewest
    } else {
        Kind::Delete
    };
    moves.add(class, delete, hex(key), |to| {
        to.remove(key);
    });
    for length in [0, value.len() / 2, value.len() - 1] {
        moves.set(class, Kind::Truncate, key, value[..length].to_vec());
    }
    moves.set(class, Kind::Truncate, key, [&value[..], &[0]].concat());
    let offsets = [
        4,
        20,
        50,
        80,
        place * 7919,
        value.len() - 1,
        value.len() / 2,
    ];
    for at in offsets.map(|at| at % value.len()) {
        let mut flipped = value.clone();
        flipped[at] ^= 1 << (place % 8);
        moves.set(class, Kind::Flip, key, flipped);
    }
    if key.len() > 1 {
        let mut stray = key.to_vec();
        stray[key.len().min(30) - 8] ^= 0x5a;
        moves.set(class, Kind::PlantStray, &stray, value.clone());
        moves.set(class, Kind::PlantStray, &stray, vec![0x55; 200]);
        let mut fresh = key.to_vec();
        *fresh.last_mut().unwrap() ^= 0x5a;
        moves.set(class, Kind::PlantCopy, &fresh, value.clone());
        moves.set(class, Kind::PlantJunk, &fresh, vec![0x55; 200]);
    }
    let mut tried = BTreeSet::from([value.clone()]);
    for (_, earlier) in &moves.fixture.earlier {
        let Some(older) = earlier.get(key).filter(|it| tried.insert((*it).clone())) else {
            continue;
        };
        let is_rewrapped = matches!(key[0], b'r' | b'h') && older.get(96..) == value.get(96..);
        let kind = if is_rewrapped {
            Kind::PutBackRewrapped
        } else {
            Kind::PutBack
        };
        moves.set(class, kind, key, older.clone());
    }
}

fn on_pair(moves: &mut Moves<'_>, class: Class, key: &[u8], other: &[u8]) {
    let now = &moves.fixture.now;
    let (value, with) = (now[key].clone(), now[other].clone());
    moves.set(class, Kind::Replace, key, with.clone());
    moves.add(class, Kind::Swap, hex(key), |to| {
        to.insert(key.to_vec(), with);
        to.insert(other.to_vec(), value);
    });
}

fn on_class(moves: &mut Moves<'_>, class: Class) {
    let now = &moves.fixture.now;
    let is_of = |key: &[u8]| class_of(now, key) == class;
    moves.add(class, Kind::DeleteClass, String::new(), |to| {
        to.retain(|key, _| !is_of(key));
    });
    for (name, earlier) in &moves.fixture.earlier {
        let is_of = |key: &[u8]| class_of(&moves.fixture.now, key) == class;
        let change = |to: &mut Objects| {
            to.retain(|key, _| !is_of(key));
            let older = earlier.iter().filter(|(key, _)| is_of(key));
            to.extend(older.map(|(key, value)| (key.clone(), value.clone())));
        };
        moves.add(class, Kind::PutBackClass, (*name).to_owned(), change);
    }
}

/// Puts back each object that an expunge, an erasure or a newer version deleted.
fn put_back_deleted(moves: &mut Moves<'_>) {
    let mut tried = BTreeSet::new();
    for (_, earlier) in &moves.fixture.earlier {
        for (key, value) in earlier {
            if !moves.fixture.now.contains_key(key) && tried.insert((key, value)) {
                let class = Class::Key(key[0]);
                moves.set(class, Kind::PutBackDeleted, key, value.clone());
            }
        }
    }
}

fn on_chains(moves: &mut Moves<'_>) {
    let mut chains = BTreeMap::<[u8; 16], Vec<Vec<u8>>>::new();
    for key in moves.fixture.now.keys().filter(|key| key[0] == b'j') {
        let chain = chains.entry(page_of(key).unwrap().writer).or_default();
        chain.push(key.clone());
    }
    // A writer's identifier begins with the time.
    let newest = *chains.last_key_value().unwrap().0;
    for (writer, chain) in chains {
        let (cut, remove) = match writer == newest {
            true => (Kind::CutNewest, Kind::RemoveNewest),
            false => (Kind::CutTail, Kind::RemoveChain),
        };
        for from in 0..chain.len() {
            let kind = if from == 0 { remove } else { cut };
            moves.add(
                Class::Key(b'j'),
                kind,
                format!("{from} {}", hex(&chain[0])),
                |to| {
                    to.retain(|key, _| !chain[from..].contains(key));
                },
            );
        }
    }
}
