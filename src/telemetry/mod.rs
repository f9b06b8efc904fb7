//! Spans and events for the app's `tracing` subscriber (feature `tracing`).
//!
//! The section "Traces" of the crate's documentation describes the spans and events.
//!
//! Guarantees: no field contains a subject, a name, an actor, a reason, a key, a path or content.
//! Without the feature, these functions only run their closures.
//! Must not know: any other module except `error`.

#[cfg(not(feature = "tracing"))]
mod disabled;
#[cfg(feature = "tracing")]
mod enabled;

#[cfg(not(feature = "tracing"))]
pub(crate) use disabled::*;
#[cfg(feature = "tracing")]
pub(crate) use enabled::*;
