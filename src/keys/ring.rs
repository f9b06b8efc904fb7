//! A ring: numbered keys of one role, one of them active.

use crate::crypto;
use crate::error::{Error, Result};
use crate::keys::extensions::Extensions;

/// Whether a key still seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Seals and opens.
    Active,
    /// Opens what it sealed before, until it is retired.
    Inactive,
}

/// A key with its number, which is random and means no order.
#[derive(Debug)]
pub struct KeyVersion<K> {
    /// What stored values name the key by.
    pub number: u32,
    /// Whether it still seals.
    pub state: KeyState,
    /// When it was made: milliseconds since 1970, by the clock of the machine that made it.
    pub created: i64,
    /// The key.
    pub key: K,
}

/// Keys in stored order: the active one first, then the inactive ones, the youngest first.
#[derive(Debug)]
pub struct Ring<K> {
    active: KeyVersion<K>,
    inactive: Vec<KeyVersion<K>>,
}

impl<K> Ring<K> {
    /// A ring of one key.
    ///
    /// # Errors
    /// [`Error::Randomness`] when the system gives none.
    pub fn new(key: K, now: i64, extensions: &Extensions) -> Result<Self> {
        let number = crypto::number(|number| extensions.was_destroyed(number))?;
        Ok(Self {
            active: active(number, key, now),
            inactive: Vec::new(),
        })
    }

    /// A ring as it was stored.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless the first key, and only the first, is active and no number
    /// repeats.
    pub fn from_stored(stored: Vec<KeyVersion<K>>) -> Result<Self> {
        let mut keys = stored.into_iter();
        let ring = Self {
            active: keys.next().ok_or(Error::Malformed)?,
            inactive: keys.collect(),
        };
        let mut numbers: Vec<u32> = ring.iter().map(|key| key.number).collect();
        numbers.sort_unstable();
        let distinct = numbers.is_sorted_by(|left, right| left < right);
        let one_active = ring.active.state == KeyState::Active
            && (ring.inactive.iter()).all(|key| key.state == KeyState::Inactive);
        (distinct && one_active)
            .then_some(ring)
            .ok_or(Error::Malformed)
    }

    /// All keys, in stored order.
    pub fn iter(&self) -> impl Iterator<Item = &KeyVersion<K>> {
        std::iter::once(&self.active).chain(&self.inactive)
    }

    /// The key that seals.
    pub fn active(&self) -> &KeyVersion<K> {
        &self.active
    }

    /// The key of a number.
    pub fn find(&self, number: u32) -> Option<&KeyVersion<K>> {
        self.iter().find(|key| key.number == number)
    }

    /// Makes `key` the active one, under a number that neither this ring nor `extensions` remembers;
    /// returns the number.
    ///
    /// # Errors
    /// [`Error::Randomness`] when the system gives none.
    pub fn rotate(&mut self, key: K, now: i64, extensions: &Extensions) -> Result<u32> {
        let number = crypto::number(|number| {
            self.find(number).is_some() || extensions.was_destroyed(number)
        })?;
        let mut former = std::mem::replace(&mut self.active, active(number, key, now));
        former.state = KeyState::Inactive;
        self.inactive.insert(0, former);
        Ok(number)
    }

    /// Takes the inactive keys for which `condemned` holds out, noting their numbers in
    /// `extensions`; returns the numbers.
    pub fn destroy(
        &mut self,
        condemned: impl Fn(u32) -> bool,
        extensions: &mut Extensions,
    ) -> Vec<u32> {
        // Oldest first, as the list of retired numbers is kept.
        let numbers: Vec<u32> = (self.inactive.iter().rev())
            .map(|key| key.number)
            .filter(|number| condemned(*number))
            .collect();
        self.inactive.retain(|key| !numbers.contains(&key.number));
        extensions.destroy(&numbers);
        numbers
    }
}

fn active<K>(number: u32, key: K, created: i64) -> KeyVersion<K> {
    KeyVersion {
        number,
        state: KeyState::Active,
        created,
        key,
    }
}
