//! The policy in force, which the app can replace while the vault is open.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::access::request::AccessRequest;
use crate::access::{AccessPolicy, Decision};

/// Holder of the policy in force.
pub struct PolicyCell {
    policy: RwLock<Arc<dyn AccessPolicy>>,
    replacements: AtomicU64,
}

/// The state of the policy at one moment. Two different states may decide differently.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PolicyState {
    replacements: u64,
    revision: u64,
}

impl PolicyCell {
    /// Creates a cell with a policy.
    pub fn new(policy: Arc<dyn AccessPolicy>) -> Self {
        Self {
            policy: RwLock::new(policy),
            replacements: AtomicU64::new(0),
        }
    }

    /// Replaces the policy.
    pub fn set(&self, policy: Arc<dyn AccessPolicy>) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
        self.replacements.fetch_add(1, Ordering::AcqRel);
    }

    fn policy(&self) -> Arc<dyn AccessPolicy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the policy.
    pub fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        self.policy().decide(request)
    }

    /// Returns the state. A caller that stores a decision reads the state before it asks, so that a
    /// change in between counts as a change.
    pub fn state(&self) -> PolicyState {
        PolicyState {
            replacements: self.replacements.load(Ordering::Acquire),
            revision: self.policy().revision(),
        }
    }

    /// Returns `true` if decisions may depend on labels.
    pub fn uses_labels(&self) -> bool {
        self.policy().uses_labels()
    }
}
