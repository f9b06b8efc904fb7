//! Contents of files in the model of a disk.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

/// The content of a file: bytes, then zeros up to its length.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) length: u64,
    /// Hash of the content, computed once because most files are the same in most states.
    digest: OnceLock<u64>,
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        (&self.bytes, self.length) == (&other.bytes, other.length)
    }
}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let digest = self.digest.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            (&self.bytes, self.length).hash(&mut hasher);
            hasher.finish()
        });
        digest.hash(state);
    }
}

impl Content {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        let digest = OnceLock::new();
        let content = Self {
            bytes,
            length,
            digest,
        };
        content.trimmed()
    }

    /// Returns the same content without stored trailing zeros.
    pub(crate) fn trimmed(&self) -> Self {
        let used = self.bytes.iter().rposition(|byte| *byte != 0);
        Self {
            bytes: self.bytes[..used.map_or(0, |last| last + 1)].to_vec(),
            length: self.length,
            digest: OnceLock::new(),
        }
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        self.digest.take();
        let (from, until) = (at as usize, at as usize + bytes.len());
        if self.bytes.len() < until {
            self.bytes.resize(until, 0);
        }
        self.bytes[from..until].copy_from_slice(bytes);
        self.length = self.length.max(until as u64);
    }

    pub(crate) fn set_length(&mut self, length: u64) {
        self.digest.take();
        self.bytes.truncate(length as usize);
        self.length = length;
    }

    pub(crate) fn set_length_at_least(&mut self, length: u64) {
        self.digest.take();
        self.length = self.length.max(length);
    }
}
