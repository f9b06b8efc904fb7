//! Interface for credentials: implement [`Credential`] to open a vault with a passphrase, a device or
//! a key service.

use std::fmt::Debug;

use crate::crypto::{CipherSuite, SlotSecret, VaultId};
use crate::error::Error;
use crate::keys::credentials::label::SlotLabel;

/// A source of the 32-byte secret that opens a slot: a passphrase, a key file, a device or a key
/// service.
///
/// A vault has 1 to 16 slots, and each slot belongs to one credential. The slot stores the root
/// key, wrapped under the credential's secret. The slot also stores *parameters*, from which the
/// credential recovers its secret. Everyone who can read the storage can read the parameters.
///
/// The vault passes to a credential only slots of the credential's own [`kind`](Self::kind), in
/// stored order; passphrase slots of lower cost come first. The vault verifies each returned secret.
/// After a wrong secret, `Ok(None)` or an error, the vault tries the next slot.
///
/// The vault has not authenticated the parameters when it calls [`secret`](Self::secret): an
/// attacker who can write to the storage can forge them. Limit the time and memory that your code
/// spends on forged parameters, never take the address of a service or the name of a key from them, and
/// bind the wrapped secret to the [`SlotContext`].
///
/// A call may ask a device or a service. One operation of a vault calls the credential at most once for each
/// slot, even if it repeats its commit, and calls it for no further slot after
/// [`CredentialFailure::Unreachable`](crate::keys::CredentialFailure::Unreachable) or
/// [`CredentialFailure::TimedOut`](crate::keys::CredentialFailure::TimedOut). Since a vault can have several slots
/// of one kind, check a PIN when you create the credential, and not in [`secret`](Self::secret): several wrong
/// attempts can lock a device.
///
/// A call that waits makes other changes of slots and keys wait that use the same [`Vault`](crate::Vault) or a clone
/// of it, so limit the time of each call. A credential must not change that vault, because the
/// change would never end.
///
/// ```
/// use chartlock::Error;
/// use chartlock::keys::{Credential, SlotContext, SlotSecret};
///
/// /// A credential of a key service that wraps 32 bytes. This example only reverses the bytes.
/// #[derive(Debug)]
/// struct Service;
///
/// fn reversed(bytes: &[u8; 32], out: &mut [u8; 32]) {
///     out.copy_from_slice(bytes);
///     out.reverse();
/// }
///
/// impl Credential for Service {
///     fn kind(&self) -> u16 {
///         0x7001
///     }
///
///     fn name(&self) -> &str {
///         "com.example.service"
///     }
///
///     fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
///         let secret = SlotSecret::random()?;
///         let mut wrapped = [0; 32];
///         reversed(secret.expose(), &mut wrapped);
///         Ok((wrapped.to_vec(), secret))
///     }
///
///     fn secret(&self, parameters: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
///         let Ok(wrapped) = parameters.try_into() else {
///             return Ok(None);
///         };
///         SlotSecret::try_with(|secret| Ok(reversed(wrapped, secret))).map(Some)
///     }
/// }
/// ```
pub trait Credential: Debug + Send + Sync {
    /// Returns the kind of this credential's slots, such as 1 for a passphrase or 2 for a key file.
    ///
    /// Apps use 0x7000 to 0x7fff; all other numbers are reserved for this crate. The vault refuses
    /// kinds above 0x7fff with [`Error::InvalidCredential`].
    fn kind(&self) -> u16;

    /// Returns a name for a kind of 0x7000 to 0x7fff: 1 to 64 printable ASCII characters that no other
    /// app uses, such as `com.example.smartcard`. The vault stores it before the parameters, and passes
    /// only slots with this name to the credential. So two apps can use the same number. The name of
    /// other kinds is ignored.
    fn name(&self) -> &str {
        ""
    }

    /// Creates the parameters (at most 3,984 bytes, less the name and 1 byte) and the secret of a new
    /// slot. The same slot is enrolled again when the root key is rotated.
    ///
    /// The operation can fail afterwards, so that the new parameters are never stored. Therefore the former
    /// parameters of the slot must still give their secret.
    ///
    /// # Errors
    /// Returns an error if the credential cannot create a secret, such as [`Error::Credential`] for a
    /// service that is down.
    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error>;

    /// Returns the secret of a slot that was enrolled earlier, or `None` if the slot belongs to
    /// another credential.
    ///
    /// # Errors
    /// Returns an error if the credential cannot recover the secret, such as [`Error::Credential`] for a
    /// service that is down. The vault reports the error only if no slot opens.
    fn secret(&self, parameters: &[u8], context: &SlotContext)
    -> Result<Option<SlotSecret>, Error>;

    /// Returns a label for a slot that is enrolled with this credential. The default has none; see
    /// [`Labelled`](crate::keys::Labelled).
    fn label(&self) -> Option<SlotLabel> {
        None
    }
}

/// The vault and slot for which a credential creates or recovers a secret.
///
/// A key service can bind the context to the wrapped secret, so that a secret wrapped for one slot
/// opens no other slot.
///
/// ```
/// # use chartlock::CipherSuite;
/// # use chartlock::keys::SlotContext;
/// let context = SlotContext::new([7; 16], 0x7001, 51_966, CipherSuite::default());
/// assert_eq!(context.slot(), 51_966);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotContext {
    vault: VaultId,
    kind: u16,
    slot: u16,
    suite: CipherSuite,
}

impl SlotContext {
    /// Creates a context, for tests of a credential without a vault.
    pub fn new(vault: [u8; 16], kind: u16, slot: u16, suite: CipherSuite) -> Self {
        Self {
            vault,
            kind,
            slot,
            suite,
        }
    }

    /// Returns the vault's random id.
    pub fn vault(&self) -> &[u8; 16] {
        &self.vault
    }

    /// Returns the credential's kind; for a factor of [`Both`](crate::keys::Both), the kind of the two
    /// together. A slot that opens only the journal has the same kind as a slot that opens the vault.
    pub fn kind(&self) -> u16 {
        self.kind
    }

    /// Returns the slot's id.
    pub fn slot(&self) -> u16 {
        self.slot
    }

    /// Returns the bytes that a device or service binds to the secret of the slot: `label` ‖ vault id ‖ kind u16 ‖
    /// slot id u16.
    #[cfg(any(feature = "pkcs11", feature = "transit"))]
    pub(super) fn binding(&self, label: &[u8]) -> Vec<u8> {
        let (kind, slot) = (self.kind.to_le_bytes(), self.slot.to_le_bytes());
        [label, &self.vault, &kind, &slot].concat()
    }

    /// Returns the vault's cipher suite.
    pub fn suite(&self) -> CipherSuite {
        self.suite
    }
}
