//! Records in storage: read, written, listed, uploaded and downloaded, one chart at a time.
//!
//! Promises: a version is acknowledged only after its last check; nothing is returned before it
//! authenticated.
//! May not know: who acts, whether the policy permits it, or what the journal is asked.

pub(crate) mod delete;
pub(crate) mod document;
pub(crate) mod download;
pub(crate) mod expunged_marker;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod stream_owner;
pub(crate) mod upload;
pub(crate) mod version_ref;
pub(crate) mod write;
