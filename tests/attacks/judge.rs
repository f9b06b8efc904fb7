//! Judgement of a move: the findings of verification, the results of reads, and the objects that
//! operations destroy.

use std::fmt;

use chartlock::verify::{JournalFault, RestoreItem, VerifyReport};
use chartlock::{Error, Vault};

use crate::common::objects::Objects;
use crate::common::{Fixed, Stage, because, is_failure_class, record, session};
use crate::fixture::{Fixture, objects, reset};

/// Gain of a move for the attacker. All fields are `false` if verification found the move, and each read
/// failed or returned the true content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gain {
    /// Verification without a checkpoint finds nothing.
    pub(crate) unseen: bool,
    /// Verification with a checkpoint finds nothing either.
    pub(crate) unseen_with_checkpoint: bool,
    /// A read returns content that was true earlier.
    pub(crate) older: bool,
    /// A read returns that a record does not exist, although it does.
    pub(crate) absent: bool,
    /// A read returns content that the vault never wrote.
    pub(crate) wrong: bool,
    /// The garbage collection deletes objects that belong to records.
    pub(crate) freed: bool,
    /// An operation succeeds before its time, such as an erasure before a retention ends.
    pub(crate) early: bool,
    /// Verification finds something, but names no object that the move changed.
    pub(crate) unnamed: bool,
}

impl Gain {
    /// Returns the parts of this gain that are not in `allowed`.
    pub(crate) fn without(self, allowed: Self) -> Self {
        Self {
            unseen: self.unseen && !allowed.unseen,
            unseen_with_checkpoint: self.unseen_with_checkpoint && !allowed.unseen_with_checkpoint,
            older: self.older && !allowed.older,
            absent: self.absent && !allowed.absent,
            wrong: self.wrong && !allowed.wrong,
            freed: self.freed && !allowed.freed,
            early: self.early && !allowed.early,
            unnamed: self.unnamed && !allowed.unnamed,
        }
    }
}

/// Gain of a move, and the findings of verification.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) gain: Gain,
    /// The report without a checkpoint; `None` if the vault does not open.
    pub(crate) without: Option<VerifyReport>,
    /// The erasures and expunges that a planned restore repeats.
    pub(crate) items: Vec<RestoreItem>,
}

/// Returns the faults of the journal in a report.
pub(crate) fn faults(report: &VerifyReport) -> Vec<JournalFault> {
    report.journal.iter().map(|found| found.fault).collect()
}

/// Puts the objects of a move into the storage, uses the vault, and returns what the move achieved.
pub(crate) fn judge(
    stage: &Stage,
    fixture: &Fixture,
    after: &Objects,
    name: &dyn fmt::Display,
) -> Verdict {
    reset(&stage.storage, after);
    stage.clock.advance(5_000);
    let options = stage.options_on_clock().without_background();
    match options.open(stage.shared(), &Fixed(1)) {
        Ok(vault) => judge_opened(stage, fixture, &vault, name),
        Err(error) => {
            assert!(is_stated(&error), "{name}: {error:?} is no stated failure");
            let lost = lost(after, &objects(&stage.storage));
            assert!(lost.is_empty(), "{name}: the opening deletes {lost:?}");
            Verdict::default()
        }
    }
}

fn judge_opened(
    stage: &Stage,
    fixture: &Fixture,
    vault: &Vault,
    name: &dyn fmt::Display,
) -> Verdict {
    let [without, with] = fixture.verify(vault);
    let mut gain = Gain {
        unseen: without.is_clean(),
        unseen_with_checkpoint: with.is_clean(),
        ..Gain::default()
    };
    read_all(fixture, vault, &mut gain, name);
    let collected = objects(&stage.storage);
    let items = accept(stage, vault, name);
    read_all(fixture, vault, &mut gain, name);
    // A collection may refuse a damaged storage.
    let _ = vault.collect_garbage();
    let left = objects(&stage.storage);
    gain.freed = lost(&collected, &left).iter().any(|key| {
        key[0] == b's' && fixture.now.contains_key(key) && !is_upload(&fixture.now, key)
    });
    Verdict {
        gain,
        without: Some(without),
        items,
    }
}

/// Tests whether an object belongs to an upload that did not end.
pub(crate) fn is_upload(objects: &Objects, key: &[u8]) -> bool {
    matches!(key[0], b's' | b'w') && key.len() >= 33 && {
        objects.contains_key(&[b"w", &key[1..33]].concat())
    }
}

/// Returns the keys of entries and records, segments included, that are stored before but not after.
fn lost(before: &Objects, after: &Objects) -> Vec<Vec<u8>> {
    let lost = before.keys().filter(|key| {
        matches!(key[0], b'v' | b'p' | b'r' | b'h' | b's') && !after.contains_key(*key)
    });
    lost.cloned().collect()
}

/// Reads each version of each record.
fn read_all(fixture: &Fixture, vault: &Vault, gain: &mut Gain, name: &dyn fmt::Display) {
    let session = session(vault);
    for (id, versions) in &fixture.contents {
        let current = versions.last().unwrap();
        let place = record(id.0, id.1);
        match session.get(&place) {
            Ok(Some(found)) if current.as_deref() == Some(&found[..]) => {}
            Ok(Some(found)) => {
                let earlier = versions.iter().flatten().any(|it| it[..] == found[..]);
                gain.older |= earlier;
                gain.wrong |= !earlier;
            }
            Ok(None) => gain.absent |= current.is_some(),
            Err(error) => assert!(is_stated(&error), "{name}: {error:?}"),
        }
        for (version, content) in (1..).zip(versions) {
            match session.get_version(&place, version) {
                Ok(Some(found)) => match content {
                    Some(content) => gain.wrong |= content[..] != found[..],
                    None => gain.wrong = true,
                },
                Ok(None) => {}
                Err(error) => assert!(is_stated(&error), "{name}: {error:?}"),
            }
        }
    }
}

/// Accepts the findings as a restore. Only what the plan names may be deleted.
fn accept(stage: &Stage, vault: &Vault, name: &dyn fmt::Display) -> Vec<RestoreItem> {
    let session = session(vault);
    let before = objects(&stage.storage);
    let plan = session.plan_restore(None, None).unwrap();
    let accepted = session.accept_restore(&plan, because("the suite accepts what it did"));
    if let Err(error) = accepted {
        assert!(is_stated(&error), "{name}: {error:?}");
    }
    for key in lost(&before, &objects(&stage.storage)) {
        let named = plan.items.iter().any(|item| {
            let is_record = |record: [u8; 16]| key[0] == b's' || key[17..33] == record;
            plan.repeats(item)
                && key.len() > 32
                && key[1..17] == item.chart
                && item.record.is_none_or(is_record)
        });
        assert!(
            named,
            "{name}: accepting deletes {key:?}, which no item names"
        );
    }
    plan.items
}

/// Tests whether an error is the stated failure of a read, of an opening or of an acceptance on
/// altered objects.
fn is_stated(error: &Error) -> bool {
    is_failure_class(error) || matches!(error, Error::RootKeyChanged | Error::PlanOutdated)
}
