//! Types for content: the document that an app puts, and the record that `get` returns.

use std::fmt;
use std::ops::{Deref, Range};
use std::time::SystemTime;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::error::{Error, InputFault, InputField, Result};
use crate::format::envelope::{Address, Meta};
use crate::id::RecordId;
use crate::secret::Plaintext;
use crate::vault::clock;
use crate::vault::timestamp::Timestamp;

/// Content to put, with its media type, labels and honeytoken mark. Borrowed bytes, and a [`Bytes`],
/// convert into a document.
///
/// ```
/// # use chartlock::Document;
/// let plain = Document::from(b"{}");
/// let described = Document::new(b"{}").content_type("application/fhir+json").label("lab");
/// let owned = Document::owned(vec![b'{', b'}']).label("lab");
/// # let _ = (plain, described, owned);
/// ```
#[derive(Clone)]
pub struct Document<'a> {
    content: DocumentContent<'a>,
    content_type: Box<str>,
    labels: Vec<Box<str>>,
    is_honeytoken: bool,
    original_time: Option<SystemTime>,
    original_author: Option<Box<str>>,
}

/// Content of a document.
#[derive(Clone)]
pub(crate) enum DocumentContent<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl DocumentContent<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(content) => content,
            Self::Shared(content) => content,
        }
    }
}

impl<'a> Document<'a> {
    /// Returns a document without media type and labels. Empty content is valid: the record then
    /// exists with a length of 0.
    pub fn new(content: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::holding(DocumentContent::Borrowed(content.as_ref()))
    }

    /// Returns a document that owns its content, such as a `Vec` or a [`Bytes`], without a copy. It can be
    /// sent to another thread.
    ///
    /// To wipe the content after the put, pass a [`Bytes::from_owner`] whose owner wipes it.
    pub fn owned(content: impl Into<Bytes>) -> Document<'static> {
        Document::holding(DocumentContent::Shared(content.into()))
    }

    fn holding(content: DocumentContent<'a>) -> Self {
        Self {
            content,
            content_type: "".into(),
            labels: Vec::new(),
            is_honeytoken: false,
            original_time: None,
            original_author: None,
        }
    }

    /// Sets the media type: 1 to 255 printable ASCII bytes, which the put checks.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Adds a label of 1 to 255 bytes without control characters. A document has at most 32 labels;
    /// the put checks both limits.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.labels.push(label.into());
        self
    }

    /// Marks the record as a honeytoken: a record that no user has a reason to read, such as the
    /// record of an invented celebrity.
    ///
    /// A read raises
    /// [`SecurityEvent::HoneytokenRead`](crate::access::SecurityEvent::HoneytokenRead) before the
    /// content is returned. The mark is sealed with the content and never shown. The mark applies
    /// to this version only, so the app must set it again in each later version.
    #[must_use]
    pub fn honeytoken(mut self) -> Self {
        self.is_honeytoken = true;
        self
    }

    /// Sets the time at which the content was written in the system from which it comes, such as the former
    /// database of the app. The time is rounded up to a millisecond, and sealed with the content. It decides
    /// nothing: [`RecordInfo::written_at`] stays the time of the put.
    ///
    /// A put of a time more than some 292 million years before or after 1970 fails.
    #[must_use]
    pub fn original_time(mut self, time: SystemTime) -> Self {
        self.original_time = Some(time);
        self
    }

    /// Sets the author in the system from which the content comes: 1 to 255 bytes without control characters,
    /// which the put checks. The author is sealed with the content. The journal names the actor of the session.
    #[must_use]
    pub fn original_author(mut self, author: &str) -> Self {
        self.original_author = Some(author.into());
        self
    }

    /// Returns the length of the content in bytes.
    pub(crate) fn content_len(&self) -> usize {
        self.content.bytes().len()
    }

    /// Takes the content out of the document, so that a write can borrow the content.
    pub(crate) fn into_parts(self) -> (DocumentContent<'a>, Document<'static>) {
        let rest = Document {
            content: DocumentContent::Borrowed(&[]),
            content_type: self.content_type,
            labels: self.labels,
            is_honeytoken: self.is_honeytoken,
            original_time: self.original_time,
            original_author: self.original_author,
        };
        (self.content, rest)
    }

    /// Returns the metadata of a version with this content.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] if the document is out of bounds.
    pub(crate) fn into_meta(self, id: &RecordId, written_at: i64) -> Result<Meta> {
        let original_time = self.original_time.map(clock::millis);
        if original_time == Some(None) {
            let fault = InputFault::OutOfRange;
            return Err(Error::invalid_metadata(InputField::OriginalTime, fault));
        }
        let mut meta = Meta {
            written_at,
            content_type: self.content_type,
            name: id.shared_name(),
            labels: self.labels,
            extensions: Vec::new(),
        };
        meta.set_honeytoken(self.is_honeytoken);
        meta.set_original_time(original_time.flatten());
        meta.set_original_author(self.original_author.as_deref());
        meta.checked()
    }

    /// Returns the labels in ascending order, each once.
    pub(crate) fn sorted_labels(&self) -> Vec<Box<str>> {
        let mut labels = self.labels.clone();
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Document<'a> {
    fn from(content: &'a T) -> Self {
        Self::new(content)
    }
}

impl From<Bytes> for Document<'static> {
    fn from(content: Bytes) -> Self {
        Self::owned(content)
    }
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document(..)")
    }
}

/// The state of a record that a write requires in order to be committed.
///
/// ```
/// # use chartlock::Precondition;
/// assert_ne!(Precondition::Version(3), Precondition::Any);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precondition {
    /// Any state: the write is unconditional.
    Any,
    /// No content: the record does not exist or was retracted.
    Absent,
    /// Exactly this current version, so that the write cannot overwrite a concurrent change. Versions begin at 1; a
    /// write with version 0 returns [`Error::InvalidMetadata`].
    Version(u64),
}

impl Precondition {
    /// Checks that a version of a record can meet the precondition.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for version 0, which no record has.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Version(0) => Err(Error::invalid_metadata(
                InputField::ExpectedVersion,
                InputFault::OutOfRange,
            )),
            _ => Ok(()),
        }
    }

    /// Returns `true` if a record with this current version meets the precondition. Version 0 means
    /// that the record does not exist.
    pub(crate) fn admits(self, version: u64, is_retraction: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => is_retraction || version == 0,
            Self::Version(expected) => version > 0 && expected == version,
        }
    }
}

/// Description of one version of a record, without its content.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let id = RecordId::patient("MRN-1042", "Observation/bp")?;
/// session.put(&id, b"{}")?;
/// let info = session.history(&id)?.remove(0);
/// assert_eq!((info.version(), info.length()), (1, Some(2)));
/// // The serialized form contains the name of the record, the content type and the labels.
/// assert!(serde_json::to_string(&info).is_ok_and(|json| json.contains("Observation/bp")));
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
    /// Returns the name of the record.
    pub fn name(&self) -> &str {
        &self.meta.name
    }

    /// Returns the version number; version numbers count from 1 without gaps.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the length of the content in bytes; `None` for a retraction.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns `true` if this version is a retraction.
    pub fn is_retraction(&self) -> bool {
        self.length.is_none()
    }

    /// Returns `true` if this version is an expunged marker, which replaces all earlier versions.
    pub fn is_expunged(&self) -> bool {
        self.is_retraction() && self.meta.marks_expunged(self.version)
    }

    /// Returns the time of writing by the writer's clock, with millisecond precision.
    pub fn written_at(&self) -> SystemTime {
        clock::time(self.meta.written_at)
    }

    /// Returns the time of writing in the system from which the content came, if the app set
    /// [`Document::original_time`].
    pub fn original_time(&self) -> Option<SystemTime> {
        self.meta.original_time().map(clock::time)
    }

    /// Returns the author in the system from which the content came, if the app set
    /// [`Document::original_author`].
    pub fn original_author(&self) -> Option<&str> {
        self.meta.original_author()
    }

    /// Returns the media type, if the app gave one.
    pub fn content_type(&self) -> Option<&str> {
        Some(&*self.meta.content_type).filter(|known| !known.is_empty())
    }

    /// Returns the labels in ascending order.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.meta.labels.iter().map(|label| &**label)
    }
}

/// Serializes the fields `name`, `version`, `length`, `written_at` (RFC 3339), `content_type`, `labels`,
/// `original_time` (RFC 3339), `original_author`, `is_retraction` and `is_expunged`. The name and the labels can be about the patient.
impl Serialize for RecordInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut info = serializer.serialize_struct("RecordInfo", 10)?;
        info.serialize_field("name", self.name())?;
        info.serialize_field("version", &self.version)?;
        info.serialize_field("length", &self.length)?;
        let written_at = Timestamp::from_millis(self.meta.written_at);
        info.serialize_field("written_at", &written_at)?;
        info.serialize_field("content_type", &self.content_type())?;
        info.serialize_field("labels", &self.meta.labels)?;
        let original_time = self.meta.original_time().map(Timestamp::from_millis);
        info.serialize_field("original_time", &original_time)?;
        info.serialize_field("original_author", &self.original_author())?;
        info.serialize_field("is_retraction", &self.is_retraction())?;
        info.serialize_field("is_expunged", &self.is_expunged())?;
        info.end()
    }
}

impl fmt::Debug for RecordInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordInfo(version {}, ..)", self.version)
    }
}

/// A version of a record with its content. A `Record` dereferences to `[u8]`. The content is wiped
/// on drop, and `Debug` does not show it.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let id = RecordId::patient("MRN-1042", "Observation/bp")?;
/// session.put(&id, b"{}")?;
/// if let Some(record) = session.get(&id)? {
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
    /// Returns the description of this version.
    pub fn info(&self) -> &RecordInfo {
        &self.info
    }

    /// Returns the version number.
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

/// Conversion without a copy. The content is wiped when the last clone of the [`Bytes`] is dropped.
impl From<Record> for Bytes {
    fn from(record: Record) -> Self {
        Self::from_owner(record)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record(version {}, ..)", self.info.version)
    }
}
