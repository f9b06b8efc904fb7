//! Extensions at the end of a sealed body, for later releases, and the one extension in use.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The first critical extension number. A reader that does not know a critical extension refuses
/// the body; it preserves unknown extensions below this number.
const CRITICAL: u16 = 0x8000;
/// The extension that lists the numbers of destroyed keys: u32 each, the newest last.
const DESTROYED: u16 = 1;
/// The maximum count of destroyed numbers in the list.
const DESTROYED_MAX: usize = 1024;

/// Extensions in ascending order of their numbers.
///
/// The list of destroyed numbers exists because an object under a lost key may be replaced only if
/// that key is *known* to have been destroyed. On storage that is not transactional, a writer that
/// stalled longer than the key removal delay may leave such an object, which was never
/// acknowledged. An unknown number alone proves nothing: a header restored from a backup does not
/// know newer keys.
#[derive(Default)]
pub struct Extensions(Vec<Extension>);

/// One extension. Its bytes are wiped on drop, because a later release may store secrets there.
pub(super) struct Extension {
    pub(super) number: u16,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Extensions {
    /// Checks and adopts decoded extensions.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless the numbers strictly ascend, or if the list of destroyed numbers
    /// is not a multiple of 4 bytes; [`Error::Unsupported`] for a number from 0x8000 on.
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

    pub(super) fn as_stored(&self) -> &Vec<Extension> {
        &self.0
    }

    /// Returns `true` if a key of this number existed and was destroyed.
    pub fn was_destroyed(&self, number: u32) -> bool {
        let (numbers, _) = self.destroyed_numbers().as_chunks::<4>();
        numbers.contains(&number.to_le_bytes())
    }

    /// Adds destroyed numbers to the list and drops the oldest ones beyond 1,024.
    pub(super) fn destroy(&mut self, numbers: &[u32]) {
        if numbers.is_empty() {
            return;
        }
        let mut bytes = self.destroyed_numbers().to_vec();
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.drain(..bytes.len().saturating_sub(4 * DESTROYED_MAX));
        self.0.retain(|extension| extension.number != DESTROYED);
        let place = self.0.partition_point(|other| other.number < DESTROYED);
        let extension = Extension {
            number: DESTROYED,
            bytes: Zeroizing::new(bytes),
        };
        self.0.insert(place, extension);
    }

    fn destroyed_numbers(&self) -> &[u8] {
        (self.0.iter())
            .find(|extension| extension.number == DESTROYED)
            .map_or(&[], |extension| &extension.bytes)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extensions(..)")
    }
}
