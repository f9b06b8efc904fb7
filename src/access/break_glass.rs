//! Break-glass: time-limited access of a session that bypasses the policy.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, InputFault, InputField, Result};
use crate::id::{Subject, SubjectKind};

/// The longest duration of break-glass access.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The subjects whose records break-glass access opens. `Debug` shows no identifier.
///
/// ```
/// # use chartlock::{Subject, access::BreakGlassScope};
/// let subject = Subject::patient("MRN-1042")?;
/// let scope = BreakGlassScope::from(&subject);
/// assert_eq!(scope, BreakGlassScope::Subject(subject));
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakGlassScope {
    /// A single subject: a patient, or an organization.
    Subject(Subject),
    /// All patients, for example while a policy service is down. Records of organizations stay
    /// closed.
    AllPatients,
}

impl From<&Subject> for BreakGlassScope {
    fn from(subject: &Subject) -> Self {
        Self::Subject(subject.clone())
    }
}

impl From<Subject> for BreakGlassScope {
    fn from(subject: Subject) -> Self {
        Self::Subject(subject)
    }
}

impl BreakGlassScope {
    fn covers(&self, subject: &Subject) -> bool {
        match self {
            Self::Subject(opened) => opened == subject,
            Self::AllPatients => subject.kind() == SubjectKind::Patient,
        }
    }
}

/// Break-glass access of a session, valid until it expires. The journal records the actor and the
/// reason.
///
/// The expiry is measured in the vault's uptime, so setting the machine's clock neither extends nor
/// shortens the access. On some platforms, uptime excludes the time that the machine sleeps.
pub struct BrokenGlass {
    scope: BreakGlassScope,
    until: Duration,
}

impl BrokenGlass {
    /// Begins break-glass access at `uptime`, for up to 24 hours.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] if `duration` is zero or above 24 hours.
    pub fn new(scope: BreakGlassScope, duration: Duration, uptime: Duration) -> Result<Self> {
        if duration.is_zero() || duration > LONGEST {
            return Err(Error::invalid_metadata(
                InputField::BreakGlassDuration,
                InputFault::OutOfRange,
            ));
        }
        Ok(Self {
            scope,
            until: uptime.saturating_add(duration),
        })
    }

    /// Returns `true` if the access has not expired.
    ///
    /// After expiry, the guard denies every operation. Otherwise the session would continue without
    /// the break-glass mark, and the journal would not show how the actor gained access.
    pub fn is_open(&self, uptime: Duration) -> bool {
        uptime < self.until
    }

    /// Returns `true` if the access covers the records of a subject.
    pub fn covers(&self, subject: Option<&Subject>) -> bool {
        subject.is_some_and(|subject| self.scope.covers(subject))
    }
}

impl fmt::Debug for BrokenGlass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokenGlass(..)")
    }
}
