//! Fuzz target for restores: after a random history, the storage is tampered with or put back, and the
//! result is planned and accepted as a restore.
//!
//! A plan changes no object but the journal. An acceptance destroys only what the plan names, and
//! refuses a plan from before another finding. Afterwards verification reports no object that the
//! acceptance could accept.

use std::collections::BTreeSet;
use std::sync::Arc;

use chartlock::access::Reason;
use chartlock::verify::{
    Counts, EntryFinding, FindingKind, JournalFault, JournalFinding, RecordFinding, RestoreItem,
    RestoreItemKind, RestorePlan, RestoreReport, VerifyReport,
};
use chartlock::{Actor, Error, Purpose, Session, Vault, VaultOptions};

use super::clock::{SimulatedClock, options};
use super::fixed::{Fixed, suite};
use super::history::{self, Disk, disk, record_of, run_operations, subject_of};
use super::input::Input;
use super::objects::{Objects, all_objects, reset};

/// The maximum number of restores in one run.
const RESTORES: usize = 3;
const TAMPERINGS: u8 = 4;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(what) = input.next() else {
        return;
    };
    let mut case = Case::new(what, &mut input);
    for _ in 0..RESTORES {
        let Some(how) = input.next() else {
            return;
        };
        case.restore(how, &mut input);
    }
}

/// Runs one operation of a history.
fn apply(vault: &Vault, clock: &SimulatedClock, operation: u8, turn: usize) {
    let _ = match operation & 15 {
        12 => vault.rotate_journal_keys(&[], &[]).map(drop),
        13 => (session(vault).place_hold(&subject_of(operation), "subpoena")).map(drop),
        _ => {
            history::apply(vault, clock, operation, turn);
            Ok(())
        }
    };
}

fn session(vault: &Vault) -> Session {
    vault.session(Actor::new("it.office").unwrap(), Purpose::Operations)
}

fn reason() -> Reason {
    Reason::new("disk failure").unwrap()
}

struct Case {
    disk: Disk,
    options: VaultOptions,
    snapshots: Vec<Objects>,
}

impl Case {
    fn new(what: u8, input: &mut Input<'_>) -> Self {
        let disk = disk(what);
        let clock = Arc::new(SimulatedClock::default());
        let options = options().cipher_suite(suite(what)).clock(clock.clone());
        let vault = options.clone().create(Arc::clone(&disk), &Fixed(7));
        let vault = vault.unwrap();
        let mut snapshots = run_operations(&disk, (&options, &clock), vault, input, apply);
        snapshots.push(all_objects(&*disk));
        Self {
            disk,
            options,
            snapshots,
        }
    }

    fn open(&self) -> Result<Vault, Error> {
        let disk = Arc::clone(&self.disk);
        self.options.clone().open(disk, &Fixed(7))
    }

    /// Tampers with the storage, and accepts the result.
    fn restore(&mut self, how: u8, input: &mut Input<'_>) {
        let later = all_objects(&*self.disk);
        for _ in 0..=how % TAMPERINGS {
            let before = all_objects(&*self.disk);
            let after = self.tamper(input, &before);
            reset(&*self.disk, &after);
        }
        let Ok(vault) = self.open() else {
            reset(&*self.disk, &later);
            return;
        };
        if how & 0x10 == 0 {
            let copy = disk(0);
            reset(&*copy, &later);
            session(&vault)
                .bring_journal_back(&*copy, None, reason())
                .unwrap();
        }
        self.accept(&vault, how, input);
    }

    fn tamper(&self, input: &mut Input<'_>, before: &Objects) -> Objects {
        let how = input.byte();
        let mut after = before.clone();
        let keys: Vec<_> = before.keys().collect();
        let key = |input: &mut Input<'_>| keys[input.number() as usize % keys.len()].clone();
        let snapshot = &self.snapshots[usize::from(how >> 3) % self.snapshots.len()];
        match how & 7 {
            0 => {
                let (key, bit) = (key(input), input.number() as usize);
                let value = after.get_mut(&key).unwrap();
                let bit = bit % (8 * value.len());
                value[bit / 8] ^= 1 << (bit % 8);
            }
            1 => drop(after.remove(&key(input))),
            2 => {
                let (one, other) = (key(input), key(input));
                if one[0] == other[0] {
                    after.insert(one.clone(), before[&other].clone());
                    after.insert(other, before[&one].clone());
                }
            }
            3 => {
                let objects: Vec<_> = snapshot.iter().collect();
                let (key, value) = objects[input.number() as usize % objects.len()];
                after.insert(key.clone(), value.clone());
            }
            4 => put_back(&mut after, snapshot, |class| matches!(class, b'r' | b'h')),
            5 => put_back(&mut after, snapshot, |class| class == b'p'),
            6 => put_back(&mut after, snapshot, |class| !matches!(class, b'j' | b'a')),
            _ => put_back(&mut after, snapshot, |_| true),
        }
        after
    }

    fn accept(&self, vault: &Vault, how: u8, input: &mut Input<'_>) {
        let session = session(vault);
        let before = records_of(&all_objects(&*self.disk));
        let mut plan = session.plan_restore(None, None).unwrap();
        assert!(
            records_of(&all_objects(&*self.disk)) == before,
            "a plan changes objects"
        );
        for item in plan.items.clone() {
            plan = match input.byte() & 3 {
                0 => plan.without(&item),
                1 => plan.with_contested(&item),
                _ => plan,
            };
        }
        self.change_since(&session, how, input);
        let before = records_of(&all_objects(&*self.disk));
        let now = session.plan_restore(None, None).unwrap();
        let accepted = session.accept_restore(&plan, reason());
        let after = records_of(&all_objects(&*self.disk));
        match accepted {
            Ok(report) => {
                assert!(is_same(&plan, &now), "{plan:#?} {now:#?}");
                assert_destroyed(&plan, &before, &after);
                let left = vault.verify(None).unwrap();
                assert_accepted(&session, &plan, &report, &left);
            }
            Err(Error::PlanOutdated) => {
                assert!(!is_same(&plan, &now), "{plan:#?}");
                assert!(
                    before == after,
                    "a refused acceptance changes objects: {plan:#?}"
                );
            }
            Err(Error::RecordRewritten) => {
                let expunges = |item: &&RestoreItem| item.kind == RestoreItemKind::Expunge;
                let mut expunges = plan.items.iter().filter(expunges);
                assert!(expunges.any(|item| item.contested && plan.repeats(item)));
                assert!(before == after, "{plan:#?}");
            }
            Err(error) => panic!("{error:?}: {plan:#?}"),
        }
    }

    /// Changes the vault between the plan and the acceptance: a journaled put, or a removed record.
    fn change_since(&self, session: &Session, how: u8, input: &mut Input<'_>) {
        match how >> 5 {
            0 => drop(session.put(&record_of(input.byte()), b"since")),
            1 => {
                let mut objects = all_objects(&*self.disk);
                let records = objects.keys().filter(|key| key[0] == b'r');
                let records: Vec<_> = records.cloned().collect();
                if let Some(key) = records.get(input.number() as usize % records.len().max(1)) {
                    objects.remove(key);
                    reset(&*self.disk, &objects);
                }
            }
            _ => {}
        }
    }
}

/// Puts back the objects of some classes of storage keys.
fn put_back(objects: &mut Objects, from: &Objects, is_of: impl Fn(u8) -> bool) {
    objects.retain(|key, _| !is_of(key[0]));
    let older = from.iter().filter(|(key, _)| is_of(key[0]));
    objects.extend(older.map(|(key, value)| (key.clone(), value.clone())));
}

/// Returns all objects except those of the journal.
fn records_of(objects: &Objects) -> Objects {
    let records = objects
        .iter()
        .filter(|(key, _)| !matches!(key[0], b'j' | b'a'));
    records
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Returns `true` if two plans have the same items and the same findings, whatever their counts.
fn is_same(one: &RestorePlan, other: &RestorePlan) -> bool {
    let findings = |plan: &RestorePlan| {
        let mut findings = plan.findings.clone();
        findings.counts = Counts::default();
        findings.leftovers.clear();
        findings.restores.clear();
        for entries in [&mut findings.entries, &mut findings.unattested_entries] {
            entries.sort_by_key(|found| (found.tag, found.entry));
        }
        for records in [&mut findings.records, &mut findings.unattested] {
            records.sort_by_key(|found| (found.chart, found.record, found.version, found.kind));
        }
        findings
    };
    one.items == other.items && findings(one) == findings(other)
}

/// Asserts that the acceptance destroyed only what repeated items name.
fn assert_destroyed(plan: &RestorePlan, before: &Objects, after: &Objects) {
    let repeated: Vec<_> = (plan.items.iter())
        .filter(|item| plan.repeats(item))
        .collect();
    let erased = repeated
        .iter()
        .filter(|item| item.kind == RestoreItemKind::Erase);
    let changed = |class: u8| {
        let of_class = before.iter().filter(move |(key, _)| key[0] == class);
        of_class.filter(|(key, value)| after.get(*key) != Some(value))
    };
    assert!(changed(b'p').count() <= erased.count(), "{plan:#?}");
    for (key, _) in [b'r', b'h', b's', b'w'].into_iter().flat_map(changed) {
        let is_named = repeated.iter().any(|item| {
            let is_record =
                |record: [u8; 16]| matches!(key[0], b's' | b'w') || key[17..33] == record;
            key.len() > 32 && key[1..17] == item.chart && item.record.is_none_or(is_record)
        });
        assert!(
            is_named,
            "{key:?} is destroyed, which no item names: {plan:#?}"
        );
    }
}

/// Asserts that verification reports only what an acceptance leaves: objects that do not open, items that
/// were not repeated, and what follows from these.
fn assert_accepted(
    session: &Session,
    plan: &RestorePlan,
    report: &RestoreReport,
    left: &VerifyReport,
) {
    let is_whole = report.not_erased_again + report.not_expunged_again == 0;
    let charts: BTreeSet<_> = (plan.items.iter())
        .filter(|item| !is_whole || !plan.repeats(item))
        .map(|item| item.chart)
        .collect();
    let why = || format!("{plan:#?} {report:#?} {left:#?}");
    let mut records = left.records.iter().chain(&left.unattested);
    let is_left = |found: &RecordFinding| {
        charts.contains(&found.chart) || is_for_good(found.kind) || !opens(session, found)
    };
    assert!(records.all(is_left), "{}", why());
    let mut entries = left.entries.iter().chain(&left.unattested_entries);
    let is_left = |found: &EntryFinding| {
        let subject = found.subject.as_ref();
        !charts.is_empty() || subject.is_none_or(|subject| session.list(subject).is_err())
    };
    assert!(entries.all(is_left), "{}", why());
    // While pages are missing, a header that only these pages name is no finding.
    let is_unnamed = !plan.findings.journal.is_empty();
    assert!(left.header.is_none() || is_unnamed, "{}", why());
    // Other faults of the journal are accepted. These follow from what is left.
    let is_left = |found: &JournalFinding| {
        let follows = matches!(found.fault, JournalFault::Incomplete | JournalFault::Forked);
        let objects = left.records.len() + left.entries.len();
        follows && (objects > 0 || left.header.is_some())
    };
    assert!(left.journal.iter().all(is_left), "{}", why());
}

/// Returns `true` if a record opens, so that an acceptance can accept it.
fn opens(session: &Session, found: &RecordFinding) -> bool {
    let Some(id) = found.id() else {
        // Nothing of the record opens, or it is not stored.
        return false;
    };
    let versions = [found.version, found.stored.unwrap_or(found.version)];
    let mut versions = versions.into_iter();
    session.get(&id).is_ok() && versions.all(|version| session.get_version(&id, version).is_ok())
}

/// Returns `true` for findings on values that do not open, also where no session reads them, and on
/// content that no acceptance settles.
fn is_for_good(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::Altered
            | FindingKind::Unreadable
            | FindingKind::ContentMissing
            | FindingKind::ContentAltered
            | FindingKind::ReencryptedTampered
    )
}
