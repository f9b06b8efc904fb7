//! One slot of a header: the root key under one credential's secret.

use std::fmt;

use super::credential::{Credential, SlotContext};
use super::wrap::{Wrapped, open_key, seal_key};
use crate::codec::{take, take_slice};
use crate::crypto::{self, Commitment, RootKey, Salt, Suite, VaultId, slot_key};
use crate::error::{Error, Result};

/// The longest slot body, in bytes.
const BODY_MAX: usize = 4096;
/// What follows the parameters: wrap salt 32, commitment 32, wrapped root key 48.
const TAIL: usize = 112;

/// A slot as the header lists it.
///
/// ```
/// # use chartlock::keys::SlotInfo;
/// let passphrases = |slots: &[SlotInfo]| slots.iter().filter(|slot| slot.kind == 1).count();
/// assert_eq!(passphrases(&[]), 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub struct SlotInfo {
    /// The slot's id: random, and kept when the slot is replaced.
    pub id: u16,
    /// Whose it is: 1 passphrase, 2 key file, others as their credentials say.
    pub kind: u16,
}

/// A slot, parsed but not authenticated: the keyring's commitment covers it.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) kind: u16,
    pub(super) id: u16,
    parameters: Vec<u8>,
    salt: Salt,
    commitment: Commitment,
    wrapped: Wrapped,
}

impl Slot {
    /// A slot for `credential`, always with a fresh wrap salt: its slot key seals once, even where
    /// a key file yields the same secret under the same id again.
    pub(super) fn enrol(
        vault: (&VaultId, Suite),
        id: u16,
        credential: &dyn Credential,
        root: &RootKey,
    ) -> Result<Self> {
        let (vault, suite) = vault;
        let kind = credential.kind();
        let context = SlotContext::new(*vault, kind, id, suite);
        let (parameters, secret) = credential.enrol(&context)?;
        if parameters.len() > BODY_MAX - TAIL {
            return Err(Error::CredentialUnavailable);
        }
        let salt = crypto::fresh()?;
        let (sealing, commitment) =
            slot_key(suite, &secret, vault, (kind, id), &salt, &parameters)?;
        Ok(Self {
            kind,
            id,
            wrapped: seal_key(&sealing, root.expose())?,
            parameters,
            salt,
            commitment,
        })
    }

    /// The root key, if this is a slot of `credential` and intact. It may still be a root key of
    /// earlier: whoever asks compares the keyring's commitment.
    pub(super) fn open(
        &self,
        vault: (&VaultId, Suite),
        credential: &dyn Credential,
    ) -> Result<Option<RootKey>> {
        if self.kind != credential.kind() {
            return Ok(None);
        }
        let (vault, suite) = vault;
        let context = SlotContext::new(*vault, self.kind, self.id, suite);
        let Some(secret) = credential.secret(&self.parameters, &context)? else {
            return Ok(None);
        };
        let (sealing, commitment) = slot_key(
            suite,
            &secret,
            vault,
            (self.kind, self.id),
            &self.salt,
            &self.parameters,
        )?;
        if !crypto::equal(&commitment, &self.commitment) {
            return Ok(None);
        }
        Ok(RootKey::try_with(|out| open_key(&sealing, &self.wrapped, out)).ok())
    }

    /// The next slot, taken off `rest`.
    pub(super) fn parse(rest: &mut &[u8]) -> Result<Self> {
        let kind = u16::from_le_bytes(*take(rest)?);
        let id = u16::from_le_bytes(*take(rest)?);
        let length = u32::from_le_bytes(*take(rest)?);
        let length = usize::try_from(length).map_err(|_| Error::Malformed)?;
        let parameters = length.checked_sub(TAIL).ok_or(Error::Malformed)?;
        Ok(Self {
            kind,
            id,
            parameters: take_slice(rest, parameters, BODY_MAX - TAIL)?.to_vec(),
            salt: *take(rest)?,
            commitment: *take(rest)?,
            wrapped: *take(rest)?,
        })
    }

    /// The bytes that [`Slot::parse`] reads back to this very slot.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let length = (self.parameters.len() + TAIL) as u32;
        out.extend(self.kind.to_le_bytes());
        out.extend(self.id.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(&self.parameters);
        out.extend(self.salt);
        out.extend(self.commitment);
        out.extend(self.wrapped);
    }

    pub(super) fn info(&self) -> SlotInfo {
        SlotInfo {
            id: self.id,
            kind: self.kind,
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info().fmt(f)
    }
}
