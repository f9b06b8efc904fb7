//! The record envelope: the stored value of one version of a record.

use std::ops::Range;

use crate::crypto::{
    self, ChartId, CipherSuite, Commitment, DataKey, Digest, Nonce, RecordContext, RecordTag,
    SealingKey, StreamId, StreamKey, TAG,
};
use crate::error::{Error, InputFault, InputField, Result};
use crate::format::envelope::fields::FieldReader;
use crate::format::envelope::meta::Meta;
use crate::format::envelope::opened::{Content, Opened};
use crate::format::envelope::padding::padded;
use crate::secret::{Plaintext, plaintext};

/// The format number that this release reads and writes.
pub(super) const FORMAT: u8 = 1;
/// The only wrap method of this release: wrapping under a patient key.
const WRAP: u8 = 1;
/// Length of the head in bytes. The body or a stream id follows.
pub const HEAD: usize = 96;
const KEY_NUMBER: Range<usize> = 4..8;
const WRAPPED_KEY: Range<usize> = 48..HEAD;
/// Maximum length of inline content that writers seal: 64 KiB.
pub const INLINE_MAX: usize = 64 * 1024;
/// Maximum length of inline content that readers accept: 1 MiB.
const INLINE_READ_MAX: usize = 1024 * 1024;
/// The greatest version number.
pub const VERSION_MAX: u64 = i64::MAX as u64;

/// The kind of a record value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The content itself.
    Inline,
    /// The key and length of a content stream; the content itself is stored in segments.
    Segmented,
    /// A retraction: this version has no content.
    Retraction,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Inline => 1,
            Self::Segmented => 2,
            Self::Retraction => 3,
        }
    }

    fn from_code(code: u8) -> Result<Self> {
        match code {
            1 => Ok(Self::Inline),
            2 => Ok(Self::Segmented),
            3 => Ok(Self::Retraction),
            _ => Err(Error::Unsupported),
        }
    }
}

/// Address of a record, from a request or a storage key and never from a stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The chart id.
    pub chart: ChartId,
    /// The record's tag in the chart.
    pub record: RecordTag,
}

/// The first 96 bytes of a record value, parsed but not authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Cipher suite of the value.
    pub suite: CipherSuite,
    /// Kind of the body.
    pub kind: Kind,
    /// Number of the patient key that wraps the data key.
    pub key_number: u32,
    /// The version, 1 to 2^63-1.
    pub version: u64,
    /// The commitment to the data key and the record context.
    pub commitment: Commitment,
    /// The wrapped data key.
    pub wrapped: [u8; 48],
}

impl Head {
    /// Parses the head of `value`, of which the first 96 bytes suffice.
    ///
    /// # Errors
    /// In the order of checks: [`Error::Malformed`] if the value is too short,
    /// [`Error::Unsupported`] for another format, [`Error::Malformed`] for version 0 or a version
    /// beyond 2^63-1, [`Error::Unsupported`] for an unknown wrap, suite or kind.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let mut reader = FieldReader::new(value.get(..HEAD).ok_or(Error::Malformed)?);
        let &[format, suite, kind, wrap] = reader.array()?;
        let key_number = reader.u32()?;
        let version = reader.u64()?;
        // Check the format first, because another format may define the other fields differently.
        if format != FORMAT {
            return Err(Error::Unsupported);
        }
        if !(1..=VERSION_MAX).contains(&version) {
            return Err(Error::Malformed);
        }
        if wrap != WRAP {
            return Err(Error::Unsupported);
        }
        Ok(Self {
            suite: CipherSuite::from_code(suite)?,
            kind: Kind::from_code(kind)?,
            key_number,
            version,
            commitment: *reader.array()?,
            wrapped: *reader.array()?,
        })
    }

    fn context(&self, address: &Address) -> RecordContext {
        context(address, self.version, self.suite, self.kind)
    }
}

fn context(address: &Address, version: u64, suite: CipherSuite, kind: Kind) -> RecordContext {
    RecordContext {
        chart: address.chart,
        record: address.record,
        version,
        format: FORMAT,
        suite,
        kind: kind.code(),
    }
}

/// A record body to seal.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Content of at most 64 KiB.
    Inline(&'a [u8]),
    /// A content stream whose segments are sealed already.
    Segmented {
        /// The stream's id.
        stream: StreamId,
        /// The stream's key.
        key: &'a StreamKey,
        /// The content's length in bytes.
        length: u64,
    },
    /// No content.
    Retraction,
}

impl<'a> Body<'a> {
    fn kind(&self) -> Kind {
        match self {
            Self::Inline(_) => Kind::Inline,
            Self::Segmented { .. } => Kind::Segmented,
            Self::Retraction => Kind::Retraction,
        }
    }

    fn content(&self) -> &'a [u8] {
        match self {
            Self::Inline(content) => content,
            _ => &[],
        }
    }

    fn stream(&self) -> Option<&StreamId> {
        match self {
            Self::Segmented { stream, .. } => Some(stream),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({:?}, ..)", self.kind())
    }
}

/// Seals one version of a record, and returns the stored value. Consumes the data key, so that the
/// key cannot seal twice.
///
/// `wrap` wraps the data key for the commitment, and returns the key number and the 48 wrapped
/// bytes.
///
/// # Errors
/// [`Error::TooManyVersions`] beyond version 2^63-1, [`Error::TooLarge`] for content beyond 64 KiB,
/// and the errors of `wrap`.
pub fn seal(
    suite: CipherSuite,
    address: &Address,
    version: u64,
    meta: &Meta,
    body: Body<'_>,
    key: DataKey,
    wrap: impl FnOnce(&Commitment, &DataKey) -> Result<(u32, [u8; 48])>,
) -> Result<Vec<u8>> {
    if !(1..=VERSION_MAX).contains(&version) {
        return Err(Error::TooManyVersions);
    }
    if body.content().len() > INLINE_MAX {
        return Err(Error::TooLarge);
    }
    let kind = body.kind();
    let context = context(address, version, suite, kind);
    let (body_key, commitment) = crypto::body_key(&key, &context)?;
    let (number, wrapped) = wrap(&commitment, &key)?;
    drop(key);

    let stream = body.stream().map_or(&[][..], |stream| stream);
    let meta_len = meta.encoded_len() + if stream.is_empty() { 0 } else { 40 };
    let body_len = padded(2 + meta_len + 4 + body.content().len());
    // The buffer contains plaintext until it is sealed in place, so it must be wiped if sealing
    // fails.
    let mut value = plaintext(HEAD + stream.len() + body_len + TAG);
    value.extend_from_slice(&[FORMAT, suite.code(), kind.code(), WRAP]);
    value.extend_from_slice(&number.to_le_bytes());
    value.extend_from_slice(&version.to_le_bytes());
    value.extend_from_slice(&commitment);
    value.extend_from_slice(&wrapped);
    value.extend_from_slice(stream);
    let start = value.len();
    let meta_length = u16::try_from(meta_len).map_err(|_| {
        let fault = InputFault::TooLong { length: meta_len };
        Error::invalid_metadata(InputField::Metadata, fault)
    })?;
    value.extend_from_slice(&meta_length.to_le_bytes());
    meta.encode(&mut value);
    if let Body::Segmented { key, length, .. } = body {
        value.extend_from_slice(key.expose());
        value.extend_from_slice(&length.to_le_bytes());
    }
    value.extend_from_slice(&(body.content().len() as u32).to_le_bytes());
    value.extend_from_slice(body.content());
    value.resize(start + body_len, 0);
    let (_, sealed) = value.split_at_mut(start);
    // The nonce is zero, because the body key derives from a data key that seals only this message.
    let tag = body_key.seal(Nonce::ZERO, sealed)?;
    value.extend_from_slice(&tag);
    Ok(value.into_sealed())
}

/// Checks that the commitment in `head` matches the data key `key` and the record context. Returns
/// the key that opens the body.
///
/// # Errors
/// [`Error::NotAuthentic`] if the commitment differs.
pub fn admit(head: &Head, address: &Address, key: &DataKey) -> Result<SealingKey> {
    let (body_key, commitment) = crypto::body_key(key, &head.context(address))?;
    if crypto::equal(&commitment, &head.commitment) {
        Ok(body_key)
    } else {
        Err(Error::NotAuthentic)
    }
}

/// Opens a record value in place. `head` must be the head of `value`, and `key` must be the data
/// key that was unwrapped from `head`.
///
/// # Errors
/// [`Error::NotAuthentic`] if `key`, `address` or `name` does not match, or the body was altered;
/// [`Error::Malformed`] and [`Error::Unsupported`] for a body that this release cannot read.
pub fn open(
    value: Vec<u8>,
    head: &Head,
    address: &Address,
    name: Option<&str>,
    key: &DataKey,
) -> Result<Opened> {
    let body_key = admit(head, address, key)?;
    let mut value = Plaintext::new(value);
    let stream = match head.kind {
        Kind::Segmented => Some(*FieldReader::new(value.get(HEAD..).unwrap_or_default()).array()?),
        _ => None,
    };
    let start = HEAD + stream.map_or(0, |id| id.len());
    let sealed = value.get_mut(start..).ok_or(Error::Malformed)?;
    let (body, tag) = sealed.split_last_chunk_mut().ok_or(Error::Malformed)?;
    body_key.open(Nonce::ZERO, body, tag)?;

    let mut reader = FieldReader::new(body);
    let meta_len = usize::from(reader.u16()?);
    let mut meta_reader = FieldReader::new(reader.bytes(meta_len)?);
    let meta = Meta::decode(&mut meta_reader, head.version)?;
    let stream = match stream {
        Some(id) => {
            let key = StreamKey::from_bytes(meta_reader.array()?);
            Some((id, key, meta_reader.u64()?))
        }
        None => None,
    };
    meta_reader.end()?;
    let length = reader.u32()? as usize;
    let offset = start + body.len() - reader.remaining();
    reader.bytes(length)?;
    let padding = reader.bytes(reader.remaining())?;
    let inline = head.kind == Kind::Inline;
    if padding.iter().any(|byte| *byte != 0) || length > INLINE_READ_MAX || (!inline && length > 0)
    {
        return Err(Error::Malformed);
    }
    if name.is_some_and(|name| *name != *meta.name) {
        return Err(Error::NotAuthentic);
    }
    let content = match (head.kind, stream) {
        (_, Some((stream, key, length))) => Content::Segmented {
            stream,
            key,
            length,
        },
        (Kind::Inline, None) => Content::Inline(value, offset..offset + length),
        _ => Content::Retraction,
    };
    Ok(Opened {
        version: head.version,
        meta,
        content,
    })
}

/// Returns the value with its data key rewrapped. Only bytes 4..8 and 48..96 change.
///
/// # Errors
/// [`Error::Malformed`] if the value is shorter than a head.
pub fn rewrapped(mut value: Vec<u8>, key_number: u32, wrapped: &[u8; 48]) -> Result<Vec<u8>> {
    value
        .get_mut(KEY_NUMBER)
        .ok_or(Error::Malformed)?
        .copy_from_slice(&key_number.to_le_bytes());
    value
        .get_mut(WRAPPED_KEY)
        .ok_or(Error::Malformed)?
        .copy_from_slice(wrapped);
    Ok(value)
}

/// Returns the digest that identifies a version: SHA-256 of the value from byte 96 on, which
/// rewrapping keeps. For segmented content, the digest covers the stream key and the length, but not
/// the chunks.
///
/// # Errors
/// [`Error::Malformed`] if the value is shorter than a head.
pub fn digest(value: &[u8]) -> Result<Digest> {
    let sealed = value.get(HEAD..).ok_or(Error::Malformed)?;
    Ok(crypto::sha256(&[sealed]))
}
