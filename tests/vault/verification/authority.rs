//! Pages that a holder of the journal key forges, such as an auditor, and texts that a denied caller
//! writes. Neither has a consequence.

use std::sync::Arc;

use chartlock::access::{AccessOutcome, Rule, RulePolicy};
use chartlock::internals::crypto::{AuthorityKey, JournalKey};
use chartlock::internals::journal::{
    Act, Authority, Context, Page, PageId, Sealer, Stage as EntryStage, SubjectRef, Target,
};
use chartlock::verify::JournalFault;
use chartlock::{Actor, Error, Operation, Purpose};

use super::journals::longest;
use super::{assert_clean, clinic, faults, verify};
use crate::common::journal::unlocked;
use crate::common::{Fixed, accept_restore, because};
use crate::raw;
use crate::stage::{Shared, Stage, record, session_on};

everywhere!(
    forged_erasure_erases_nothing,
    auditors_erasure_erases_nothing,
    forged_acceptance_hides_no_finding,
    denied_text_hides_no_finding,
);

/// Returns the inputs for sealing pages that an auditor has, and an invented authority key if
/// `as_vault` is `true`.
fn forger(storage: &Shared, as_vault: bool) -> Sealer {
    let (header, unlocked) = unlocked(&**storage);
    let journal = unlocked.keyring.active_journal_key();
    let number = unlocked.keyring.active_authority_key().number;
    let authority = Authority {
        number,
        key: AuthorityKey::from_bytes(&[7; 32]),
    };
    Sealer {
        suite: header.suite(),
        vault: *header.vault(),
        number: journal.number,
        key: JournalKey::from_bytes(journal.key.expose()),
        authority: as_vault.then_some(authority),
        former: Default::default(),
    }
}

/// Returns the inputs for sealing pages that every open process of the vault has.
pub(super) fn insider(storage: &Shared) -> Sealer {
    let (_, unlocked) = unlocked(&**storage);
    let active = unlocked.keyring.active_authority_key();
    Sealer {
        authority: Some(Authority {
            number: active.number,
            key: AuthorityKey::from_bytes(active.key.expose()),
        }),
        ..forger(storage, false)
    }
}

/// Stores a forged page with one entry, as a chain of its own.
pub(crate) fn forge(storage: &Shared, as_vault: bool, operation: Operation, target: Target) {
    let context = Context {
        actor: "dr.garcia".into(),
        purpose: "TREAT".into(),
        ..Context::default()
    };
    let draft = Act::new(Arc::new(context), operation, "").draft(
        1_800_000_000_000,
        target,
        AccessOutcome::Done,
    );
    let page = Page::new([0; 32], vec![], [(&draft, EntryStage::Done)].into_iter()).unwrap();
    let id = PageId {
        writer: [9; 16],
        sequence: 0,
    };
    let value = page.seal(&forger(storage, as_vault), &id).unwrap();
    let key = [b"j", &id.writer[..], &[0; 8]].concat();
    raw::put(storage, &key, &value);
}

/// Returns the target of an entry on the erasure of the chart of a stored record.
fn erasure(storage: &Shared) -> Target {
    let records = raw::objects_of(storage, b"r");
    let (key, _) = records.first_key_value().unwrap();
    Target::Entry {
        subject: SubjectRef {
            chart: key[1..17].try_into().unwrap(),
            tag: [9; 16],
        },
        sequence: 2,
        digest: [1; 32],
    }
}

fn check_forged_erasure(stage: &Stage, as_vault: bool) {
    clinic(&stage.create());
    let target = erasure(&stage.storage);
    let before = raw::objects_of(&stage.storage, b"r");
    forge(&stage.storage, as_vault, Operation::Erase, target);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Forged], "{report:#?}");
    assert!(report.records.is_empty() && report.entries.is_empty());
    let vault = stage.open();
    let restored = accept_restore(&session_on(&vault), "last night's copy");
    let restored = restored.unwrap();
    assert_eq!(restored.erased_again, 0);
    assert_eq!(faults(&restored.differed), [JournalFault::Forged]);
    drop(vault);
    assert_eq!(raw::objects_of(&stage.storage, b"r"), before);
    assert_clean(stage);
}

fn forged_erasure_erases_nothing(stage: &Stage) {
    check_forged_erasure(stage, true);
}

fn auditors_erasure_erases_nothing(stage: &Stage) {
    check_forged_erasure(stage, false);
}

/// Removes a page, and returns the fault as the free text of an earlier release.
fn lose_page(stage: &Stage) -> String {
    let vault = stage.create();
    clinic(&vault);
    drop(vault);
    let page = longest(&stage.storage)[2].clone();
    super::remove(&stage.storage, std::slice::from_ref(&page));
    let writer: [u8; 16] = page[1..17].try_into().unwrap();
    format!("Missing {:032x} 2 1", u128::from_be_bytes(writer))
}

fn forged_acceptance_hides_no_finding(stage: &Stage) {
    lose_page(stage);
    forge(
        &stage.storage,
        true,
        Operation::AcceptRestore,
        Target::Vault,
    );
    let report = verify(stage);
    assert!(faults(&report).contains(&JournalFault::Missing));
    assert!(faults(&report).contains(&JournalFault::Forged));
    assert!(report.restores.is_empty());
}

fn denied_text_hides_no_finding(stage: &Stage) {
    let text = lose_page(stage);
    let policy = RulePolicy::new([Rule::permit().actor("dr.*")]).unwrap();
    let options = stage.options().policy(policy);
    let vault = options.open(stage.shared(), &Fixed(1)).unwrap();
    let nosy = vault.session(Actor::new("nosy").unwrap(), Purpose::Operations);
    let plan = session_on(&vault).plan_restore(None, None).unwrap();
    let accepted = nosy.accept_restore(&plan, because(&text));
    assert_eq!(accepted.err(), Some(Error::Denied));
    drop(vault);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Missing], "{report:#?}");
    let id = record("MRN-1", "Observation/1");
    session_on(&stage.open()).get(&id).unwrap();
}
