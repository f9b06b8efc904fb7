//! Access request: the information about an operation that the policy receives.

use std::fmt;

use crate::id::{Actor, Purpose, Subject};
use crate::journal::Operation;

/// A request to perform an operation, as an access policy receives it.
///
/// The vault creates requests. Create your own requests only to test a policy. `Debug` shows only
/// the operation.
///
/// ```
/// # use chartlock::{Actor, Operation, Purpose, Subject, access::AccessRequest};
/// let (actor, subject) = (Actor::new("dr.garcia")?, Subject::patient("MRN-1042")?);
/// let request = AccessRequest::new(&actor, Purpose::Treatment, Operation::Read)
///     .subject(&subject)
///     .record("Observation/bp");
/// assert!(request.labels_follow());
/// assert!(!request.labels(&["lab"]).labels_follow());
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct AccessRequest<'a> {
    /// The actor who requests the operation.
    pub actor: &'a Actor,
    /// The purpose of use that the actor stated.
    pub purpose: Purpose,
    /// The requested operation.
    pub operation: Operation,
    /// The subject of the operation; `None` for an operation on the vault.
    pub subject: Option<&'a Subject>,
    /// The record's name; `None` for an operation on a subject or the vault.
    pub record: Option<&'a str>,
    /// Labels in ascending order; `None` if they are not available. The first request of a put has
    /// the labels of the new document. The later requests of puts, retractions and reads have the
    /// labels of stored versions. See [`AccessPolicy`](crate::access::AccessPolicy).
    pub labels: Option<&'a [&'a str]>,
    /// The app's id of the request that caused the operation.
    pub request_id: Option<&'a str>,
    /// The organization on whose behalf the actor acts.
    pub organization: Option<&'a str>,
    /// `true` if the session has break-glass access that has not expired.
    pub under_break_glass: bool,
}

impl<'a> AccessRequest<'a> {
    /// Creates a request for an operation on the vault.
    pub fn new(actor: &'a Actor, purpose: Purpose, operation: Operation) -> Self {
        Self {
            actor,
            purpose,
            operation,
            subject: None,
            record: None,
            labels: None,
            request_id: None,
            organization: None,
            under_break_glass: false,
        }
    }

    /// Sets the subject of the operation.
    #[must_use]
    pub fn subject(mut self, subject: &'a Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Sets the record's name.
    #[must_use]
    pub fn record(mut self, name: &'a str) -> Self {
        self.record = Some(name);
        self
    }

    /// Sets the record's labels, in ascending order.
    #[must_use]
    pub fn labels(mut self, labels: &'a [&'a str]) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Sets the app's id of the request that caused the operation.
    #[must_use]
    pub fn request_id(mut self, id: &'a str) -> Self {
        self.request_id = Some(id);
        self
    }

    /// Sets the organization on whose behalf the actor acts.
    #[must_use]
    pub fn organization(mut self, organization: &'a str) -> Self {
        self.organization = Some(organization);
        self
    }

    /// Marks the request as made under break-glass access.
    #[must_use]
    pub fn under_break_glass(mut self) -> Self {
        self.under_break_glass = true;
        self
    }

    /// Returns `true` for the first request of a read or a retraction, which contains no labels yet.
    ///
    /// If the policy permits this request and the record exists, a second request with labels
    /// follows.
    pub fn labels_follow(&self) -> bool {
        matches!(self.operation, Operation::Read | Operation::Retract) && self.labels.is_none()
    }
}

impl fmt::Debug for AccessRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessRequest({:?}, ..)", self.operation)
    }
}
