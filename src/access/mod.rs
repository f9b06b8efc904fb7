//! Access policy: the interface through which the app permits or denies each operation.

pub(crate) mod alarms;
pub(crate) mod break_glass;
mod decision;
pub(crate) mod meter;
pub(crate) mod policy_cell;
mod request;
mod rules;
pub(crate) mod security_event;

use std::fmt;
use std::sync::Arc;

pub use crate::id::Reason;
pub use crate::journal::{AccessOutcome, OperationGroup};
pub use break_glass::BreakGlassScope;
pub use decision::{ConsentReference, Decision, Denial};
pub use request::AccessRequest;
pub use rules::{Rule, RulePolicy};
pub use security_event::{SecurityEvent, SecurityEventHandler, SpoolHead};

/// An access policy: decides whether an actor may perform an operation.
///
/// Use [`RulePolicy`] or [`AllowAll`], or implement the trait. The vault calls the policy for each
/// operation, on the calling thread, before it unwraps any key of the subject. So the policy must
/// be quick, must keep its data in memory, and must never call the vault. A panic in the policy
/// unwinds into the caller of the operation, and no content is released.
///
/// # Labels
///
/// A record's labels are sealed with the record, so a read takes two calls:
///
/// 1. Without labels, before any key is unwrapped ([`AccessRequest::labels_follow`] is `true`). A
///    denial is final. So a policy that decides by labels must permit this request if it would
///    permit the read with *some* labels.
/// 2. With the record's labels, before any content is released, and before its size is checked
///    against a limit.
///
/// Some operations concern two versions. The vault then calls the policy with each different set of
/// labels, and every call must permit the operation:
///
/// - A put is judged with the labels of the new document, then with those of the version that it
///   replaces, then with both together. If another writer replaces that version first, the put is
///   judged again. A put denied for these labels fails with [`Error::Denied`](crate::Error::Denied),
///   also where its precondition would fail.
/// - A retraction is judged like a read: without labels, then with those of the version that it
///   retracts. The retraction keeps these labels.
/// - A read of an earlier version is judged with its own labels, with those of the current version,
///   and with both together.
///
/// If the record does not exist, the first decision is final. For every other operation, the vault
/// calls the policy once, without labels.
///
/// A denied operation fails with [`Error::Denied`](crate::Error::Denied) and is journaled. See
/// [`Denial::as_absence`] for reads that must not reveal that the record exists.
///
/// # Changes at run time
///
/// An open reader, writer or iterator calls the policy again in these cases:
///
/// - [`AccessPolicy::revision`] changed, or the app set another policy
///   ([`Vault::set_policy`](crate::Vault::set_policy)).
/// - The consent ended under which the vault opened it.
/// - The last decision is 60 seconds old.
///
/// A denial ends the reader, writer or iterator.
///
/// # Break-glass
///
/// Break-glass covers cases that no rule foresaw, so the policy cannot deny it. Each use is
/// journaled and raises a security event. Until break-glass expires, the actor reads, lists and
/// writes the records in its [scope](BreakGlassScope) without a policy call. For all other subjects
/// and operations, the vault calls the policy with [`AccessRequest::under_break_glass`] set. After
/// break-glass expired, every operation of the session is denied, also on open readers, writers and
/// iterators.
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

    /// Returns a number that changes whenever the policy's decisions may have changed, for example
    /// when a consent was withdrawn. Open readers, writers and iterators then ask again. The default
    /// is a constant, for policies that never change.
    ///
    /// The vault calls this function at each hand-out, so it must be quick.
    fn revision(&self) -> u64 {
        0
    }

    /// Returns `false` if no decision depends on a record's labels. The vault then does not open
    /// versions only to learn their labels. The default is `true`.
    fn uses_labels(&self) -> bool {
        true
    }
}

impl<P: AccessPolicy + ?Sized> AccessPolicy for Arc<P> {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        (**self).decide(request)
    }

    fn revision(&self) -> u64 {
        (**self).revision()
    }

    fn uses_labels(&self) -> bool {
        (**self).uses_labels()
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

    fn uses_labels(&self) -> bool {
        false
    }
}
