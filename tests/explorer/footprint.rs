//! What a step touches, and which steps commute.

use std::collections::HashMap;
use std::fmt;

use chartlock::storage::{Moment, Operation};

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
pub(crate) struct Roles(HashMap<[u8; 16], u8>);

impl Roles {
    pub(crate) fn footprint(&mut self, moment: &Moment<'_>) -> Footprint {
        let accesses = match moment {
            Moment::Read(keys) => keys
                .iter()
                .map(|key| self.access("read", key, false, false))
                .collect(),
            Moment::Scan(scan) => vec![self.access("scan", scan.prefix, false, true)],
            Moment::Commit(operations) => operations
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
        for fragment in fragments {
            let next = self.0.len() as u8;
            role.push(*self.0.entry(*fragment).or_insert(next));
        }
        role.extend(counter.last());
        role
    }
}
