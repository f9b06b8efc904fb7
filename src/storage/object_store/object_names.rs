//! Names of objects. A name is a prefix and the key in lower-case hexadecimal digits.
//!
//! Guarantees: names have the order of their keys, and the keys with a prefix are the names with a string
//! prefix. Must not know: the meaning of keys.

use object_store::path::Path;

use crate::storage::StorageError;
use crate::storage::limits::KEY_BYTES_MAX;

/// Maximum length of a prefix, in bytes. A name then has at most 640 bytes; S3 allows 1,024 bytes.
const PREFIX_BYTES_MAX: usize = 512;
/// First part of the names of the objects with which a new storage is checked.
pub(super) const PROBE: &str = "probe-";

/// Prefix of all names of one storage: empty, or a path that ends with a slash.
#[derive(Debug, Clone, Default)]
pub(super) struct ObjectNames {
    prefix: String,
}

/// An object in a list.
pub(super) enum Listed {
    Key(Vec<u8>),
    /// A probe of this storage, or an object that marks the prefix as a folder.
    Other,
    Foreign,
}

impl ObjectNames {
    /// Creates the names for a path of ASCII letters, digits, `-`, `_` and `.`. An empty path means no prefix.
    pub(super) fn new(path: &str) -> Result<Self, StorageError> {
        let path = path.trim_matches('/');
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_segment =
            |segment: &str| segment.bytes().all(is_plain) && !["", ".", ".."].contains(&segment);
        let is_valid = path.is_empty() || path.split('/').all(is_segment);
        if !is_valid || path.len() > PREFIX_BYTES_MAX {
            return Err(StorageError::InvalidOptions);
        }
        let prefix = match path {
            "" => String::new(),
            path => format!("{path}/"),
        };
        Ok(Self { prefix })
    }

    /// Returns the name of a key, or the string prefix of the names of all keys with a prefix.
    pub(super) fn name(&self, key: &[u8]) -> String {
        let mut name = self.prefix.clone();
        for byte in key {
            for digit in [byte >> 4, byte & 15] {
                name.extend(char::from_digit(digit.into(), 16));
            }
        }
        name
    }

    /// Returns a name below the name of `key`, with no name of a key in between.
    pub(super) fn before(&self, key: &[u8]) -> String {
        let mut name = self.name(key);
        if key.is_empty() {
            return name;
        }
        let last = name.pop().and_then(|digit| digit.to_digit(16));
        // Names have an even number of digits, so without its last digit the name is below the key's.
        if let Some(less) = last.and_then(|digit| digit.checked_sub(1)) {
            name.extend(char::from_digit(less, 16));
            name.push('g');
        }
        name
    }

    pub(super) fn path(&self, key: &[u8]) -> Path {
        Path::from(self.name(key))
    }

    /// Returns the path of a probe.
    pub(super) fn probe(&self, suffix: &str) -> Path {
        Path::from(format!("{}{PROBE}{suffix}", self.prefix))
    }

    /// Returns the kind of object that a listed name belongs to.
    pub(super) fn listed(&self, name: &str) -> Listed {
        let Some(rest) = name.strip_prefix(&self.prefix) else {
            // The library removes the final slash of an object that marks a folder.
            let is_mark = self.prefix.strip_suffix('/') == Some(name);
            return if is_mark {
                Listed::Other
            } else {
                Listed::Foreign
            };
        };
        match key(rest) {
            Some(key) => Listed::Key(key),
            None if rest.starts_with(PROBE) => Listed::Other,
            None => Listed::Foreign,
        }
    }
}

/// Returns the key for lower-case hexadecimal digits.
fn key(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let key = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    let key: Vec<u8> = key.collect::<Option<_>>()?;
    (rest.is_empty() && (1..=KEY_BYTES_MAX).contains(&key.len())).then_some(key)
}
