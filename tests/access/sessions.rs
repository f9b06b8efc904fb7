//! What a session asks before it acts, what it is denied, and what that leaves in the journal.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::audit::Exposed;
use chartlock::internals::journal::{Entry, Target};
use chartlock::storage::{FaultAction, FaultPoint, Faulty, StorageError};
use chartlock::{
    Document, Error, Journaling, MemoryStorage, Operation, Precondition, Purpose, RecordId,
    VaultOptions,
    access::{
        AccessOutcome, AccessPolicy, AccessRequest, ConsentReference, Decision, SecurityEvent,
    },
};

use crate::common::clock::ManualClock;
use crate::common::journal::pages;
use crate::common::objects::{objects_of, put};
use crate::common::{Fixed, Shared, Stage, actor, record, session, session_as, subject};

/// An entry, and the name and the mark of who left it.
type Left = (Entry, String, bool);

/// All that is in the journal, chain by chain.
fn journal(storage: &Shared) -> Vec<Left> {
    let mut left = Vec::new();
    for (_, page) in pages(&**storage) {
        for entry in &page.entries {
            let context = &page.contexts[usize::from(entry.context)];
            let actor = context.actor.to_string();
            left.push((entry.clone(), actor, context.under_break_glass));
        }
    }
    left
}

/// What was left of one operation: how it ended, and its note.
fn of(storage: &Shared, operation: Operation) -> Vec<(AccessOutcome, String)> {
    let left = journal(storage).into_iter();
    let own = left.filter(|(entry, ..)| entry.operation == operation);
    own.map(|(entry, ..)| (entry.outcome, entry.note.into()))
        .collect()
}

/// Every record here is of one patient.
fn id(name: &str) -> RecordId {
    record("MRN-1042", name)
}

/// Decides by what the test says, and remembers what it was asked.
struct Deciding<F>(F, Mutex<Vec<String>>);

impl<F> std::fmt::Debug for Deciding<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deciding")
    }
}

impl<F: Fn(&AccessRequest<'_>) -> Decision + Send + Sync> AccessPolicy for Deciding<F> {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let labels = request.labels.map(|labels| labels.join(","));
        let asked = format!("{:?} {:?} {labels:?}", request.operation, request.record);
        self.1.lock().unwrap().push(asked);
        (self.0)(request)
    }
}

fn deciding(
    decide: impl Fn(&AccessRequest<'_>) -> Decision + Send + Sync + 'static,
) -> Arc<Deciding<impl Fn(&AccessRequest<'_>) -> Decision + Send + Sync + 'static>> {
    Arc::new(Deciding(decide, Mutex::default()))
}

fn options() -> VaultOptions {
    VaultOptions::new().journaling(Journaling::Strict)
}

/// A storage with a vault in which a note was put.
fn with_note() -> Shared {
    let stage = Stage::memory();
    let vault = stage.create_by(options());
    session(&vault).put(&id("note"), b"{}").unwrap();
    stage.storage
}

#[test]
fn what_is_denied_is_not_looked_at_and_is_in_the_journal() {
    let storage = with_note();

    let touched = Arc::new(Mutex::new(0));
    let count = Arc::clone(&touched);
    let watched = Faulty::new(Arc::clone(&storage), move |_, moment: &FaultPoint<'_>| {
        if let FaultPoint::Read(keys) = moment {
            let patient = |key: &&&[u8]| matches!(key[0], b'p' | b'r' | b'h');
            *count.lock().unwrap() += keys.iter().filter(patient).count();
        }
        FaultAction::Proceed
    });
    let policy = deciding(|_| Decision::Deny);
    let options = options().policy(Arc::clone(&policy));
    let vault = options.open(watched, &Fixed(1)).unwrap();
    let nosy = session_as(&vault, "front.desk", Purpose::Treatment);
    let patient = subject("MRN-1042");
    assert_eq!(nosy.get(&id("note")).unwrap_err(), Error::Denied);
    assert_eq!(nosy.put(&id("note"), b"!"), Err(Error::Denied));
    assert_eq!(nosy.writer(&id("note")).finish(), Err(Error::Denied));
    assert_eq!(nosy.history(&id("note")).unwrap_err(), Error::Denied);
    assert!(
        nosy.list(&patient)
            .is_err_and(|error| error == Error::Denied)
    );
    assert_eq!(nosy.erase_subject(&patient, "a whim"), Err(Error::Denied));
    let batch = nosy.put_many([(&id("note"), Document::new(b"!"))]);
    assert_eq!(batch.unwrap(), [Err(Error::Denied)]);
    assert_eq!(
        *touched.lock().unwrap(),
        0,
        "nothing of the patient is read"
    );
    assert_eq!(policy.1.lock().unwrap().len(), 7, "each is asked for once");
    drop(vault);

    let denied = journal(&storage).into_iter().filter(|(entry, actor, _)| {
        entry.outcome == AccessOutcome::Denied && actor == "front.desk"
    });
    let operations: Vec<_> = denied.map(|(entry, ..)| entry.operation).collect();
    use Operation::{Erase, History, List, Put, Read};
    assert_eq!(operations, [Read, Put, Put, History, List, Erase, Put]);
}

#[test]
fn a_large_put_is_asked_for_before_anything_of_the_patient_is_read() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let policy = deciding(|request| match request.actor.name() {
        "dr.garcia" => Decision::Permit,
        _ => Decision::Deny,
    });
    let vault = options().policy(policy).create(storage, &Fixed(1)).unwrap();
    session(&vault).put(&id("note"), b"{}").unwrap();
    let nosy = session_as(&vault, "front.desk", Purpose::Treatment);
    // An answer other than this one would tell that the record is there.
    let mut writer = nosy.writer(&id("note")).expecting(Precondition::Absent);
    let refused = writer.read_from(&[7; 100_000][..]);
    assert_eq!(refused, Err(Error::Denied));
    assert_eq!(writer.finish(), Err(Error::Denied));
}

#[test]
fn questions_to_the_journal_are_asked_for_too() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let policy = deciding(|request| match request.actor.name() {
        "privacy.officer" => Decision::Permit,
        _ => Decision::Deny,
    });
    let vault = options().policy(policy);
    let vault = vault.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let patient = subject("MRN-1042");
    let officer = session_as(&vault, "privacy.officer", Purpose::Treatment);
    officer.put(&id("note"), b"{}").unwrap();
    officer.audit().unwrap().accesses(&patient, ..).unwrap();
    officer.disclose(&patient, "a court", "all").unwrap();

    let nosy = session_as(&vault, "front.desk", Purpose::Treatment);
    let audit = nosy.audit().unwrap();
    let denied = Some(Error::Denied);
    assert_eq!(audit.accesses(&patient, ..).err(), denied);
    assert_eq!(audit.activity(&actor("dr.garcia"), ..).err(), denied);
    assert_eq!(audit.disclosures(&patient).err(), denied);
    assert_eq!(audit.entries(..).err(), denied);
    assert_eq!(audit.evidence(&id("note"), 1).err(), denied);
    assert_eq!(audit.exposure(&Exposed::Slot(1), ..).err(), denied);
    assert_eq!(nosy.disclose(&patient, "a paper", "all").err(), denied);
    assert_eq!(
        nosy.disclose_record(&id("note"), "a paper", "it").err(),
        denied
    );
    assert_eq!(nosy.audit().unwrap().resolve_all().err(), denied);
    // Nor does broken glass open the journal.
    let minute = Duration::from_secs(60);
    let behind = vault.break_glass(actor("front.desk"), "curious", minute);
    assert_eq!(behind.unwrap().audit().unwrap().entries(..).err(), denied);
    drop(audit);
    drop(vault);
    let outcomes = |operation| -> Vec<_> {
        let left = of(&storage, operation).into_iter();
        left.map(|(outcome, _)| outcome).collect()
    };
    let (done, denied) = (AccessOutcome::Done, AccessOutcome::Denied);
    assert_eq!(outcomes(Operation::Disclose), [done, denied, denied]);
    let mut asked = vec![denied; 9];
    asked[0] = done;
    assert_eq!(outcomes(Operation::ReadJournal), asked);
}

#[test]
fn labels_are_asked_for_once_they_are_known() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let policy = deciding(|request| match request.labels {
        Some(["psychiatry"]) if request.operation == Operation::Read => Decision::Deny,
        _ => Decision::Permit,
    });
    let options = options().policy(Arc::clone(&policy));
    let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let chart = session(&vault);
    let labelled = Document::new(b"{}").label("psychiatry");
    chart.put(&id("session"), labelled).unwrap();
    chart.put(&id("note"), b"{}").unwrap();
    assert!(chart.get(&id("note")).unwrap().is_some());
    assert_eq!(chart.get(&id("session")).unwrap_err(), Error::Denied);
    assert!(chart.reader(&id("session")).is_err());
    assert!(chart.get(&id("nothing")).unwrap().is_none());
    let patient = subject("MRN-1042");
    let all = chart.get_all(&patient).unwrap();
    let (found, denied): (Vec<_>, Vec<_>) = all.partition(Result::is_ok);
    assert_eq!((found.len(), denied.len()), (1, 1));
    assert!(matches!(denied[..], [Err(Error::Denied)]));
    let asked = policy.1.lock().unwrap().clone();
    assert_eq!(
        asked[2..6],
        [
            r#"Read Some("note") None"#,
            r#"Read Some("note") Some("")"#,
            r#"Read Some("session") None"#,
            r#"Read Some("session") Some("psychiatry")"#,
        ]
    );
    drop(vault);
    let reads = of(&storage, Operation::Read);
    let outcomes: Vec<_> = reads.into_iter().map(|(outcome, _)| outcome).collect();
    use AccessOutcome::{Absent, Denied, Done};
    assert_eq!(outcomes[..4], [Done, Denied, Denied, Absent]);
    let mut walked = outcomes[4..].to_vec();
    walked.sort_by_key(|outcome| *outcome == Denied);
    assert_eq!(walked, [Done, Denied]);
}

#[test]
fn a_consent_is_named_in_the_entry() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let consent = ConsentReference::new("Consent/2024-117").unwrap();
    let policy = deciding(move |_| Decision::PermitUnder(consent.clone()));
    let vault = options().policy(policy);
    let vault = vault.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let chart = session(&vault).with_request_id("req-7").unwrap();
    chart.put(&id("note"), b"{}").unwrap();
    chart.get(&id("note")).unwrap();
    let patient = subject("MRN-1042");
    chart.erase_subject(&patient, "asked for").unwrap();
    drop(vault);
    let named = "consent Consent/2024-117".to_owned();
    let done = |note: &str| (AccessOutcome::Done, note.to_owned());
    assert_eq!(of(&storage, Operation::Read), [done(&named)]);
    assert_eq!(of(&storage, Operation::Put), [done(&named)]);
    let erased = format!("asked for; {named}");
    assert_eq!(
        of(&storage, Operation::Erase),
        [done(&erased), done(&erased)]
    );
}

/// Options under which events are kept, and the events.
fn watching() -> (VaultOptions, Arc<Mutex<Vec<String>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let watch = move |event: &SecurityEvent| heard.lock().unwrap().push(event.to_string());
    (options().on_security_event(watch), events)
}

#[test]
fn broken_glass_passes_the_policy_is_marked_and_ends() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let clock = Arc::new(ManualClock::default());
    let (options, events) = watching();
    let options = options.clock(Arc::<ManualClock>::clone(&clock));
    let options = options.policy(deciding(|_| Decision::Deny));
    let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let minute = Duration::from_secs(60);
    for reason in ["", "a\nb", &"x".repeat(256)] {
        let refused = vault.break_glass(actor("dr.garcia"), reason, minute);
        assert_eq!(refused.unwrap_err(), Error::InvalidMetadata);
    }
    assert!(events.lock().unwrap().is_empty());

    let chart = vault.break_glass(actor("dr.garcia"), "unconscious", minute);
    let chart = chart.unwrap();
    assert_eq!(
        *events.lock().unwrap(),
        ["somebody broke the glass, for 1 minutes"]
    );
    assert_eq!(
        of(&storage, Operation::BreakGlass),
        [(AccessOutcome::Done, "unconscious".into())]
    );
    chart.put(&id("note"), b"{}").unwrap();
    assert!(chart.get(&id("note")).unwrap().is_some());
    // The policy is asked for what is not care.
    let patient = subject("MRN-1042");
    assert_eq!(chart.erase_subject(&patient, "a whim"), Err(Error::Denied));
    clock.advance(minute.as_millis() as u64);
    assert_eq!(chart.get(&id("note")).unwrap_err(), Error::Denied);
    assert_eq!(chart.put(&id("note"), b"!"), Err(Error::Denied));
    drop(vault);
    let mut own = 0;
    for (entry, actor, under_break_glass) in journal(&storage) {
        let is_own = actor == "dr.garcia";
        assert_eq!(under_break_glass, is_own, "{:?}", entry.operation);
        own += u32::from(is_own);
    }
    // Broken, the chart begun, put, read; and denied three times.
    assert_eq!(own, 7);
}

#[test]
fn reading_a_poison_record_is_heard_and_listing_it_is_not() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let (options, events) = watching();
    let vault = options.create(storage, &Fixed(1)).unwrap();
    let chart = session(&vault);
    let celebrity = Document::new(b"{}").label("VIP").honeytoken();
    chart.put(&id("poison"), celebrity).unwrap();
    let patient = subject("MRN-1042");
    assert_eq!(chart.list(&patient).unwrap().count(), 1);
    assert_eq!(chart.history(&id("poison")).unwrap().len(), 1);
    vault.reencrypt().unwrap();
    assert!(events.lock().unwrap().is_empty());
    chart.get(&id("poison")).unwrap();
    chart.reader(&id("poison")).unwrap();
    chart.get_version(&id("poison"), 1).unwrap();
    assert_eq!(
        *events.lock().unwrap(),
        ["a poison record is being read"; 3]
    );
}

#[test]
fn repeated_failures_and_denials_are_heard() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let (options, events) = watching();
    let options = options.policy(deciding(|request| match request.actor.name() {
        "nosy" => Decision::Deny,
        _ => Decision::Permit,
    }));
    let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    session(&vault).put(&id("note"), b"{}").unwrap();
    for _ in 0..20 {
        assert!(
            session_as(&vault, "nosy", Purpose::Treatment)
                .get(&id("note"))
                .is_err()
        );
    }
    assert!(events.lock().unwrap()[0].starts_with("one actor was denied"));
    events.lock().unwrap().clear();
    let mut records = objects_of(&*storage, b"r");
    let (key, mut value) = records.pop_first().unwrap();
    *value.last_mut().unwrap() ^= 1;
    put(&*storage, &key, &value);
    for _ in 0..20 {
        let altered = session(&vault).get(&id("note"));
        assert_eq!(altered.unwrap_err(), Error::NotAuthentic);
    }
    assert!(events.lock().unwrap()[0].contains("failures to authenticate"));
    drop(vault);
    let reads = of(&storage, Operation::Read);
    let count = |outcome| reads.iter().filter(|(ended, _)| *ended == outcome).count();
    assert_eq!(
        (
            count(AccessOutcome::Denied),
            count(AccessOutcome::NotAuthentic)
        ),
        (20, 20)
    );
}

#[test]
fn in_an_emergency_reads_go_on_and_come_home() {
    let inner: Shared = Arc::new(MemoryStorage::new());
    let full = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_full = Arc::clone(&full);
    let storage = Faulty::new(Arc::clone(&inner), move |_, moment: &FaultPoint<'_>| {
        let commits = matches!(moment, FaultPoint::Commit(_));
        match commits && is_full.load(std::sync::atomic::Ordering::SeqCst) {
            true => FaultAction::Fail(StorageError::Full),
            false => FaultAction::Proceed,
        }
    });
    let (options, events) = watching();
    let vault = options.create(storage, &Fixed(1)).unwrap();
    let chart = session(&vault);
    chart.put(&id("note"), b"{}").unwrap();
    full.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = Error::Journal(StorageError::Full);
    assert_eq!(chart.get(&id("note")).unwrap_err(), refused);

    let spool: Shared = Arc::new(MemoryStorage::new());
    let officer = session_as(&vault, "it.on.call", Purpose::Treatment);
    officer
        .begin_journal_fallback("disk full", Arc::clone(&spool))
        .unwrap();
    assert!(chart.get(&id("note")).unwrap().is_some());
    // Changes still need the storage.
    assert!(chart.put(&id("note"), b"!").is_err());
    let early = officer.end_journal_fallback("too early", &spool);
    assert_eq!(early, Err(Error::Storage(StorageError::Full)));
    assert!(chart.get(&id("note")).unwrap().is_some());

    full.store(false, std::sync::atomic::Ordering::SeqCst);
    let report = officer.end_journal_fallback("more disk", &spool).unwrap();
    assert!(report.pages >= 3 && report.known == 0, "{report:?}");
    let again = officer.end_journal_fallback("once more", &spool).unwrap();
    assert_eq!((again.pages, again.known), (0, report.pages));
    chart.get(&id("note")).unwrap();
    drop(vault);
    let begun = of(&inner, Operation::BeginJournalFallback);
    assert_eq!(begun, [(AccessOutcome::Done, "disk full".into())]);
    let read = of(&inner, Operation::Read);
    assert_eq!(read.len(), 3, "{read:?}");
    let heard = events.lock().unwrap().join("; ");
    assert!(
        heard.contains("cannot be written") && heard.contains("begun") && heard.contains("ended")
    );
}

#[test]
fn a_spool_of_another_vault_is_refused() {
    let foreign = with_note();
    let storage: Shared = Arc::new(MemoryStorage::new());
    let vault = options().create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let before = journal(&storage).len();
    let taken = session_as(&vault, "it.on.call", Purpose::Treatment)
        .end_journal_fallback("mistaken", &foreign);
    assert_eq!(taken, Err(Error::NotAuthentic));
    assert_eq!(journal(&storage).len(), before);
}

#[test]
fn entries_name_nobody_in_clear() {
    let storage = with_note();
    for (entry, ..) in journal(&storage) {
        assert!(!entry.note.contains("1042") && !entry.note.contains("note"));
        if let Target::Version {
            subject,
            record,
            digest,
            ..
        } = entry.target
        {
            let tags = [subject.chart, subject.tag, record.tag, record.name];
            assert!(tags.iter().all(|tag| *tag != [0; 16]) && digest != [0; 32]);
        }
    }
}
