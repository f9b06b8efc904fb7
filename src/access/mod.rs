//! Access policy: the request that the app's policy is asked, and the decisions it can return.

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

/// Decides who may do what: [`RulePolicy`], [`AllowAll`], or one of your own.
///
/// It is asked for each operation, on the thread that called it, before any key of the subject is
/// unwrapped. So it must be quick (what it needs from elsewhere it holds in memory), and it must not
/// call the vault that asks. A policy that panics unwinds into the caller of the operation, and
/// nothing is released.
///
/// # Asked once, or twice
///
/// The labels of a record are sealed inside it. So a read is asked for twice: first without labels
/// ([`AccessRequest::labels_follow`]), before any key is unwrapped; and, if that was permitted, again
/// with the record's labels, before any content is handed out. The second answer counts. A denial of
/// the first is final, so a policy that decides by labels permits at first whatever *some* labels
/// would permit. Where there is nothing to read, the first answer stands. A put is asked for once,
/// with the labels of the new document; everything else once, without labels.
///
/// What is denied fails with [`Error::Denied`](crate::Error::Denied) and is journaled.
///
/// # Broken glass
///
/// Glass is there for what no rule foresaw, so breaking it is not asked for: it is journaled, and
/// those who keep watch hear of it. Who has broken it reads, lists and writes patients' records
/// without the policy being asked, until it closes. For all else the policy is asked, with
/// [`AccessRequest::under_break_glass`].
///
/// ```
/// use chartlock::{Actor, Operation, Purpose, access::{AccessPolicy, AccessRequest, Decision}};
///
/// /// Nobody may erase, and everybody else what they like.
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
    /// Whether this may be done.
    fn decide(&self, request: &AccessRequest<'_>) -> Decision;
}

impl<P: AccessPolicy + ?Sized> AccessPolicy for Arc<P> {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        (**self).decide(request)
    }
}

/// What a policy answers.
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
    /// It may be done.
    Permit,
    /// It may be done, because of a consent that the journal names in the operation's entry.
    PermitUnder(ConsentReference),
    /// It may not be done.
    Deny,
}

impl Decision {
    /// Whether it may be done.
    pub fn is_permitted(&self) -> bool {
        !matches!(self, Self::Deny)
    }

    /// The consent under which it may be done, if it is under one.
    pub fn consent(&self) -> Option<&ConsentReference> {
        match self {
            Self::PermitUnder(consent) => Some(consent),
            Self::Permit | Self::Deny => None,
        }
    }
}

/// Names a consent in the app's own words, such as the id of a FHIR `Consent`. It is recorded, not
/// interpreted. `Debug` does not show it.
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
    /// A reference of 1 to 255 bytes without control characters.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`](crate::Error::InvalidMetadata) out of these bounds.
    pub fn new(text: &str) -> Result<Self> {
        check_reason(text)?;
        Ok(Self(text.into()))
    }

    /// The reference as the app gave it.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConsentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsentReference(..)")
    }
}

/// Permits everything to everybody: what a vault does that was given no policy.
///
/// That is right only where your app decides before it calls the vault, each time. The journal still
/// says who did what.
///
/// ```
/// # use chartlock::{Actor, Operation, Purpose, access::{AccessPolicy, AccessRequest, AllowAll, Decision}};
/// let anybody = Actor::new("anybody")?;
/// let request = AccessRequest::new(&anybody, Purpose::Marketing, Operation::Read);
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
