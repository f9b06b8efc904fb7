//! Addresses of records.

use std::fmt;
use std::sync::Arc;

use crate::error::{InputField, Result};
use crate::id::Subject;
use crate::id::bounds::{check_id_part, check_visible};

/// Address of a record: a subject and a record name.
///
/// A name has 1 to 1,024 bytes without control characters, of which at least one character is visible. Names are
/// compared byte for byte. `Debug` shows neither the subject nor the name; `Display` prints
/// both, in a text form that parses back, which is also the form of serde.
///
/// ```
/// # use chartlock::RecordId;
/// let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
/// assert_eq!(id.name(), "Observation/bp-2026-11-21");
/// assert_eq!(id.to_string(), "patient/MRN-1042/Observation/bp-2026-11-21");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// // A slash in the identifier is encoded.
/// let ward = RecordId::organization("ward/3 b", "formulary")?;
/// assert_eq!(ward.to_string(), "organization/ward%2F3%20b/formulary");
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    subject: Subject,
    name: Arc<str>,
}

impl RecordId {
    /// Creates the address of a patient's record.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when the identifier or the name is out of bounds.
    pub fn patient(identifier: &str, name: &str) -> Result<Self> {
        Self::new(Subject::patient(identifier)?, name)
    }

    /// Creates the address of a record that belongs to an organization.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when the identifier or the name is out of bounds.
    pub fn organization(identifier: &str, name: &str) -> Result<Self> {
        Self::new(Subject::organization(identifier)?, name)
    }

    /// Creates the address of a record of `subject`.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when the name does not have 1 to 1,024 bytes, contains control
    /// characters, or contains no visible character.
    pub fn new(subject: Subject, name: &str) -> Result<Self> {
        let id = Self::stored(subject, name)?;
        check_visible(name, InputField::RecordName)?;
        Ok(id)
    }

    /// Creates the address of a record whose name is in the storage.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) for a name that no release stores.
    pub(crate) fn stored(subject: Subject, name: &str) -> Result<Self> {
        check_id_part(name, InputField::RecordName)?;
        let name = name.into();
        Ok(Self { subject, name })
    }

    /// Returns the subject that owns the record.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns the record name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordId(..)")
    }
}
