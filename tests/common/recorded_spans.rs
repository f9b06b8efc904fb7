//! `tracing` subscriber that records the spans and events of a thread.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber};

/// Fields of a span or an event, with the values as text.
pub(crate) type Fields = BTreeMap<String, String>;

/// Spans, events and their fields, in the order in which they began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded {
    /// Each with the name of the span.
    pub(crate) spans: Vec<(&'static str, Fields)>,
    pub(crate) events: Vec<Fields>,
}

impl Recorded {
    /// Runs `run`, and returns what this thread recorded during the run.
    pub(crate) fn during(run: impl FnOnce()) -> Self {
        let recorder = Recorder::default();
        let recorded = Arc::clone(&recorder.recorded);
        subscriber::with_default(recorder, run);
        let recorded = recorded.lock().unwrap();
        recorded.clone()
    }

    /// Returns the fields of the spans of operations.
    pub(crate) fn operations(&self) -> impl Iterator<Item = &Fields> {
        let operations = self.spans.iter().filter(|(name, _)| *name == "operation");
        operations.map(|(_, fields)| fields)
    }

    /// Returns the values of all fields.
    pub(crate) fn values(&self) -> impl Iterator<Item = &String> {
        let spans = self.spans.iter().flat_map(|(_, fields)| fields.values());
        spans.chain(self.events.iter().flat_map(BTreeMap::values))
    }
}

#[derive(Default)]
struct Recorder {
    recorded: Arc<Mutex<Recorded>>,
    spans: AtomicU64,
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "chartlock"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::new();
        span.record(&mut FieldText(&mut fields));
        let mut recorded = self.recorded.lock().unwrap();
        recorded.spans.push((span.metadata().name(), fields));
        // An id is not 0.
        Id::from_u64(self.spans.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut recorded = self.recorded.lock().unwrap();
        let index = usize::try_from(span.into_u64() - 1).unwrap();
        values.record(&mut FieldText(&mut recorded.spans[index].1));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut FieldText(&mut fields));
        self.recorded.lock().unwrap().events.push(fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Visitor that keeps each field as text.
struct FieldText<'a>(&'a mut Fields);

impl Visit for FieldText<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
}
