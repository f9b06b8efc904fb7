//! Extensions at the end of a sealed body, for later releases; and the one extension in use.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The first number that a reader must know. Those below are carried by readers that do not.
const CRITICAL: u16 = 0x8000;
/// The numbers of retired keys, u32 each, the newest last.
const RETIRED: u16 = 1;
/// How many retired numbers are kept.
const RETIRED_MAX: usize = 1024;

/// Extensions in ascending order of their numbers.
///
/// Retired numbers are kept because an object under a key that is gone may be replaced only if that
/// key is *known* to have been retired: on storage without transactions a writer that stalled longer
/// than the grace may leave such an object, never acknowledged. A number that is merely unknown
/// proves nothing, for a header restored from a backup does not know younger keys.
#[derive(Default)]
pub struct Extensions(Vec<Extension>);

/// One extension; its bytes are wiped, for a later release may keep secrets there.
pub(super) struct Extension {
    pub(super) number: u16,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Extensions {
    /// Extensions as they were stored.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless they strictly ascend, or for a list of retired numbers that is
    /// not whole; [`Error::Unsupported`] for a number from 0x8000 on.
    pub(super) fn from_stored(stored: Vec<Extension>) -> Result<Self> {
        let ascending = stored.is_sorted_by(|left, right| left.number < right.number);
        let whole = (stored.iter())
            .filter(|extension| extension.number == RETIRED)
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

    /// Whether the key of this number was held once and then retired.
    pub fn was_destroyed(&self, number: u32) -> bool {
        let (numbers, _) = self.retired().as_chunks::<4>();
        numbers.contains(&number.to_le_bytes())
    }

    /// Notes retired numbers, and forgets the oldest ones beyond 1,024.
    pub(super) fn destroy(&mut self, numbers: &[u32]) {
        if numbers.is_empty() {
            return;
        }
        let mut bytes = self.retired().to_vec();
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.drain(..bytes.len().saturating_sub(4 * RETIRED_MAX));
        self.0.retain(|extension| extension.number != RETIRED);
        let place = self.0.partition_point(|other| other.number < RETIRED);
        let extension = Extension {
            number: RETIRED,
            bytes: Zeroizing::new(bytes),
        };
        self.0.insert(place, extension);
    }

    fn retired(&self) -> &[u8] {
        (self.0.iter())
            .find(|extension| extension.number == RETIRED)
            .map_or(&[], |extension| &extension.bytes)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extensions(..)")
    }
}
