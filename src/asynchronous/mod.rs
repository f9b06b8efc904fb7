//! Async façade: vault, session, reader and writer for tasks of a tokio runtime (feature `tokio`).
//!
//! Guarantees: no call blocks a thread of the executor; a dropped future, reader or writer never
//! leaves an incomplete version. Must not know: keys, storage and the journal.
//!
//! Each call runs the blocking operation on the runtime's blocking pool, because encryption uses the
//! processor and storage blocks. The future of the call waits for the result. `benches/asynchronous.rs` measures
//! how much longer a call takes. All other behaviour is that of the blocking API: each method links to
//! the method that it runs, and returns the same [`Error`](crate::Error)s.
//!
//! ```
//! use chartlock::asynchronous::AsyncVault;
//! use chartlock::{Actor, MemoryStorage, Purpose, RecordId, Vault, keys::Passphrase};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), chartlock::Error> {
//! let vault = AsyncVault::open(|| {
//!     Vault::create(MemoryStorage::new(), &Passphrase::new("correct horse battery staple"))
//! })
//! .await?;
//! let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
//!
//! let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
//! session.put(&id, br#"{"systolic":120,"diastolic":80}"#).await?;
//! let record = session.get(&id).await?.expect("just written");
//! assert_eq!(record.version(), 1);
//!
//! vault.with(|vault| vault.rotate_master_key()).await?; // any operation of `Vault`
//! vault.close().await
//! # }
//! ```
//!
//! # Cancellation
//!
//! - A future does nothing before it is polled. Once the pool runs its operation, **dropping the future does not
//!   stop the operation**. A put is then written and journaled, but its version number is lost. An operation that
//!   still waits for the pool does not run. So a dropped put may or may not be written; to learn the outcome, read
//!   the record. So that a repeated put overwrites no other change, use [`AsyncSession::put_if`].
//! - A dropped reader, writer or stream occupies no thread: its running step ends, and no further step
//!   starts. If a writer is dropped before [`AsyncRecordWriter::finish`], no version is created.
//!   Its stored segments are removed on the pool.
//! - If the future of `finish` is dropped, the version may have been created.
//!
//! # Runtimes
//!
//! Any tokio runtime works, also one with a single thread. Without a runtime, and after its shutdown,
//! calls return [`Error::NoRuntime`](crate::Error::NoRuntime), and change nothing. The shutdown of a
//! runtime waits for running operations, unless the app limits the wait. An operation that still waits
//! for a pool thread either runs or returns this error. Before the shutdown, call
//! [`AsyncVault::close`], which writes the last journal entries. A panic in an operation continues in the
//! task that awaits it.
//!
//! The pool has up to 512 threads, which the whole app shares. At most 16 operations of a vault run there
//! at the same time ([`AsyncVault::max_operations`]), and the others wait without a thread. A slow client
//! of a download or an upload occupies no thread. To limit memory, limit the number of concurrent uploads
//! and downloads.
//!
//! Dropping the last handle of a vault blocks while the last journal entries are written. First call
//! [`AsyncVault::close`], which also reports a failure.

mod async_items;
mod async_reader;
mod async_session;
mod async_vault;
mod async_writer;
mod blocking_pool;
mod drop_on_pool;
mod operations;

pub use async_items::AsyncItems;
pub use async_reader::AsyncRecordReader;
pub use async_session::AsyncSession;
pub use async_vault::AsyncVault;
pub use async_writer::AsyncRecordWriter;
