//! The format of the stored bytes. `format.md` beside this file is the normative text;
//! `directory.md` is that of the files in which `FileStorage` keeps them.
//!
//! Guarantees: conversion between bytes and values performs no I/O. Bytes that violate the
//! normative text are refused.
//! Must not know: storage, time, or the purpose of the bytes.

pub(crate) mod codec;
pub(crate) mod envelope;
pub(crate) mod sealed;
pub(crate) mod storage_keys;
