//! Values and their revisions.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

/// A revision of one stored value, for compare-and-swap: opaque bytes, such as a counter or an
/// ETag.
///
/// Equal revisions of one key mean equal values. Writing a key again, even with the same bytes, may
/// or may not change its revision.
///
/// ```
/// # use chartlock::storage::Revision;
/// assert_eq!(Revision::new(b"etag"), Revision::new(b"etag"));
/// ```
#[derive(Clone)]
pub struct Revision(RevisionBytes);

/// Bytes of a revision. Nearly all revisions are short, and these need no allocation.
#[derive(Clone)]
enum RevisionBytes {
    Inline([u8; REVISION_INLINE_BYTES], u8),
    Shared(Arc<[u8]>),
}

/// Maximum length of a revision that is stored without an allocation, in bytes.
const REVISION_INLINE_BYTES: usize = 16;

impl Revision {
    /// Creates a revision from bytes that the backend chooses. Up to 16 bytes need no allocation.
    pub fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; REVISION_INLINE_BYTES];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(bytes);
                Self(RevisionBytes::Inline(inline, length))
            }
            _ => Self(RevisionBytes::Shared(bytes.into())),
        }
    }

    /// Returns the bytes that the backend chose.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            RevisionBytes::Inline(bytes, length) => {
                bytes.get(..usize::from(*length)).unwrap_or(bytes)
            }
            RevisionBytes::Shared(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revision").field(&self.as_bytes()).finish()
    }
}

impl PartialEq for Revision {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Revision {}

impl Hash for Revision {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// A value that a storage keeps: bytes that are shared, not copied, when the value is cloned.
///
/// A value converts from and to `Vec<u8>` and `bytes::Bytes`. The conversion to a vector copies only
/// if the value is shared.
///
/// ```
/// # use chartlock::storage::Value;
/// let value = Value::from(b"ciphertext");
/// assert_eq!(value.len(), 10);
/// assert_eq!(Vec::from(value), b"ciphertext");
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Value(Bytes);

impl Value {
    /// Returns the bytes of the value.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes for reuse of their memory, or the value if it is shared.
    pub(crate) fn into_unshared(self) -> Result<Vec<u8>, Self> {
        self.0.try_into_mut().map(Vec::from).map_err(Self)
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

impl PartialEq<[u8]> for Value {
    fn eq(&self, other: &[u8]) -> bool {
        self.0 == other
    }
}

impl PartialEq<&[u8]> for Value {
    fn eq(&self, other: &&[u8]) -> bool {
        self.0 == *other
    }
}

impl PartialEq<Vec<u8>> for Value {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self.0 == *other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Value {
    fn eq(&self, other: &[u8; N]) -> bool {
        self.0 == other.as_slice()
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Value {
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.0 == other.as_slice()
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Value> for Bytes {
    fn from(value: Value) -> Self {
        value.0
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Self {
        value.0.into()
    }
}

/// A stored value with its revision.
///
/// ```
/// # use chartlock::storage::{Revision, Stored};
/// let stored = Stored { value: b"ciphertext".into(), revision: Revision::new(b"1") };
/// assert_eq!(stored.value.len(), 10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The stored bytes.
    pub value: Value,
    /// The revision to expect when replacing the value.
    pub revision: Revision,
}
