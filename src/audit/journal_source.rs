//! Journal source: access to the journal, from an open vault or through an auditor's slot.

use std::sync::Arc;

use crate::audit::exposure::Exposed;
use crate::audit::time::Timestamp;
use crate::crypto::{JournalKey, SubjectTag, VaultId};
use crate::error::Result;
use crate::id::Subject;
use crate::journal::{PageKeys, Target};
use crate::keys::former_keys::JournalKeys;
use crate::keys::keyring::Keyring;
use crate::storage::Storage;
use crate::vault::header::OpenHeader;

pub(crate) trait JournalSource: Send + Sync {
    fn storage(&self) -> &dyn Storage;

    fn vault(&self) -> VaultId;

    /// Returns the keys that open journal pages.
    fn page_keys(&self) -> SourceKeys<'_>;

    /// Reads the keys again after the caller listed chains, because another process may have rotated the
    /// journal keys.
    ///
    /// # Errors
    /// [`crate::Error::Locked`] if the vault is locked.
    fn renew_keys(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the vault's first journal key, which derives the tags of subjects and names.
    fn tag_key(&self) -> &JournalKey;

    /// Checks that entries may still be released.
    ///
    /// # Errors
    /// [`crate::Error::Locked`] if the vault is locked.
    fn check(&self) -> Result<()>;

    /// Returns the current time in milliseconds since 1970-01-01 UTC.
    fn now(&self) -> i64;

    /// Journals a query. The caller must journal a query before reading any entry, and must release
    /// nothing if this call fails.
    fn note(&self, target: Option<&Subject>, question: &str) -> Result<()>;

    /// Returns the names of a subject's records, retracted and expunged records included; no names
    /// for an auditor's slot.
    fn record_names(&self, subject: &Subject) -> Result<KnownRecords>;

    /// Returns all subjects, erased subjects included; `None` for an auditor's slot.
    fn subjects(&self) -> Result<Option<Vec<KnownSubject>>>;

    /// Returns the creation time of the exposed key; `None` if the vault no longer stores the key
    /// or the time is unknown.
    fn lifetime(&self, exposed: &Exposed) -> Result<Option<Timestamp>>;

    /// Returns `true` if the storage also has the pages of a journal archive.
    fn has_archive(&self) -> bool {
        false
    }
}

/// Keys that open journal pages.
pub(crate) enum SourceKeys<'a> {
    /// The keyring of a header, whose authority keys reveal forged pages.
    Vault(Arc<OpenHeader>),
    /// The journal keys of an auditor's slot.
    Auditor(&'a JournalKeys),
}

impl SourceKeys<'_> {
    fn key(&self, number: u32) -> Option<&JournalKey> {
        match self {
            Self::Vault(header) => Some(&header.keyring.journal_key(number)?.key),
            Self::Auditor(keys) => keys.find(number),
        }
    }

    /// Returns the keyring; `None` for an auditor.
    pub(crate) fn keyring(&self) -> Option<&Keyring> {
        match self {
            Self::Vault(header) => Some(&header.keyring),
            Self::Auditor(_) => None,
        }
    }
}

/// The records of a subject that the vault stores now.
#[derive(Default)]
pub(crate) struct KnownRecords {
    pub(crate) names: Vec<Box<str>>,
    /// The number of records whose names cannot be read.
    pub(crate) unreadable: u64,
}

/// A subject that the vault stores now, for comparison with the journal.
pub(crate) struct KnownSubject {
    pub(crate) subject: Subject,
    /// The subject's tag in the journal.
    pub(crate) tag: SubjectTag,
    /// The creation time of the subject's chart; `None` for an erased subject.
    pub(crate) created: Option<Timestamp>,
}

impl dyn JournalSource + '_ {
    /// Passes the keys of journal pages to `with`.
    pub(crate) fn with_keys<T>(&self, with: impl FnOnce(&PageKeys<'_>) -> T) -> T {
        let page_keys = self.page_keys();
        let key = |number| page_keys.key(number);
        let keyring = page_keys.keyring();
        let authority = |number| Some(&keyring?.authority_key(number)?.key);
        with(&PageKeys {
            vault: self.vault(),
            key: &key,
            authority: keyring.is_some().then_some(&authority),
            closed_pages: None,
        })
    }
}

/// Returns the journal target of a query about `subject`. The target contains no chart, because an
/// auditor's slot opens no patient entry.
pub(crate) fn target(subject: Option<&Subject>, key: &JournalKey) -> Result<Target> {
    let Some(subject) = subject else {
        return Ok(Target::Vault);
    };
    let tag = crate::crypto::subject_tag(key, subject.kind(), subject.identifier())?;
    Ok(Target::Subject(crate::journal::SubjectRef {
        tag,
        ..Default::default()
    }))
}
