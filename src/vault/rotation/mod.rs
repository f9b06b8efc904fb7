//! Rotation: online, resumable from what stands in storage, a compare-and-swap for each object.

mod chart;
mod master;
mod objects;
