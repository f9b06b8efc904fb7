//! Vault header: slots that wrap the root key, and the keyring that the root key seals.
//!
//! Each write of the header seals the keyring again. The keyring's commitment covers all preceding
//! bytes of the header, so a change of slots, vault id, suite or generation alone is detected.

mod slots;
mod unlock;

use std::fmt;

use crate::crypto::{
    self, CipherSuite, Commitment, FrameKey, Nonce, RootKey, Salt, TAG, VaultId, ring_key,
};
use crate::error::{Error, Result};
use crate::format::codec::{self, take, take_slice};
use crate::format::sealed::SealingPlace;
use crate::format::storage_keys;
use crate::keys::credentials::credential::Credential;
use crate::keys::former_keys::FormerKeys;
use crate::keys::keyring::Keyring;
use crate::keys::slot::{Slot, SlotInfo, SlotKey};
use crate::secret::plaintext;

pub use unlock::Unlocked;

/// The magic bytes of every header. The bytes are not valid text, identify no other format, and reveal
/// newline translation.
const MAGIC: [u8; 8] = *b"\x89CLK\r\n\x1a\n";
const FORMAT: u16 = 1;
const SLOTS_MAX: usize = 16;
/// The maximum work of opening all slots with a passphrase, in KiB times passes: 16 GiB, some 15
/// seconds. A storage writer can plant slots of the greatest cost. Therefore, a header tries its slots
/// in ascending order of their work, and stops at this sum.
const WORK_MAX: u64 = 16 * 1024 * 1024;
/// The number of bytes between the frame and the sealed keyring: salt 32, commitment 32, length 4.
const RING_HEAD: usize = 68;

/// A header, parsed but not authenticated: [`Header::unlock`] and [`Header::open_keyring`]
/// authenticate it.
///
/// Changes to the slots take effect when the caller stores the value that [`Header::sealed_with`]
/// returns.
#[derive(Clone)]
pub struct Header {
    frame: Frame,
    ring: SealedRing,
}

/// The header parts that the keyring's commitment covers.
#[derive(Clone)]
struct Frame {
    suite: CipherSuite,
    vault: VaultId,
    generation: u64,
    slots: Vec<Slot>,
    journal_keys: FormerKeys,
}

#[derive(Clone)]
struct SealedRing {
    salt: Salt,
    commitment: Commitment,
    ciphertext: Vec<u8>,
    tag: [u8; TAG],
}

impl Header {
    /// Creates the header value of a new vault, with generation 1 and one slot. Returns the value
    /// and the new root key.
    ///
    /// # Errors
    /// Errors of [`Credential::enrol`]; [`Error::Randomness`] if the system provides no random bytes.
    pub fn create(
        suite: CipherSuite,
        keyring: &Keyring,
        credential: &dyn Credential,
    ) -> Result<(Vec<u8>, RootKey)> {
        let root = RootKey::random()?;
        let mut frame = Frame {
            suite,
            vault: crypto::fresh()?,
            generation: 1,
            slots: Vec::new(),
            journal_keys: FormerKeys::default(),
        };
        let slot = frame.enrol(SlotKey::Root(&root), credential, None)?;
        frame.slots.push(slot);
        frame.check_work(|_| true)?;
        let value = frame.seal(&root, keyring)?;
        Ok((value, root))
    }

    /// Parses a header value.
    ///
    /// # Errors
    /// In the order of checks: [`Error::Malformed`] for a value shorter than the fixed part or with
    /// other magic bytes; [`Error::Unsupported`] for another format; [`Error::Malformed`] for a count
    /// or length out of bounds, a duplicate slot id, or missing or extra bytes;
    /// [`Error::Unsupported`] for an unknown suite.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let mut value = value;
        let rest = &mut value;
        let fixed: &[u8; 36] = take(rest)?;
        let mut fixed = fixed.as_slice();
        let fixed = &mut fixed;
        if *take(fixed)? != MAGIC {
            return Err(Error::Malformed);
        }
        if u16::from_le_bytes(*take(fixed)?) != FORMAT {
            return Err(Error::Unsupported);
        }
        let [suite, count] = *take(fixed)?;
        let vault = *take(fixed)?;
        let generation = u64::from_le_bytes(*take(fixed)?);
        let slots = parse_slots(rest, count.into())?;
        let journal_keys = FormerKeys::parse(rest)?;
        let ring = SealedRing::parse(rest)?;
        if !rest.is_empty() {
            return Err(Error::Malformed);
        }
        let frame = Frame {
            suite: CipherSuite::from_code(suite)?,
            vault,
            generation,
            slots,
            journal_keys,
        };
        Ok(Self { frame, ring })
    }

    /// Returns the vault id and the generation that a header value claims, even if the bytes after
    /// them are damaged. Nothing authenticates the two. Returns `None` for a value of another format.
    pub fn claims(value: &[u8]) -> Option<(VaultId, u64)> {
        let (fixed, _) = value.split_first_chunk::<36>()?;
        let rest = fixed.strip_prefix(&MAGIC)?;
        let rest = rest.strip_prefix(&FORMAT.to_le_bytes())?;
        let (vault, rest) = rest.get(2..)?.split_first_chunk()?;
        let generation = rest.first_chunk()?;
        Some((*vault, u64::from_le_bytes(*generation)))
    }

    /// Returns the cipher suite that the vault writes with.
    pub fn suite(&self) -> CipherSuite {
        self.frame.suite
    }

    /// Returns the vault's random id.
    pub fn vault(&self) -> &VaultId {
        &self.frame.vault
    }

    /// Returns the header's generation, which each write of the header increments.
    pub fn generation(&self) -> u64 {
        self.frame.generation
    }

    /// Returns the number of the active journal key.
    pub fn journal_key_number(&self) -> u32 {
        self.frame.journal_keys.active()
    }

    /// Returns the slots, in stored order.
    pub fn slots(&self) -> Vec<SlotInfo> {
        self.frame.slots.iter().map(Slot::info).collect()
    }

    /// Opens the keyring, for a process that has the root key and reads the header again.
    ///
    /// # Errors
    /// [`Error::RootKeyChanged`] if the keyring is sealed under another root key, or if the bytes
    /// before the keyring were altered; [`Error::HeaderDamaged`] if the sealed keyring does not open;
    /// [`Error::Unsupported`] or [`Error::Malformed`] from the sealed body.
    pub fn open_keyring(&self, root: &RootKey) -> Result<Keyring> {
        let SealedRing {
            salt,
            commitment,
            ciphertext,
            tag,
        } = &self.ring;
        let (sealing, derived) = ring_key(self.suite(), root, salt, &self.frame.encode())?;
        if !crypto::equal(&derived, commitment) {
            return Err(Error::RootKeyChanged);
        }
        let mut body = plaintext(ciphertext.len());
        body.extend_from_slice(ciphertext);
        (sealing.open(Nonce::ZERO, &mut body, tag)).map_err(|_| Error::HeaderDamaged)?;
        codec::decode(&body)
    }

    /// Returns the value of the next header: these slots, unchanged, and `keyring`, sealed.
    ///
    /// `root` must be the root key that the slots wrap. Every call draws a fresh salt, so each
    /// sealed value has its own ring key. If a commit fails, the caller commits the same value again
    /// or discards it.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a keyring above 1 MiB; [`Error::Randomness`] if the system provides no
    /// random bytes.
    pub fn sealed_with(
        &self,
        root: &RootKey,
        keyring: &Keyring,
        generation: u64,
    ) -> Result<Vec<u8>> {
        let mut frame = self.frame.clone();
        frame.generation = generation;
        frame.seal(root, keyring)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("suite", &self.frame.suite)
            .field("generation", &self.frame.generation)
            .field("slots", &self.frame.slots)
            .finish_non_exhaustive()
    }
}

fn parse_slots(rest: &mut &[u8], count: usize) -> Result<Vec<Slot>> {
    if !(1..=SLOTS_MAX).contains(&count) {
        return Err(Error::Malformed);
    }
    let mut slots: Vec<Slot> = Vec::with_capacity(count);
    for _ in 0..count {
        let slot = Slot::parse(rest)?;
        if slots.iter().any(|other| other.id == slot.id) {
            return Err(Error::Malformed);
        }
        slots.push(slot);
    }
    Ok(slots)
}

impl Frame {
    fn vault(&self) -> (&VaultId, CipherSuite) {
        (&self.vault, self.suite)
    }

    fn place(&self, id: u16) -> Result<usize> {
        (self.slots.iter())
            .position(|slot| slot.id == id)
            .ok_or(Error::NoSuchSlot)
    }

    fn place_of_vault_slot(&self, id: u16) -> Result<usize> {
        let place = self.place(id)?;
        match self.slots.get(place) {
            Some(slot) if slot.is_journal_only() => Err(Error::AuditorSlot),
            _ => Ok(place),
        }
    }

    /// Enrols a slot under `preferred`, if this id is unused, else under a random unused id. A random id is
    /// unlikely to equal the id of a removed slot, which journal entries may still reference.
    fn enrol(
        &self,
        wrapped_key: SlotKey<'_>,
        credential: &dyn Credential,
        preferred: Option<u16>,
    ) -> Result<Slot> {
        let mut id = preferred;
        let id = loop {
            match id {
                Some(id) if self.place(id).is_err() => break id,
                _ => id = Some(u16::from_le_bytes(crypto::fresh()?)),
            }
        };
        Slot::enrol(self.vault(), id, credential, wrapped_key)
    }

    /// Refuses new slots with which the work of all slots of a kind exceeds [`WORK_MAX`], because some of the
    /// slots would then not be tried. A new slot without a passphrase is never refused.
    fn check_work(&self, is_new: impl Fn(&Slot) -> bool) -> Result<()> {
        let new = self.slots.iter().filter(|slot| is_new(slot));
        for slot in new.filter(|slot| slot.work() > 0) {
            let of_kind = |other: &&Slot| other.is_journal_only() == slot.is_journal_only();
            let work = self.slots.iter().filter(of_kind).map(Slot::work);
            if slot.work() == u64::MAX {
                return Err(Error::InvalidCredential);
            }
            if work.fold(0, u64::saturating_add) > WORK_MAX {
                return Err(Error::TooManySlots);
            }
        }
        Ok(())
    }

    /// Encodes the header up to the end of the former journal keys.
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(FORMAT.to_le_bytes());
        out.extend([self.suite.code(), self.slots.len() as u8]);
        out.extend(self.vault);
        out.extend(self.generation.to_le_bytes());
        for slot in &self.slots {
            slot.encode(&mut out);
        }
        self.journal_keys.encode(&mut out);
        out
    }

    fn seal(&mut self, root: &RootKey, keyring: &Keyring) -> Result<Vec<u8>> {
        self.journal_keys = FormerKeys::of(&keyring.journal_keys, self.suite, &self.vault)?;
        let frame = self.encode();
        let before = frame.len() + RING_HEAD;
        let mut value = codec::encode(keyring, before, TAG)?;
        let (head, sealed) = value.split_at_mut_checked(before).ok_or(Error::Malformed)?;
        let (body, tag) = sealed
            .split_last_chunk_mut::<TAG>()
            .ok_or(Error::Malformed)?;
        let place = SealingPlace {
            key: FrameKey::Root(root),
            storage_key: storage_keys::HEADER,
            version: self.generation,
        };
        let salt = place.draw_salt(body)?;
        let (sealing, commitment) = ring_key(self.suite, root, &salt, &frame)?;
        *tag = sealing.seal(Nonce::ZERO, body)?;
        let length = (body.len() as u32).to_le_bytes();
        head.copy_from_slice(&[&frame, salt.as_slice(), &commitment, &length].concat());
        Ok(value.into_sealed())
    }
}

impl SealedRing {
    fn parse(rest: &mut &[u8]) -> Result<Self> {
        let salt = *take(rest)?;
        let commitment = *take(rest)?;
        let length = u32::from_le_bytes(*take(rest)?);
        let length = usize::try_from(length).map_err(|_| Error::Malformed)?;
        Ok(Self {
            salt,
            commitment,
            ciphertext: take_slice(rest, length, codec::BODY_MAX)?.to_vec(),
            tag: *take(rest)?,
        })
    }
}
