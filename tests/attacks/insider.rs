//! A former insider: has the header, the credential and all keys of the time before the rotations, and can
//! write the storage.

use chartlock::internals::journal::Sealer;
use chartlock::internals::keys::Header;
use chartlock::internals::vault;
use chartlock::verify::{FindingKind, JournalFault, LaterHeader, RestorePlan};
use chartlock::{Error, Vault};

use crate::common::objects::Objects;
use crate::common::{Fixed, Stage, because, record, session, subject};
use crate::exceptions::assert_allowed;
use crate::fixture::{Fixture, INSIDER, Id, objects, reset};
use crate::forgeries::{self, ForgedPlace};
use crate::grafts::{GRAFT_KINDS, graft};
use crate::judge::{faults, judge};
use crate::moves::{Class, Kind};

everywhere!(
    former_credential_opens_nothing,
    every_page_under_former_keys_is_late_and_has_no_consequence,
    page_under_former_keys_hides_no_rollback,
    every_graft_is_found,
    work_under_the_former_header_is_found,
    page_under_former_keys_is_late_after_a_restore,
);

/// Returns the journal and authority keys that the insider copied.
fn sealer(fixture: &Fixture) -> Sealer {
    let keyring = &fixture.copied.keyring;
    let header = Header::parse(&fixture.copied.header).unwrap();
    vault::sealer(header.suite(), header.vault(), keyring)
}

/// Opens the stored vault as the insider does.
fn open_as_insider(stage: &Stage) -> Result<Vault, Error> {
    stage.clock.advance(5_000);
    let options = stage.options_on_clock().without_background();
    options.open(stage.shared(), &INSIDER)
}

fn former_credential_opens_nothing(stage: &Stage) {
    let fixture = Fixture::new(stage);
    assert_eq!(open_as_insider(stage).err(), Some(Error::WrongKey));
    let mut after = fixture.now.clone();
    after.insert(b"v".to_vec(), fixture.copied.header.clone());
    reset(&stage.storage, &after);
    let spool = chartlock::MemoryStorage::new();
    let options = stage.options_on_clock().without_background();
    let opened = options.open_read_only(stage.shared(), &INSIDER, spool);
    if let Ok(vault) = opened {
        let session = session(&vault);
        for id in fixture.contents.keys() {
            let found = session.get(&record(id.0, id.1));
            assert!(!matches!(found, Ok(Some(_))), "{id:?}");
        }
    }
}

fn every_page_under_former_keys_is_late_and_has_no_consequence(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let forgeries = forgeries::all(&fixture, stage, &sealer(&fixture));
    for forgery in forgeries.iter().step_by(crate::stride(stage)) {
        let after = forgery.added_to(&fixture.now);
        let verdict = judge(stage, &fixture, &after, forgery);
        assert_allowed(forgery, Class::Insider, forgery.kind(), verdict.gain);
        let report = verdict.without.unwrap();
        if !matches!(forgery.place, ForgedPlace::Over(_)) {
            assert_eq!(
                faults(&report),
                [JournalFault::Late],
                "{forgery}: {report:#?}"
            );
            let spared = report.header.is_none() && report.entries.is_empty();
            assert!(
                spared && report.records.is_empty() && verdict.items.is_empty(),
                "{forgery}"
            );
        }
    }
}

fn page_under_former_keys_hides_no_rollback(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let (key, older) = fixture.older_record();
    let mut after = fixture.now.clone();
    after.insert(key.clone(), older);
    let forgeries = forgeries::all(&fixture, stage, &sealer(&fixture));
    for forgery in forgeries.iter().step_by(crate::stride(stage)) {
        let verdict = judge(stage, &fixture, &forgery.added_to(&after), forgery);
        assert!(!verdict.gain.unseen && !verdict.gain.wrong, "{forgery}");
        if matches!(forgery.place, ForgedPlace::Over(_)) {
            // The replaced page can be the page that recorded the newer version.
            continue;
        }
        let report = verdict.without.unwrap();
        let mut found = report
            .records
            .iter()
            .filter(|found| found.record[..] == key[17..33]);
        assert!(
            found.any(|found| found.kind == FindingKind::RolledBack),
            "{forgery}: {report:#?}"
        );
    }
}

/// Records on which the insider grafts content. The keys of MRN-1 were rotated, and those of the others
/// were not.
const GRAFTED: [Id; 4] = [
    ("MRN-1", "amended"),
    ("MRN-2", "amended"),
    ("MRN-2", "only"),
    ("MRN-4", "held"),
];

fn every_graft_is_found(stage: &Stage) {
    let fixture = Fixture::new(stage);
    for id in GRAFTED {
        for way in GRAFT_KINDS {
            let made = graft(&fixture, id, way);
            let gain = judge(stage, &fixture, &made.after, &made).gain;
            let kind = match id.0 {
                "MRN-1" => Kind::GraftUnderRotatedKey,
                _ => Kind::Graft,
            };
            assert_allowed(&made, Class::Insider, kind, gain);
        }
    }
}

/// Puts a state into the storage, and works on it with the former credential. Returns the objects.
fn work(stage: &Stage, state: &Objects) -> Option<Objects> {
    reset(&stage.storage, state);
    let vault = open_as_insider(stage).ok()?;
    let session = session(&vault);
    let _ = session.put(&record("MRN-2", "only"), b"of the insider");
    let _ = session.put(&record("MRN-2", "new"), b"of the insider");
    let _ = session.retract(&record("MRN-2", "amended"));
    let _ = session.erase_subject(&subject("MRN-1"), "spite");
    let _ = vault.add_slot(&Fixed(9));
    drop((session, vault));
    Some(objects(&stage.storage))
}

/// Returns `objects` with the objects of some classes of storage keys replaced by those of `other`.
fn mixed(objects: &Objects, classes: &[u8], other: &Objects) -> Objects {
    let mut mixed = objects.clone();
    mixed.retain(|key, _| !classes.contains(&key[0]));
    let of = other.iter().filter(|(key, _)| classes.contains(&key[0]));
    mixed.extend(of.map(|(key, value)| (key.clone(), value.clone())));
    mixed
}

fn work_under_the_former_header_is_found(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let (now, copied) = (&fixture.now, &fixture.copied.objects);
    let states = [
        ("the header", mixed(now, b"v", copied)),
        ("all but the journal", mixed(copied, b"ja", now)),
    ];
    let mut worked = 0;
    for (name, state) in &states {
        let Some(left) = work(stage, state) else {
            continue;
        };
        worked += 1;
        let mut added = now.clone();
        let pages = left.iter().filter(|(key, _)| key[0] == b'j');
        added.extend(pages.map(|(key, value)| (key.clone(), value.clone())));
        let results = [
            ("as left", Kind::WorkLeft, left.clone()),
            (
                "under the current header",
                Kind::WorkUnderCurrentHeader,
                mixed(&left, b"v", now),
            ),
            (
                "its records only",
                Kind::GraftClass,
                mixed(now, b"rhs", &left),
            ),
            ("its pages only", Kind::AddForged, added),
        ];
        // Under the former header alone, the insider opens no patient entry, and so writes no record.
        let changed = (results.into_iter()).filter(|(_, _, after)| after != now);
        for (part, kind, after) in changed {
            let name = format!("work on {name}, {part}");
            let verdict = judge(stage, &fixture, &after, &name);
            assert_allowed(&name, Class::Insider, kind, verdict.gain);
            if kind == Kind::AddForged {
                let found = faults(&verdict.without.unwrap());
                let only = found.iter().all(|fault| *fault == JournalFault::Late);
                assert!(only && verdict.items.is_empty(), "{name}: {found:?}");
            }
        }
    }
    assert!(worked > 0);
}

/// Puts a state back, and accepts it with the later header. Returns the accepted plan.
fn restore(stage: &Stage, fixture: &Fixture, state: &Objects) -> RestorePlan {
    let later = Stage::memory();
    reset(&later.storage, &fixture.now);
    let header = LaterHeader::read(&*later.storage, &Fixed(1)).unwrap();
    reset(&stage.storage, state);
    let vault = crate::fixture::open(stage);
    let session = session(&vault);
    session
        .bring_journal_back(&*later.storage, Some(&header), because("the old disk"))
        .unwrap();
    let plan = session.plan_restore(None, Some(&header)).unwrap();
    let accepted = session.accept_restore(&plan, because("disk failure"));
    assert_eq!(accepted.unwrap().erased_again, 0);
    plan
}

/// The backup of the time before the rotations is put back. The insider forges pages under its keys.
fn page_under_former_keys_is_late_after_a_restore(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let forgeries = forgeries::all(&fixture, stage, &sealer(&fixture));
    let backup = &fixture.copied.objects;
    restore(stage, &fixture, backup);
    let restored = objects(&stage.storage);
    let records = |objects: &Objects| -> Vec<Vec<u8>> {
        let keys = objects.keys();
        let keys = keys.filter(|key| b"prhs".contains(&key[0]));
        keys.cloned().collect()
    };
    let new = |forgery: &&forgeries::Forgery| !restored.contains_key(&forgery.key);
    for forgery in forgeries.iter().step_by(crate::stride(stage)).filter(new) {
        reset(&stage.storage, &forgery.added_to(&restored));
        let vault = crate::fixture::open(stage);
        let report = vault.verify(None).unwrap();
        assert_eq!(
            faults(&report),
            [JournalFault::Late],
            "{forgery}: {report:#?}"
        );
        assert!(report.header.is_none() && report.entries.is_empty() && report.records.is_empty());
        let plan = session(&vault).plan_restore(None, None).unwrap();
        assert!(plan.items.is_empty(), "{forgery}");
    }
    for forgery in forgeries
        .iter()
        .step_by(7 * crate::stride(stage))
        .filter(new)
    {
        let plan = restore(stage, &fixture, &forgery.added_to(backup));
        assert!(
            plan.items.iter().all(|item| !plan.repeats(item)),
            "{forgery}"
        );
        assert_eq!(
            records(&objects(&stage.storage)),
            records(&restored),
            "{forgery}"
        );
        let report = crate::fixture::open(stage).verify(None).unwrap();
        assert!(report.is_clean(), "{forgery}: {report:#?}");
    }
}
