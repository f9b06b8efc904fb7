//! Key types, one for each role. No key can be copied, cloned, compared, serialized or printed.

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::provider::active::expand;
use crate::crypto::random;
use crate::crypto::reused_key::{Expand, ReusedKey};
use crate::error::Result;
use crate::secret::Secret32;

impl Expand for Secret32 {
    fn expand(&self, info: &[&[u8]], out: &mut [u8]) -> Result<()> {
        expand(self.expose(), info, out)
    }
}

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident($inner:ident))*) => {$(
        $(#[$doc])*
        pub struct $role($inner);

        impl $role {
            /// Creates a key whose 32 bytes `fill` writes in place.
            ///
            /// # Errors
            /// Returns the error of `fill`.
            pub fn try_with(fill: impl FnOnce(&mut [u8; 32]) -> Result<()>) -> Result<Self> {
                $inner::try_with(fill).map(Self)
            }

            /// Returns the key's 32 bytes, for wrapping or derivation.
            pub fn expose(&self) -> &[u8; 32] {
                self.0.expose()
            }
        }

        impl Expand for $role {
            fn expand(&self, info: &[&[u8]], out: &mut [u8]) -> Result<()> {
                self.0.expand(info, out)
            }
        }

        impl fmt::Debug for $role {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($role), "(..)"))
            }
        }
    )*};
}

macro_rules! generated_roles {
    ($($role:ident)*) => {$(
        impl $role {
            /// Generates a key with the operating system's random generator.
            ///
            /// # Errors
            /// `Randomness` if the operating system returns no random bytes.
            pub fn random() -> Result<Self> {
                Self::try_with(|bytes| random::fill(bytes))
            }
        }
    )*};
}

macro_rules! copied_roles {
    ($($role:ident($inner:ident))*) => {$(
        impl $role {
            /// Creates a key from a copy of `bytes`. The caller wipes the original.
            pub fn from_bytes(bytes: &[u8; 32]) -> Self {
                Self($inner::copied(bytes))
            }
        }
    )*};
}

generated_roles! {
    SlotSecret RootKey MasterKey NameKey JournalKey AuthorityKey PatientNameKey PatientKey DataKey
    StreamKey
}
copied_roles! {
    SlotSecret(Secret32) JournalKey(ReusedKey) AuthorityKey(ReusedKey) DataKey(Secret32)
    StreamKey(Secret32)
}
// Only test vectors create these keys from given bytes; the crate itself generates or unwraps them
// in place.
#[cfg(feature = "internals")]
copied_roles! { RootKey(Secret32) MasterKey(ReusedKey) PatientKey(ReusedKey) }

roles! {
    /// The secret that a credential returns: 32 uniformly random bytes that open one slot.
    ///
    /// ```
    /// # use chartlock::keys::SlotSecret;
    /// let secret = SlotSecret::try_with(|bytes| {
    ///     bytes.fill(7); // a key service client would write its secret here
    ///     Ok(())
    /// })?;
    /// assert_eq!(format!("{secret:?}"), "SlotSecret(..)");
    /// # Ok::<(), chartlock::Error>(())
    /// ```
    SlotSecret(Secret32)
    /// Root key: seals the keyring. Each vault has one root key.
    RootKey(Secret32)
    /// Master key: seals patient entries.
    MasterKey(ReusedKey)
    /// Name key of the keyring: derives patient tags, so that storage keys reveal no identifier of
    /// a subject.
    NameKey(ReusedKey)
    /// Journal key: seals journal pages. Auditors share this key.
    JournalKey(ReusedKey)
    /// Authority key: shows that a vault wrote a journal page. No auditor gets this key.
    AuthorityKey(ReusedKey)
    /// Key of a role that this release does not use. A keyring keeps such keys unchanged.
    ReservedKey(Secret32)
    /// Name key of one chart: derives record tags, so that storage keys reveal no record name.
    PatientNameKey(ReusedKey)
    /// Patient key: wraps the data keys of one subject.
    PatientKey(ReusedKey)
    /// Data key: seals one version of one record. Sealing consumes the key.
    DataKey(Secret32)
    /// Stream key: seals one content stream.
    StreamKey(Secret32)
}

impl DataKey {
    /// Generates `count` keys with one call to the operating system.
    ///
    /// # Errors
    /// `Randomness` if the operating system returns no random bytes.
    pub fn batch(count: usize) -> Result<Vec<Self>> {
        let mut bytes = Zeroizing::new(vec![0; count * 32]);
        random::fill(&mut bytes)?;
        let (keys, _) = bytes.as_chunks::<32>();
        Ok(keys.iter().map(Self::from_bytes).collect())
    }
}
