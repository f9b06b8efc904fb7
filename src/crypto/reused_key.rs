//! Keys from which many keys and tags are derived.

use std::sync::OnceLock;

use crate::crypto::provider::active::ExpandKey;
use crate::error::Result;
use crate::secret::Secret32;

/// A key of HKDF-Expand.
pub(super) trait Expand {
    /// Computes HKDF-Expand-SHA-256 of this key and the concatenated parts of `info`.
    fn expand(&self, info: &[&[u8]], out: &mut [u8]) -> Result<()>;
}

/// A secret with its prepared state of HKDF-Expand, which saves two of about five hash computations
/// for each derivation. The state is prepared at the first use and wiped together with the secret.
pub(super) struct ReusedKey {
    secret: Secret32,
    state: OnceLock<ExpandKey>,
}

impl ReusedKey {
    pub(super) fn try_with<E>(
        fill: impl FnOnce(&mut [u8; 32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        Secret32::try_with(fill).map(Self::from)
    }

    pub(super) fn copied(bytes: &[u8; 32]) -> Self {
        Secret32::copied(bytes).into()
    }

    pub(super) fn expose(&self) -> &[u8; 32] {
        self.secret.expose()
    }
}

impl From<Secret32> for ReusedKey {
    fn from(secret: Secret32) -> Self {
        Self {
            secret,
            state: OnceLock::new(),
        }
    }
}

impl Expand for ReusedKey {
    fn expand(&self, info: &[&[u8]], out: &mut [u8]) -> Result<()> {
        let state = match self.state.get() {
            Some(state) => state,
            None => {
                let state = ExpandKey::new(self.expose())?;
                self.state.get_or_init(|| state)
            }
        };
        state.expand(info, out)
    }
}
