//! Rings of numbered keys of one role, of which one key is active.

use crate::crypto;
use crate::error::{Error, Result};
use crate::keys::extensions::Extensions;

/// The state of a key in a ring, which decides if the key still seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// The key seals and opens.
    Active,
    /// The key only opens, until it is destroyed.
    Inactive,
}

/// A key with its number. The number is random and does not express an order.
#[derive(Debug)]
pub struct KeyVersion<K> {
    /// The number by which stored values reference the key.
    pub number: u32,
    /// The state, which decides if the key still seals.
    pub state: KeyState,
    /// The creation time in milliseconds since 1970, by the clock of the machine that created the
    /// key.
    pub created: i64,
    /// The key.
    pub key: K,
}

/// The keys of one role in stored order: the active key first, then the inactive keys, the newest
/// first.
#[derive(Debug)]
pub struct Ring<K> {
    active: KeyVersion<K>,
    inactive: Vec<KeyVersion<K>>,
}

impl<K> Ring<K> {
    /// Creates a ring of one key.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn new(key: K, now: i64, extensions: &Extensions) -> Result<Self> {
        let number = crypto::number(|number| extensions.was_destroyed(number))?;
        Ok(Self {
            active: active(number, key, now),
            inactive: Vec::new(),
        })
    }

    /// Creates a ring from decoded keys and validates their states and numbers.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless the first key is active, all others are inactive and no number
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

    /// Returns all keys, in stored order.
    pub fn iter(&self) -> impl Iterator<Item = &KeyVersion<K>> {
        std::iter::once(&self.active).chain(&self.inactive)
    }

    /// Returns the active key, which seals.
    pub fn active(&self) -> &KeyVersion<K> {
        &self.active
    }

    /// Returns the oldest key.
    pub fn first(&self) -> &KeyVersion<K> {
        self.inactive.last().unwrap_or(&self.active)
    }

    /// Returns the number of inactive keys.
    pub fn inactive_count(&self) -> usize {
        self.inactive.len()
    }

    /// Returns the key with this number.
    pub fn find(&self, number: u32) -> Option<&KeyVersion<K>> {
        self.iter().find(|key| key.number == number)
    }

    /// Makes `key` the active key and returns its number. The number differs from those of all keys in
    /// the ring and of all destroyed keys in `extensions`.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn rotate(&mut self, key: K, now: i64, extensions: &Extensions) -> Result<u32> {
        let number = crypto::number(|number| {
            self.find(number).is_some() || extensions.was_destroyed(number)
        })?;
        let mut former = std::mem::replace(&mut self.active, active(number, key, now));
        former.state = KeyState::Inactive;
        self.inactive.insert(0, former);
        Ok(number)
    }

    /// Destroys the inactive keys that `condemned` selects, adds their numbers to the list of destroyed
    /// key numbers in `extensions`, and returns the numbers.
    pub fn destroy(
        &mut self,
        condemned: impl Fn(u32) -> bool,
        extensions: &mut Extensions,
    ) -> Vec<u32> {
        // Collect the numbers oldest first, because the list of destroyed key numbers has this
        // order.
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
