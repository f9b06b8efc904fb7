//! Credential of kind 7: a key in the transit engine of HashiCorp Vault or OpenBao.
//!
//! The buffers of the HTTP and TLS libraries hold the secret and the token during a request, and are not wiped.

mod options;
mod service;
mod token_source;
mod wrapped_secret;

use std::fmt;

use crate::crypto::{self, SlotSecret};
use crate::error::{CredentialFailure, Error, Result};
use crate::keys::credentials::credential::{Credential, SlotContext};

pub use options::TransitOptions;
use service::{KeyState, Service};
use wrapped_secret::WrappedSecret;

const KIND: u16 = 7;
/// The first bytes of what the service binds to a ciphertext.
const LABEL: &[u8] = b"cl1/tran";
/// The types of keys that authenticate the binding, with keys of 256 bits.
const KEY_TYPES: [&str; 3] = ["aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];

/// A key in the transit engine of HashiCorp Vault or OpenBao, which opens a vault while the service is reachable.
///
/// The service encrypts 32 random bytes, the slot secret, and the slot contains the ciphertext. The key never
/// leaves the service. The random bytes come from this machine, so they do not depend on the service's generator.
/// The vault id, the kind and the slot id are bound to the ciphertext, as `associated_data` and as `context`: the
/// service refuses a ciphertext that was moved to another slot or vault. The service sees the slot secret, but
/// neither the root key nor records. With a copy of the header, its operator could open the vault.
///
/// # Key and permissions
/// The key has the type `aes256-gcm96`, `chacha20-poly1305` or `xchacha20-poly1305`. It can be derived, but not
/// convergent. HashiCorp Vault must be 1.9 or newer, because older releases ignore `associated_data`. The token
/// needs `update` on `MOUNT/encrypt/KEY` and `MOUNT/decrypt/KEY`, and `read` on `MOUNT/keys/KEY`. Only a new slot
/// needs `encrypt`. Do not grant `create`: with it, the service creates a key that does not exist.
///
/// # Rotation of the key
/// After a rotation in the service, slots still open, because the service keeps the old versions of the key. A
/// slot keeps the version that encrypted it. Before you raise `min_decryption_version` or trim versions:
///
/// 1. Rotate the key in the service.
/// 2. Replace each slot with [`Vault::replace_slot`](crate::Vault::replace_slot) and this credential.
/// 3. Retire the old versions.
///
/// Otherwise the slots fail with [`CredentialFailure::KeyVersionRetired`] until the service accepts the old version
/// again, or permanently if the version was trimmed.
///
/// # Failures
/// [`Error::Credential`] has one of these reasons:
/// - [`Unreachable`](CredentialFailure::Unreachable): no connection, a certificate that is not trusted, a gateway
///   that does not reach the service, or a service that is overloaded or fails internally (status 429 or 5xx,
///   except 504, and except 503 with an error of the service).
/// - [`TimedOut`](CredentialFailure::TimedOut): no complete response within the time limit, or status 504.
/// - [`Denied`](CredentialFailure::Denied): the token cannot be read, is refused, or lacks a permission.
/// - [`LogExposesSecrets`](CredentialFailure::LogExposesSecrets): the app's log would contain the token and the secret; no request was sent.
/// - [`KeyGone`](CredentialFailure::KeyGone): no such key, mount or namespace.
/// - [`KeyVersionRetired`](CredentialFailure::KeyVersionRetired): see above.
/// - [`Locked`](CredentialFailure::Locked): the service is sealed, or the namespace is locked.
/// - [`Other`](CredentialFailure::Other): any other answer. Redirects are among these: they are not followed, because
///   the token would go to an address that the app has not given.
///
/// If the service refuses a ciphertext that was forged, moved, or encrypted by another key, the slot counts as
/// a slot of another credential. So does a ciphertext of a version that the service does not have, as after a restore
/// of the service from an older backup.
///
/// ```
/// # use chartlock::keys::{Credential, TransitOptions};
/// // An agent beside the app renews the token in this file.
/// let transit = TransitOptions::new("https://vault.clinic.example:8200", "patient-records")
///     .token_file("/run/secrets/vault-token")
///     .build()?;
/// assert_eq!(transit.kind(), 7);
/// # Ok::<(), chartlock::Error>(())
/// ```
pub struct Transit(Service);

impl Transit {
    /// Decrypts the fresh ciphertext once, because a slot that can be written but not opened would be found too
    /// late.
    fn check_opens(&self, wrapped: &WrappedSecret, secret: &SlotSecret, slot: &[u8]) -> Result<()> {
        let opened = self.0.decrypt(wrapped, slot)?;
        let is_same = opened.is_some_and(|opened| crypto::equal(opened.expose(), secret.expose()));
        is_same
            .then_some(())
            .ok_or(Error::Credential(CredentialFailure::Other))
    }
}

impl Credential for Transit {
    fn kind(&self) -> u16 {
        KIND
    }

    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret)> {
        if !self.0.key_state(|key| key.is_one_of(&KEY_TYPES))? {
            return Err(Error::InvalidCredentialSetting);
        }
        let (secret, binding) = (SlotSecret::random()?, context.binding(LABEL));
        let wrapped = self.0.encrypt(&secret, &binding)?;
        self.check_opens(&wrapped, &secret, &binding)?;
        Ok((wrapped.to_parameters(), secret))
    }

    fn secret(&self, parameters: &[u8], context: &SlotContext) -> Result<Option<SlotSecret>> {
        let Some(wrapped) = WrappedSecret::from_parameters(parameters) else {
            return Ok(None);
        };
        let binding = context.binding(LABEL);
        match self.0.decrypt(&wrapped, &binding)? {
            Some(secret) => Ok(Some(secret)),
            None => self.0.key_state(|key| refusal(key, &wrapped))?,
        }
    }
}

/// Returns the reason why the service does not decrypt a ciphertext. The service has the same status for each
/// reason, and only its texts differ.
fn refusal(key: &KeyState<'_>, wrapped: &WrappedSecret) -> Result<Option<SlotSecret>> {
    match wrapped.key_version() < key.min_decryption_version {
        true => Err(Error::Credential(CredentialFailure::KeyVersionRetired)),
        false => Ok(None),
    }
}

impl fmt::Debug for Transit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transit(..)")
    }
}
