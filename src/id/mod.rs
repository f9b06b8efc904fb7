//! Identifiers: subjects, records, actors, and the purpose of an access.
//!
//! Guarantees: every identifier that can be constructed is valid; its `Debug` output never shows
//! the identifier, and its `Display` output parses back to the same identifier.
//! Must not know: how identifiers are hidden in storage.

mod actor;
pub(crate) mod bounds;
#[cfg(feature = "nfc")]
mod nfc;
mod purpose;
mod reason;
mod record_id;
mod subject;
mod text_form;

pub use actor::Actor;
pub use purpose::Purpose;
pub use reason::Reason;
pub use record_id::RecordId;
pub use subject::{Subject, SubjectKind};
