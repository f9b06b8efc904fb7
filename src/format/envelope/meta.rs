//! Record metadata, sealed with the content: time, name, media type, labels, extensions.

use std::sync::Arc;

use crate::crypto::StreamId;
use crate::error::{Error, InputFault, InputField, Result};
use crate::format::envelope::fields::FieldReader;
use crate::id::bounds::{check_text, is_record_name};

/// The metadata schema of this release.
const SCHEMA: u8 = 1;
const LABELS_MAX: usize = InputField::Labels.max();
/// Maximum length of a label, in bytes.
const SHORT_MAX: usize = InputField::Label.max();
/// First critical extension number. A reader refuses unknown extensions from this number on.
const CRITICAL: u16 = 0x8000;

/// Extension number of the origin: the id (16 bytes) of the stream under which segmented content
/// was first sealed.
const ORIGIN: u16 = 1;
/// Extension number of the honeytoken mark, which has no content.
const HONEYTOKEN: u16 = 2;
/// Extension number of the id (16 bytes) of the stream that an expunged marker replaced.
const REPLACED_STREAM: u16 = 3;
/// Extension number of the digest of imported content: SHA-256, 32 bytes.
const IMPORT_DIGEST: u16 = 4;
/// Extension number of the original time: milliseconds since 1970, i64.
const ORIGINAL_TIME: u16 = 6;
/// Extension number of the original author: text.
const ORIGINAL_AUTHOR: u16 = 7;
/// Extension number of the expunged versions: the highest version that was expunged, u64.
const EXPUNGED_UP_TO: u16 = 0x8001;

/// Content types with a one-byte code, in the order of their codes. Other types are stored as text.
/// The list is closed for this schema, because readers cannot read a record with an unknown code.
const CONTENT_TYPES: [&str; 20] = [
    "application/fhir+json",
    "application/fhir+xml",
    "application/fhir+ndjson",
    "application/dicom",
    "application/dicom+json",
    "application/hl7-cda+xml",
    "x-application/hl7-v2+er7",
    "application/json",
    "application/xml",
    "application/pdf",
    "application/octet-stream",
    "text/plain",
    "text/csv",
    "text/html",
    "text/xml",
    "text/vcf",
    "image/jpeg",
    "image/png",
    "audio/mpeg",
    "video/mp4",
];

/// Returns the code of a content type, as listed in `format.md`; 0 for a type without a code.
pub fn content_type_code(content_type: &str) -> u8 {
    CONTENT_TYPES
        .iter()
        .zip(1..)
        .find(|(known, _)| **known == content_type)
        .map_or(0, |(_, code)| code)
}

fn content_type_of(code: u8) -> Result<&'static str> {
    (code as usize)
        .checked_sub(1)
        .and_then(|index| CONTENT_TYPES.get(index).copied())
        .ok_or(Error::Unsupported)
}

/// Metadata of one version of a record.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Time of writing in milliseconds since 1970.
    pub written_at: i64,
    /// Media type; empty if the app gave none.
    pub content_type: Box<str>,
    /// Name of the record, 1 to 1,024 bytes.
    pub name: Arc<str>,
    /// Labels, in strictly ascending order.
    pub labels: Vec<Box<str>>,
    /// Extensions, in strictly ascending order of their numbers. Unknown extensions of later
    /// releases are kept.
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl Meta {
    /// Sorts the labels, removes duplicates, and checks the bounds of the labels, the content type and the
    /// original author.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] if the content type, a label or the author is out of bounds, or there are
    /// too many labels.
    pub fn checked(mut self) -> Result<Self> {
        self.labels.sort_unstable();
        self.labels.dedup();
        let count = self.labels.len();
        if count > LABELS_MAX {
            let fault = InputFault::TooMany { count };
            return Err(Error::invalid_metadata(InputField::Labels, fault));
        }
        for label in &self.labels {
            check_text(label, InputField::Label)?;
        }
        check_content_type(&self.content_type)?;
        if let Some(author) = self.original_author() {
            check_text(author, InputField::OriginalAuthor)?;
        }
        Ok(self)
    }

    /// Returns the number of the last version that was expunged; `None` if no version was.
    pub fn expunged_up_to(&self) -> Option<u64> {
        let bytes = self.body_of(EXPUNGED_UP_TO)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// Sets the number of the last version that was expunged. Every later version of the record
    /// carries this number, so that a reader of an earlier version needs no search for the marker.
    pub fn set_expunged_up_to(&mut self, version: Option<u64>) {
        let body = version.map(|version| version.to_le_bytes().to_vec());
        self.set(EXPUNGED_UP_TO, body);
    }

    /// Returns `true` if a retraction with this version number is an expunged marker; see
    /// [`crate::format::envelope::Opened::is_expunged`].
    pub fn marks_expunged(&self, version: u64) -> bool {
        self.expunged_up_to()
            .is_some_and(|last| Some(last) == version.checked_sub(1))
    }

    /// Sets the id of the stream under which the content was first sealed. Re-encryption keeps this
    /// id, so the id identifies the put that uploaded the content.
    pub fn set_origin(&mut self, stream: &StreamId) {
        self.set(ORIGIN, Some(stream.to_vec()));
    }

    /// Sets or removes the honeytoken mark, which is sealed with the record and never shown.
    pub fn set_honeytoken(&mut self, is_honeytoken: bool) {
        self.set(HONEYTOKEN, is_honeytoken.then(Vec::new));
    }

    /// Returns `true` if this version is a honeytoken. A mark with content also counts, because
    /// later releases may store content in the mark.
    pub fn is_honeytoken(&self) -> bool {
        self.body_of(HONEYTOKEN).is_some()
    }

    /// Marks the version as imported, with the SHA-256 of its content. A repeated import recognizes the version by
    /// it.
    pub fn set_import_digest(&mut self, digest: &[u8; 32]) {
        self.set(IMPORT_DIGEST, Some(digest.to_vec()));
    }

    /// Returns the digest of an imported version; `None` if another write created the version.
    pub fn import_digest(&self) -> Option<[u8; 32]> {
        self.body_of(IMPORT_DIGEST)?.try_into().ok()
    }

    /// Sets the time of writing in the system from which the content came, in milliseconds since 1970.
    pub fn set_original_time(&mut self, millis: Option<i64>) {
        self.set(
            ORIGINAL_TIME,
            millis.map(|time| time.to_le_bytes().to_vec()),
        );
    }

    /// Returns the time of writing in the system from which the content came, in milliseconds since 1970.
    pub fn original_time(&self) -> Option<i64> {
        let bytes = self.body_of(ORIGINAL_TIME)?.try_into().ok()?;
        Some(i64::from_le_bytes(bytes))
    }

    /// Sets the author in the system from which the content came.
    pub fn set_original_author(&mut self, author: Option<&str>) {
        self.set(
            ORIGINAL_AUTHOR,
            author.map(|author| author.as_bytes().to_vec()),
        );
    }

    /// Returns the author in the system from which the content came.
    pub fn original_author(&self) -> Option<&str> {
        str::from_utf8(self.body_of(ORIGINAL_AUTHOR)?).ok()
    }

    /// Sets the stream of the version that an expunged marker replaces, whose segments are still to
    /// be deleted.
    pub fn set_replaced_stream(&mut self, stream: Option<&StreamId>) {
        self.set(REPLACED_STREAM, stream.map(|id| id.to_vec()));
    }

    /// Returns the stream id of the version that an expunged marker replaced, if the marker
    /// contains the id.
    pub fn replaced_stream(&self) -> Option<StreamId> {
        self.body_of(REPLACED_STREAM)?.try_into().ok()
    }

    fn body_of(&self, extension: u16) -> Option<&[u8]> {
        let mut all = self.extensions.iter();
        let (_, body) = all.find(|(number, _)| *number == extension)?;
        Some(body)
    }

    fn set(&mut self, extension: u16, body: Option<Vec<u8>>) {
        self.extensions.retain(|(number, _)| *number != extension);
        if let Some(body) = body {
            let index = (self.extensions).partition_point(|(number, _)| *number < extension);
            self.extensions.insert(index, (extension, body));
        }
    }

    /// Returns the length of the encoding in bytes.
    pub(super) fn encoded_len(&self) -> usize {
        let content_type = match content_type_code(&self.content_type) {
            0 => 2 + self.content_type.len(),
            _ => 1,
        };
        let labels: usize = self.labels.iter().map(|label| 1 + label.len()).sum();
        let extensions: usize = self.extensions.iter().map(|(_, body)| 4 + body.len()).sum();
        1 + 8 + content_type + 2 + self.name.len() + 1 + labels + 1 + extensions
    }

    /// Appends the encoding. The casts lose no bits, because [`Meta::checked`] or [`Meta::decode`]
    /// checked the lengths.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(SCHEMA);
        out.extend_from_slice(&self.written_at.to_le_bytes());
        let code = content_type_code(&self.content_type);
        out.push(code);
        if code == 0 {
            out.push(self.content_type.len() as u8);
            out.extend_from_slice(self.content_type.as_bytes());
        }
        out.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out.push(self.labels.len() as u8);
        for label in &self.labels {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(self.extensions.len() as u8);
        for (number, body) in &self.extensions {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&(body.len() as u16).to_le_bytes());
            out.extend_from_slice(body);
        }
    }

    /// Decodes the metadata of a version from the front of authenticated bytes.
    pub(super) fn decode(reader: &mut FieldReader<'_>, version: u64) -> Result<Self> {
        if reader.u8()? != SCHEMA {
            return Err(Error::Unsupported);
        }
        let written_at = reader.i64()?;
        let content_type = match reader.u8()? {
            0 => {
                let length = reader.u8()?;
                let text = reader.text(length.into())?;
                valid(text, is_printable_ascii(text))?
            }
            code => content_type_of(code)?,
        };
        let length = reader.u16()?;
        let name = reader.text(length.into())?;
        let name = valid(name, is_record_name(name))?;
        Ok(Self {
            written_at,
            content_type: content_type.into(),
            name: name.into(),
            labels: labels(reader)?,
            extensions: extensions(reader, version)?,
        })
    }
}

impl std::fmt::Debug for Meta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meta(..)")
    }
}

fn check_content_type(text: &str) -> Result<()> {
    let (field, length) = (InputField::ContentType, text.len());
    if length > field.max() {
        return Err(Error::invalid_metadata(
            field,
            InputFault::TooLong { length },
        ));
    }
    match text.bytes().position(|byte| !is_printable(byte)) {
        Some(position) => Err(Error::invalid_metadata(
            field,
            InputFault::NotPrintableAscii { position },
        )),
        None => Ok(()),
    }
}

fn is_label(text: &str) -> bool {
    (1..=SHORT_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(is_printable)
}

fn is_printable(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}

/// Refuses text that no writer seals, so that an app never receives it.
fn valid(text: &str, is_valid: bool) -> Result<&str> {
    is_valid.then_some(text).ok_or(Error::Malformed)
}

fn labels(reader: &mut FieldReader<'_>) -> Result<Vec<Box<str>>> {
    let count = usize::from(reader.u8()?);
    if count > LABELS_MAX {
        return Err(Error::Malformed);
    }
    let mut labels: Vec<Box<str>> = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.u8()?;
        let label = reader.text(length.into())?;
        if !is_label(label) || labels.last().is_some_and(|last| **last >= *label) {
            return Err(Error::Malformed);
        }
        labels.push(label.into());
    }
    Ok(labels)
}

fn extensions(reader: &mut FieldReader<'_>, version: u64) -> Result<Vec<(u16, Vec<u8>)>> {
    let count = reader.u8()?;
    let mut extensions: Vec<(u16, Vec<u8>)> = Vec::new();
    for _ in 0..count {
        let number = reader.u16()?;
        let length = reader.u16()?;
        let body = reader.bytes(length.into())?;
        if extensions.last().is_some_and(|(last, _)| *last >= number) {
            return Err(Error::Malformed);
        }
        check_extension(number, body, version)?;
        extensions.push((number, body.to_vec()));
    }
    Ok(extensions)
}

/// Checks the content of one extension of a version.
fn check_extension(number: u16, body: &[u8], version: u64) -> Result<()> {
    let is_valid = match number {
        EXPUNGED_UP_TO => body
            .try_into()
            .is_ok_and(|last| (1..version).contains(&u64::from_le_bytes(last))),
        CRITICAL.. => return Err(Error::Unsupported),
        ORIGINAL_TIME => body.len() == size_of::<i64>(),
        // An author has the bounds of a label.
        ORIGINAL_AUTHOR => str::from_utf8(body).is_ok_and(is_label),
        _ => true,
    };
    is_valid.then_some(()).ok_or(Error::Malformed)
}
