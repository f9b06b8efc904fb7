//! An auditor, who has the journal key and can write the storage: forges pages and plants chains.

use chartlock::internals::crypto::{AuthorityKey, JournalKey};
use chartlock::internals::journal::{Authority, Sealer};
use chartlock::internals::keys::Header;
use chartlock::verify::{FindingKind, JournalFault};

use crate::common::Stage;
use crate::exceptions::assert_allowed;
use crate::fixture::{AUDITOR, Fixture};
use crate::forgeries::{self, ForgedPlace};
use crate::judge::{Gain, faults, judge};
use crate::moves::Class;

everywhere!(
    every_forged_page_is_found_and_has_no_consequence,
    forged_page_hides_no_rollback,
    hundred_planted_chains_are_found,
);

/// Returns the keys that an auditor's credential opens, with an invented authority key or none.
fn sealer(fixture: &Fixture, invented: bool) -> Sealer {
    let header = Header::parse(&fixture.now[&b"v"[..]]).unwrap();
    let (keys, _) = header.unlock_journal(&AUDITOR).unwrap();
    let (number, key) = keys.active();
    let authority = Authority {
        number,
        key: AuthorityKey::from_bytes(&[7; 32]),
    };
    Sealer {
        suite: header.suite(),
        vault: *header.vault(),
        number,
        key: JournalKey::from_bytes(key.expose()),
        authority: invented.then_some(authority),
        former: Default::default(),
    }
}

fn every_forged_page_is_found_and_has_no_consequence(stage: &Stage) {
    let fixture = Fixture::new(stage);
    for invented in [true, false] {
        let forgeries = forgeries::all(&fixture, stage, &sealer(&fixture, invented));
        for forgery in forgeries.iter().step_by(crate::stride(stage)) {
            let after = forgery.added_to(&fixture.now);
            let verdict = judge(stage, &fixture, &after, forgery);
            let is_own = !invented;
            assert_allowed(
                forgery,
                Class::AuditorsPage { is_own },
                forgery.kind(),
                verdict.gain,
            );
            let report = verdict.without.unwrap();
            if !matches!(forgery.place, ForgedPlace::Over(_)) {
                let only = faults(&report)
                    .iter()
                    .all(|fault| *fault == JournalFault::Forged);
                let spared = report.header.is_none()
                    && report.entries.is_empty()
                    && report.records.is_empty();
                assert!(
                    only && spared && verdict.items.is_empty(),
                    "{forgery}: {report:#?}"
                );
            }
        }
    }
}

/// Puts back a record, and forges a page that claims or accepts the older version.
fn forged_page_hides_no_rollback(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let (key, older) = fixture.older_record();
    let mut after = fixture.now.clone();
    after.insert(key.clone(), older);
    for invented in [true, false] {
        let forgeries = forgeries::all(&fixture, stage, &sealer(&fixture, invented));
        for forgery in forgeries.iter().step_by(crate::stride(stage)) {
            let after = forgery.added_to(&after);
            let verdict = judge(stage, &fixture, &after, forgery);
            assert!(!verdict.gain.unseen && !verdict.gain.wrong, "{forgery}");
            if matches!(forgery.place, ForgedPlace::Over(_)) {
                // The replaced page can be the page that recorded the newer version.
                continue;
            }
            let report = verdict.without.unwrap();
            let found = report.records.iter().chain(&report.unattested);
            let kinds: Vec<_> = found
                .filter(|found| found.record[..] == key[17..33])
                .map(|found| found.kind)
                .collect();
            assert!(
                kinds.contains(&FindingKind::RolledBack),
                "{forgery}: {report:#?}"
            );
        }
    }
}

fn hundred_planted_chains_are_found(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let sealer = sealer(&fixture, true);
    let mut after = fixture.now.clone();
    for forgery in forgeries::chains(&fixture, stage, &sealer, 100) {
        after = forgery.added_to(&after);
    }
    assert_eq!(after.len(), fixture.now.len() + 100);
    let verdict = judge(stage, &fixture, &after, &"100 chains");
    assert_eq!(verdict.gain, Gain::default());
    let report = verdict.without.unwrap();
    assert_eq!(faults(&report), [JournalFault::Forged; 100]);
    assert!(report.header.is_none() && report.entries.is_empty() && report.records.is_empty());
    assert!(verdict.items.is_empty());
}
