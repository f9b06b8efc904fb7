//! Operations that remove records and subjects: expunge, erasure and garbage collection. Includes
//! the legal holds that forbid expunges and erasures.
//!
//! Guarantees: a legal hold is never bypassed; destroyed keys and versions stay destroyed; the same
//! call finishes an operation that a crash interrupted.
//! Must not know: the actor, or the policy's decision.

pub(crate) mod archive_journal;
pub(crate) mod erase;
pub(crate) mod expunge;
pub(crate) mod garbage;
pub(crate) mod holds;
pub(crate) mod report;
