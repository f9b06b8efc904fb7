//! Constructors of identifiers that normalize to Unicode's form NFC.

use unicode_normalization::UnicodeNormalization;

use crate::error::Result;
use crate::id::{RecordId, Subject};

fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// Constructors that normalize, with the feature `nfc`.
///
/// "é" can be one character (NFC) or two (NFD), which look alike but are different identifiers. These constructors
/// convert both to NFC. They are not the default, because the normalized id does not find what was stored under another
/// form: choose one way for a vault before its first put, and use it everywhere.
impl Subject {
    /// Creates a patient from an identifier that is normalized to NFC; otherwise like [`Subject::patient`]. The limits
    /// apply to the normalized identifier.
    ///
    /// ```
    /// # use chartlock::Subject;
    /// let (composed, decomposed) = ("Jos\u{e9}", "Jose\u{301}");
    /// assert_ne!(Subject::patient(composed)?, Subject::patient(decomposed)?);
    /// assert_eq!(Subject::patient_nfc(composed)?, Subject::patient_nfc(decomposed)?);
    /// assert_eq!(Subject::patient_nfc(decomposed)?, Subject::patient(composed)?);
    /// # Ok::<(), chartlock::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when the normalized identifier is out of bounds.
    pub fn patient_nfc(identifier: &str) -> Result<Self> {
        Self::patient(&nfc(identifier))
    }

    /// Creates an organization from an identifier that is normalized to NFC; otherwise like
    /// [`Subject::organization`].
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when the normalized identifier is out of bounds.
    pub fn organization_nfc(identifier: &str) -> Result<Self> {
        Self::organization(&nfc(identifier))
    }
}

/// Constructors that normalize, with the feature `nfc`; see [`Subject::patient_nfc`].
impl RecordId {
    /// Creates the address of a patient's record. The identifier and the name are normalized to NFC.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when the normalized identifier or name is out of bounds.
    pub fn patient_nfc(identifier: &str, name: &str) -> Result<Self> {
        Self::new_nfc(Subject::patient_nfc(identifier)?, name)
    }

    /// Creates the address of a record that belongs to an organization. The identifier and the name are normalized to
    /// NFC.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when the normalized identifier or name is out of bounds.
    pub fn organization_nfc(identifier: &str, name: &str) -> Result<Self> {
        Self::new_nfc(Subject::organization_nfc(identifier)?, name)
    }

    /// Creates the address of a record of `subject`, which is used as it is. The name is normalized to NFC.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when the normalized name is out of bounds.
    pub fn new_nfc(subject: Subject, name: &str) -> Result<Self> {
        Self::new(subject, &nfc(name))
    }
}
