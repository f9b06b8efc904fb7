//! keys
pub use crate::crypto::Cost;
