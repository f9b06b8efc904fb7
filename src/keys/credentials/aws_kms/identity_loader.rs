//! Loading of AWS access keys, and signatures of requests with them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqsign_aws_v4::{Credential as AccessKeys, RequestSigner};
use reqsign_core::{Context, SignRequest, SigningCredential};

use crate::error::{CredentialFailure, Result};
use crate::keys::credentials::aws_kms::aws_identity::AwsIdentity;
use crate::keys::credentials::aws_kms::identity_requests;
use crate::keys::credentials::aws_kms::identity_source::{IdentitySource, SourceResult};
use crate::keys::credentials::http::Parts;

/// The time for which an absent source is not probed again. On a machine without a metadata service, each attempt
/// may take the whole time limit, and a vault asks for each of its slots.
const ABSENCE_PERIOD: Duration = Duration::from_secs(30);

type IdentityResult<T> = std::result::Result<T, CredentialFailure>;

/// An identity with its access keys.
pub(super) struct IdentityLoader {
    sources: Vec<IdentitySource>,
    context: Context,
    /// The number of loads that failed.
    failures: AtomicU64,
    state: Mutex<LoaderState>,
}

/// The results of earlier loads.
#[derive(Default)]
struct LoaderState {
    /// Access keys with a known expiry.
    temporary: Option<AccessKeys>,
    /// The failure of the last load, if it failed.
    failure: Option<CredentialFailure>,
    /// The end of the last load in which a probed source was absent.
    absent_since: Option<Instant>,
}

impl IdentityLoader {
    /// Creates a loader for an identity in a Region. `limit` is the time limit of a request to KMS.
    pub(super) fn new(identity: AwsIdentity, region: &str, limit: Duration) -> Result<Self> {
        let context = identity_requests::context(limit)?;
        Ok(Self::of(IdentitySource::all(identity.0, region), context))
    }

    fn of(sources: Vec<IdentitySource>, context: Context) -> Self {
        Self {
            sources,
            context,
            failures: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Adds the signature to a request whose headers contain the digest of its body.
    pub(super) fn sign(&self, signer: &RequestSigner, request: &mut Parts) -> IdentityResult<()> {
        let keys = self.access_keys(self.failures())?;
        // The only reasons are characters that no header can contain, and access keys that expire now.
        let signed = signer.sign_request(&self.context, request, Some(&keys), None);
        pollster::block_on(signed).map_err(|_| CredentialFailure::Denied)
    }

    /// Forgets temporary access keys that a service has refused.
    pub(super) fn forget(&self) {
        self.state().temporary = None;
    }

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }

    /// Returns access keys. Other threads wait meanwhile, so that one request loads them for all. If a load failed
    /// since `failures`, the caller has waited for that load, and shares its failure; otherwise many threads would
    /// wait for one time limit each, one after another.
    fn access_keys(&self, failures: u64) -> IdentityResult<AccessKeys> {
        let mut state = self.state();
        if let Some(keys) = state.temporary.as_ref().filter(|keys| keys.is_valid()) {
            return Ok(keys.clone());
        }
        if let Some(failure) = state.failure.filter(|_| self.failures() != failures) {
            return Err(failure);
        }
        let loaded = self.load(&mut state);
        state.failure = loaded.as_ref().err().copied();
        if loaded.is_err() {
            self.failures.fetch_add(1, Ordering::SeqCst);
        }
        let keys = loaded?;
        state.temporary = keys.expires_in.is_some().then(|| keys.clone());
        Ok(keys)
    }

    fn load(&self, state: &mut LoaderState) -> IdentityResult<AccessKeys> {
        let is_recent = |since: Instant| since.elapsed() < ABSENCE_PERIOD;
        let skips_probe = state.absent_since.is_some_and(is_recent);
        for source in &self.sources {
            if skips_probe && source.is_probed() {
                continue;
            }
            match source.find(&self.context)? {
                SourceResult::Keys(keys) => return Ok(keys),
                SourceResult::Nothing => {}
                SourceResult::Absent => state.absent_since = Some(Instant::now()),
            }
        }
        Err(CredentialFailure::Denied)
    }

    fn state(&self) -> MutexGuard<'_, LoaderState> {
        // No code panics while it has the lock, and each field is replaced as a whole.
        (self.state.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A loader that finds no access keys.
    fn loader() -> IdentityLoader {
        IdentityLoader::of(Vec::new(), Context::new())
    }

    #[test]
    fn waiting_caller_shares_the_failure_and_a_later_caller_loads_again() {
        let loader = loader();
        let before = loader.failures();
        assert!(loader.access_keys(before).is_err());
        assert_eq!(loader.failures(), 1);
        // This caller read the number while the first one loaded.
        assert!(loader.access_keys(before).is_err());
        assert_eq!(loader.failures(), 1);
        assert!(loader.access_keys(loader.failures()).is_err());
        assert_eq!(loader.failures(), 2);
    }
}
