//! Stored values and their revisions.

use std::fmt;
use std::hash::{Hash, Hasher};
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

/// A stored value with its revision.
///
/// ```
/// # use chartlock::storage::{Revision, Stored};
/// let stored = Stored { value: b"ciphertext".as_slice().into(), revision: Revision::new(b"1") };
/// assert_eq!(stored.value.len(), 10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The stored bytes.
    pub value: Bytes,
    /// The revision to expect when replacing the value.
    pub revision: Revision,
}
