//! The stored bytes. `format.md` beside this file is the normative text.
//!
//! Promises: bytes to bytes, without input or output; whatever is not exactly as the text says is
//! refused.
//! May not know: storage, time, or what the bytes are for.

pub(crate) mod codec;
pub(crate) mod envelope;
pub(crate) mod sealed;
pub(crate) mod storage_keys;
