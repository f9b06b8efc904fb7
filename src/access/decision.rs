//! Decisions of access policies: permissions, consents and denials.

use std::fmt;
use std::time::SystemTime;

use crate::error::{InputField, Result};
use crate::id::Reason;
use crate::id::bounds::check_shown;

/// The decision of an access policy on one request.
///
/// ```
/// # use chartlock::access::{ConsentReference, Decision};
/// let consent = ConsentReference::new("Consent/2024-117")?;
/// let decision = Decision::PermitUnder(consent.clone());
/// assert!(decision.is_permitted());
/// assert_eq!(decision.consent(), Some(&consent));
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The operation is permitted.
    Permit,
    /// The operation is permitted under a consent, which the operation's journal entry records.
    PermitUnder(ConsentReference),
    /// The operation is denied, with [`Error::Denied`](crate::Error::Denied) as the answer.
    Deny,
    /// The operation is denied, with a reason for the operator or another answer.
    DenyWith(Denial),
}

impl Decision {
    /// Returns `true` unless the operation is denied.
    pub fn is_permitted(&self) -> bool {
        matches!(self, Self::Permit | Self::PermitUnder(_))
    }

    /// Returns the consent of [`Decision::PermitUnder`].
    pub fn consent(&self) -> Option<&ConsentReference> {
        match self {
            Self::PermitUnder(consent) => Some(consent),
            Self::Permit | Self::Deny | Self::DenyWith(_) => None,
        }
    }
}

/// The details of a denial: why, for the operator, and how the vault answers.
///
/// The journal records the reason. The denied actor never receives it.
///
/// ```
/// # use chartlock::access::{Decision, Denial, Reason};
/// let denial = Denial::new().because(Reason::new("no treatment relation")?).as_absence();
/// assert!(!Decision::DenyWith(denial).is_permitted());
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Denial {
    reason: Option<Reason>,
    as_absence: bool,
}

impl Denial {
    /// Creates a denial without a reason, answered with [`Error::Denied`](crate::Error::Denied).
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the reason, which the denial's journal entry records.
    pub fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Lets the vault answer reads and lists as if nothing existed: a `get` returns `None`, a list
    /// is empty. The journal still records a denial.
    ///
    /// Changes are answered with [`Error::Denied`](crate::Error::Denied) in any case, because an
    /// absence would invite the actor to create the record. A denial before the storage is read
    /// takes less time than a true absence.
    pub fn as_absence(mut self) -> Self {
        self.as_absence = true;
        self
    }

    /// Returns the reason for the operator.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Returns `true` if reads are answered as if nothing existed.
    pub fn is_absence(&self) -> bool {
        self.as_absence
    }
}

/// A reference to a consent, such as the id of a FHIR `Consent`.
///
/// The app chooses the text. The journal records the text without interpreting it. `Debug` hides
/// the text.
///
/// ```
/// # use chartlock::access::ConsentReference;
/// let consent = ConsentReference::new("Consent/2024-117")?;
/// assert_eq!(consent.text(), "Consent/2024-117");
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ConsentReference {
    text: Box<str>,
    ends: Option<SystemTime>,
}

impl ConsentReference {
    /// Creates a reference from 1 to 255 bytes without control characters.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`](crate::Error::InvalidMetadata) if `text` is empty, too long or
    /// has control characters, or characters that [`Reason::new`] refuses.
    pub fn new(text: &str) -> Result<Self> {
        check_shown(text, InputField::ConsentReference)?;
        Ok(Self {
            text: text.into(),
            ends: None,
        })
    }

    /// Sets the time at which the consent ends. From then on, readers, writers and iterators that
    /// were opened under the consent ask the policy again.
    #[must_use]
    pub fn ending_at(mut self, time: SystemTime) -> Self {
        self.ends = Some(time);
        self
    }

    /// Returns the reference as the app supplied it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the time at which the consent ends, if the policy set one.
    pub fn ends(&self) -> Option<SystemTime> {
        self.ends
    }
}

impl fmt::Debug for ConsentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsentReference(..)")
    }
}
