//! Findings of a verification on the journal.

use serde::Serialize;

use crate::journal::WriterId;
use crate::verify::report::maybe_hex;

/// Kind of fault in the journal.
///
/// ```
/// # use chartlock::verify::JournalFault;
/// assert_ne!(JournalFault::Cut, JournalFault::Forked);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JournalFault {
    /// Pages of a chain are missing, although later pages of this chain are stored.
    Missing,
    /// The end of a chain or the whole chain is missing, although another chain, a checkpoint or
    /// this process has seen its pages.
    Cut,
    /// A page was altered, cannot be read, or is stored at the storage key of another page.
    Altered,
    /// A page does not continue the previous page: one of the two was replaced or rolled back.
    Unlinked,
    /// A page differs from the page that was seen earlier at this position of the chain: the page
    /// was replaced, or the storage mixes two copies of the vault.
    Replaced,
    /// Chains contradict each other: the storage mixes two copies of the vault.
    Forked,
    /// The journal does not record the writes of objects that open. Either the end of the journal
    /// was cut off, or the objects come from a copy of the vault that was used separately.
    Incomplete,
    /// A newer release of chartlock wrote the page.
    Unsupported,
    /// An object is stored among the journal pages or records, but its storage key identifies
    /// neither.
    Unexpected,
    /// A holder of the journal key, such as an auditor, wrote a page in the name of the vault. The page
    /// has no consequence.
    Forged,
    /// A page was sealed under former keys after these were closed: by a person who kept the keys, or
    /// by a process that was suspended during the rotation. The page has no consequence.
    Late,
    /// Pages under former keys are stored, but a page is missing that could prove that these pages were
    /// written before the keys were closed. The pages have no consequence.
    Unproven,
    /// Pages are sealed under a journal key that the header does not contain.
    UnknownJournalKey,
}

/// Finding on the journal, for one page or a run of consecutive pages.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let report = vault.verify(None)?;
/// for found in &report.journal {
///     println!("{:?} from page {}", found.fault, found.page);
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalFinding {
    /// Kind of fault found.
    pub fault: JournalFault,
    /// Writer id of the affected chain, if a chain is affected. The first 6 bytes are the start
    /// time of the chain in milliseconds since the Unix epoch; the other 10 bytes are random.
    #[serde(serialize_with = "maybe_hex")]
    pub writer: Option<WriterId>,
    /// Sequence number of the first affected page.
    pub page: u64,
    /// Number of consecutive pages known to be affected.
    pub pages: u64,
}
