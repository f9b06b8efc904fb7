//! What a step touches, and which steps commute.

use std::collections::HashMap;
use std::fmt;

use chartlock::internals::journal::{PageId, page_of};
use chartlock::storage::{FaultPoint, Operation};

/// From here on, numbers name chains of processes.
const CHAINS: u8 = 150;

/// What a step does to storage, by roles instead of random bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Footprint {
    /// Nothing: it commutes with every step of others.
    Nothing,
    /// Keys of storage.
    Keys(Vec<Access>),
    /// Time itself: it commutes with nothing.
    Everything,
}

/// One key, or all keys below a prefix.
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

    /// Whether a process that is about to take this step has begun to write a record, and not ended.
    pub(crate) fn is_within_a_record(&self) -> bool {
        let Self::Keys(keys) = self else {
            return false;
        };
        match keys.first().map(Access::operation) {
            Some(("put", b'r' | b'h') | ("check", b'p')) => true,
            // A step of its own, or the first word of a whole transaction.
            Some(("check", b'w')) => keys.len() == 1,
            _ => false,
        }
    }

    /// Whether a page of the journal is among what is written.
    pub(crate) fn is_page(&self) -> bool {
        matches!(self, Self::Keys(keys) if keys.iter().any(|access| access.operation() == ("put", b'j')))
    }

    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Keys(keys) if keys.iter().any(|access| access.writes))
    }
}

impl Access {
    /// The verb, and the class of the key.
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

/// Gives random fragments of keys the same numbers in every replay of a schedule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roles {
    fragments: HashMap<[u8; 16], u8>,
    /// How many chains of the journal each process has begun.
    chains: HashMap<usize, u8>,
    /// The highest ids so far, of charts and of streams.
    highest: [Option<[u8; 16]>; 2],
    out_of_order: bool,
    /// Whether anybody lists streams, so that their order matters.
    listed: bool,
}

impl Roles {
    /// Whether a chart or a stream has an id below one of before. Chance then decides in which order
    /// they are listed, and it is not the order of other replays.
    pub(crate) fn is_out_of_order(&self) -> bool {
        self.out_of_order && self.listed
    }

    /// Takes what was met so far as it is. False when somebody lists the others, and chance leaves
    /// little room for ids above those of now: they would have to be drawn too often.
    pub(crate) fn begin(&mut self, listed: bool) -> bool {
        self.out_of_order = false;
        self.listed = listed;
        !listed || (self.highest.iter().flatten()).all(|highest| highest[0] < 128)
    }

    pub(crate) fn footprint(&mut self, process: usize, moment: &FaultPoint<'_>) -> Footprint {
        self.introduce(process, moment);
        let accesses = match moment {
            FaultPoint::Read(keys) => {
                let keys = keys.iter();
                let accesses = keys.map(|key| self.access("read", key, false, false));
                let mut accesses: Vec<_> = accesses.collect();
                // Chains that began in the same millisecond stand in the order of chance.
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

    /// Names the chains of the journal that a process writes after it: their ids are drawn by chance.
    pub(crate) fn introduce(&mut self, process: usize, moment: &FaultPoint<'_>) {
        let FaultPoint::Commit(operations) = moment else {
            return;
        };
        let pages = operations.iter().filter_map(|one| page_of(one.key()));
        for PageId { writer, .. } in pages {
            if !self.fragments.contains_key(&writer) {
                let begun = self.chains.entry(process).or_default();
                let name = CHAINS + 20 * process as u8 + *begun;
                *begun += 1;
                self.fragments.insert(writer, name);
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

    /// The class, a number for each fragment of 16 bytes, and the last byte of a version or index.
    pub(crate) fn role(&mut self, key: &[u8]) -> Vec<u8> {
        let Some((class, rest)) = key.split_first() else {
            return Vec::new();
        };
        let mut role = vec![*class];
        let (fragments, counter) = rest.as_chunks::<16>();
        for (place, fragment) in fragments.iter().enumerate() {
            let next = self.fragments.len() as u8;
            let number = *self.fragments.entry(*fragment).or_insert(next);
            let is_id = match place {
                0 => b"rhsw".contains(class),
                _ => b"sw".contains(class),
            };
            if number == next && is_id {
                let highest = &mut self.highest[place];
                self.out_of_order |= *highest > Some(*fragment);
                *highest = Some(*fragment).max(*highest);
            }
            role.push(number);
        }
        role.extend(counter.last());
        role
    }
}
