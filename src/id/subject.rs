//! Subjects: patients and organizations.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, InputField, Result};
use crate::id::bounds::{check_id_part, check_visible};

/// Kind of a [`Subject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SubjectKind {
    /// A patient.
    Patient,
    /// An organization or one of its units, which owns records that belong to no patient, such as a
    /// formulary.
    Organization,
}

impl SubjectKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Patient => 1,
            Self::Organization => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Result<Self> {
        match code {
            1 => Ok(Self::Patient),
            2 => Ok(Self::Organization),
            _ => Err(Error::Unsupported),
        }
    }
}

/// Owner of records: a patient, or an organization.
///
/// Identifiers are compared byte for byte: two Unicode forms of "é" identify two patients. If your
/// sources use different forms, normalize the identifiers first, for example with the constructor `patient_nfc` of the
/// feature `nfc`. `Debug` does not show the
/// identifier; `Display` prints it, in a text form that parses back, which is also the form of serde.
///
/// ```
/// # use chartlock::Subject;
/// let patient = Subject::patient("MRN-1042")?;
/// assert_eq!(patient.identifier(), "MRN-1042");
/// assert!(!format!("{patient:?}").contains("1042"));
/// assert_eq!(patient.to_string(), "patient/MRN-1042");
/// assert_eq!("patient/MRN-1042".parse(), Ok(patient));
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    kind: SubjectKind,
    identifier: Arc<str>,
}

impl Subject {
    /// Creates a patient from an identifier of 1 to 255 bytes without control characters. At least one character
    /// must be visible: an identifier of only white space or zero-width characters is refused.
    ///
    /// # Errors
    /// [`Error::InvalidId`] when the identifier is out of these bounds.
    pub fn patient(identifier: &str) -> Result<Self> {
        Self::new(SubjectKind::Patient, identifier)
    }

    /// Creates an organization, or a unit of an organization such as `"formulary"`. The bounds are
    /// those of [`Subject::patient`].
    ///
    /// # Errors
    /// [`Error::InvalidId`] when the identifier is out of these bounds.
    pub fn organization(identifier: &str) -> Result<Self> {
        Self::new(SubjectKind::Organization, identifier)
    }

    pub(crate) fn new(kind: SubjectKind, identifier: &str) -> Result<Self> {
        let subject = Self::stored(kind, identifier)?;
        check_visible(identifier, InputField::Identifier)?;
        Ok(subject)
    }

    /// Creates a subject from an identifier in the storage.
    ///
    /// # Errors
    /// [`Error::InvalidId`] for an identifier that no release stores.
    pub(crate) fn stored(kind: SubjectKind, identifier: &str) -> Result<Self> {
        check_id_part(identifier, InputField::Identifier)?;
        let identifier = identifier.into();
        Ok(Self { kind, identifier })
    }

    /// Returns the kind of the subject: a patient or an organization.
    pub fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// Returns the identifier that the app supplied.
    pub fn identifier(&self) -> &str {
        &self.identifier
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({:?}, ..)", self.kind)
    }
}
