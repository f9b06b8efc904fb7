//! Records in storage: reading, writing, listing, uploads and downloads.
//!
//! Guarantees: a write is acknowledged only after the last check of its transaction; content is
//! returned only after authentication.
//! Must not know: the actor, the decision of the access policy, or reports from the journal.

pub(crate) mod delete;
pub(crate) mod document;
pub(crate) mod download;
pub(crate) mod expunged_marker;
mod history;
mod history_page;
pub(crate) mod list;
pub(crate) mod list_cursor;
pub(crate) mod list_page;
pub(crate) mod list_query;
pub(crate) mod live_stream;
mod names;
pub(crate) mod page_opener;
pub(crate) mod read;
pub(crate) mod record_count;
mod segment_threads;
pub(crate) mod stream_owner;
pub(crate) mod upload;
pub(crate) mod version_ref;
pub(crate) mod write;
