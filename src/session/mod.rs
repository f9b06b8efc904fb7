//! Sessions, through which an app accesses records and subjects as one actor for one purpose.

mod accept_restore;
mod archive_journal;
mod audit;
mod audit_target;
mod backup;
pub(crate) mod break_glass;
pub(crate) mod chart_reader;
mod decide;
#[cfg(feature = "json")]
mod finite_check;
pub(crate) mod guard;
mod handle;
pub(crate) mod honeytoken;
pub(crate) mod import;
pub(crate) mod journal_fallback;
#[cfg(feature = "json")]
mod json;
mod label_sets;
mod list_pages;
pub(crate) mod record_reader;
pub(crate) mod record_writer;
mod records;
mod subjects;

use std::sync::Arc;

use crate::access::break_glass::BrokenGlass;
#[cfg(doc)]
use crate::error::Error;
use crate::error::{InputField, Result};
use crate::id::bounds::check_shown;
use crate::id::{Actor, Purpose};
use crate::journal::Context;
use crate::vault::Vault;

/// Access to a vault by one actor for one purpose; created by [`Vault::session`].
///
/// Every method asks the access policy, and journals its outcome under the actor and the purpose. A
/// session is cheap to clone, and keeps its vault open.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// let id = RecordId::patient("MRN-1042", "AllergyIntolerance/1")?;
///
/// let first = session.put(&id, b"penicillin")?;
/// session.put_if(&id, Precondition::Version(first), b"penicillin, latex")?;
/// assert_eq!(session.put_if(&id, Precondition::Version(first), b"none"), Err(Error::Conflict));
///
/// assert_eq!(&session.get_version(&id, 1)?.expect("kept")[..], b"penicillin");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) vault: Vault,
    pub(crate) actor: Actor,
    pub(crate) purpose: Purpose,
    pub(crate) context: Arc<Context>,
    pub(crate) glass: Option<Arc<BrokenGlass>>,
}

impl Vault {
    /// Creates a session for an actor and a purpose. All access to records goes through a session.
    pub fn session(&self, actor: Actor, purpose: Purpose) -> Session {
        Session::new(self.clone(), actor, purpose)
    }
}

impl Session {
    pub(crate) fn new(vault: Vault, actor: Actor, purpose: Purpose) -> Self {
        let context = Arc::new(Context {
            actor: actor.name().into(),
            purpose: purpose.code().into(),
            ..Context::default()
        });
        Self {
            vault,
            actor,
            purpose,
            context,
            glass: None,
        }
    }

    /// Puts the session under break-glass, so that all its journal entries carry the break-glass
    /// mark.
    pub(crate) fn under_break_glass(mut self, glass: BrokenGlass) -> Self {
        self.context = Arc::new(Context {
            under_break_glass: true,
            ..Context::clone(&self.context)
        });
        self.glass = Some(Arc::new(glass));
        self
    }

    /// Sets the id of the app's request for which this session is used. Every journal entry of the
    /// session contains the id, which has 1 to 255 bytes without control characters, and without those
    /// that [`Reason::new`](crate::access::Reason::new) refuses.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the id is out of these bounds.
    pub fn with_request_id(mut self, request: &str) -> Result<Self> {
        check_shown(request, InputField::RequestId)?;
        self.context = Arc::new(Context {
            request: request.into(),
            ..Context::clone(&self.context)
        });
        Ok(self)
    }

    /// Sets the organization that the actor works for. Every journal entry of the session contains
    /// the organization's name, which has 1 to 255 bytes without control characters, and without those
    /// that [`Reason::new`](crate::access::Reason::new) refuses.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the name is out of these bounds.
    pub fn on_behalf_of(mut self, organization: &str) -> Result<Self> {
        check_shown(organization, InputField::Organization)?;
        self.context = Arc::new(Context {
            organization: organization.into(),
            ..Context::clone(&self.context)
        });
        Ok(self)
    }

    /// Returns the actor of the session.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Returns the purpose of the session.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }
}
