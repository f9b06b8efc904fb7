//! The source that reports read the journal from: an open vault, or an auditor's slot.

use crate::audit::exposure::Exposed;
use crate::audit::time::Timestamp;
use crate::crypto::{JournalKey, SubjectTag, VaultId};
use crate::error::Result;
use crate::id::Subject;
use crate::journal::{PageKeys, Target};
use crate::storage::Storage;

pub(crate) trait JournalSource: Send + Sync {
    fn storage(&self) -> &dyn Storage;

    fn vault(&self) -> VaultId;

    /// The journal key that pages of this number need, if it is held.
    fn key(&self, number: u32) -> Option<&JournalKey>;

    /// Whether anything may still be handed out.
    ///
    /// # Errors
    /// [`crate::Error::Locked`].
    fn check(&self) -> Result<()>;

    /// Milliseconds since 1970.
    fn now(&self) -> i64;

    /// Takes note of what is about to be looked up; nothing may be handed out if that fails.
    fn note(&self, target: Option<&Subject>, question: &str) -> Result<()>;

    /// The names of a subject's records, as far as they can be known here.
    fn record_names(&self, subject: &Subject) -> Result<Vec<Box<str>>>;

    /// The subjects that there are, and were erased; `None` where that cannot be known.
    fn subjects(&self) -> Result<Option<Vec<KnownSubject>>>;

    /// Since when a key has been there, if it still is, by what stands in the vault.
    fn lifetime(&self, exposed: &Exposed) -> Result<Option<Timestamp>>;
}

/// A subject that the vault knows.
pub(crate) struct KnownSubject {
    pub(crate) subject: Subject,
    /// Its tag under the journal key.
    pub(crate) tag: SubjectTag,
    /// When its chart was begun; `None` for one that was erased.
    pub(crate) created: Option<Timestamp>,
}

impl dyn JournalSource + '_ {
    /// Hands what opens pages to `with`; `opening` is told the number of each page's key.
    pub(crate) fn with_keys<T>(
        &self,
        opening: &dyn Fn(u32),
        with: impl FnOnce(&PageKeys<'_>) -> T,
    ) -> T {
        let key = |number| {
            opening(number);
            self.key(number)
        };
        with(&PageKeys {
            vault: self.vault(),
            key: &key,
        })
    }
}

/// What a journal that is asked about a subject notes; without a chart, which an auditor cannot know.
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
