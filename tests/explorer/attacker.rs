//! Preparation of an attacker's moves, and the findings that verification must report on them.

use std::sync::Arc;

use chartlock::Operation;
use chartlock::access::AccessOutcome;
use chartlock::internals::crypto::{AuthorityKey, JournalKey};
use chartlock::internals::journal::{
    Act, Authority, Context, Page, PageId, Sealer, Stage, Target, page_of,
};
use chartlock::internals::vault::sealer;
use chartlock::storage::Storage;
use chartlock::verify::{JournalFault, VerifyReport};

use crate::common::journal::unlocked;
use crate::common::objects::keys_of;
use crate::equipment::Moves;
use crate::final_state::FinalState;
use crate::verbs::Verb;

/// Writers of the planted chains: that of the former insider, and that of the auditor.
pub(crate) const INSIDER: [u8; 16] = [0x01; 16];
pub(crate) const AUDITOR: [u8; 16] = [0x02; 16];

/// Returns the active keys of the stored header, with which a vault seals its pages.
pub(crate) fn active_keys(storage: &dyn Storage) -> Sealer {
    let (header, unlocked) = unlocked(storage);
    sealer(header.suite(), header.vault(), &unlocked.keyring)
}

/// Seals the first page of a chain, with one entry.
fn page(sealer: &Sealer, writer: [u8; 16]) -> (Vec<u8>, Vec<u8>) {
    let act = Act::new(Arc::new(Context::default()), Operation::Read, "forged");
    let draft = act.draft(1, Target::Vault, AccessOutcome::Done);
    let staged = [(&draft, Stage::Done)].into_iter();
    let page = Page::new([0; 32], Vec::new(), staged).unwrap();
    let place = PageId {
        writer,
        sequence: 0,
    };
    let key = [b"j", &writer[..], &[0; 8]].concat();
    (key, page.seal(sealer, &place).unwrap())
}

impl Moves {
    /// Prepares the moves on a vault. `first` are the keys with which the vault was created.
    pub(crate) fn new(storage: &dyn Storage, first: &Sealer) -> Self {
        let keys = active_keys(storage);
        let auditors = Sealer {
            key: JournalKey::from_bytes(keys.key.expose()),
            authority: Some(Authority {
                number: keys.number,
                key: AuthorityKey::from_bytes(&[7; 32]),
            }),
            ..keys
        };
        Self {
            late: page(first, INSIDER),
            forged: page(&auditors, AUDITOR),
            record: keys_of(storage, b"r").into_iter().next(),
        }
    }
}

impl FinalState<'_> {
    /// Removes the findings on planted pages from a report. Returns a violation if a planted page has
    /// none, because the vault then believes it.
    pub(crate) fn take_planted(&self, report: &mut VerifyReport) -> Option<String> {
        let mut believed = None;
        for (writer, faults) in [
            (INSIDER, &[JournalFault::Late, JournalFault::Unproven][..]),
            (AUDITOR, &[JournalFault::Forged][..]),
        ] {
            let mut pages = (self.model.applied.iter()).filter_map(|applied| page_of(&applied.key));
            if !pages.any(|page| page.writer == writer) {
                continue;
            }
            let before = report.journal.len();
            report
                .journal
                .retain(|found| found.writer != Some(writer) || !faults.contains(&found.fault));
            if report.journal.len() == before {
                believed = Some(format!("the planted page of {writer:?} has no finding"));
            }
        }
        believed
    }

    /// Returns the step at which an attacker deleted the record, if any.
    pub(crate) fn record_deleted(&self) -> Option<u64> {
        let calls = self.model.calls.iter();
        let mut deletions = calls.filter(|call| call.verb == Verb::DeleteRecord);
        deletions.next().map(|call| call.ended)
    }
}
