//! Decisions that concern two versions, denials with details, and policies that change.

use std::io::Write;
use std::sync::{Arc, Mutex};

use chartlock::access::{AccessOutcome, Denial, Reason, Rule, RulePolicy};
use chartlock::input::InputField;
use chartlock::storage::{FaultAction, FaultPoint, Faulty};
use chartlock::{
    Document, Error, Journaling, MemoryStorage, Operation, Precondition, Purpose, RecordId,
    Session, Vault, VaultOptions,
};

use crate::common::invalid::invalid_text;
use crate::common::journal::{pages, texts};
use crate::common::{Fixed, Shared, record, session_as, subject};

/// Returns rules under which only psychiatrists may access records with the label `psychiatry`.
fn psychiatry() -> RulePolicy {
    RulePolicy::new([
        Rule::permit().actor("psy.*"),
        Rule::deny().label("psychiatry"),
        Rule::permit().actor("dr.*").reading().writing(),
    ])
    .unwrap()
}

pub(super) fn options() -> VaultOptions {
    VaultOptions::new().journaling(Journaling::Strict)
}

pub(super) fn memory() -> Shared {
    Arc::new(MemoryStorage::new())
}

pub(super) fn id(name: &str) -> RecordId {
    record("MRN-1042", name)
}

pub(super) fn by(vault: &Vault, name: &str) -> Session {
    session_as(vault, name, Purpose::Treatment)
}

fn restricted(content: &[u8]) -> Document<'_> {
    Document::new(content).label("psychiatry")
}

/// Returns operation, outcome and text of each entry of an actor, in journal order.
pub(super) fn entries_of(storage: &Shared, actor: &str) -> Vec<(Operation, AccessOutcome, String)> {
    let mut entries = Vec::new();
    for (_, page) in pages(&**storage) {
        for entry in &page.entries {
            let context = &page.contexts[usize::from(entry.context)];
            if &*context.actor == actor {
                entries.push((entry.operation, entry.outcome, texts(entry)));
            }
        }
    }
    entries
}

pub(super) fn outcomes_of(storage: &Shared, actor: &str) -> Vec<(Operation, AccessOutcome)> {
    let entries = entries_of(storage, actor).into_iter();
    entries
        .map(|(operation, outcome, _)| (operation, outcome))
        .collect()
}

#[test]
fn put_over_restricted_version_is_denied_for_its_labels() {
    let storage = memory();
    let vault = options().policy(psychiatry());
    let vault = vault.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let psy = by(&vault, "psy.lee");
    psy.put(&id("s1"), restricted(b"secret")).unwrap();
    let dr = by(&vault, "dr.garcia");
    assert_eq!(dr.put(&id("s1"), b"overwritten"), Err(Error::Denied));
    assert_eq!(dr.retract(&id("s1")), Err(Error::Denied));
    let batch = [
        (&id("s1"), Document::new(b"!")),
        (&id("n"), Document::new(b"!")),
    ];
    assert_eq!(dr.put_many(batch).unwrap(), [Err(Error::Denied), Ok(1)]);
    let mut writer = dr.writer(&id("s1"));
    assert_eq!(writer.read_from(&[7; 100_000][..]), Err(Error::Denied));
    drop(writer);
    assert_eq!(dr.writer(&id("s1")).finish(), Err(Error::Denied));
    assert_eq!(&psy.get(&id("s1")).unwrap().unwrap()[..], b"secret");
    assert_eq!(psy.put(&id("s1"), restricted(b"next")), Ok(2));
    drop(vault);
    use AccessOutcome::{Denied, Done};
    use Operation::{Put, Retract};
    let expected = [
        (Put, Denied),
        (Retract, Denied),
        (Put, Denied),
        (Put, Done),
        (Put, Denied),
        (Put, Denied),
    ];
    let mut found = outcomes_of(&storage, "dr.garcia");
    found[2..4].sort_by_key(|(_, outcome)| *outcome == Done);
    assert_eq!(found, expected);
}

#[test]
fn put_denied_for_current_labels_reveals_no_conflict() {
    let vault = options().policy(psychiatry());
    let vault = vault.create(memory(), &Fixed(1)).unwrap();
    by(&vault, "psy.lee")
        .put(&id("s1"), restricted(b"{}"))
        .unwrap();
    let dr = by(&vault, "dr.garcia");
    for expected in [
        Precondition::Absent,
        Precondition::Version(1),
        Precondition::Version(2),
    ] {
        assert_eq!(dr.put_if(&id("s1"), expected, b"!"), Err(Error::Denied));
        assert_eq!(dr.retract_if(&id("s1"), expected), Err(Error::Denied));
        let mut writer = dr.writer(&id("s1")).expecting(expected);
        assert_eq!(writer.read_from(&[7; 100_000][..]), Err(Error::Denied));
    }
}

#[test]
fn permission_by_label_does_not_cover_a_version_without_the_label() {
    let desk = Rule::permit().actor("desk.*").label("administration");
    let policy = RulePolicy::new([Rule::permit().actor("dr.*"), desk]).unwrap();
    let vault = options()
        .policy(policy)
        .create(memory(), &Fixed(1))
        .unwrap();
    let (dr, desk) = (by(&vault, "dr.garcia"), by(&vault, "desk.lee"));
    let administrative = || Document::new(b"{}").label("administration");
    dr.put(&id("clinical"), b"{}").unwrap();
    dr.put(&id("address"), administrative()).unwrap();
    assert_eq!(
        desk.put(&id("clinical"), administrative()),
        Err(Error::Denied)
    );
    assert_eq!(desk.retract(&id("clinical")), Err(Error::Denied));
    assert_eq!(desk.put(&id("address"), administrative()), Ok(2));
    assert_eq!(desk.retract(&id("address")), Ok(Some(3)));
    // Version 1 was clinical; the current version is administrative.
    dr.put(&id("clinical"), administrative()).unwrap();
    assert!(desk.get(&id("clinical")).unwrap().is_some());
    assert_eq!(
        desk.get_version(&id("clinical"), 1).unwrap_err(),
        Error::Denied
    );
}

#[test]
fn earlier_version_is_judged_with_current_labels_too() {
    let vault = options().policy(psychiatry());
    let vault = vault.create(memory(), &Fixed(1)).unwrap();
    let (psy, dr) = (by(&vault, "psy.lee"), by(&vault, "dr.garcia"));
    psy.put(&id("s3"), b"written before it was labelled")
        .unwrap();
    assert!(dr.get_version(&id("s3"), 1).unwrap().is_some());
    psy.put(&id("s3"), restricted(b"labelled")).unwrap();
    assert_eq!(dr.get_version(&id("s3"), 1).unwrap_err(), Error::Denied);
    assert_eq!(
        dr.reader_of_version(&id("s3"), 1).unwrap_err(),
        Error::Denied
    );
    assert!(psy.get_version(&id("s3"), 1).unwrap().is_some());
}

#[test]
fn retraction_keeps_labels_so_that_earlier_versions_stay_restricted() {
    let vault = options().policy(psychiatry());
    let vault = vault.create(memory(), &Fixed(1)).unwrap();
    let (psy, dr) = (by(&vault, "psy.lee"), by(&vault, "dr.garcia"));
    psy.put(&id("s"), b"written before it was labelled")
        .unwrap();
    psy.put(&id("s"), restricted(b"labelled")).unwrap();
    psy.retract(&id("s")).unwrap();
    assert_eq!(dr.get_version(&id("s"), 1).unwrap_err(), Error::Denied);
    assert_eq!(dr.put(&id("s"), b"!"), Err(Error::Denied));
    let history = psy.history(&id("s")).unwrap();
    assert_eq!(history[2].labels().collect::<Vec<_>>(), ["psychiatry"]);
}

/// Labels the record when the first put of the journal page with `dr`'s version arrives.
#[test]
fn put_after_conflict_is_judged_with_labels_then_current() {
    let storage = memory();
    let policy = || psychiatry();
    let setup = options().policy(policy());
    let vault = setup.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    by(&vault, "psy.lee").put(&id("s"), b"one").unwrap();
    let other = by(&vault, "psy.lee");
    let labelled = Mutex::new(false);
    let racing = Faulty::new(Arc::clone(&storage), move |_, point: &FaultPoint<'_>| {
        if let FaultPoint::Commit(operations) = point
            && operations.iter().any(|it| it.key()[0] == b'r')
            && !std::mem::replace(&mut *labelled.lock().unwrap(), true)
        {
            other.put(&id("s"), restricted(b"two")).unwrap();
        }
        FaultAction::Proceed
    });
    let second = options().policy(policy()).open(racing, &Fixed(1)).unwrap();
    assert_eq!(
        by(&second, "dr.garcia").put(&id("s"), b"three"),
        Err(Error::Denied)
    );
    drop(second);
    let found = entries_of(&storage, "dr.garcia");
    let denied = found
        .iter()
        .filter(|(_, outcome, _)| *outcome == AccessOutcome::Denied);
    assert_eq!(denied.count(), 1, "{found:?}");
}

#[test]
fn size_limit_is_judged_after_policy() {
    let storage = memory();
    let vault = options().policy(psychiatry()).whole_record_limit(80_000);
    let vault = vault.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let psy = by(&vault, "psy.lee");
    let content = vec![0; 200_000];
    psy.put(&id("big"), restricted(&content)).unwrap();
    assert_eq!(psy.get(&id("big")).unwrap_err(), Error::BeyondLimit);
    let dr = by(&vault, "dr.garcia");
    assert_eq!(dr.get(&id("big")).unwrap_err(), Error::Denied);
    let mut all = dr.get_all(&subject("MRN-1042")).unwrap();
    assert_eq!(all.next().unwrap().unwrap_err(), Error::Denied);
    drop((all, vault));
    let reads = outcomes_of(&storage, "dr.garcia").into_iter();
    let reads: Vec<_> = reads
        .filter(|(operation, _)| *operation == Operation::Read)
        .collect();
    assert_eq!(reads, [(Operation::Read, AccessOutcome::Denied); 2]);
}

#[test]
fn metadata_set_on_writer_after_first_segment_counts() {
    let vault = options().create(memory(), &Fixed(1)).unwrap();
    let dr = by(&vault, "dr.garcia");
    for (name, length) in [("small", 1_000), ("big", 100_000)] {
        let mut writer = dr.writer(&id(name));
        writer.write_all(&vec![1; length]).unwrap();
        let writer = writer
            .label("psychiatry")
            .content_type("text/plain")
            .honeytoken();
        writer.finish().unwrap();
        let info = dr.history(&id(name)).unwrap().remove(0);
        assert_eq!(info.labels().collect::<Vec<_>>(), ["psychiatry"], "{name}");
        assert_eq!(info.content_type(), Some("text/plain"), "{name}");
    }
    let mut writer = dr.writer(&id("bad"));
    writer.write_all(&[1; 100_000]).unwrap();
    let refused = writer.label("two\nlines").finish();
    assert_eq!(refused, Err(invalid_text(InputField::Label, "two\nlines")));
    assert!(dr.get(&id("bad")).unwrap().is_none());
}

#[test]
fn honeytoken_mark_set_after_first_segment_raises_event() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&events);
    let handler = move |event: &chartlock::access::SecurityEvent| {
        kept.lock().unwrap().push(event.to_string());
    };
    let vault = options().on_security_event(handler);
    let vault = vault.create(memory(), &Fixed(1)).unwrap();
    let mut writer = by(&vault, "dr.garcia").writer(&id("vip"));
    writer.write_all(&[1; 100_000]).unwrap();
    writer.honeytoken().finish().unwrap();
    by(&vault, "dr.garcia").get(&id("vip")).unwrap();
    assert_eq!(*events.lock().unwrap(), ["a honeytoken is being read"]);
}

#[test]
fn label_set_on_writer_after_first_segment_is_judged() {
    let storage = memory();
    let vault = options().policy(psychiatry());
    let vault = vault.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let mut writer = by(&vault, "dr.garcia").writer(&id("ct"));
    writer.write_all(&[1; 100_000]).unwrap();
    assert_eq!(writer.label("psychiatry").finish(), Err(Error::Denied));
    assert!(by(&vault, "psy.lee").get(&id("ct")).unwrap().is_none());
    drop(vault);
    let denied = (Operation::Put, AccessOutcome::Denied);
    let puts = outcomes_of(&storage, "dr.garcia").into_iter();
    let puts: Vec<_> = puts
        .filter(|(operation, _)| *operation == Operation::Put)
        .collect();
    assert_eq!(puts, [denied]);
}

fn denying(denial: Denial) -> RulePolicy {
    RulePolicy::new([
        Rule::permit().actor("dr.*"),
        Rule::permit().actor("desk.*").label("administration"),
        Rule::deny_with(denial),
    ])
    .unwrap()
}

#[test]
fn denial_as_absence_is_answered_like_absence_and_journaled_with_its_reason() {
    let storage = memory();
    let reason = Reason::new("no treatment relation").unwrap();
    let denial = Denial::new().because(reason).as_absence();
    let vault = options().policy(denying(denial));
    let vault = vault.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    by(&vault, "dr.garcia").put(&id("note"), b"{}").unwrap();
    for nosy in [by(&vault, "nosy"), by(&vault, "desk.lee")] {
        assert!(nosy.get(&id("note")).unwrap().is_none());
        assert!(nosy.get_version(&id("note"), 1).unwrap().is_none());
        assert!(nosy.reader(&id("note")).unwrap().is_none());
        assert!(nosy.history(&id("note")).unwrap().is_empty());
        assert_eq!(nosy.list(&subject("MRN-1042")).unwrap().count(), 0);
        assert_eq!(nosy.get_all(&subject("MRN-1042")).unwrap().count(), 0);
        assert_eq!(nosy.subjects().unwrap().count(), 0);
        // A change is denied: an absence would invite the actor to create the record.
        assert_eq!(nosy.put(&id("note"), b"!"), Err(Error::Denied));
        assert_eq!(nosy.retract(&id("note")), Err(Error::Denied));
    }
    drop(vault);
    for actor in ["nosy", "desk.lee"] {
        let entries = entries_of(&storage, actor);
        assert_eq!(entries.len(), 9, "{entries:?}");
        for (_, outcome, text) in entries {
            assert_eq!(outcome, AccessOutcome::Denied);
            assert_eq!(text, "no treatment relation");
        }
    }
}
