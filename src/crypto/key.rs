//! A type for each key role. No key can be copied, cloned, compared, serialized or printed.

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::random;
use crate::error::Result;
use crate::secret::Secret32;

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident)*) => {$(
        $(#[$doc])*
        pub struct $role(Secret32);

        impl $role {
            /// A fresh key from the operating system.
            ///
            /// # Errors
            /// `Randomness` when the system gives none.
            pub fn random() -> Result<Self> {
                Self::try_with(|bytes| random::fill(bytes))
            }

            /// A key made in place by `fill`.
            ///
            /// # Errors
            /// Those of `fill`.
            pub fn try_with(fill: impl FnOnce(&mut [u8; 32]) -> Result<()>) -> Result<Self> {
                Secret32::try_with(fill).map(Self)
            }

            /// The bytes, to wrap or to derive from.
            pub fn expose(&self) -> &[u8; 32] {
                self.0.expose()
            }
        }

        impl fmt::Debug for $role {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($role), "(..)"))
            }
        }
    )*};
}

macro_rules! copied_roles {
    ($($role:ident)*) => {$(
        impl $role {
            /// A copy of `bytes`, which the caller wipes.
            pub fn from_bytes(bytes: &[u8; 32]) -> Self {
                Self(Secret32::copied(bytes))
            }
        }
    )*};
}

copied_roles! { SlotSecret JournalKey DataKey StreamKey }
// Test vectors fix these; the crate itself draws or unwraps them in place.
#[cfg(feature = "internals")]
copied_roles! { RootKey MasterKey PatientKey }

roles! {
    /// What a credential yields: 32 uniform bytes that open one slot.
    ///
    /// ```
    /// # use chartlock::keys::SlotSecret;
    /// let secret = SlotSecret::try_with(|bytes| {
    ///     bytes.fill(7); // a key service would answer straight into this memory
    ///     Ok(())
    /// })?;
    /// assert_eq!(format!("{secret:?}"), "SlotSecret(..)");
    /// # Ok::<(), chartlock::Error>(())
    /// ```
    SlotSecret
    /// Seals the keyring. One for each vault.
    RootKey
    /// Seals patient entries.
    MasterKey
    /// Hides subjects: derives patient tags.
    NameKey
    /// Seals journal pages.
    JournalKey
    /// Hides record names: derives record tags. One for each chart.
    PatientNameKey
    /// Wraps the data keys of one patient.
    PatientKey
    /// Seals one version of one record; consumed by sealing.
    DataKey
    /// Seals one content stream.
    StreamKey
}

impl DataKey {
    /// `count` fresh keys from one call to the operating system.
    ///
    /// # Errors
    /// `Randomness` when the system gives none.
    pub fn batch(count: usize) -> Result<Vec<Self>> {
        let mut bytes = Zeroizing::new(vec![0; count * 32]);
        random::fill(&mut bytes)?;
        let (keys, _) = bytes.as_chunks::<32>();
        Ok(keys.iter().map(Self::from_bytes).collect())
    }
}
