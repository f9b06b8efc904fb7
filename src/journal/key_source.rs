//! Keys that seal new pages, and their renewal after a rotation of the journal keys.
//!
//! A page must not be sealed under keys that another process rotated out. On transactional storage,
//! each page is committed with a check that the header is unchanged. Elsewhere, the writer reads the
//! header again after 60 seconds, and a rotation waits longer than that before it closes the keys.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::group_commit::lock;
use crate::journal::authority::Sealer;
use crate::journal::chain::Chain;
use crate::journal::queue::QueuedChange;
use crate::journal::writer::{WriteTime, Writer};
use crate::storage::{Expect, Operation, Revision};

/// The time after which a writer reads the header again, unless each page checks the header.
const KEYS_LIFETIME: Duration = Duration::from_secs(60);

/// The active keys of a header, which seal new pages.
#[derive(Debug)]
pub struct CurrentKeys {
    /// Sealer under the active keys.
    pub sealer: Arc<Sealer>,
    /// Revision of the header; `None` if the writer's storage does not contain the header.
    pub header: Option<Revision>,
    /// Uptime at which the header was read.
    pub read_at: Duration,
}

/// Source of the current keys: the vault's header.
pub trait KeySource: Send + Sync {
    /// Reads the header again, and returns its active keys.
    ///
    /// # Errors
    /// [`Error::Locked`] once the vault is locked; [`Error::RootKeyChanged`] if the keys are no longer
    /// available without a credential; errors of the storage.
    fn reload(&self) -> Result<CurrentKeys>;
}

/// The keys of a writer. A writer without a source keeps its first sealer.
pub(super) struct WriterKeys {
    sealer: Arc<Sealer>,
    renewable: Option<(CurrentKeys, Arc<dyn KeySource>)>,
}

impl WriterKeys {
    pub(super) fn fixed(sealer: Sealer) -> Self {
        Self {
            sealer: Arc::new(sealer),
            renewable: None,
        }
    }

    pub(super) fn renewable(keys: CurrentKeys, source: Arc<dyn KeySource>) -> Self {
        Self {
            sealer: Arc::clone(&keys.sealer),
            renewable: Some((keys, source)),
        }
    }
}

/// A sealer for the next page, with the check that must hold when the page is committed.
pub(super) struct PageSealer {
    pub(super) sealer: Arc<Sealer>,
    pub(super) header_check: Option<Operation>,
}

impl Writer {
    /// Uses these keys for the next pages, after this process changed the header.
    pub fn use_keys(&self, keys: CurrentKeys) {
        let mut current = lock(&self.keys);
        // A closed writer has no keys, and must not get new ones.
        if let Some(WriterKeys {
            sealer,
            renewable: Some((renewable, _)),
        }) = &mut *current
        {
            *sealer = Arc::clone(&keys.sealer);
            *renewable = keys;
        }
    }

    /// Returns the current sealer.
    ///
    /// # Errors
    /// [`Error::Locked`] once the writer is closed.
    pub(super) fn sealer(&self) -> Result<Arc<Sealer>> {
        let keys = lock(&self.keys);
        let keys = keys.as_ref().ok_or(Error::Locked)?;
        Ok(Arc::clone(&keys.sealer))
    }

    /// Returns the sealer for the next page of `chain`.
    ///
    /// # Errors
    /// [`Error::Locked`] once the writer is closed; errors of [`KeySource::reload`].
    pub(super) fn page_sealer(&self, chain: &Chain, time: WriteTime) -> Result<PageSealer> {
        let page_sealer = || -> Result<_> {
            let keys = lock(&self.keys);
            let WriterKeys { sealer, renewable } = keys.as_ref().ok_or(Error::Locked)?;
            let current = renewable.as_ref().map(|(current, _)| current);
            let header = current.and_then(|current| current.header.clone());
            let header = header.filter(|_| self.is_beside_header(chain));
            let age = current.map(|current| time.uptime.saturating_sub(current.read_at));
            let is_stale = header.is_none() && age.is_some_and(|age| age >= KEYS_LIFETIME);
            let header_check = header.map(|revision| Operation::Check {
                key: storage_keys::HEADER.to_vec(),
                expect: Expect::Unchanged(revision),
            });
            let sealer = Arc::clone(sealer);
            let page_sealer = PageSealer {
                sealer,
                header_check,
            };
            Ok((page_sealer, is_stale))
        };
        match page_sealer()? {
            (page_sealer, false) => Ok(page_sealer),
            (_, true) => {
                self.renew_keys()?;
                Ok(page_sealer()?.0)
            }
        }
    }

    /// Returns the sealer for a page that is committed together with `changes`. A change of the header
    /// was prepared with a later header than the writer knows, if another process wrote that header.
    ///
    /// # Errors
    /// Errors of [`Writer::page_sealer`].
    pub(super) fn page_sealer_for(
        &self,
        chain: &Chain,
        changes: &[QueuedChange],
        time: WriteTime,
    ) -> Result<PageSealer> {
        let sealer = self.page_sealer(chain, time)?;
        let Some(Operation::Check { key, expect }) = &sealer.header_check else {
            return Ok(sealer);
        };
        let operations = changes
            .iter()
            .flat_map(|waiting| waiting.change.transaction.operations());
        let mut on_header = operations.filter(|operation| operation.key() == key);
        if on_header.any(|operation| operation.expect() != Some(expect)) {
            self.renew_keys()?;
            return self.page_sealer(chain, time);
        }
        Ok(sealer)
    }

    /// Reads the header again. A locked vault still writes its last entries, but cannot open a header
    /// any more, so it keeps its keys and no longer checks the header.
    ///
    /// # Errors
    /// Errors of [`KeySource::reload`].
    pub(super) fn renew_keys(&self) -> Result<()> {
        let source = match &*lock(&self.keys) {
            Some(WriterKeys {
                renewable: Some((_, source)),
                ..
            }) => Arc::clone(source),
            _ => return Ok(()),
        };
        match source.reload() {
            Ok(keys) => self.use_keys(keys),
            Err(Error::Locked) => {
                if let Some(keys) = &mut *lock(&self.keys) {
                    keys.renewable = None;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns `true` if one transaction can contain a page of `chain` and a check of the header.
    fn is_beside_header(&self, chain: &Chain) -> bool {
        self.storage.is_transactional() && Arc::ptr_eq(&chain.storage, &self.storage)
    }
}
