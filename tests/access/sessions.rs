//! Sessions: policy decisions, break-glass, security events and journal fallback.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::audit::Exposed;
use chartlock::input::InputField;
use chartlock::internals::journal::{Entry, Target};
use chartlock::storage::{FaultAction, FaultPoint, Faulty};
use chartlock::{
    Document, Error, Journaling, MemoryStorage, Operation, Precondition, Purpose, RecordId,
    VaultOptions,
    access::{
        AccessOutcome, AccessPolicy, AccessRequest, ConsentReference, Decision, SecurityEvent,
    },
};

use crate::common::clock::ManualClock;
use crate::common::invalid::invalid_text;
use crate::common::journal::{pages, texts};
use crate::common::objects::{objects_of, put};
use crate::common::{Fixed, Shared, Stage, actor, record, session, session_as, subject};

/// Journal entry, with the name of its actor and `true` if the access was under break-glass.
type ActorEntry = (Entry, String, bool);

/// Returns all journal entries, chain by chain.
fn journal(storage: &Shared) -> Vec<ActorEntry> {
    let mut entries = Vec::new();
    for (_, page) in pages(&**storage) {
        for entry in &page.entries {
            let context = &page.contexts[usize::from(entry.context)];
            let actor = context.actor.to_string();
            entries.push((entry.clone(), actor, context.under_break_glass));
        }
    }
    entries
}

/// Returns the outcome and the texts of each journal entry of an operation.
fn entries_of(storage: &Shared, operation: Operation) -> Vec<(AccessOutcome, String)> {
    let entries = journal(storage).into_iter();
    let own = entries.filter(|(entry, ..)| entry.operation == operation);
    own.map(|(entry, ..)| (entry.outcome, texts(&entry)))
        .collect()
}

/// Returns the id of a record of the only patient in these tests.
fn id(name: &str) -> RecordId {
    record("MRN-1042", name)
}

/// Policy that calls a closure for each decision, and records the requests.
struct ClosurePolicy<F>(F, Mutex<Vec<String>>);

impl<F> std::fmt::Debug for ClosurePolicy<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClosurePolicy")
    }
}

impl<F: Fn(&AccessRequest<'_>) -> Decision + Send + Sync> AccessPolicy for ClosurePolicy<F> {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let labels = request.labels.map(|labels| labels.join(","));
        let asked = format!("{:?} {:?} {labels:?}", request.operation, request.record);
        self.1.lock().unwrap().push(asked);
        (self.0)(request)
    }
}

fn closure_policy(
    decide: impl Fn(&AccessRequest<'_>) -> Decision + Send + Sync + 'static,
) -> Arc<ClosurePolicy<impl Fn(&AccessRequest<'_>) -> Decision + Send + Sync + 'static>> {
    Arc::new(ClosurePolicy(decide, Mutex::default()))
}

fn options() -> VaultOptions {
    VaultOptions::new().journaling(Journaling::Strict)
}

/// Returns a storage with a vault that contains the record `note`.
fn with_note() -> Shared {
    let stage = Stage::memory();
    let vault = stage.create_by(options());
    session(&vault).put(&id("note"), b"{}").unwrap();
    stage.storage
}

#[test]
fn denied_operations_read_nothing_and_are_journaled() {
    let storage = with_note();

    let reads = Arc::new(Mutex::new(0));
    let count = Arc::clone(&reads);
    let counting = Faulty::new(Arc::clone(&storage), move |_, point: &FaultPoint<'_>| {
        if let FaultPoint::Read(keys) = point {
            let patient = |key: &&&[u8]| matches!(key[0], b'p' | b'r' | b'h');
            *count.lock().unwrap() += keys.iter().filter(patient).count();
        }
        FaultAction::Proceed
    });
    let policy = closure_policy(|_| Decision::Deny);
    let options = options().policy(Arc::clone(&policy));
    let vault = options.open(counting, &Fixed(1)).unwrap();
    let desk = session_as(&vault, "front.desk", Purpose::Treatment);
    let patient = subject("MRN-1042");
    assert_eq!(desk.get(&id("note")).unwrap_err(), Error::Denied);
    assert_eq!(desk.put(&id("note"), b"!"), Err(Error::Denied));
    assert_eq!(desk.writer(&id("note")).finish(), Err(Error::Denied));
    assert_eq!(desk.history(&id("note")).unwrap_err(), Error::Denied);
    assert!(
        desk.list(&patient)
            .is_err_and(|error| error == Error::Denied)
    );
    assert_eq!(desk.erase_subject(&patient, "a whim"), Err(Error::Denied));
    let batch = desk.put_many([(&id("note"), Document::new(b"!"))]);
    assert_eq!(batch.unwrap(), [Err(Error::Denied)]);
    assert_eq!(*reads.lock().unwrap(), 0, "nothing of the patient is read");
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
fn denied_large_put_returns_denied_instead_of_conflict() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let policy = closure_policy(|request| match request.actor.name() {
        "dr.garcia" => Decision::Permit,
        _ => Decision::Deny,
    });
    let vault = options().policy(policy).create(storage, &Fixed(1)).unwrap();
    session(&vault).put(&id("note"), b"{}").unwrap();
    let desk = session_as(&vault, "front.desk", Purpose::Treatment);
    // Expect `Denied`, because `Conflict` would reveal that the record exists.
    let mut writer = desk.writer(&id("note")).expecting(Precondition::Absent);
    let refused = writer.read_from(&[7; 100_000][..]);
    assert_eq!(refused, Err(Error::Denied));
    assert_eq!(writer.finish(), Err(Error::Denied));
}

#[test]
fn denied_journal_reads_return_denied_and_are_journaled() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let policy = closure_policy(|request| match request.actor.name() {
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

    let desk = session_as(&vault, "front.desk", Purpose::Treatment);
    let audit = desk.audit().unwrap();
    let denied = Some(Error::Denied);
    assert_eq!(audit.accesses(&patient, ..).err(), denied);
    assert_eq!(audit.activity(&actor("dr.garcia"), ..).err(), denied);
    assert_eq!(audit.disclosures(&patient).err(), denied);
    assert_eq!(audit.entries(..).err(), denied);
    assert_eq!(audit.evidence(&id("note"), 1).err(), denied);
    assert_eq!(audit.exposure(&Exposed::Slot(1), ..).err(), denied);
    assert_eq!(desk.disclose(&patient, "a paper", "all").err(), denied);
    assert_eq!(
        desk.disclose_record(&id("note"), "a paper", "it").err(),
        denied
    );
    assert_eq!(desk.audit().unwrap().resolve_all().err(), denied);
    // Break-glass does not permit journal reads.
    let minute = Duration::from_secs(60);
    let broken = vault.break_glass(actor("front.desk"), &patient, "curious", minute);
    assert_eq!(broken.unwrap().audit().unwrap().entries(..).err(), denied);
    drop(audit);
    drop(vault);
    let outcomes = |operation| -> Vec<_> {
        let ended = entries_of(&storage, operation).into_iter();
        ended.map(|(outcome, _)| outcome).collect()
    };
    let (done, denied) = (AccessOutcome::Done, AccessOutcome::Denied);
    assert_eq!(outcomes(Operation::Disclose), [done, denied, denied]);
    let mut asked = vec![denied; 9];
    asked[0] = done;
    assert_eq!(outcomes(Operation::ReadJournal), asked);
}

#[test]
fn read_of_labelled_record_is_decided_again_with_labels() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let policy = closure_policy(|request| match request.labels {
        Some(["psychiatry"]) if request.operation == Operation::Read => Decision::Deny,
        _ => Decision::Permit,
    });
    let options = options().policy(Arc::clone(&policy));
    let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let clinician = session(&vault);
    let labelled = Document::new(b"{}").label("psychiatry");
    clinician.put(&id("session"), labelled).unwrap();
    clinician.put(&id("note"), b"{}").unwrap();
    assert!(clinician.get(&id("note")).unwrap().is_some());
    assert_eq!(clinician.get(&id("session")).unwrap_err(), Error::Denied);
    assert!(clinician.reader(&id("session")).is_err());
    assert!(clinician.get(&id("nothing")).unwrap().is_none());
    let patient = subject("MRN-1042");
    let all = clinician.get_all(&patient).unwrap();
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
    let reads = entries_of(&storage, Operation::Read);
    let outcomes: Vec<_> = reads.into_iter().map(|(outcome, _)| outcome).collect();
    use AccessOutcome::{Absent, Denied, Done};
    assert_eq!(outcomes[..4], [Done, Denied, Denied, Absent]);
    let mut of_get_all = outcomes[4..].to_vec();
    of_get_all.sort_by_key(|outcome| *outcome == Denied);
    assert_eq!(of_get_all, [Done, Denied]);
}

#[test]
fn journal_entry_contains_reference_of_consent() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let consent = ConsentReference::new("Consent/2024-117").unwrap();
    let policy = closure_policy(move |_| Decision::PermitUnder(consent.clone()));
    let vault = options().policy(policy);
    let vault = vault.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let clinician = session(&vault).with_request_id("req-7").unwrap();
    clinician.put(&id("note"), b"{}").unwrap();
    clinician.get(&id("note")).unwrap();
    let patient = subject("MRN-1042");
    clinician.erase_subject(&patient, "asked for").unwrap();
    drop(vault);
    let named = "consent Consent/2024-117".to_owned();
    let done = |note: &str| (AccessOutcome::Done, note.to_owned());
    assert_eq!(entries_of(&storage, Operation::Read), [done(&named)]);
    assert_eq!(entries_of(&storage, Operation::Put), [done(&named)]);
    let mut entries = journal(&storage).into_iter().map(|(entry, ..)| entry);
    let erased = entries.find(|entry| entry.operation == Operation::Erase);
    let erased = erased.unwrap();
    assert_eq!(erased.reason(), Some("asked for"));
    assert_eq!(erased.consent(), Some("Consent/2024-117"));
    assert_eq!(erased.note(), None);
    let erased = format!("asked for; {named}");
    assert_eq!(
        entries_of(&storage, Operation::Erase),
        [done(&erased), done(&erased)]
    );
}

/// Returns options with a handler that stores the security events, and the list of stored events.
fn with_event_handler() -> (VaultOptions, Arc<Mutex<Vec<String>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&events);
    let handler = move |event: &SecurityEvent| kept.lock().unwrap().push(event.to_string());
    (options().on_security_event(handler), events)
}

#[test]
fn break_glass_session_bypasses_policy_is_journaled_and_ends() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let clock = Arc::new(ManualClock::default());
    let (options, events) = with_event_handler();
    let options = options.clock(Arc::<ManualClock>::clone(&clock));
    let options = options.policy(closure_policy(|_| Decision::Deny));
    let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let minute = Duration::from_secs(60);
    for reason in ["", "a\nb", &"x".repeat(256)] {
        let refused = vault.break_glass(actor("dr.garcia"), subject("MRN-1042"), reason, minute);
        assert_eq!(
            refused.unwrap_err(),
            invalid_text(InputField::Reason, reason)
        );
    }
    assert!(events.lock().unwrap().is_empty());

    let patient = subject("MRN-1042");
    let clinician = vault.break_glass(actor("dr.garcia"), &patient, "unconscious", minute);
    let clinician = clinician.unwrap();
    assert_eq!(
        *events.lock().unwrap(),
        ["break-glass access was opened for 1 minutes"]
    );
    assert_eq!(
        entries_of(&storage, Operation::BreakGlass),
        [(AccessOutcome::Done, "unconscious".into())]
    );
    clinician.put(&id("note"), b"{}").unwrap();
    assert!(clinician.get(&id("note")).unwrap().is_some());
    // Break-glass bypasses the policy only for care, not for erasure.
    assert_eq!(
        clinician.erase_subject(&patient, "a whim"),
        Err(Error::Denied)
    );
    clock.advance(minute.as_millis() as u64);
    assert_eq!(clinician.get(&id("note")).unwrap_err(), Error::Denied);
    assert_eq!(clinician.put(&id("note"), b"!"), Err(Error::Denied));
    drop(vault);
    let mut own = 0;
    for (entry, actor, under_break_glass) in journal(&storage) {
        let is_own = actor == "dr.garcia";
        assert_eq!(under_break_glass, is_own, "{:?}", entry.operation);
        own += u32::from(is_own);
    }
    // The seven entries are: begin break-glass, create the chart, put, read, and three denials.
    assert_eq!(own, 7);
}

#[test]
fn honeytoken_read_raises_event_and_listing_does_not() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let (options, events) = with_event_handler();
    let vault = options.create(storage, &Fixed(1)).unwrap();
    let clinician = session(&vault);
    let celebrity = Document::new(b"{}").label("VIP").honeytoken();
    clinician.put(&id("honeytoken"), celebrity).unwrap();
    let patient = subject("MRN-1042");
    assert_eq!(clinician.list(&patient).unwrap().count(), 1);
    assert_eq!(clinician.history(&id("honeytoken")).unwrap().len(), 1);
    vault.reencrypt().unwrap();
    assert!(events.lock().unwrap().is_empty());
    clinician.get(&id("honeytoken")).unwrap();
    clinician.reader(&id("honeytoken")).unwrap();
    clinician.get_version(&id("honeytoken"), 1).unwrap();
    assert_eq!(*events.lock().unwrap(), ["a honeytoken is being read"; 3]);
}

#[test]
fn repeated_failures_and_denials_raise_events() {
    let storage: Shared = Arc::new(MemoryStorage::new());
    let (options, events) = with_event_handler();
    let options = options.policy(closure_policy(|request| match request.actor.name() {
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
    let reads = entries_of(&storage, Operation::Read);
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
fn journal_entries_contain_tags_instead_of_names() {
    let storage = with_note();
    for (entry, ..) in journal(&storage) {
        let texts = texts(&entry);
        assert!(!texts.contains("1042") && !texts.contains("note"));
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
