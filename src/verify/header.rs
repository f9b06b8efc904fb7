//! Comparison of the stored header with the journal.

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::keys::header::Header;
use crate::vault::ROUNDS;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::report::{FindingKind, HeaderFinding};
use crate::verify::subjects::JournalComparison;

/// Generation of the header of a new vault. After a crash, the journal entry of this generation may
/// be missing.
const FIRST: u64 = 1;

impl Verification {
    pub(super) fn check_header(&mut self, opened: &OpenHeader) -> Result<()> {
        let storage = &*self.storage;
        let mut before = None;
        for round in 0..ROUNDS {
            self.vault.core.store.back_off(round);
            let expected = self.scan.headers.writes.expected(&self.walk);
            let stored = self.vault.core.store.read_damaged(storage_keys::HEADER)?;
            self.walk.advance(storage, opened, &mut self.scan)?;
            let value = stored.map(|stored| stored.value);
            let finding = self.compare_header(opened, expected, value.as_deref());
            let is_final = finding.is_none() || before.as_ref() == Some(&value);
            before = Some(value);
            if is_final {
                self.report.header = finding;
                break;
            }
        }
        if let Some((generation, kind)) = self.header_duplicate(before.flatten().as_deref()) {
            self.note_fork(kind);
            self.report.header.get_or_insert(HeaderFinding {
                kind,
                generation: Some(generation),
                stored: self.scan.headers.writes.expected(&self.walk),
            });
        }
        self.progress(1)
    }

    /// Returns a generation that was written twice, with the finding to report, whether or not a header is
    /// stored.
    fn header_duplicate(&self, value: Option<&[u8]>) -> Option<(u64, FindingKind)> {
        let writes = &self.scan.headers.writes;
        let value = value.unwrap_or_default();
        let generation = Header::parse(value).map_or(0, |header| header.generation());
        writes.duplicate(&self.walk, generation, &crypto::sha256(&[value]))
    }

    fn compare_header(
        &self,
        opened: &OpenHeader,
        expected: Option<u64>,
        value: Option<&[u8]>,
    ) -> Option<HeaderFinding> {
        let finding = |kind, stored| {
            Some(HeaderFinding {
                kind,
                generation: expected,
                stored,
            })
        };
        let Some(value) = value else {
            return finding(FindingKind::Missing, None);
        };
        let Ok(header) = Header::parse(value) else {
            return finding(FindingKind::Altered, None);
        };
        let number = header.generation();
        let writes = &self.scan.headers.writes;
        let digest = crypto::sha256(&[value]);
        match writes.compare(&self.walk, expected, number, &digest) {
            JournalComparison::Journaled => None,
            JournalComparison::RolledBack => finding(FindingKind::RolledBack, Some(number)),
            JournalComparison::Unknown => match header.open_keyring(&opened.root) {
                Ok(_) if writes.is_empty() && number == FIRST => None,
                // Report nothing, because a missing page may contain the entry of this generation.
                Ok(_) if !self.is_journal_intact() => None,
                Ok(_) | Err(Error::RootKeyChanged) => {
                    finding(FindingKind::Unexpected, Some(number))
                }
                Err(_) => finding(FindingKind::Altered, Some(number)),
            },
        }
    }
}
