//! Identifiers: subjects, records, actors, and the purpose of an access.
//!
//! Guarantees: every identifier that can be constructed is valid; its `Debug` output never shows
//! the identifier.
//! Must not know: how identifiers are hidden in storage.

mod actor;
pub(crate) mod bounds;
mod purpose;
mod reason;
mod record_id;
mod subject;

pub use actor::Actor;
pub use purpose::Purpose;
pub use reason::Reason;
pub use record_id::RecordId;
pub use subject::{Subject, SubjectKind};
