//! The journal, which records every access in sealed pages. Each writer extends its own chain of
//! pages.
//!
//! Guarantees: the entry of a change becomes durable no later than the change. The entry of a read
//! becomes durable with the next page. A page opens only at its own position in its chain. Pages
//! store subject and record names only as keyed hashes. Must not know: master keys, patient keys,
//! record content, or what the operations do.

mod authority;
mod chain;
mod chain_span;
pub mod checkpoint;
mod closed_pages;
mod codec;
mod coverage;
mod entry;
mod fallback;
mod filter;
mod heads;
mod key_source;
mod operation;
mod operation_effect;
mod outcome;
mod page;
mod page_keys;
mod page_merge;
mod page_summary;
mod pins;
mod queue;
mod send;
mod send_summaries;
mod stored_summaries;
mod subject_walk;
mod walk;
mod writer;

pub use crate::format::storage_keys::{PageId, WriterId};
#[cfg(feature = "internals")]
pub use authority::PageKind;
pub use authority::{Authority, FormerPageKeys, Sealer};
pub use chain_span::{CHAIN_SPAN, QUEUED_MAX};
pub use closed_pages::ClosedPages;
#[cfg(feature = "internals")]
pub use coverage::{Coverage, CoveredHeads};
#[cfg(feature = "internals")]
pub use entry::ReadVersion;
pub use entry::{
    Act, Context, EntryDraft, Finding, RecordRef, SealedEntry, SlotRef, SubjectRef, Target,
};
pub use fallback::MissingPages;
pub use filter::ALL_SUBJECTS;
#[cfg(feature = "internals")]
pub use heads::last_pages;
pub use heads::{digest_of, writers};
pub use key_source::{CurrentKeys, KeySource};
pub use operation::{AccessKind, Operation, OperationGroup};
#[cfg(feature = "json")]
pub(crate) use operation_effect::FhirEvent;
pub(crate) use operation_effect::{KeyEffect, VersionEffect};
pub use outcome::AccessOutcome;
pub use page::{ChainHead, Entry, Page, PageHead, Stage};
#[cfg(feature = "internals")]
pub use page_keys::OpenResult;
pub use page_keys::{PageError, PageKeys};
pub use page_summary::{PageSummary, Summaries};
pub use pins::{PINS_MAX, covering_page, open_heads};
pub use queue::JournaledChange;
pub(crate) use queue::{Answer, CombinedChange};
pub use stored_summaries::StoredSummaries;
pub use walk::{Cursor, PageFault};
pub use writer::{WriteTime, Writer};
