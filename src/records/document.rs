//! The document that an app puts, and the record that it gets back.

use std::fmt;
use std::ops::{Deref, Range};
use std::time::SystemTime;

use crate::format::envelope::{Address, Meta};
use crate::secret::Plaintext;
use crate::vault::clock;

/// Content to be put, with what should be known of it. Borrowed bytes convert into one.
///
/// ```
/// # use chartlock::Document;
/// let plain = Document::from(b"{}");
/// let described = Document::new(b"{}").content_type("application/fhir+json").label("lab");
/// # let _ = (plain, described);
/// ```
#[derive(Clone)]
pub struct Document<'a> {
    pub(crate) content: &'a [u8],
    content_type: Box<str>,
    labels: Vec<Box<str>>,
    is_honeytoken: bool,
}

impl<'a> Document<'a> {
    /// Content without further description. Empty content is a record, not absence.
    pub fn new(content: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            content: content.as_ref(),
            content_type: "".into(),
            labels: Vec::new(),
            is_honeytoken: false,
        }
    }

    /// With a media type of 1 to 255 printable ASCII bytes; checked when it is put.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// With one more label, of 1 to 255 bytes without control characters; at most 32, checked when
    /// it is put.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.labels.push(label.into());
        self
    }

    /// Marked as a poison record: one that nobody has a reason to read, such as an invented celebrity's.
    /// Reading it raises [`SecurityEvent::HoneytokenRead`](crate::access::SecurityEvent::HoneytokenRead) before
    /// anything is handed out. The mark is sealed with the content and shown to nobody. It is this
    /// version's: put the next one with it too.
    #[must_use]
    pub fn honeytoken(mut self) -> Self {
        self.is_honeytoken = true;
        self
    }

    /// The same description of other content.
    pub(crate) fn with(self, content: &[u8]) -> Document<'_> {
        Document {
            content,
            content_type: self.content_type,
            labels: self.labels,
            is_honeytoken: self.is_honeytoken,
        }
    }

    pub(crate) fn meta(&self, name: &str, written_at: i64) -> Meta {
        let mut meta = Meta {
            written_at,
            content_type: self.content_type.clone(),
            name: name.into(),
            labels: self.labels.clone(),
            extensions: Vec::new(),
        };
        meta.set_honeytoken(self.is_honeytoken);
        meta
    }

    pub(crate) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|label| &**label)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Document<'a> {
    fn from(content: &'a T) -> Self {
        Self::new(content)
    }
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document(..)")
    }
}

/// What must stand in a record's place for a put to go on.
///
/// ```
/// # use chartlock::Precondition;
/// assert_ne!(Precondition::Version(3), Precondition::Any);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precondition {
    /// Anything.
    Any,
    /// No content: the record never was, or was retracted.
    Absent,
    /// This version, so that nobody else's amendment is buried.
    Version(u64),
}

impl Precondition {
    /// Whether a record is so whose current version is this, and a retraction or not; 0 for one that
    /// never was.
    pub(crate) fn admits(self, version: u64, is_retraction: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => is_retraction || version == 0,
            Self::Version(expected) => version > 0 && expected == version,
        }
    }
}

/// What is known of one version of a record.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let id = RecordId::patient("MRN-1042", "Observation/bp")?;
/// chart.put(&id, b"{}")?;
/// let info = chart.history(&id)?.remove(0);
/// assert_eq!((info.version(), info.length()), (1, Some(2)));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RecordInfo {
    pub(crate) address: Address,
    pub(crate) version: u64,
    pub(crate) length: Option<u64>,
    pub(crate) meta: Meta,
}

impl RecordInfo {
    /// The record's name.
    pub fn name(&self) -> &str {
        &self.meta.name
    }

    /// The version, 1 and up, without gaps.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The content's length in bytes; `None` for a retraction.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether this version retracts the record.
    pub fn is_retraction(&self) -> bool {
        self.length.is_none()
    }

    /// Whether this retraction stands for all versions below it: they were expunged.
    pub fn is_expunged(&self) -> bool {
        self.is_retraction() && self.meta.is_expunged()
    }

    /// When it was written, to the millisecond, by the writer's clock.
    pub fn written_at(&self) -> SystemTime {
        clock::time(self.meta.written_at)
    }

    /// The media type, if one was given.
    pub fn content_type(&self) -> Option<&str> {
        Some(&*self.meta.content_type).filter(|known| !known.is_empty())
    }

    /// The labels, ascending.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.meta.labels.iter().map(|label| &**label)
    }
}

impl fmt::Debug for RecordInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordInfo(version {}, ..)", self.version)
    }
}

/// A version of a record with its content: derefs to `[u8]`, is wiped on drop, prints nothing.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let id = RecordId::patient("MRN-1042", "Observation/bp")?;
/// chart.put(&id, b"{}")?;
/// if let Some(record) = chart.get(&id)? {
///     assert_eq!(&record[..], b"{}");
/// }
/// # Ok::<(), Error>(())
/// ```
pub struct Record {
    pub(crate) info: RecordInfo,
    pub(crate) buffer: Plaintext,
    pub(crate) content: Range<usize>,
}

impl Record {
    /// What is known of this version.
    pub fn info(&self) -> &RecordInfo {
        &self.info
    }

    /// The version.
    pub fn version(&self) -> u64 {
        self.info.version
    }
}

impl Deref for Record {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(self.content.clone()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record(version {}, ..)", self.info.version)
    }
}
