//! The sealed frame that patient entries and journal pages share.
//!
//! The code block shows the fields in their order, with the length of each in bytes. A frame has 88
//! bytes in addition to its body.
//!
//! ```text
//! format  suite  kind  zero  key number  salt  commitment  body  tag
//!      1      1     1     1           4    32          32     n   16
//! ```
//!
//! Guarantees: each sealing draws a fresh salt, so each sealed value has its own key. The salt also
//! depends on the body and its place, so that repeated random bytes repeat no key. The
//! commitment is compared before the body is opened; the body is decoded only after its
//! authentication.
//! Must not know: the content of the bodies, or the keys that seal them.

use crate::crypto::{self, CipherSuite, Commitment, FrameKey, Nonce, Salt, SealingKey, TAG};
use crate::error::{Error, Result};
use crate::format::codec::{self, Body, take, take_slice};
use crate::secret::{A_SEALING, Plaintext, plaintext, wipe_stack};

/// The only format number that this release reads and writes.
const FORMAT: u8 = 1;
/// Number of bytes before the body: head 8, salt 32, commitment 32.
const BEFORE: usize = 72;

/// The first 8 bytes of a frame, which identify the key that opens the frame.
pub(crate) struct FrameHead {
    pub(crate) suite: CipherSuite,
    pub(crate) number: u32,
}

impl FrameHead {
    /// Parses the head of a value of this kind, or of its first 8 bytes.
    ///
    /// # Errors
    /// In the order of checks: [`Error::Malformed`] for fewer than 8 bytes, [`Error::Unsupported`]
    /// for another format, [`Error::Malformed`] for a reserved byte that is not zero, and
    /// [`Error::Unsupported`] for another suite or kind.
    pub(crate) fn parse(kind: u8, value: &[u8]) -> Result<Self> {
        let mut value = value;
        let rest = &mut value;
        let [format, suite, found, zero] = *take(rest)?;
        let number = u32::from_le_bytes(*take(rest)?);
        match (format, zero) {
            (FORMAT, 0) if found == kind => {
                CipherSuite::from_code(suite).map(|suite| Self { suite, number })
            }
            (FORMAT, 1..) => Err(Error::Malformed),
            _ => Err(Error::Unsupported),
        }
    }

    pub(crate) fn encode(&self, kind: u8) -> [u8; 8] {
        let [a, b, c, d] = self.number.to_le_bytes();
        [FORMAT, self.suite.code(), kind, 0, a, b, c, d]
    }
}

/// The place of one sealing, from which its salt derives.
pub(crate) struct SealingPlace<'a> {
    /// Key under which the frame is sealed.
    pub(crate) key: FrameKey<'a>,
    pub(crate) storage_key: &'a [u8],
    /// Number that the sealing has in its place: generation, or sequence.
    pub(crate) version: u64,
}

impl SealingPlace<'_> {
    /// Draws the salt for the sealing of `body` in this place.
    ///
    /// # Errors
    /// [`Error::Randomness`].
    pub(crate) fn draw_salt(&self, body: &[u8]) -> Result<Salt> {
        let place = (self.storage_key, self.version);
        crypto::hedged_salt(self.key, &crypto::fresh()?, place, body)
    }
}

/// Seals a body and returns the stored value; `derive` derives key and commitment from the salt.
///
/// # Errors
/// [`Error::TooLarge`] for a body above 1 MiB; [`Error::Randomness`].
pub(crate) fn seal(
    head: &[u8; 8],
    place: &SealingPlace<'_>,
    body: &impl Body,
    derive: impl FnOnce(&Salt) -> Result<(SealingKey, Commitment)>,
) -> Result<Vec<u8>> {
    seal_with_tail::<0>(head, place, body, &[], derive, |_, _| Ok(()))
}

/// Seals a body that ends with `N` further bytes. They are `tail` while the salt is drawn; then `finish`
/// completes them. `finish` receives the bytes before the ciphertext, and the body.
///
/// # Errors
/// Errors of [`seal`] and of `finish`.
pub(crate) fn seal_with_tail<const N: usize>(
    head: &[u8; 8],
    place: &SealingPlace<'_>,
    body: &impl Body,
    tail: &[u8; N],
    derive: impl FnOnce(&Salt) -> Result<(SealingKey, Commitment)>,
    finish: impl FnOnce(&[u8], &mut [u8]) -> Result<()>,
) -> Result<Vec<u8>> {
    let mut value = codec::encode(body, BEFORE, N + TAG)?;
    let (before, sealed) = value.split_at_mut_checked(BEFORE).ok_or(Error::Malformed)?;
    let (body, tag) = sealed
        .split_last_chunk_mut::<TAG>()
        .ok_or(Error::Malformed)?;
    if body.len() > codec::BODY_MAX {
        return Err(Error::TooLarge);
    }
    *body.last_chunk_mut::<N>().ok_or(Error::Malformed)? = *tail;
    let salt = place.draw_salt(body)?;
    let (sealing, commitment) = derive(&salt)?;
    before.copy_from_slice(&[head.as_slice(), &salt, &commitment].concat());
    finish(before, body)?;
    *tag = sealing.seal(Nonce::ZERO, body)?;
    // Storage I/O follows; wipe key material from the stack first.
    wipe_stack::<A_SEALING>();
    Ok(value.into_sealed())
}

/// Opens a value whose head was parsed, and returns the body. `derive` derives key and commitment
/// from the head and the salt, and is called only after the lengths were checked.
///
/// # Errors
/// In the order of checks: [`Error::Malformed`] for fewer than 88 bytes or a body above 1 MiB; the
/// errors of `derive`; [`Error::NotAuthentic`]; [`Error::Unsupported`] or [`Error::Malformed`] for
/// the decoded body.
pub(crate) fn open<T: Body>(
    value: &[u8],
    derive: impl FnOnce(&[u8; 8], &Salt) -> Result<(SealingKey, Commitment)>,
) -> Result<T> {
    codec::decode(&open_body(value, derive)?)
}

/// Opens a value like [`open`], and returns the body in encoded form.
///
/// # Errors
/// Errors of [`open`], except for those of the decoded body.
pub(crate) fn open_body(
    value: &[u8],
    derive: impl FnOnce(&[u8; 8], &Salt) -> Result<(SealingKey, Commitment)>,
) -> Result<Plaintext> {
    let mut value = value;
    let rest = &mut value;
    let head = take(rest)?;
    let salt = take(rest)?;
    let commitment: &Commitment = take(rest)?;
    let length = rest.len().checked_sub(TAG).ok_or(Error::Malformed)?;
    let ciphertext = take_slice(rest, length, codec::BODY_MAX)?;
    let tag = take(rest)?;
    let (sealing, derived) = derive(head, salt)?;
    if !crypto::equal(&derived, commitment) {
        return Err(Error::NotAuthentic);
    }
    let mut body = plaintext(ciphertext.len());
    body.extend_from_slice(ciphertext);
    sealing.open(Nonce::ZERO, &mut body, tag)?;
    Ok(body)
}

/// Returns the bytes of a value before the ciphertext.
pub(crate) fn before_ciphertext(value: &[u8]) -> &[u8] {
    value.get(..BEFORE).unwrap_or_default()
}
