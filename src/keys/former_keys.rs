//! Former journal keys in the header, each wrapped under its successor. A holder of the active journal
//! key can open the pages of the past. A holder of a former key cannot open the pages of later keys.

use crate::crypto::{CipherSuite, JournalKey, VaultId, former_key};
use crate::error::{Error, Result};
use crate::format::codec::take;
use crate::keys::ring::Ring;
use crate::keys::wrap::{Wrapped, open_key, seal_key};

/// The maximum number of former journal keys in a header.
pub(super) const FORMER_MAX: usize = 1024;

/// The number of the active journal key, and the former keys, newest first.
#[derive(Clone, Default)]
pub(super) struct FormerKeys {
    active: u32,
    wrapped: Vec<(u32, Wrapped)>,
}

/// All journal keys of a vault with their numbers, the active key first.
#[derive(Debug)]
pub struct JournalKeys {
    active: (u32, JournalKey),
    former: Vec<(u32, JournalKey)>,
}

impl JournalKeys {
    /// Returns the active journal key with its number.
    pub fn active(&self) -> (u32, &JournalKey) {
        let (number, key) = &self.active;
        (*number, key)
    }

    /// Returns the vault's first journal key, which derives the tags of subjects and names in the
    /// journal.
    pub fn first(&self) -> &JournalKey {
        let (_, key) = self.former.last().unwrap_or(&self.active);
        key
    }

    /// Returns the journal key with this number.
    pub fn find(&self, number: u32) -> Option<&JournalKey> {
        let mut keys = std::iter::once(&self.active).chain(&self.former);
        let (_, key) = keys.find(|(other, _)| *other == number)?;
        Some(key)
    }
}

impl FormerKeys {
    /// Wraps the former keys of a ring.
    pub(super) fn of(ring: &Ring<JournalKey>, suite: CipherSuite, vault: &VaultId) -> Result<Self> {
        let successors = ring.iter();
        let wrapped = successors
            .zip(ring.iter().skip(1))
            .map(|(successor, former)| {
                let numbers = (successor.number, former.number);
                let sealing = former_key(suite, &successor.key, vault, numbers)?;
                Ok((former.number, seal_key(&sealing, former.key.expose())?))
            });
        let wrapped = wrapped.collect::<Result<Vec<_>>>()?;
        if wrapped.len() > FORMER_MAX {
            return Err(Error::TooLarge);
        }
        Ok(Self {
            active: ring.active().number,
            wrapped,
        })
    }

    /// Unwraps all former keys with the active key.
    ///
    /// # Errors
    /// [`Error::HeaderDamaged`] if a key does not unwrap.
    pub(super) fn unwrap(
        &self,
        active: JournalKey,
        suite: CipherSuite,
        vault: &VaultId,
    ) -> Result<JournalKeys> {
        let active = (self.active, active);
        let mut former: Vec<(u32, JournalKey)> = Vec::with_capacity(self.wrapped.len());
        for (number, wrapped) in &self.wrapped {
            let (successor_number, successor) = former.last().unwrap_or(&active);
            let sealing = former_key(suite, successor, vault, (*successor_number, *number))?;
            let key = JournalKey::try_with(|out| open_key(&sealing, wrapped, out))
                .map_err(|_| Error::HeaderDamaged)?;
            former.push((*number, key));
        }
        Ok(JournalKeys { active, former })
    }

    pub(super) fn active(&self) -> u32 {
        self.active
    }

    /// Parses the keys and removes them from `rest`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for more than 1,024 keys, a number that repeats, or missing bytes.
    pub(super) fn parse(rest: &mut &[u8]) -> Result<Self> {
        let active = u32::from_le_bytes(*take(rest)?);
        let count = usize::from(u16::from_le_bytes(*take(rest)?));
        if count > FORMER_MAX {
            return Err(Error::Malformed);
        }
        let mut wrapped = Vec::new();
        for _ in 0..count {
            wrapped.push((u32::from_le_bytes(*take(rest)?), *take(rest)?));
        }
        let numbers = wrapped.iter().map(|(number, _)| *number);
        let mut numbers: Vec<u32> = numbers.chain([active]).collect();
        numbers.sort_unstable();
        numbers
            .is_sorted_by(|left, right| left < right)
            .then_some(Self { active, wrapped })
            .ok_or(Error::Malformed)
    }

    /// Encodes the keys so that [`FormerKeys::parse`] returns them unchanged.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.active.to_le_bytes());
        out.extend((self.wrapped.len() as u16).to_le_bytes());
        for (number, wrapped) in &self.wrapped {
            out.extend(number.to_le_bytes());
            out.extend(wrapped);
        }
    }
}
