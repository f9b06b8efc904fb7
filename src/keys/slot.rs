//! Slot of a header, which wraps the root key, or an auditor's journal key, under the secret of one
//! credential.

use std::fmt;

use crate::crypto::{
    self, CipherSuite, Commitment, JournalKey, RootKey, Salt, SealingKey, VaultId, slot_key,
};
use crate::error::{Error, Result};
use crate::format::codec::{take, take_slice};
use crate::keys::credentials::both;
use crate::keys::credentials::credential::{Credential, SlotContext};
use crate::keys::credentials::label::SlotLabel;
use crate::keys::credentials::stored_parameters::{checked_kind, with_name, without_name};
use crate::keys::wrap::{Wrapped, open_key, seal_key};

/// The maximum length of a slot's body, in bytes.
const BODY_MAX: usize = 4096;
/// The number of bytes after the parameters: wrap salt 32, commitment 32, wrapped key 48.
const TAIL: usize = 112;
/// The bit of a slot's kind that marks an auditor slot, which opens only the journal. The other bits
/// are the credential's kind.
const JOURNAL_ONLY: u16 = 0x8000;
/// The description of a slot, for listing the slots of a vault.
///
/// ```
/// # use chartlock::keys::SlotInfo;
/// let passphrases = |slots: &[SlotInfo]| slots.iter().filter(|slot| slot.kind == 1).count();
/// assert_eq!(passphrases(&[]), 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub struct SlotInfo {
    /// The slot's random id, which stays the same when the credential is replaced.
    pub id: u16,
    /// The credential's kind: 1 passphrase, 2 key file, 3 recovery shares, 4 two factors, 5 PKCS#11,
    /// 6 AWS KMS, 7 transit, and from 0x7000 on an app's own.
    pub kind: u16,
    /// `true` for an auditor slot, which opens the journal and no record.
    pub journal_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<SlotLabel>,
}

impl SlotInfo {
    /// Returns the time at which the slot got its credential, in milliseconds since the Unix epoch, by
    /// the clock of the machine that wrote it. `None` if the vault does not contain it.
    pub fn created(&self) -> Option<i64> {
        self.created
    }

    /// Returns the label of the slot, if it has one; see [`Labelled`](crate::keys::Labelled).
    pub fn label(&self) -> Option<&str> {
        self.label.as_ref().map(SlotLabel::text)
    }
}

/// The key that a slot wraps: the root key, or the journal key in an auditor slot.
///
/// The derivation of the slot key includes the slot's kind with the auditor bit. If an attacker
/// changes the bit, the slot no longer opens. So a journal key is never used as a root key, and a
/// root key is never used as a journal key.
#[derive(Clone, Copy)]
pub(super) enum SlotKey<'a> {
    Root(&'a RootKey),
    Journal(&'a JournalKey),
}

impl SlotKey<'_> {
    fn mark(self) -> u16 {
        match self {
            Self::Root(_) => 0,
            Self::Journal(_) => JOURNAL_ONLY,
        }
    }

    fn expose(&self) -> &[u8; 32] {
        match self {
            Self::Root(key) => key.expose(),
            Self::Journal(key) => key.expose(),
        }
    }
}

/// A slot of a header. A parsed slot is authenticated only by the keyring's commitment.
#[derive(Clone)]
pub(super) struct Slot {
    kind: u16,
    pub(super) id: u16,
    parameters: Vec<u8>,
    salt: Salt,
    commitment: Commitment,
    wrapped: Wrapped,
}

impl Slot {
    /// Enrols a slot for `credential`. The fresh wrap salt ensures that a slot key seals only once,
    /// even if a key file returns the same secret for the same id again.
    pub(super) fn enrol(
        vault: (&VaultId, CipherSuite),
        id: u16,
        credential: &dyn Credential,
        wrapped_key: SlotKey<'_>,
    ) -> Result<Self> {
        let (vault, suite) = vault;
        let credential_kind = checked_kind(credential)?;
        let context = SlotContext::new(*vault, credential_kind, id, suite);
        let (own_parameters, secret) = credential.enrol(&context)?;
        let parameters = with_name(credential, &own_parameters)?;
        if parameters.len() > BODY_MAX - TAIL {
            return Err(Error::InvalidCredential);
        }
        let kind = credential_kind | wrapped_key.mark();
        let salt = crypto::fresh()?;
        let (sealing, commitment) =
            slot_key(suite, &secret, vault, (kind, id), &salt, &parameters)?;
        Ok(Self {
            kind,
            id,
            wrapped: seal_key(&sealing, wrapped_key.expose())?,
            parameters,
            salt,
            commitment,
        })
    }

    /// Returns the root key if this slot belongs to `credential`, opens the vault and is intact. The
    /// key may be an earlier root key, so the caller must verify the keyring's commitment with it.
    pub(super) fn open(
        &self,
        vault: (&VaultId, CipherSuite),
        credential: &dyn Credential,
    ) -> Result<Option<RootKey>> {
        let sealing = self.opening(vault, credential, 0)?;
        Ok(
            sealing
                .and_then(|key| RootKey::try_with(|out| open_key(&key, &self.wrapped, out)).ok()),
        )
    }

    /// Returns the journal key if this is an intact auditor slot of `credential`. The key may be an
    /// earlier journal key.
    pub(super) fn open_journal(
        &self,
        vault: (&VaultId, CipherSuite),
        credential: &dyn Credential,
    ) -> Result<Option<JournalKey>> {
        let sealing = self.opening(vault, credential, JOURNAL_ONLY)?;
        Ok(sealing
            .and_then(|key| JournalKey::try_with(|out| open_key(&key, &self.wrapped, out)).ok()))
    }

    /// Returns the slot key if the slot's kind equals the credential's kind combined with `mark`, and
    /// the commitment matches. `mark` is the auditor bit or zero.
    fn opening(
        &self,
        vault: (&VaultId, CipherSuite),
        credential: &dyn Credential,
        mark: u16,
    ) -> Result<Option<SealingKey>> {
        let credential_kind = checked_kind(credential)?;
        let own_parameters = match self.own_parameters(credential)? {
            Some(parameters) if self.kind == credential_kind | mark => parameters,
            _ => return Ok(None),
        };
        let (vault, suite) = vault;
        let context = SlotContext::new(*vault, credential_kind, self.id, suite);
        let Some(secret) = credential.secret(own_parameters, &context)? else {
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
        Ok(crypto::equal(&commitment, &self.commitment).then_some(sealing))
    }

    /// Returns `true` for a slot of the credential's kind, and, for an app's kind, of its name.
    pub(super) fn is_of(&self, credential: &dyn Credential) -> Result<bool> {
        Ok(self.own_parameters(credential)?.is_some())
    }

    /// Returns the parameters as the credential created them, or `None` for a slot of another kind or
    /// name.
    fn own_parameters(&self, credential: &dyn Credential) -> Result<Option<&[u8]>> {
        let is_of_kind = self.kind & !JOURNAL_ONLY == checked_kind(credential)?;
        let own = without_name(credential, &self.parameters)?;
        Ok(own.filter(|_| is_of_kind))
    }

    /// Returns the work that the passphrases of the slot take, in KiB times passes; 0 without a passphrase.
    pub(super) fn work(&self) -> u64 {
        both::work(self.kind & !JOURNAL_ONLY, &self.parameters)
    }

    pub(super) fn is_journal_only(&self) -> bool {
        self.kind & JOURNAL_ONLY != 0
    }

    /// Parses the next slot and removes it from `rest`.
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

    /// Encodes the slot so that [`Slot::parse`] returns it unchanged.
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
            kind: self.kind & !JOURNAL_ONLY,
            journal_only: self.is_journal_only(),
            created: None,
            label: None,
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info().fmt(f)
    }
}
