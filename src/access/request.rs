//! The access request: everything that a policy learns about an operation.

use std::fmt;

use crate::id::{Actor, Purpose, Subject};
use crate::journal::Operation;

/// What somebody wants to do. `Debug` shows the operation only.
///
/// The vault makes them; make some yourself to test a policy.
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
    /// Who wants to.
    pub actor: &'a Actor,
    /// Why.
    pub purpose: Purpose,
    /// What.
    pub operation: Operation,
    /// Whose records; `None` for what is done to the vault.
    pub subject: Option<&'a Subject>,
    /// The name of the record; `None` for what is done to a subject or to the vault.
    pub record: Option<&'a str>,
    /// The record's labels, ascending, where they are known: those of the new document of a put;
    /// those of the record when a read is asked for the second time. See
    /// [`AccessPolicy`](crate::access::AccessPolicy).
    pub labels: Option<&'a [&'a str]>,
    /// The app's own id of the request that this serves.
    pub request_id: Option<&'a str>,
    /// For which organisation.
    pub organisation: Option<&'a str>,
    /// Whether the actor has broken the glass and it is still open.
    pub under_break_glass: bool,
}

impl<'a> AccessRequest<'a> {
    /// Something that is done to the vault.
    pub fn new(actor: &'a Actor, purpose: Purpose, operation: Operation) -> Self {
        Self {
            actor,
            purpose,
            operation,
            subject: None,
            record: None,
            labels: None,
            request_id: None,
            organisation: None,
            under_break_glass: false,
        }
    }

    /// Done to this subject.
    #[must_use]
    pub fn subject(mut self, subject: &'a Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Done to the record of this name.
    #[must_use]
    pub fn record(mut self, name: &'a str) -> Self {
        self.record = Some(name);
        self
    }

    /// With what the record is labelled.
    #[must_use]
    pub fn labels(mut self, labels: &'a [&'a str]) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Serving this request of the app.
    #[must_use]
    pub fn request_id(mut self, id: &'a str) -> Self {
        self.request_id = Some(id);
        self
    }

    /// For this organisation.
    #[must_use]
    pub fn organisation(mut self, organisation: &'a str) -> Self {
        self.organisation = Some(organisation);
        self
    }

    /// Behind broken glass.
    #[must_use]
    pub fn under_break_glass(mut self) -> Self {
        self.under_break_glass = true;
        self
    }

    /// Whether this is a read that will be asked for again, with the record's labels, if it is
    /// permitted now and there is something to read.
    pub fn labels_follow(&self) -> bool {
        self.operation == Operation::Read && self.labels.is_none()
    }
}

impl fmt::Debug for AccessRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessRequest({:?}, ..)", self.operation)
    }
}
