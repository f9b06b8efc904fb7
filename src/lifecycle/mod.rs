//! The end of records and subjects: expunge, erase, holds that forbid both, and garbage collection.
//!
//! Promises: a hold is never passed; what is destroyed stays destroyed; whatever a crash interrupts
//! can be finished by the same call.
//! May not know: who acts, or whether the policy permits it.

pub(crate) mod erase;
pub(crate) mod expunge;
pub(crate) mod garbage;
pub(crate) mod holds;
pub(crate) mod report;
