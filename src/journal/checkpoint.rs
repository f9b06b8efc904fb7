//! Checkpoints: short texts that identify a journal page, to be kept outside the storage.

use std::fmt;
use std::str::FromStr;

use crate::crypto::{self, Digest, VaultId};
use crate::error::{Error, Result};
use crate::format::storage_keys::PageId;
use crate::journal::page::ChainHead;

/// The first words of a checkpoint's text form.
const TITLE: &str = "chartlock checkpoint 1";
/// Length of an encoded checkpoint in bytes: vault 4, writer 16, sequence 6, time 6, digest 16,
/// check 2.
const LENGTH: usize = 50;
/// Number of hexadecimal digits in each group of the text form.
const GROUP: usize = 5;
/// Maximum number of chains whose heads the page of an accepted restore records, because that page
/// must stay below 1 MiB.
pub(crate) const CHAINS_MAX: usize = 8192;

/// A reference to a journal page, with the page's digest. The page pins the chain heads that no
/// earlier page has pinned, so that the checkpoint covers the earlier entries of all chains.
///
/// [`Vault::checkpoint`](crate::Vault::checkpoint) makes a checkpoint, and
/// [`Vault::verify`](crate::Vault::verify) compares the storage with the checkpoint. Keep
/// checkpoints outside the storage.
///
/// The text form can be printed, or copied into a ticket or another system. The text contains no
/// secret and no name. Parsing ignores case, and spaces between groups.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let kept_elsewhere = vault.checkpoint()?.to_string();
/// assert!(kept_elsewhere.starts_with("chartlock checkpoint 1 "));
/// let checkpoint: Checkpoint = kept_elsewhere.parse()?;
/// assert!(vault.verify(Some(&checkpoint))?.is_clean());
///
/// let mistyped = kept_elsewhere.replace('a', "b");
/// assert_eq!(mistyped.parse::<Checkpoint>(), Err(Error::BadCheckpoint));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    vault: [u8; 4],
    pub(crate) page: PageId,
    /// Time of creation in milliseconds since 1970, by the clock of the machine that made the
    /// checkpoint.
    pub(crate) at: i64,
    digest: [u8; 16],
}

impl Checkpoint {
    pub(crate) fn new(vault: &VaultId, seen: &ChainHead, at: i64) -> Self {
        let [a, b, c, d, ..] = *vault;
        Self {
            vault: [a, b, c, d],
            page: seen.page,
            at,
            digest: *crypto::digest_prefix(&seen.digest),
        }
    }

    /// Returns `true` if the checkpoint belongs to this vault.
    pub(crate) fn is_of(&self, vault: &VaultId) -> bool {
        vault.starts_with(&self.vault)
    }

    /// Returns `true` if the checkpoint references a page with this digest.
    pub(crate) fn names(&self, digest: &Digest) -> bool {
        self.digest == *crypto::digest_prefix(digest)
    }

    fn encode(&self) -> Vec<u8> {
        let [_, _, sequence @ ..] = self.page.sequence.to_be_bytes();
        let [_, _, at @ ..] = self.at.max(0).to_be_bytes();
        let mut bytes = [
            &self.vault[..],
            &self.page.writer,
            &sequence,
            &at,
            &self.digest,
        ]
        .concat();
        let check = check(&bytes);
        bytes.extend(check);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, expected) = bytes.split_last_chunk::<2>()?;
        if check(bytes) != *expected {
            return None;
        }
        let (vault, rest) = bytes.split_first_chunk()?;
        let (writer, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (at, rest) = rest.split_first_chunk()?;
        Some(Self {
            vault: *vault,
            page: PageId {
                writer: *writer,
                sequence: u48(sequence),
            },
            at: i64::try_from(u48(at)).ok()?,
            digest: rest.try_into().ok()?,
        })
    }
}

fn u48(bytes: &[u8; 6]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Computes a checksum that detects typing errors. The checksum has no key, so it does not prevent
/// forgery.
fn check(bytes: &[u8]) -> [u8; 2] {
    let [a, b, ..] = crypto::sha256(&[TITLE.as_bytes(), bytes]);
    [a, b]
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TITLE)?;
        let digits = self
            .encode()
            .into_iter()
            .flat_map(|byte| [byte >> 4, byte & 15]);
        for (place, digit) in digits.enumerate() {
            if place % GROUP == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{digit:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Checkpoint {
    type Err = Error;

    /// Parses the text form.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] if the text is not a checkpoint or was mistyped.
    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let title = TITLE.split(' ').count();
        let (begin, groups) = words.split_at_checked(title).ok_or(Error::BadCheckpoint)?;
        if !begin.join(" ").eq_ignore_ascii_case(TITLE) {
            return Err(Error::BadCheckpoint);
        }
        let mut bytes = Vec::with_capacity(LENGTH);
        let digits = groups.concat();
        for pair in digits.as_bytes().chunks(2) {
            let byte = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
            let byte = byte.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            bytes.push(byte.ok_or(Error::BadCheckpoint)?);
        }
        Self::decode(&bytes).ok_or(Error::BadCheckpoint)
    }
}
