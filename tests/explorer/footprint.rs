//! Footprint of a step: the storage keys that the step reads and writes. Two steps commute if their
//! footprints do not conflict.

use std::collections::HashMap;
use std::fmt;

use chartlock::internals::journal::{PageId, page_of};
use chartlock::storage::{FaultPoint, Operation};

/// Lowest number that replaces the id of a journal chain.
const CHAINS: u8 = 150;

/// The effect of a step on the storage, with stable numbers in place of random ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Footprint {
    /// No storage key, so the step commutes with every step of other processes.
    Nothing,
    /// The storage keys that the step accesses.
    Keys(Vec<Access>),
    /// Every storage key, so that a delay or the beginning of a read commutes with no other step.
    Everything,
}

/// Access to one key, or to all keys under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    verb: &'static str,
    role: Vec<u8>,
    writes: bool,
    prefix: bool,
}

impl Footprint {
    pub(crate) fn commutes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => false,
            (Self::Nothing, _) | (_, Self::Nothing) => true,
            (Self::Keys(left), Self::Keys(right)) => !left
                .iter()
                .any(|left| right.iter().any(|right| left.conflicts(right))),
        }
    }

    /// Returns `true` if the step continues a sequence of steps that write a record.
    pub(crate) fn is_within_a_record(&self) -> bool {
        let Self::Keys(keys) = self else {
            return false;
        };
        match keys.first().map(Access::operation) {
            Some(("put", b'r' | b'h') | ("check", b'p')) => true,
            // Without transactions, the check of the upload intent is a single step after the
            // upload of the segments. In a transaction, the check is the first of several
            // operations.
            Some(("check", b'w')) => keys.len() == 1,
            _ => false,
        }
    }

    /// Returns `true` if the step writes a journal page.
    pub(crate) fn is_page(&self) -> bool {
        matches!(self, Self::Keys(keys) if keys.iter().any(|access| access.operation() == ("put", b'j')))
    }

    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Keys(keys) if keys.iter().any(|access| access.writes))
    }
}

impl Access {
    /// Returns the storage operation and the class of the key.
    pub(crate) fn operation(&self) -> (&'static str, u8) {
        (self.verb, self.role.first().copied().unwrap_or(b'-'))
    }

    fn conflicts(&self, other: &Self) -> bool {
        if !self.writes && !other.writes {
            return false;
        }
        match (self.prefix, other.prefix) {
            (true, _) => other.role.starts_with(&self.role),
            (_, true) => self.role.starts_with(&other.role),
            _ => self.role == other.role,
        }
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Keys(keys) = self else {
            return Ok(());
        };
        for (index, access) in keys.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} ", access.verb)?;
            let (class, rest) = access.role.split_at(access.role.len().min(1));
            write!(f, "{}", String::from_utf8_lossy(class))?;
            for (index, byte) in rest.iter().enumerate() {
                let dot = if index > 0 { "." } else { "" };
                write!(f, "{dot}{byte}")?;
            }
        }
        Ok(())
    }
}

/// Numbers that replace the random ids in storage keys. Every replay of a schedule assigns the same
/// numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roles {
    ids: HashMap<[u8; 16], u8>,
    /// The number of journal chains that each process began.
    chains: HashMap<usize, u8>,
    /// The highest chart id and the highest stream id so far.
    highest: [Option<[u8; 16]>; 2],
    out_of_order: bool,
    /// `true` if a process lists charts or streams, so that the order of their ids matters.
    listed: bool,
}

impl Roles {
    /// Returns `true` if a new chart or stream received a lower id than an earlier one, and a process
    /// lists these ids.
    ///
    /// Scans then return the ids in another order than scans in other replays.
    pub(crate) fn is_out_of_order(&self) -> bool {
        self.out_of_order && self.listed
    }

    /// Makes the current ids the start state.
    ///
    /// Returns false if a process lists ids and an id begins with a byte of 128 or more. New random
    /// ids would then rarely be higher than the existing ids.
    pub(crate) fn begin(&mut self, listed: bool) -> bool {
        self.out_of_order = false;
        self.listed = listed;
        !listed || (self.highest.iter().flatten()).all(|highest| highest[0] < 128)
    }

    pub(crate) fn footprint(&mut self, process: usize, moment: &FaultPoint<'_>) -> Footprint {
        self.number_chains(process, moment);
        let accesses = match moment {
            FaultPoint::Read(keys) => {
                let keys = keys.iter();
                let accesses = keys.map(|key| self.access("read", key, false, false));
                let mut accesses: Vec<_> = accesses.collect();
                // Sort the accesses, because chains that began in the same millisecond are read in
                // random order.
                accesses.sort_by(|one, other| one.role.cmp(&other.role));
                accesses
            }
            FaultPoint::Scan(scan) => vec![self.access("scan", scan.prefix, false, true)],
            FaultPoint::Commit(operations) => operations
                .iter()
                .map(|operation| match operation {
                    Operation::Put { key, .. } => self.access("put", key, true, false),
                    Operation::Delete { key } => self.access("delete", key, true, false),
                    Operation::Check { key, .. } => self.access("check", key, false, false),
                })
                .collect(),
        };
        Footprint::Keys(accesses)
    }

    /// Numbers new journal chains by process, because the ids of chains are random.
    pub(crate) fn number_chains(&mut self, process: usize, moment: &FaultPoint<'_>) {
        let FaultPoint::Commit(operations) = moment else {
            return;
        };
        let pages = operations.iter().filter_map(|one| page_of(one.key()));
        for PageId { writer, .. } in pages {
            if !self.ids.contains_key(&writer) {
                let begun = self.chains.entry(process).or_default();
                let name = CHAINS + 20 * process as u8 + *begun;
                *begun += 1;
                self.ids.insert(writer, name);
            }
        }
    }

    fn access(&mut self, verb: &'static str, key: &[u8], writes: bool, prefix: bool) -> Access {
        Access {
            verb,
            role: self.role(key),
            writes,
            prefix,
        }
    }

    /// Returns the role of a key: its class, a number for each id of 16 bytes, and the last byte of
    /// a version number or index.
    pub(crate) fn role(&mut self, key: &[u8]) -> Vec<u8> {
        let Some((class, rest)) = key.split_first() else {
            return Vec::new();
        };
        let mut role = vec![*class];
        let (ids, counter) = rest.as_chunks::<16>();
        for (place, id) in ids.iter().enumerate() {
            let next = self.ids.len() as u8;
            let number = *self.ids.entry(*id).or_insert(next);
            let is_id = match place {
                0 => b"rhsw".contains(class),
                _ => b"sw".contains(class),
            };
            if number == next && is_id {
                let highest = &mut self.highest[place];
                self.out_of_order |= *highest > Some(*id);
                *highest = Some(*id).max(*highest);
            }
            role.push(number);
        }
        role.extend(counter.last());
        role
    }
}
