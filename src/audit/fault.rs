//! Faults of journal pages, as trails and reports show them.

use serde::Serialize;

use crate::audit::hex::Hex;
use crate::audit::time::Timestamp;
use crate::journal::PageFault;

/// A fault of a journal page. [`Vault::verify`](crate::Vault::verify) reports more detail.
///
/// ```
/// # use chartlock::audit::{AuditFault, FaultKind};
/// # fn show(fault: &AuditFault) {
/// assert_eq!(fault.what, FaultKind::Missing);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditFault {
    /// The id of the chain's writer.
    pub writer: Hex<16>,
    /// The number of the page. If several consecutive pages are missing, the number of the first
    /// one.
    pub page: u64,
    /// The kind of fault.
    pub what: FaultKind,
    /// The time of the last entry that was read from this chain before the fault, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Timestamp>,
}

/// The kind of fault of a journal page.
///
/// ```
/// # use chartlock::audit::FaultKind;
/// assert_ne!(FaultKind::Missing, FaultKind::NotAuthentic);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The page is missing, although later pages of its chain are stored.
    Missing,
    /// The page does not open: it was altered, or belongs to another vault or position.
    NotAuthentic,
    /// The page is sealed under a journal key that is not available. If the journal keys were rotated,
    /// create the trail or open the auditor's access again.
    UnknownKey,
    /// The page opens but does not continue the previous page, so one of the two was replaced. The
    /// iterator still returns the page's entries.
    Unlinked,
    /// A later release of chartlock wrote the page.
    Unsupported,
    /// A holder of the journal key, such as an auditor, wrote a page in the name of the vault. The
    /// iterator omits the page's entries. An auditor cannot detect such a page.
    Forged,
    /// The page was written under former keys after these were closed. Only
    /// [`Vault::verify`](crate::Vault::verify) detects such a page.
    Late,
    /// The end of a chain or the whole chain is missing, although a page of another chain saw its
    /// pages. The fault names the first missing page. The iterator returns the fault after the entries of
    /// the page that saw the chain.
    Cut,
    /// The report lacks pages of the time range that were moved to a journal archive: see
    /// [`AuditTrail::with_archive`](crate::audit::AuditTrail::with_archive). For a trail without an archive,
    /// one fault stands for all these pages, and `after` is the time up to which pages were archived. For a trail
    /// with an archive, each fault names the first page that is missing of a chain. The iterator returns these
    /// faults after all entries.
    Archived,
}

impl From<PageFault> for FaultKind {
    fn from(fault: PageFault) -> Self {
        match fault {
            PageFault::Missing => Self::Missing,
            PageFault::NotAuthentic => Self::NotAuthentic,
            PageFault::Unlinked => Self::Unlinked,
            PageFault::Unsupported => Self::Unsupported,
            PageFault::Forged => Self::Forged,
            PageFault::UnknownKey => Self::UnknownKey,
            PageFault::Late | PageFault::Unproven => Self::Late,
        }
    }
}
