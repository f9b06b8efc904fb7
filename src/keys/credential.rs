//! The credential seam: implement [`Credential`] to open a vault with a passphrase, a device or a
//! key service.

use std::fmt::Debug;

use crate::crypto::{CipherSuite, SlotSecret, VaultId};
use crate::error::Error;

/// What opens a vault: a passphrase, a key file, or a service that yields 32 bytes.
///
/// A vault has 1 to 16 slots. A slot belongs to one credential: it holds what the credential needs to
/// find its secret again (its *parameters*, readable by anyone who reads the storage) and the root
/// key, wrapped under that secret. A credential is asked about slots of its own [`kind`](Self::kind)
/// only, in stored order, and the vault decides whether the secret fits: a secret that does not, an
/// `Ok(None)` and an error all lead to the next slot.
///
/// Parameters are not authentic when [`secret`](Self::secret) sees them: whoever can write the
/// storage can plant others. Bound what they can make you do.
///
/// ```
/// use chartlock::Error;
/// use chartlock::keys::{Credential, SlotContext, SlotSecret};
///
/// /// Asks a key service that wraps 32 bytes; here it only turns them around.
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
    /// Which slots are its own: 1 passphrase, 2 key file. 0x7000 to 0x7fff are free for apps, all
    /// others are kept for this crate; a credential of a kind from 0x8000 on is
    /// [`Error::CredentialUnavailable`].
    fn kind(&self) -> u16;

    /// Makes the parameters and the secret of a new slot; the parameters have at most 3,984 bytes.
    ///
    /// # Errors
    /// When the credential cannot make one: [`Error::CredentialUnavailable`] for a service that is
    /// down.
    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error>;

    /// The secret of a slot that was enrolled earlier, or `None` when this slot is another's.
    ///
    /// # Errors
    /// When the credential cannot tell: [`Error::CredentialUnavailable`] for a service that is
    /// down. The error is reported only if no slot opens.
    fn secret(&self, parameters: &[u8], context: &SlotContext)
    -> Result<Option<SlotSecret>, Error>;
}

/// Which slot a credential is asked about. A service can bind it, so that what it wrapped for one
/// slot opens no other.
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
    /// A context, to try a credential of one's own without a vault.
    pub fn new(vault: [u8; 16], kind: u16, slot: u16, suite: CipherSuite) -> Self {
        Self {
            vault,
            kind,
            slot,
            suite,
        }
    }

    /// The vault's random id.
    pub fn vault(&self) -> &[u8; 16] {
        &self.vault
    }

    /// The credential's kind, the same whether the slot opens the vault or the journal alone.
    pub fn kind(&self) -> u16 {
        self.kind
    }

    /// The slot's id.
    pub fn slot(&self) -> u16 {
        self.slot
    }

    /// The vault's suite.
    pub fn suite(&self) -> CipherSuite {
        self.suite
    }
}
