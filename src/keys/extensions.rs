//! Extensions at the end of a sealed body: numbered fields for later releases, and the list of
//! destroyed key numbers.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::keys::slot_names::SlotNames;

/// The first critical extension number. A reader refuses a body with an unknown critical extension,
/// but preserves unknown extensions below this number.
const CRITICAL: u16 = 0x8000;
/// The extension that lists the numbers of destroyed keys, as u32 values with the newest last.
const DESTROYED: u16 = 1;
/// The extension of a keyring that contains labels and creation times of slots.
pub(super) const SLOT_NAMES: u16 = 2;
/// The maximum length of the list of destroyed key numbers. A longer list loses its oldest numbers.
const DESTROYED_MAX: usize = 1024;

/// Extensions in ascending order of their numbers.
///
/// The list of destroyed key numbers shows which missing keys were destroyed on purpose. On a
/// storage that is not transactional, a writer that stalls longer than the key removal delay can
/// leave an object under a destroyed key. Such an object was never acknowledged, so a later write may
/// replace it. A write must not replace an object under any other missing key, because a restored
/// backup of an old header or entry also lacks keys.
#[derive(Default)]
pub struct Extensions(Vec<Extension>);

/// A numbered extension. The bytes are wiped on drop, because a later release may store secrets in
/// them.
pub(super) struct Extension {
    pub(super) number: u16,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Extensions {
    /// Validates decoded extensions and returns them as a list.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless the extension numbers strictly ascend, or if the list of destroyed
    /// key numbers is not a multiple of 4 bytes; [`Error::Unsupported`] for an extension number from
    /// 0x8000 on.
    pub(super) fn from_stored(stored: Vec<Extension>) -> Result<Self> {
        let ascending = stored.is_sorted_by(|left, right| left.number < right.number);
        let whole = (stored.iter())
            .filter(|extension| extension.number == DESTROYED)
            .all(|extension| extension.bytes.len() % 4 == 0);
        if !ascending || !whole {
            return Err(Error::Malformed);
        }
        let critical = stored.iter().any(|extension| extension.number >= CRITICAL);
        (!critical)
            .then_some(Self(stored))
            .ok_or(Error::Unsupported)
    }

    /// Validates decoded extensions of a keyring.
    ///
    /// # Errors
    /// [`Error::Malformed`] for extension 2 with another content; otherwise the errors of
    /// [`Extensions::from_stored`].
    pub(super) fn of_keyring(stored: Vec<Extension>) -> Result<Self> {
        let names = stored.iter().find(|it| it.number == SLOT_NAMES);
        let names = names.map(|it| SlotNames::parse(&it.bytes));
        match (Self::from_stored(stored), names.transpose()) {
            (Err(Error::Unsupported), Err(malformed)) => Err(malformed),
            (extensions, names) => {
                let extensions = extensions?;
                names.map(|_| extensions)
            }
        }
    }

    /// Returns the names of slots in the extensions of a keyring.
    pub(super) fn slot_names(&self) -> Result<SlotNames> {
        SlotNames::parse(self.get(SLOT_NAMES))
    }

    /// Replaces the names of slots in the extensions of a keyring.
    pub(super) fn set_slot_names(&mut self, names: &SlotNames) {
        self.set(SLOT_NAMES, names.encode());
    }

    pub(super) fn as_stored(&self) -> &Vec<Extension> {
        &self.0
    }

    /// Returns `true` if a key of this number existed and was destroyed.
    pub fn was_destroyed(&self, number: u32) -> bool {
        let (numbers, _) = self.destroyed_numbers().as_chunks::<4>();
        numbers.contains(&number.to_le_bytes())
    }

    /// Adds `numbers` to the list of destroyed key numbers. Drops the oldest numbers if the list
    /// exceeds 1,024 numbers.
    pub(super) fn destroy(&mut self, numbers: &[u32]) {
        if numbers.is_empty() {
            return;
        }
        let mut bytes = self.destroyed_numbers().to_vec();
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.drain(..bytes.len().saturating_sub(4 * DESTROYED_MAX));
        self.set(DESTROYED, bytes);
    }

    fn destroyed_numbers(&self) -> &[u8] {
        self.get(DESTROYED)
    }

    /// Returns the bytes of an extension; empty if there is none with this number.
    fn get(&self, number: u16) -> &[u8] {
        (self.0.iter())
            .find(|extension| extension.number == number)
            .map_or(&[], |extension| &extension.bytes)
    }

    /// Replaces an extension. Removes the extension if there are no bytes.
    fn set(&mut self, number: u16, bytes: Vec<u8>) {
        self.0.retain(|extension| extension.number != number);
        if bytes.is_empty() {
            return;
        }
        let place = self.0.partition_point(|other| other.number < number);
        let bytes = Zeroizing::new(bytes);
        self.0.insert(place, Extension { number, bytes });
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extensions(..)")
    }
}
