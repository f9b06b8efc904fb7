//! Identifiers: subjects, records, actors, and the purpose of an access.
//!
//! Guarantees: every identifier that can be constructed is valid; its `Debug` output never shows
//! the identifier.
//! Must not know: how identifiers are hidden in storage.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Longest identifier of a subject or an actor, in bytes.
const IDENTIFIER_MAX: usize = 255;
/// Longest reason, in bytes.
const REASON_MAX: usize = 255;
/// Longest record name, in bytes.
const NAME_MAX: usize = 1024;

fn fits(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn text<T: for<'t> From<&'t str>>(text: &str, max: usize) -> Result<T> {
    (fits(text, max).then(|| text.into())).ok_or(Error::InvalidId)
}

/// Returns `true` if a decrypted name is valid for a [`RecordId`].
pub(crate) fn is_record_name(name: &str) -> bool {
    fits(name, NAME_MAX)
}

/// Returns `true` for a character that hides or reorders other characters where a text is shown: zero-width
/// characters, separators of lines and paragraphs, marks and overrides of the writing direction.
fn is_deceptive(character: char) -> bool {
    matches!(
        character,
        '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    )
}

/// Returns `true` for a zero-width character that the spelling of Persian and of Indian languages needs.
/// It reorders nothing.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200C}' | '\u{200D}')
}

/// Checks a text that reports show, such as a reason, a consent reference, a request id or an
/// organization: 1 to 255 bytes without control characters and deceptive characters.
///
/// # Errors
/// [`Error::InvalidMetadata`] when the text is out of these bounds.
pub(crate) fn check_shown(text: &str) -> Result<()> {
    check_reason(text)?;
    let mut characters = text.chars().filter(|character| !is_joiner(*character));
    match characters.any(is_deceptive) {
        true => Err(Error::InvalidMetadata),
        false => Ok(()),
    }
}

/// Checks a label, or the reason of a stored legal hold: 1 to 255 bytes without control characters.
///
/// # Errors
/// [`Error::InvalidMetadata`] when the text is out of these bounds.
pub(crate) fn check_reason(reason: &str) -> Result<()> {
    (fits(reason, REASON_MAX).then_some(())).ok_or(Error::InvalidMetadata)
}

/// Reason for an operation, as the app states it: 1 to 255 bytes without control characters. Characters
/// that reorder or break lines of a shown text, such as U+202E and U+2028, are also refused.
///
/// The journal records the reason and never interprets it. `Debug` hides the text.
///
/// ```
/// # use chartlock::access::Reason;
/// let reason = Reason::new("the patient asked, ticket 4711")?;
/// assert_eq!(reason.text(), "the patient asked, ticket 4711");
/// assert!(Reason::new("two\nlines").is_err());
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reason(Box<str>);

impl Reason {
    /// Creates a reason.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the text is empty, exceeds 255 bytes or contains control
    /// characters, or one of U+200B, U+200E, U+200F, U+2028 to U+202E, and U+2066 to U+2069.
    pub fn new(text: &str) -> Result<Self> {
        check_shown(text)?;
        Ok(Self(text.into()))
    }

    /// Returns the text that the app supplied.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reason(..)")
    }
}

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
/// sources use different forms, normalize the identifiers first. `Debug` does not show the
/// identifier.
///
/// ```
/// # use chartlock::Subject;
/// let patient = Subject::patient("MRN-1042")?;
/// assert_eq!(patient.identifier(), "MRN-1042");
/// assert!(!format!("{patient:?}").contains("1042"));
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    kind: SubjectKind,
    identifier: Arc<str>,
}

impl Subject {
    /// Creates a patient from an identifier of 1 to 255 bytes without control characters.
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
        let identifier = text(identifier, IDENTIFIER_MAX)?;
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

/// Address of a record: a subject and a record name.
///
/// A name has 1 to 1,024 bytes without control characters, and is compared byte for byte. `Debug`
/// shows neither the subject nor the name.
///
/// ```
/// # use chartlock::RecordId;
/// let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
/// assert_eq!(id.name(), "Observation/bp-2026-11-21");
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
    /// [`Error::InvalidId`] when the identifier or the name is out of bounds.
    pub fn patient(identifier: &str, name: &str) -> Result<Self> {
        Self::new(Subject::patient(identifier)?, name)
    }

    /// Creates the address of a record that belongs to an organization.
    ///
    /// # Errors
    /// [`Error::InvalidId`] when the identifier or the name is out of bounds.
    pub fn organization(identifier: &str, name: &str) -> Result<Self> {
        Self::new(Subject::organization(identifier)?, name)
    }

    /// Creates the address of a record of `subject`.
    ///
    /// # Errors
    /// [`Error::InvalidId`] when the name does not have 1 to 1,024 bytes, or contains control
    /// characters.
    pub fn new(subject: Subject, name: &str) -> Result<Self> {
        let name = text(name, NAME_MAX)?;
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

/// Person or system that accesses records, identified by the name that the app uses.
///
/// A name has 1 to 255 bytes without control characters, and without invisible characters, so that no two
/// actors look the same in a report. The journal stores the name, but `Debug`
/// does not show the name.
///
/// ```
/// # use chartlock::Actor;
/// assert_eq!(Actor::new("dr.garcia")?.name(), "dr.garcia");
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Actor(Box<str>);

impl Actor {
    /// Creates an actor.
    ///
    /// # Errors
    /// [`Error::InvalidId`] when the name does not have 1 to 255 bytes, or contains control
    /// characters, or one of U+200B to U+200F, U+2028 to U+202E, and U+2066 to U+2069.
    pub fn new(name: &str) -> Result<Self> {
        if name.chars().any(is_deceptive) {
            return Err(Error::InvalidId);
        }
        text(name, IDENTIFIER_MAX).map(Self)
    }

    /// Returns the name that the app supplied.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Actor(..)")
    }
}

/// Purpose of an access: a code of the HL7 v3 value set PurposeOfUse
/// (2.16.840.1.113883.1.11.20448).
///
/// ```
/// # use chartlock::Purpose;
/// assert_eq!(Purpose::EmergencyTreatment.code(), "ETREAT");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// `TREAT`: care of the patient.
    Treatment,
    /// `ETREAT`: care in an emergency.
    EmergencyTreatment,
    /// `BTG`: break-glass access.
    BreakTheGlass,
    /// `COC`: coordination of care.
    CareCoordination,
    /// `HPAYMT`: payment.
    Payment,
    /// `HOPERAT`: operation of the health care organization.
    Operations,
    /// `PATADMIN`: administration of patients, such as admission.
    PatientAdministration,
    /// `HQUALIMP`: quality improvement.
    QualityImprovement,
    /// `HLEGAL`: a legal proceeding.
    Legal,
    /// `HSYSADMIN`: administration of the system, such as a migration.
    SystemAdministration,
    /// `PATRQT`: a request by the patient.
    PatientRequest,
    /// `FAMRQT`: a request by the family.
    FamilyRequest,
    /// `PUBHLTH`: public health.
    PublicHealth,
    /// `HRESCH`: research.
    Research,
    /// `HMARKT`: marketing.
    Marketing,
}

impl Purpose {
    /// Returns the code in HL7 v3 ActReason.
    pub fn code(self) -> &'static str {
        match self {
            Self::Treatment => "TREAT",
            Self::EmergencyTreatment => "ETREAT",
            Self::BreakTheGlass => "BTG",
            Self::CareCoordination => "COC",
            Self::Payment => "HPAYMT",
            Self::Operations => "HOPERAT",
            Self::PatientAdministration => "PATADMIN",
            Self::QualityImprovement => "HQUALIMP",
            Self::Legal => "HLEGAL",
            Self::SystemAdministration => "HSYSADMIN",
            Self::PatientRequest => "PATRQT",
            Self::FamilyRequest => "FAMRQT",
            Self::PublicHealth => "PUBHLTH",
            Self::Research => "HRESCH",
            Self::Marketing => "HMARKT",
        }
    }
}
