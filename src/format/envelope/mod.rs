//! The record envelope and the stream envelope.
//!
//! `format.md` in the parent folder is the normative text.
//!
//! Guarantees: a value opens only as it was sealed, under the requested chart, record, version,
//! suite and kind. Plaintext is returned only after its tag and its key's commitment were checked.
//! Must not know: storage, patient keys, time.

mod fields;
mod meta;
mod opened;
mod ownership;
mod padding;
mod record;
mod stream;

pub use meta::Meta;
#[cfg(feature = "internals")]
pub use meta::content_type_code;
pub use opened::{Content, Opened};
pub use ownership::{FIRST_CHUNK, fits};
#[cfg(feature = "internals")]
pub use padding::{padded, padme};
pub use record::{
    Address, Body, HEAD, Head, INLINE_MAX, Kind, VERSION_MAX, admit, digest, open, rewrapped, seal,
};
pub use stream::{
    CHUNK, Intent, OpenSegment, SEGMENT, Segment, StreamOpener, StreamSealer, Unsealed,
};
