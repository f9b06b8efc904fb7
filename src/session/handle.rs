//! The guard of open readers, writers and iterators, which asks again before each hand-out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::journal::{AccessOutcome, Act};
use crate::session::Session;
use crate::session::audit_target::{AuditTarget, HandleTarget};
use crate::session::decide::Permission;
use crate::vault::clock;

/// Time after which an open handle asks the policy again, even if the policy reports no change.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Guard of one open handle.
///
/// Each hand-out checks that the vault is not locked and that the journal can be written. The policy
/// is asked again only when something changed, because a reader can hand out many small parts.
pub(crate) struct HandleGuard {
    session: Session,
    target: HandleTarget,
    state: Mutex<HandleState>,
}

struct HandleState {
    permission: Permission,
    asked_at: Duration,
    /// `true` once the policy denied the handle.
    is_denied: bool,
}

impl HandleGuard {
    /// Guards a handle that was opened under `permission`.
    pub(crate) fn new(session: &Session, on: AuditTarget<'_>, permission: Permission) -> Self {
        Self {
            target: on.into(),
            state: Mutex::new(HandleState {
                permission,
                asked_at: session.vault.core.store.clock.uptime(),
                is_denied: false,
            }),
            session: session.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, HandleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the handle may hand out more.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::Journal`] while the journal cannot be written; [`Error::Denied`]
    /// once the policy denied the handle. Only the first denial is journaled.
    pub(crate) fn check(&self) -> Result<()> {
        self.session.vault.header()?;
        self.session.vault.core.journal.check_health()?;
        let mut state = self.state();
        if state.is_denied {
            return Err(Error::Denied);
        }
        match self.must_ask(&state) {
            true => self.ask_again(&mut state),
            false => Ok(()),
        }
    }

    /// Returns `true` if the policy denied the handle.
    pub(crate) fn is_denied(&self) -> bool {
        self.state().is_denied
    }

    /// Returns the act to journal for this handle.
    pub(crate) fn act(&self) -> Act {
        self.state().permission.act.clone()
    }

    fn must_ask(&self, state: &HandleState) -> bool {
        let core = &self.session.vault.core;
        let uptime = core.store.clock.uptime();
        let glass = self.session.glass.as_ref();
        let has_ended = |ends: SystemTime| clock::time(core.store.clock.now()) >= ends;
        uptime.saturating_sub(state.asked_at) >= ASK_AGAIN_AFTER
            || glass.is_some_and(|glass| !glass.is_open(uptime))
            || state.permission.policy != core.policy.state()
            || state.permission.consent_ends.is_some_and(has_ended)
    }

    fn ask_again(&self, state: &mut HandleState) -> Result<()> {
        let on = self.target.get();
        let former = &state.permission;
        let mut act = former.act.clone();
        act.consent = "".into();
        let asked_at = self.session.vault.core.store.clock.uptime();
        match self.session.judge(&act, on, former.labels.clone()) {
            Ok(permission) => {
                if permission.act.consent != former.act.consent {
                    let target = on.target(&self.session.vault, None)?;
                    let vault = &self.session.vault;
                    vault.journal_before_release(&permission.act, target, AccessOutcome::Done)?;
                }
                state.permission = permission;
                state.asked_at = asked_at;
                Ok(())
            }
            Err(denial) => {
                state.is_denied = true;
                Err(self.session.deny(&act, on, &denial))
            }
        }
    }
}

/// Iterator whose items are handed out only while the guard permits it.
pub(crate) struct GuardedItems<I> {
    guard: HandleGuard,
    /// `None` once the iterator ended.
    items: Option<I>,
}

impl<I> GuardedItems<I> {
    pub(crate) fn new(guard: HandleGuard, items: I) -> Self {
        Self {
            guard,
            items: Some(items),
        }
    }
}

impl<T, I: Iterator<Item = Result<T>>> Iterator for GuardedItems<I> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.items.as_mut()?.next();
        match item {
            Some(Ok(_)) => {
                // Check after the item was prepared, so that the check is as late as possible.
                if let Err(error) = self.guard.check() {
                    self.items = None;
                    return Some(Err(error));
                }
            }
            Some(Err(ref error)) => {
                let HandleGuard {
                    session, target, ..
                } = &self.guard;
                session.failed(&self.guard.act(), target.get(), error);
            }
            None => self.items = None,
        }
        item
    }
}
