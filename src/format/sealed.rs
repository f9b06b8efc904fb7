//! The sealed frame that patient entries and journal pages share.
//!
//! The code block shows the fields in their order, with the length of each in bytes. A frame has 88
//! bytes in addition to its body and its filter. Only journal pages have a filter.
//!
//! ```text
//! format  suite  kind  zero  key number  salt  commitment  filter  body  tag
//!      1      1     1     1           4    32          32       m     n   16
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

/// The clear fields and the end of a frame that is to be sealed.
pub(crate) struct FrameParts<'a, const N: usize> {
    pub(crate) head: &'a [u8; 8],
    /// Length of the filter.
    pub(crate) filter: usize,
    pub(crate) place: &'a SealingPlace<'a>,
    /// Last bytes of the body while the salt is drawn.
    pub(crate) tail: &'a [u8; N],
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
    let parts = FrameParts {
        head,
        filter: 0,
        place,
        tail: &[],
    };
    parts.seal(body, |salt, _| derive(salt), |_, _| Ok(()))
}

impl<const N: usize> FrameParts<'_, N> {
    /// Seals a body that ends with `N` further bytes. `derive` receives the salt and writes the filter,
    /// and then derives key and commitment. `finish` receives the bytes before the ciphertext, and
    /// completes the last bytes of the body.
    ///
    /// # Errors
    /// Errors of [`seal`], of `derive` and of `finish`.
    pub(crate) fn seal(
        &self,
        body: &impl Body,
        derive: impl FnOnce(&Salt, &mut [u8]) -> Result<(SealingKey, Commitment)>,
        finish: impl FnOnce(&[u8], &mut [u8]) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let clear = BEFORE + self.filter;
        let mut value = codec::encode(body, clear, N + TAG)?;
        let (before, sealed) = value.split_at_mut_checked(clear).ok_or(Error::Malformed)?;
        let (body, tag) = sealed
            .split_last_chunk_mut::<TAG>()
            .ok_or(Error::Malformed)?;
        if body.len() > codec::BODY_MAX {
            return Err(Error::TooLarge);
        }
        *body.last_chunk_mut::<N>().ok_or(Error::Malformed)? = *self.tail;
        let salt = self.place.draw_salt(body)?;
        let (fields, filter) = before
            .split_first_chunk_mut::<BEFORE>()
            .ok_or(Error::Malformed)?;
        let (sealing, commitment) = derive(&salt, filter)?;
        fields.copy_from_slice(&[self.head.as_slice(), &salt, &commitment].concat());
        finish(before, body)?;
        *tag = sealing.seal(Nonce::ZERO, body)?;
        // Storage I/O follows; wipe key material from the stack first.
        wipe_stack::<A_SEALING>();
        Ok(value.into_sealed())
    }
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
    codec::decode(&SealedBody::find(value, 0, derive)?.open()?)
}

/// The sealed body of a frame whose commitment fits, with the key that opens the body.
pub(crate) struct SealedBody<'a> {
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG],
    sealing: SealingKey,
}

impl<'a> SealedBody<'a> {
    /// Finds the body of a value whose head was parsed and whose filter has this length, and compares
    /// the commitment. `derive` derives key and commitment from the head and the salt, and is called
    /// only after the lengths were checked.
    ///
    /// # Errors
    /// In the order of checks: [`Error::Malformed`] for a value that is too short or a body above 1 MiB;
    /// the errors of `derive`; [`Error::NotAuthentic`] for another commitment.
    pub(crate) fn find(
        value: &'a [u8],
        filter: usize,
        derive: impl FnOnce(&[u8; 8], &Salt) -> Result<(SealingKey, Commitment)>,
    ) -> Result<Self> {
        let mut value = value;
        let rest = &mut value;
        let head = take(rest)?;
        let salt = take(rest)?;
        let commitment: &Commitment = take(rest)?;
        take_slice(rest, filter, filter)?;
        let length = rest.len().checked_sub(TAG).ok_or(Error::Malformed)?;
        let ciphertext = take_slice(rest, length, codec::BODY_MAX)?;
        let tag = take(rest)?;
        let (sealing, derived) = derive(head, salt)?;
        match crypto::equal(&derived, commitment) {
            true => Ok(Self {
                ciphertext,
                tag,
                sealing,
            }),
            false => Err(Error::NotAuthentic),
        }
    }

    /// Opens the body, and returns its encoded form.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`].
    pub(crate) fn open(&self) -> Result<Plaintext> {
        let mut body = plaintext(self.ciphertext.len());
        body.extend_from_slice(self.ciphertext);
        self.sealing.open(Nonce::ZERO, &mut body, self.tag)?;
        Ok(body)
    }
}

/// Checks the commitment of a value of which only the first bytes were read. `derive` is the function of
/// [`SealedBody::find`], and is called only after the lengths were checked.
///
/// # Errors
/// The errors of [`SealedBody::find`].
pub(crate) fn check_commitment(
    mut head: &[u8],
    (filter, length): (usize, u64),
    derive: impl FnOnce(&[u8; 8], &Salt) -> Result<(SealingKey, Commitment)>,
) -> Result<()> {
    let clear = (BEFORE + filter + TAG) as u64;
    let ciphertext = length.checked_sub(clear).ok_or(Error::Malformed)?;
    if ciphertext > codec::BODY_MAX as u64 {
        return Err(Error::Malformed);
    }
    let fields = take(&mut head)?;
    let salt = take(&mut head)?;
    let commitment: &Commitment = take(&mut head)?;
    let (_, derived) = derive(fields, salt)?;
    match crypto::equal(&derived, commitment) {
        true => Ok(()),
        false => Err(Error::NotAuthentic),
    }
}

/// Returns the salt of a value, and the bytes behind its commitment.
///
/// # Errors
/// [`Error::Malformed`] for a value that ends early.
pub(crate) fn salt_and_rest(value: &[u8]) -> Result<(&Salt, &[u8])> {
    let mut rest = value;
    let _head: &[u8; 8] = take(&mut rest)?;
    let salt = take(&mut rest)?;
    let _commitment: &Commitment = take(&mut rest)?;
    Ok((salt, rest))
}

/// Returns the bytes of a value before the ciphertext; the filter has this length.
pub(crate) fn before_ciphertext(value: &[u8], filter: usize) -> &[u8] {
    value.get(..BEFORE + filter).unwrap_or_default()
}
