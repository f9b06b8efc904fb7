//! Encrypted patient-record storage for health apps.
#![forbid(unsafe_code)]

mod error;
mod id;
mod secret;
pub mod storage;

pub use error::{Error, StorageError};
pub use id::{Actor, Purpose, RecordId, Subject, SubjectKind};
