//! The format of the stored bytes. `format.md` beside this file is the normative text.
//!
//! Guarantees: converts between bytes and values without input or output; refuses all bytes that
//! differ from the normative text.
//! Must not know: storage, time, or the purpose of the bytes.

pub(crate) mod codec;
pub(crate) mod envelope;
pub(crate) mod sealed;
pub(crate) mod storage_keys;
