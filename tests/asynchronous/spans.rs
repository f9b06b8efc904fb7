//! Spans of the feature `tracing`: an operation on the pool runs in the span of its task.

use std::cell::Cell;
use std::sync::Mutex;

use chartlock::Error;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, info_span, subscriber};
use tracing_core::span::Current;

use super::{session, vault};

thread_local! {
    /// The span that this thread has entered.
    static ENTERED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Subscriber that knows which span each thread has entered.
#[derive(Default)]
struct Entered(Mutex<Vec<&'static Metadata<'static>>>);

impl Subscriber for Entered {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() == "request"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock().unwrap();
        spans.push(span.metadata());
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        ENTERED.set(Some(span.into_u64()));
    }

    fn exit(&self, _: &Id) {
        ENTERED.set(None);
    }

    fn current_span(&self) -> Current {
        match ENTERED.get() {
            Some(id) => {
                let spans = self.0.lock().unwrap();
                Current::new(Id::from_u64(id), spans[id as usize - 1])
            }
            None => Current::none(),
        }
    }
}

#[test]
fn operation_on_pool_runs_in_span_of_its_task() {
    // The other tests of this process have no span of this name.
    subscriber::set_global_default(Entered::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    let session = session(&vault());
    let entered = || session.with(|_| Ok::<_, Error>(ENTERED.get()));
    assert_eq!(runtime.block_on(entered()).unwrap(), None);
    let span = info_span!("request");
    let id = span.id().map(|id| id.into_u64());
    assert!(id.is_some());
    let within = span.in_scope(|| runtime.block_on(entered()));
    assert_eq!(within.unwrap(), id);
    assert_eq!(runtime.block_on(entered()).unwrap(), None);
}
