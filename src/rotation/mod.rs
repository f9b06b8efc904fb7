//! Rotation: online, resumable from what stands in storage, a compare-and-swap for each object.

mod chart;
pub(crate) mod key_usage;
mod master;
mod objects;
mod renewal;
pub(crate) mod report;
mod root;
