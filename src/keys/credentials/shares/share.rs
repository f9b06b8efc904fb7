//! One recovery share, and the set to which it belongs.

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto;
use crate::error::{Result, ShareError};
use crate::keys::credentials::shares::{symbols, text};
use crate::secret::Secret32;

/// The minimum threshold. With a threshold of 1, every share would be a copy of the key.
pub(super) const THRESHOLD_MIN: u8 = 2;
/// The maximum number of shares of a set.
pub(super) const COUNT_MAX: u8 = 16;
/// The length of a set's id in bytes.
pub(super) const ID_LENGTH: usize = 5;

/// The identity of a set of shares, which is no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ShareSet {
    pub(super) id: [u8; ID_LENGTH],
    pub(super) threshold: u8,
    pub(super) count: u8,
}

impl ShareSet {
    /// Creates a set with a random id.
    pub(super) fn random(threshold: u8, count: u8) -> Result<Self> {
        let set = Self::checked(crypto::fresh()?, threshold, count);
        set.ok_or(ShareError::Bounds.into())
    }

    /// Returns `None` if the threshold or the number of shares is out of bounds.
    pub(super) fn checked(id: [u8; ID_LENGTH], threshold: u8, count: u8) -> Option<Self> {
        let set = Self {
            id,
            threshold,
            count,
        };
        (THRESHOLD_MIN <= threshold && threshold <= count && count <= COUNT_MAX).then_some(set)
    }

    /// Returns the parameters of a slot of the set: id of 5 bytes ‖ threshold ‖ number of shares.
    pub(super) fn to_parameters(self) -> Vec<u8> {
        [&self.id[..], &[self.threshold, self.count]].concat()
    }

    /// Returns the id as eight symbols.
    pub(super) fn name(&self) -> String {
        let mut values = Vec::new();
        symbols::pack(&self.id, &mut values);
        let symbols = values.into_iter().map(symbols::symbol);
        symbols.map(char::from).collect()
    }
}

/// One recovery share of a set: 32 secret bytes for one holder.
///
/// Made by [`Shares::split`](crate::keys::Shares::split), which describes how to keep shares. One share
/// alone reveals nothing about the secret of the set. `Debug` prints no part of it, and the bytes are wiped
/// on drop.
///
/// [`Share::from_text`] lets a holder check a share without the other holders.
///
/// ```
/// # use chartlock::keys::{Share, Shares};
/// let shares = Shares::split(2, 3)?;
/// let second = &shares.all()[1];
/// let paper = second.to_text();
/// assert!(paper.starts_with("chartlock recovery share 2 of 3, set "));
///
/// let read = Share::from_text(&paper.to_lowercase())?;
/// assert_eq!((read.index(), read.count(), read.threshold()), (2, 3, 2));
/// assert_eq!(read.set(), second.set());
/// assert_eq!(format!("{read:?}"), "Share(..)");
/// # Ok::<(), chartlock::Error>(())
/// ```
pub struct Share {
    pub(super) set: ShareSet,
    pub(super) index: u8,
    pub(super) bytes: Secret32,
}

impl Share {
    /// Parses the text form or the QR form of a share, and checks its check characters.
    ///
    /// Accepts what people and mail change: letters of either case, `O` for `0`, `I` and `L` for `1`, `U`
    /// for `V`; spaces, line ends, hyphens and `>` anywhere; groups without their numbers; and any text up
    /// to the last colon before the groups, such as a letterhead.
    ///
    /// # Errors
    /// [`ShareError::Mistyped`], which names the group if a single character is wrong, or if a character of a
    /// numbered group is missing; [`ShareError::NotAShare`] for any other text, or one of more than 1,024 bytes;
    /// both name the share as share 1. [`Error::Unsupported`](crate::Error::Unsupported) for a share of a later
    /// format.
    pub fn from_text(text: &str) -> Result<Self> {
        text::parse(text, 1)
    }

    /// Returns the text to print: a heading with the number of the share and the name of the set, then 14
    /// numbered groups of 5 characters in three lines. The text is secret and is wiped on drop.
    pub fn to_text(&self) -> Zeroizing<String> {
        text::to_text(self)
    }

    /// Returns the text for a QR code: 80 characters of QR's alphanumeric mode. The text is secret and is
    /// wiped on drop.
    ///
    /// Print the QR code beside the text, not in place of it, because a damaged code cannot be read by eye.
    pub fn to_qr_text(&self) -> Zeroizing<String> {
        text::to_qr_text(self)
    }

    /// Returns the number of the share in its set, from 1.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// Returns how many shares of the set recover the secret.
    pub fn threshold(&self) -> u8 {
        self.set.threshold
    }

    /// Returns how many shares the set has.
    pub fn count(&self) -> u8 {
        self.set.count
    }

    /// Returns the name of the set, 8 characters, which is no secret and is the same on all of its shares.
    pub fn set(&self) -> String {
        self.set.name()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share(..)")
    }
}
