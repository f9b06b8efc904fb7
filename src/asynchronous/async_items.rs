//! Stream over the items of a blocking iterator.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use futures_core::Stream;
use tokio::task::JoinHandle;

use crate::asynchronous::blocking_pool;
use crate::asynchronous::drop_on_pool::DropOnPool;
use crate::error::Result;

/// Maximum number of items of a batch.
const BATCH_MAX: usize = 64;
/// Number of content bytes at which a batch ends.
const BATCH_BYTES: usize = 1 << 20;

type Items<T> = Box<dyn Iterator<Item = Result<T>> + Send>;

/// Stream over records, their metadata or subjects; created by
/// [`AsyncSession::get_all`](crate::asynchronous::AsyncSession::get_all) and similar methods.
///
/// When the app needs the next item, the stream fetches a batch of up to 64 items on the pool. A batch
/// ends early once its content exceeds 1 MiB. Between batches, the stream occupies no thread.
///
/// ```
/// # use chartlock::{*, asynchronous::AsyncVault};
/// # use std::{future::poll_fn, pin::Pin};
/// use futures_core::Stream; // `futures_util::StreamExt` has `next`
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = AsyncVault::from(vault).session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}").await?;
/// let mut records = session.get_all(&Subject::patient("MRN-1042")?).await?;
/// while let Some(record) = poll_fn(|task| Pin::new(&mut records).poll_next(task)).await {
///     assert_eq!(&record?[..], b"{}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct AsyncItems<T: Send + 'static> {
    state: ItemsState<T>,
    fetched: vec::IntoIter<Result<T>>,
    size: fn(&T) -> usize,
}

enum ItemsState<T: Send + 'static> {
    Idle(DropOnPool<Items<T>>),
    Fetching(JoinHandle<Batch<T>>),
    Ended,
}

struct Batch<T: Send + 'static> {
    /// The iterator; `None` after its end.
    rest: Option<DropOnPool<Items<T>>>,
    items: Vec<Result<T>>,
}

impl<T: Send + 'static> AsyncItems<T> {
    /// Creates a stream. `size` returns the number of content bytes of an item.
    pub(super) fn new(
        items: impl Iterator<Item = Result<T>> + Send + 'static,
        size: fn(&T) -> usize,
    ) -> Self {
        Self {
            state: ItemsState::Idle(DropOnPool::new(Box::new(items))),
            fetched: Vec::new().into_iter(),
            size,
        }
    }
}

/// Takes a batch from an iterator.
fn fetch<T: Send + 'static>(mut items: DropOnPool<Items<T>>, size: fn(&T) -> usize) -> Batch<T> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < BATCH_MAX && bytes < BATCH_BYTES {
        match items.get_mut().and_then(Iterator::next) {
            Some(item) => {
                bytes += item.as_ref().map_or(0, size);
                batch.push(item);
            }
            None => {
                return Batch {
                    rest: None,
                    items: batch,
                };
            }
        }
    }
    Batch {
        rest: Some(items),
        items: batch,
    }
}

impl<T: Send + Unpin + 'static> Stream for AsyncItems<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(item) = this.fetched.next() {
                return Poll::Ready(Some(item));
            }
            // A panic or a missing runtime ends the stream.
            let state = std::mem::replace(&mut this.state, ItemsState::Ended);
            match state {
                ItemsState::Ended => return Poll::Ready(None),
                ItemsState::Idle(items) => {
                    let size = this.size;
                    match blocking_pool::send(move || fetch(items, size)) {
                        Ok(batch) => this.state = ItemsState::Fetching(batch),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
                ItemsState::Fetching(mut batch) => {
                    let Poll::Ready(joined) = Pin::new(&mut batch).poll(task) else {
                        this.state = ItemsState::Fetching(batch);
                        return Poll::Pending;
                    };
                    let batch = match blocking_pool::joined(joined) {
                        Ok(batch) => batch,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    this.fetched = batch.items.into_iter();
                    this.state = batch.rest.map_or(ItemsState::Ended, ItemsState::Idle);
                }
            }
        }
    }
}

impl<T: Send + 'static> fmt::Debug for AsyncItems<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncItems(..)")
    }
}
