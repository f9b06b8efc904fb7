//! Encoding of sealed bodies. No other file names `bincode`.
//!
//! Its rules are written out in format.md as ours. Each layer implements [`Encode`] and [`Decode`]
//! for its own types, in the memory where they live: no second set of structs, and a key's bytes go
//! straight into their own place.
//!
//! Promises: one allocation for what is encoded, memory within bounds for what is decoded, nothing
//! left over.
//! May not know: which bodies there are, how they are sealed.

mod take;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian, legacy};
use bincode::enc::write::SizeWriter;

use crate::error::{Error, Result};
use crate::secret::Plaintext;
pub(crate) use bincode::de::read::Reader;
pub(crate) use bincode::de::{Decode, Decoder};
pub(crate) use bincode::enc::write::Writer;
pub(crate) use bincode::enc::{Encode, Encoder};
pub(crate) use bincode::error::{DecodeError, EncodeError};
pub(crate) use take::{take, take_slice};

/// The longest body, in bytes.
pub(crate) const BODY_MAX: usize = 1024 * 1024;
/// The one schema.
const SCHEMA: u16 = 1;
/// What decoding may take in memory: what the fullest body needs, and no more on hostile counts.
const MEMORY_MAX: usize = 8 * BODY_MAX;

/// What an [`Encode`] answers.
pub(crate) type Encoded = std::result::Result<(), EncodeError>;
/// What a [`Decode`] answers.
pub(crate) type Decoded<T> = std::result::Result<T, DecodeError>;

/// Little-endian, integers of fixed width, u64 counts, u32 variant tags.
const fn rules() -> Configuration<LittleEndian, Fixint, Limit<MEMORY_MAX>> {
    legacy().with_limit::<MEMORY_MAX>()
}

/// A type that is sealed as a body of its own.
pub(crate) trait Body: Encode + Decode<()> {}

/// `schema u16 ‖ body` between zero bytes to fill in, in one allocation that is never outgrown: a
/// second one would leave keys behind in the first.
///
/// # Errors
/// [`Error::TooLarge`] above 1 MiB.
pub(crate) fn encode(body: &impl Body, before: usize, after: usize) -> Result<Plaintext> {
    let body = (SCHEMA, body);
    let mut size = SizeWriter::default();
    bincode::encode_into_writer(body, &mut size, rules()).map_err(|_| Error::TooLarge)?;
    if size.bytes_written > BODY_MAX {
        return Err(Error::TooLarge);
    }
    let mut out = Plaintext::new(vec![0; before + size.bytes_written + after]);
    let place = (out.get_mut(before..)).ok_or(Error::TooLarge)?;
    bincode::encode_into_slice(body, place, rules()).map_err(|_| Error::TooLarge)?;
    Ok(out)
}

/// A body from what was sealed. Only for bytes that were authenticated.
///
/// # Errors
/// [`Error::Malformed`] for what no writer produces, a left-over byte among it;
/// [`Error::Unsupported`] for another schema or an unknown number that a reader must know.
pub(crate) fn decode<T: Body>(bytes: &[u8]) -> Result<T> {
    let (schema, body) = bytes.split_first_chunk().ok_or(Error::Malformed)?;
    if u16::from_le_bytes(*schema) != SCHEMA {
        return Err(Error::Unsupported);
    }
    match bincode::decode_from_slice(body, rules()) {
        Ok((value, read)) if read == body.len() => Ok(value),
        Err(DecodeError::Other(UNSUPPORTED)) => Err(Error::Unsupported),
        _ => Err(Error::Malformed),
    }
}

const UNSUPPORTED: &str = "unsupported";

/// `bincode` carries a text; [`decode`] turns it back.
pub(crate) fn refused(error: Error) -> DecodeError {
    DecodeError::Other(match error {
        Error::Unsupported => UNSUPPORTED,
        _ => "malformed",
    })
}

/// A struct is its fields, one after the other, in the order given here.
macro_rules! fields {
    ($type:ident { $($field:ident)* }) => {
        impl $crate::format::codec::Encode for $type {
            fn encode<E: $crate::format::codec::Encoder>(
                &self,
                encoder: &mut E,
            ) -> $crate::format::codec::Encoded {
                $($crate::format::codec::Encode::encode(&self.$field, encoder)?;)*
                Ok(())
            }
        }

        impl<C> $crate::format::codec::Decode<C> for $type {
            fn decode<D: $crate::format::codec::Decoder<Context = C>>(
                decoder: &mut D,
            ) -> $crate::format::codec::Decoded<Self> {
                Ok(Self { $($field: $crate::format::codec::Decode::decode(decoder)?,)* })
            }
        }
    };
}
pub(crate) use fields;

/// An enum without fields is its number, u32.
macro_rules! numbers {
    ($type:ident { $($number:literal $variant:ident)* }) => {
        impl $crate::format::codec::Encode for $type {
            fn encode<E: $crate::format::codec::Encoder>(
                &self,
                encoder: &mut E,
            ) -> $crate::format::codec::Encoded {
                let number: u32 = match self { $(Self::$variant => $number,)* };
                $crate::format::codec::Encode::encode(&number, encoder)
            }
        }

        impl<C> $crate::format::codec::Decode<C> for $type {
            fn decode<D: $crate::format::codec::Decoder<Context = C>>(
                decoder: &mut D,
            ) -> $crate::format::codec::Decoded<Self> {
                match <u32 as $crate::format::codec::Decode<C>>::decode(decoder)? {
                    $($number => Ok(Self::$variant),)*
                    _ => Err($crate::format::codec::refused($crate::error::Error::Unsupported)),
                }
            }
        }
    };
}
pub(crate) use numbers;
