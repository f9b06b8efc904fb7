//! Group commit: one thread of many writes what all of them wait for.

pub(crate) mod leader;
