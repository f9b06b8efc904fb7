//! Sealed cursors: the places after which later queries continue, as opaque texts for clients.
//!
//! Guarantees: a client can neither read nor make a cursor; each failure to open a cursor is
//! [`Error::InvalidCursor`]. Must not know: the queries that cursors continue.

use crate::crypto::{CipherSuite, Commitment, FrameKey, Salt, SealingKey};
use crate::error::{Error, Result};
use crate::format::codec::Body;
use crate::format::sealed::{self, FrameHead, SealingPlace};
use crate::keys::hex;

/// Maximum length of a sealed cursor, in bytes.
const BYTES_MAX: usize = 512;

/// A sealed cursor, as its bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealedCursor(Box<[u8]>);

/// The identity of a cursor: the kind of its query, and the key that seals it.
pub(crate) struct CursorKey<'a> {
    /// Kind byte of the sealed frame. No storage contains a value of this kind.
    pub(crate) kind: u8,
    pub(crate) number: u32,
    pub(crate) key: FrameKey<'a>,
}

impl SealedCursor {
    /// Seals a place. `derive` derives key and commitment from the cipher suite, the head and the salt.
    ///
    /// # Errors
    /// [`Error::Randomness`].
    pub(crate) fn seal(
        key: &CursorKey<'_>,
        place: &impl Body,
        derive: impl FnOnce(CipherSuite, &[u8; 8], &Salt) -> Result<(SealingKey, Commitment)>,
    ) -> Result<Self> {
        let suite = CipherSuite::default();
        let number = key.number;
        let head = FrameHead { suite, number }.encode(key.kind);
        let sealing = SealingPlace {
            key: key.key,
            storage_key: b"",
            version: 0,
        };
        let sealed = sealed::seal(&head, &sealing, place, |salt| derive(suite, &head, salt))?;
        Ok(Self(sealed.into()))
    }

    /// Opens a cursor and returns its place. `derive` is that of [`SealedCursor::seal`].
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for any other bytes.
    pub(crate) fn open<T: Body>(
        &self,
        key: &CursorKey<'_>,
        derive: impl FnOnce(CipherSuite, &[u8; 8], &Salt) -> Result<(SealingKey, Commitment)>,
    ) -> Result<T> {
        let open = || {
            let FrameHead { suite, number } = FrameHead::parse(key.kind, &self.0)?;
            if number != key.number {
                return Err(Error::InvalidCursor);
            }
            sealed::open(&self.0, |head, salt| derive(suite, head, salt))
        };
        open().map_err(|_| Error::InvalidCursor)
    }

    /// Parses the hexadecimal text of a cursor.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        // Refuse upper-case digits, so that a cursor has one text only.
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if text.len() > 2 * BYTES_MAX || !is_lower {
            return Err(Error::InvalidCursor);
        }
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(Error::InvalidCursor);
        };
        let mut bytes = vec![0; pairs.len()];
        let is_decoded = hex::decode(pairs, &mut bytes);
        is_decoded
            .then(|| Self(bytes.into()))
            .ok_or(Error::InvalidCursor)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Implements the text form of a public cursor type, whose only field is a [`SealedCursor`].
macro_rules! cursor_text {
    ($cursor:ident) => {
        impl ::std::fmt::Display for $cursor {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let mut bytes = self.0.bytes().iter();
                bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl ::std::str::FromStr for $cursor {
            type Err = $crate::error::Error;

            /// Parses the text of a cursor, as `to_string` returns it.
            ///
            /// # Errors
            /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) for any other text.
            fn from_str(text: &str) -> $crate::error::Result<Self> {
                $crate::vault::sealed_cursor::SealedCursor::parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $cursor {
            type Error = $crate::error::Error;

            fn try_from(text: String) -> $crate::error::Result<Self> {
                text.parse()
            }
        }

        impl From<$cursor> for String {
            fn from(cursor: $cursor) -> Self {
                cursor.to_string()
            }
        }

        impl ::std::fmt::Debug for $cursor {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(concat!(stringify!($cursor), "(..)"))
            }
        }
    };
}
pub(crate) use cursor_text;
