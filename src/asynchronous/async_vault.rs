//! Async handle of a vault.

use std::time::Duration;

use crate::access::BreakGlassScope;
use crate::asynchronous::operations::Operations;
use crate::asynchronous::{AsyncSession, blocking_pool};
use crate::error::{Error, Result};
use crate::id::{Actor, Purpose};
use crate::vault::Vault;
use crate::vault::progress::{CancelToken, ProgressListener};

/// A [`Vault`] for async tasks. Cloning is cheap, and clones share the limit of
/// [`AsyncVault::max_operations`].
///
/// See the [module](crate::asynchronous) for an example, and for the effects of a dropped future.
#[derive(Debug, Clone)]
pub struct AsyncVault {
    vault: Vault,
    operations: Operations,
}

impl From<Vault> for AsyncVault {
    fn from(vault: Vault) -> Self {
        Self {
            vault,
            operations: Operations::default(),
        }
    }
}

impl AsyncVault {
    /// Runs `open`, which opens or creates a vault, on the pool. Opening a storage and deriving a key from
    /// a passphrase both block.
    ///
    /// # Errors
    /// The errors of `open`, and [`Error::NoRuntime`].
    pub async fn open<E: From<Error> + Send + 'static>(
        open: impl FnOnce() -> std::result::Result<Vault, E> + Send + 'static,
    ) -> std::result::Result<Self, E> {
        Ok(Operations::default().run(open).await?.into())
    }

    /// Sets the maximum number of operations of this vault that run on the pool at the same time, 16 by
    /// default. Further operations wait without a thread, so a storage that stalls does not occupy the
    /// whole pool.
    ///
    /// A database with many connections can use a higher limit. The limit does not cover the steps of
    /// readers, writers and streams.
    #[must_use]
    pub fn max_operations(mut self, operations: usize) -> Self {
        self.operations = Operations::at_most(operations);
        self
    }

    /// Returns a handle whose operations report their progress; see [`Vault::with_progress`].
    #[must_use]
    pub fn with_progress(&self, progress: impl ProgressListener + 'static) -> Self {
        Self {
            vault: self.vault.with_progress(progress),
            operations: self.operations.clone(),
        }
    }

    /// Returns a handle whose long operations stop once `token` is cancelled; see
    /// [`Vault::with_cancel`]. Dropping a future does not stop them.
    #[must_use]
    pub fn with_cancel(&self, token: &CancelToken) -> Self {
        Self {
            vault: self.vault.with_cancel(token),
            operations: self.operations.clone(),
        }
    }

    /// Returns the blocking handle, for its settings and for threads that may block.
    pub fn blocking(&self) -> &Vault {
        &self.vault
    }

    /// Runs an operation of the blocking handle on the pool.
    ///
    /// ```
    /// # use chartlock::{*, asynchronous::AsyncVault};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// # let vault = AsyncVault::from(vault);
    /// let report = vault.with(|vault| vault.verify(None)).await?;
    /// assert!(report.is_clean());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of `operation`, and [`Error::NoRuntime`].
    pub async fn with<T, E>(
        &self,
        operation: impl FnOnce(&Vault) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let vault = self.vault.clone();
        self.operations.run(move || operation(&vault)).await
    }

    /// Creates a session; see [`Vault::session`]. This call does not block.
    pub fn session(&self, actor: Actor, purpose: Purpose) -> AsyncSession {
        AsyncSession::new(self.vault.session(actor, purpose), self.operations.clone())
    }

    /// Opens a break-glass session; see [`Vault::break_glass`].
    ///
    /// # Errors
    /// The errors of [`Vault::break_glass`], and [`Error::NoRuntime`].
    pub async fn break_glass(
        &self,
        actor: Actor,
        scope: impl Into<BreakGlassScope>,
        reason: &str,
        duration: Duration,
    ) -> Result<AsyncSession> {
        let (scope, reason) = (scope.into(), reason.to_owned());
        let open = move |vault: &Vault| vault.break_glass(actor, scope, &reason, duration);
        let session = self.with(open).await?;
        Ok(AsyncSession::new(session, self.operations.clone()))
    }

    /// Locks the vault, writes the last journal entries and closes the storage; see [`Vault::close`].
    /// This call does not wait for other operations, which return [`Error::Locked`].
    ///
    /// # Errors
    /// The errors of [`Vault::close`], and [`Error::NoRuntime`].
    pub async fn close(&self) -> Result<()> {
        let vault = self.vault.clone();
        let closed = blocking_pool::send(move || vault.close());
        blocking_pool::joined(closed?.await)?
    }
}
