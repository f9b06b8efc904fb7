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

/// The keys of a writer. A writer without a source keeps its keys, and checks no header.
pub(super) struct WriterKeys {
    current: CurrentKeys,
    source: Option<Arc<dyn KeySource>>,
}

impl WriterKeys {
    pub(super) fn fixed(sealer: Sealer) -> Self {
        Self {
            current: CurrentKeys {
                sealer: Arc::new(sealer),
                header: None,
                read_at: Duration::ZERO,
            },
            source: None,
        }
    }

    pub(super) fn renewable(current: CurrentKeys, source: Arc<dyn KeySource>) -> Self {
        let source = Some(source);
        Self { current, source }
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
        // A closed writer has no keys, and must not get new ones.
        if let Some(WriterKeys {
            current,
            source: Some(_),
        }) = &mut *lock(&self.keys)
        {
            *current = keys;
        }
    }

    /// Returns the current sealer.
    ///
    /// # Errors
    /// [`Error::Locked`] once the writer is closed.
    pub(super) fn sealer(&self) -> Result<Arc<Sealer>> {
        let keys = lock(&self.keys);
        let keys = keys.as_ref().ok_or(Error::Locked)?;
        Ok(Arc::clone(&keys.current.sealer))
    }

    /// Returns the sealer for the next page of `chain`.
    ///
    /// # Errors
    /// [`Error::Locked`] once the writer is closed; errors of [`KeySource::reload`].
    pub(super) fn page_sealer(&self, chain: &Chain, time: WriteTime) -> Result<PageSealer> {
        let is_stale = match &*lock(&self.keys) {
            Some(WriterKeys {
                current,
                source: Some(_),
            }) if current.header.is_none() || !self.is_beside_header(chain) => {
                time.uptime.saturating_sub(current.read_at) >= KEYS_LIFETIME
            }
            _ => false,
        };
        if is_stale {
            self.renew_keys()?;
        }
        let keys = lock(&self.keys);
        let WriterKeys { current, source } = keys.as_ref().ok_or(Error::Locked)?;
        let header = current.header.as_ref();
        let header = header.filter(|_| source.is_some() && self.is_beside_header(chain));
        Ok(PageSealer {
            sealer: Arc::clone(&current.sealer),
            header_check: header.map(|revision| Operation::Check {
                key: storage_keys::HEADER.to_vec(),
                expect: Expect::Unchanged(revision.clone()),
            }),
        })
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
                source: Some(source),
                ..
            }) => Arc::clone(source),
            _ => return Ok(()),
        };
        match source.reload() {
            Ok(keys) => self.use_keys(keys),
            Err(Error::Locked) => {
                if let Some(keys) = &mut *lock(&self.keys) {
                    keys.source = None;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns `true` if one transaction can contain a page of `chain` and a check of the header.
    fn is_beside_header(&self, chain: &Chain) -> bool {
        self.storage.is_transactional() && chain.is_home
    }
}
