//! Encoding of sealed bodies. No other file uses `bincode`.
//!
//! `format.md` defines the encoding rules in full, so a reader can be written without `bincode`.
//! Each module implements [`Encode`] and [`Decode`] for its own types, without intermediate
//! structs. Key bytes are therefore decoded directly into their final memory.
//!
//! Guarantees: encoding allocates once; decoding takes bounded memory and refuses trailing bytes.
//! Must not know: the types of bodies, or how they are sealed.

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

/// Maximum length of a body, in bytes.
pub(crate) const BODY_MAX: usize = 1024 * 1024;
/// The only schema number that this release reads and writes.
const SCHEMA: u16 = 1;
/// Memory limit for decoding, in bytes. The limit suffices for every valid body, and bounds the
/// memory that a hostile count can claim.
const MEMORY_MAX: usize = 10 * BODY_MAX;

/// The result of encoding a value with [`Encode`].
pub(crate) type Encoded = std::result::Result<(), EncodeError>;
/// The result of decoding a value with [`Decode`].
pub(crate) type Decoded<T> = std::result::Result<T, DecodeError>;

/// Returns the encoding rules: little-endian, integers of fixed width, u64 counts, u32 variant
/// tags.
const fn rules() -> Configuration<LittleEndian, Fixint, Limit<MEMORY_MAX>> {
    legacy().with_limit::<MEMORY_MAX>()
}

/// A type whose encoding is the whole body of a sealed value.
pub(crate) trait Body: Encode + Decode<()> {}

/// Encodes the schema number and the body, between `before` and `after` zero bytes that the caller
/// fills in. The buffer never grows, because a reallocation would leave keys behind in freed
/// memory.
///
/// # Errors
/// [`Error::TooLarge`] above 1 MiB.
pub(crate) fn encode(body: &impl Body, before: usize, after: usize) -> Result<Plaintext> {
    let body = (SCHEMA, body);
    let length = encoded_length(&body).map_err(|_| Error::TooLarge)?;
    if length > BODY_MAX {
        return Err(Error::TooLarge);
    }
    let mut out = Plaintext::new(vec![0; before + length + after]);
    let target = (out.get_mut(before..)).ok_or(Error::TooLarge)?;
    bincode::encode_into_slice(body, target, rules()).map_err(|_| Error::TooLarge)?;
    Ok(out)
}

/// Decodes a body. The bytes must be authenticated.
///
/// # Errors
/// [`Error::Malformed`] for bytes that no writer produces, including trailing bytes;
/// [`Error::Unsupported`] for another schema, or for a code, state or critical extension of a later
/// release.
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

/// Encodes the content of an extension.
///
/// # Errors
/// An error for content above 1 MiB, which no body can contain.
pub(crate) fn encode_extension(content: &impl Encode) -> std::result::Result<Vec<u8>, EncodeError> {
    let length = encoded_length(content)?;
    if length > BODY_MAX {
        return Err(EncodeError::Other("too large"));
    }
    let mut out = vec![0; length];
    bincode::encode_into_slice(content, &mut out, rules())?;
    Ok(out)
}

/// Returns the encoded length of a value, in bytes.
///
/// # Errors
/// The errors of the value's [`Encode`].
pub(crate) fn encoded_length(value: &impl Encode) -> std::result::Result<usize, EncodeError> {
    let mut size = SizeWriter::default();
    bincode::encode_into_writer(value, &mut size, rules())?;
    Ok(size.bytes_written)
}

/// Decodes the content of an extension. The bytes must be authenticated.
///
/// # Errors
/// An error for bytes that no writer produces, including trailing bytes.
pub(crate) fn decode_extension<T: Decode<()>>(bytes: &[u8]) -> Decoded<T> {
    let (content, read) = bincode::decode_from_slice(bytes, rules())?;
    match read == bytes.len() {
        true => Ok(content),
        false => Err(refused(Error::Malformed)),
    }
}

const UNSUPPORTED: &str = "unsupported";

/// Converts an error to a `bincode` error, which can carry only a text. [`decode`] converts the
/// text back.
pub(crate) fn refused(error: Error) -> DecodeError {
    DecodeError::Other(match error {
        Error::Unsupported => UNSUPPORTED,
        _ => "malformed",
    })
}

/// Implements encoding and decoding of a struct as its fields, in the given order.
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

/// Implements encoding and decoding of an enum without fields as a u32.
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
