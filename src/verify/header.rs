//! Compares the stored header with the journal.

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::keys::header::Header;
use crate::vault::ROUNDS;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::report::{FindingKind, HeaderFinding};
use crate::verify::subjects::Standing;

/// The generation of a header that was just created: a crash may have come before its entry.
const FIRST: u64 = 1;

impl Verification {
    pub(super) fn check_header(&mut self, opened: &OpenHeader) -> Result<()> {
        let storage = &*self.vault.core.store.storage;
        let mut before = None;
        for round in 0..ROUNDS {
            self.vault.core.store.back_off(round);
            let least = self.survey.headers.marks.at_least(&self.walk);
            let stored = self.vault.core.store.read_one(storage_keys::HEADER)?;
            self.walk.advance(storage, opened, &mut self.survey)?;
            let value = stored.map(|stored| stored.value);
            let finding = self.judge_header(opened, least, value.as_deref());
            if finding.is_none() || before.as_ref() == Some(&value) {
                self.report.header = finding;
                break;
            }
            before = Some(value);
        }
        if let Some((generation, kind)) = self.survey.headers.marks.twice {
            self.note_kind(kind);
            self.report.header.get_or_insert(HeaderFinding {
                kind,
                generation: Some(generation),
                standing: self.survey.headers.marks.at_least(&self.walk),
            });
        }
        self.progress(1);
        Ok(())
    }

    fn judge_header(
        &self,
        opened: &OpenHeader,
        least: Option<u64>,
        value: Option<&[u8]>,
    ) -> Option<HeaderFinding> {
        let finding = |kind, standing| {
            Some(HeaderFinding {
                kind,
                generation: least,
                standing,
            })
        };
        let Some(value) = value else {
            return finding(FindingKind::Missing, None);
        };
        let Ok(header) = Header::parse(value) else {
            return finding(FindingKind::Altered, None);
        };
        let number = header.generation();
        let marks = &self.survey.headers.marks;
        let digest = crypto::sha256(&[value]);
        match marks.compare(&self.walk, least, number, &digest) {
            Standing::AsTold => None,
            Standing::RolledBack => finding(FindingKind::RolledBack, Some(number)),
            Standing::Unknown => match header.open_keyring(&opened.root) {
                Ok(_) if marks.is_empty() && number == FIRST => None,
                // Its page may be among those that are missing.
                Ok(_) if !self.is_whole() => None,
                Ok(_) | Err(Error::RootKeyChanged) => {
                    finding(FindingKind::Unexpected, Some(number))
                }
                Err(_) => finding(FindingKind::Altered, Some(number)),
            },
        }
    }
}
