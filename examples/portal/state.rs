//! State that all requests share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chartlock::asynchronous::AsyncVault;
use tokio::sync::Semaphore;

use crate::break_glass::GlassSessions;
use crate::consents::Consents;
use crate::health::Probe;
use crate::rotation::Rotation;

/// Maximum number of concurrent uploads. Each takes up to 34 MiB of memory.
const UPLOADS: usize = 8;
/// Maximum number of concurrent downloads. Each takes up to 4 MiB of memory.
const DOWNLOADS: usize = 64;

/// State of the service.
pub(crate) struct Portal {
    pub(crate) vault: AsyncVault,
    pub(crate) consents: Arc<Consents>,
    pub(crate) glass: GlassSessions,
    pub(crate) rotation: Arc<Rotation>,
    pub(crate) probe: Probe,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) downloads: Arc<Semaphore>,
    /// `true` once the service ends, so that a load balancer sends no more requests.
    pub(crate) is_ending: AtomicBool,
}

impl Portal {
    pub(crate) fn new(vault: AsyncVault, consents: Arc<Consents>) -> Self {
        Self {
            vault,
            consents,
            glass: GlassSessions::default(),
            rotation: Arc::default(),
            probe: Probe::default(),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            is_ending: AtomicBool::new(false),
        }
    }
}
