//! Sessions: an actor and a purpose, with all verbs that an app calls.

mod accept_restore;
mod audit;
pub(crate) mod break_glass;
pub(crate) mod chart_reader;
pub(crate) mod guard;
pub(crate) mod honeytoken;
pub(crate) mod journal_fallback;
#[cfg(feature = "json")]
mod json;
pub(crate) mod record_reader;
pub(crate) mod record_writer;
mod records;
mod subjects;

use std::sync::Arc;

use crate::access::break_glass::BrokenGlass;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::id::{self, Actor, Purpose};
use crate::journal::Context;
use crate::vault::Vault;

/// Who acts on a vault, and why; made by [`Vault::session`].
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// let id = RecordId::patient("MRN-1042", "AllergyIntolerance/1")?;
///
/// let first = chart.put(&id, b"penicillin")?;
/// chart.put_if(&id, Precondition::Version(first), b"penicillin, latex")?;
/// assert_eq!(chart.put_if(&id, Precondition::Version(first), b"none"), Err(Error::Conflict));
///
/// assert_eq!(&chart.get_version(&id, 1)?.expect("kept")[..], b"penicillin");
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
    /// A session: who acts, and why. There is no other way to a record.
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

    /// Behind broken glass: every entry says so.
    pub(crate) fn behind(mut self, glass: BrokenGlass) -> Self {
        self.context = Arc::new(Context {
            under_break_glass: true,
            ..Context::clone(&self.context)
        });
        self.glass = Some(Arc::new(glass));
        self
    }

    /// Serving a request of the app, by an id of its own of 1 to 255 bytes without control
    /// characters: every entry in the journal names it.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the id is out of these bounds.
    pub fn with_request_id(mut self, request: &str) -> Result<Self> {
        id::check_reason(request)?;
        self.context = Arc::new(Context {
            request: request.into(),
            ..Context::clone(&self.context)
        });
        Ok(self)
    }

    /// For an organisation, by a name of 1 to 255 bytes without control characters: every entry in
    /// the journal names it.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the name is out of these bounds.
    pub fn on_behalf_of(mut self, organisation: &str) -> Result<Self> {
        id::check_reason(organisation)?;
        self.context = Arc::new(Context {
            organisation: organisation.into(),
            ..Context::clone(&self.context)
        });
        Ok(self)
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Why.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }
}
