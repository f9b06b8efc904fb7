//! Access policy: the interface through which the app permits or denies each operation.

pub(crate) mod alarms;
pub(crate) mod break_glass;
pub(crate) mod meter;
mod request;
mod rules;
pub(crate) mod security_event;

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::id::check_reason;
pub use crate::journal::{AccessOutcome, OperationGroup};
pub use request::AccessRequest;
pub use rules::{Rule, RulePolicy};
pub use security_event::{SecurityEvent, SecurityEventHandler};

/// An access policy: decides whether an actor may perform an operation.
///
/// Use [`RulePolicy`] or [`AllowAll`], or implement the trait. The vault calls the policy for each
/// operation, on the calling thread, before it unwraps any key of the subject. So the policy must
/// be quick, must keep its data in memory, and must never call the vault. A panic in the policy
/// unwinds into the caller of the operation, and no content is released.
///
/// # One or two calls
///
/// A record's labels are sealed with the record. So the vault calls the policy twice for a read:
///
/// 1. Without labels, before any key is unwrapped ([`AccessRequest::labels_follow`] is `true`). A
///    denial is final. So a policy that decides by labels must permit this request if it would
///    permit the read with *some* labels.
/// 2. With the record's labels, before any content is released. This decision is final.
///
/// If the record does not exist, the first decision is final. For a put, the vault calls the policy
/// once, with the labels of the new document. For every other operation, the vault calls the policy
/// once, without labels.
///
/// A denied operation fails with [`Error::Denied`](crate::Error::Denied) and is journaled.
///
/// # Break-glass
///
/// Break-glass covers cases that no rule foresaw, so the policy cannot deny it. Each use is
/// journaled and raises a security event. Until break-glass expires, the actor reads, lists and
/// writes patients' records without a policy call. For all other operations, the vault calls the
/// policy with [`AccessRequest::under_break_glass`] set.
///
/// ```
/// use chartlock::{Actor, Operation, Purpose, access::{AccessPolicy, AccessRequest, Decision}};
///
/// /// Denies erasing and expunging; permits everything else.
/// #[derive(Debug)]
/// struct KeepAll;
///
/// impl AccessPolicy for KeepAll {
///     fn decide(&self, request: &AccessRequest<'_>) -> Decision {
///         match request.operation {
///             Operation::Erase | Operation::Expunge => Decision::Deny,
///             _ => Decision::Permit,
///         }
///     }
/// }
///
/// let actor = Actor::new("dr.garcia")?;
/// let erasure = AccessRequest::new(&actor, Purpose::Operations, Operation::Erase);
/// assert_eq!(KeepAll.decide(&erasure), Decision::Deny);
/// # Ok::<(), chartlock::Error>(())
/// ```
pub trait AccessPolicy: fmt::Debug + Send + Sync {
    /// Decides whether the vault performs the requested operation.
    fn decide(&self, request: &AccessRequest<'_>) -> Decision;
}

impl<P: AccessPolicy + ?Sized> AccessPolicy for Arc<P> {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        (**self).decide(request)
    }
}

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
    /// The operation is denied.
    Deny,
}

impl Decision {
    /// Returns `true` unless the operation is denied.
    pub fn is_permitted(&self) -> bool {
        !matches!(self, Self::Deny)
    }

    /// Returns the consent of [`Decision::PermitUnder`].
    pub fn consent(&self) -> Option<&ConsentReference> {
        match self {
            Self::PermitUnder(consent) => Some(consent),
            Self::Permit | Self::Deny => None,
        }
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
pub struct ConsentReference(Box<str>);

impl ConsentReference {
    /// Creates a reference from 1 to 255 bytes without control characters.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`](crate::Error::InvalidMetadata) if `text` is empty, too long or
    /// has control characters.
    pub fn new(text: &str) -> Result<Self> {
        check_reason(text)?;
        Ok(Self(text.into()))
    }

    /// Returns the reference as the app supplied it.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConsentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsentReference(..)")
    }
}

/// The default policy: permits every operation to every actor.
///
/// Use this policy only if your app authorizes each operation before it calls the vault. The vault
/// still journals every operation.
///
/// ```
/// # use chartlock::{Actor, Operation, Purpose, access::{AccessPolicy, AccessRequest, AllowAll, Decision}};
/// let actor = Actor::new("desk.lee")?;
/// let request = AccessRequest::new(&actor, Purpose::Marketing, Operation::Read);
/// assert_eq!(AllowAll.decide(&request), Decision::Permit);
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AllowAll;

impl AccessPolicy for AllowAll {
    fn decide(&self, _: &AccessRequest<'_>) -> Decision {
        Decision::Permit
    }
}
