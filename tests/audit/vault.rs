//! Reports from the journal of an open vault.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use chartlock::audit::fhir::{Application, audit_event};
use chartlock::audit::{AccessKind, AuditItem, Auditor, Exposed, ExposureScope, Timestamp};
use chartlock::input::InputField;
use chartlock::internals::clock::Clock;
use chartlock::storage::{
    FaultAction, FaultPoint, Faulty, MemoryStorage, PerOperation, Storage, StorageError,
};
use chartlock::{
    Error, Operation, Purpose, RecordId, Session, Vault, VaultOptions,
    access::{AccessPolicy, AccessRequest, ConsentReference, Decision},
};

use crate::common::Stage;
use crate::common::invalid::invalid_text;
use crate::stage::*;

struct Clinic {
    storage: Arc<dyn Storage>,
    clock: Arc<ManualClock>,
    vault: Vault,
}

impl Clinic {
    fn on(storage: impl Storage + 'static) -> Self {
        let stage = Stage::new(storage);
        Self {
            vault: stage.create_by(stage.options_on_clock()),
            storage: stage.storage,
            clock: stage.clock,
        }
    }

    /// Returns a clinic on storage with transactions, and a clinic on storage without transactions.
    fn each() -> [Self; 2] {
        [
            Self::on(MemoryStorage::new()),
            Self::on(PerOperation::new(MemoryStorage::new())),
        ]
    }

    fn act(&self, actor: &str, purpose: Purpose) -> Session {
        self.clock.shift_calendar(1);
        session_as(&self.vault, actor, purpose)
    }

    fn garcia(&self) -> Session {
        self.act("dr.garcia", Purpose::Treatment)
    }

    fn office(&self) -> Session {
        self.act("privacy.office", Purpose::Operations)
    }

    fn days(&self, days: i64) -> Timestamp {
        self.clock.shift_calendar(days * DAY);
        Timestamp::from_millis(self.clock.now())
    }
}

fn allergy() -> RecordId {
    record("MRN-1", "AllergyIntolerance/1")
}

#[test]
fn access_report_shows_names_of_vault_records() {
    for clinic in Clinic::each() {
        clinic.garcia().put(&allergy(), b"penicillin").unwrap();
        clinic
            .garcia()
            .put(&record("MRN-2", "Note/1"), b"-")
            .unwrap();
        clinic.garcia().get(&allergy()).unwrap();
        let nurse = clinic.act("nurse.lee", Purpose::CareCoordination);
        nurse.get(&record("MRN-1", "Note/7")).unwrap();
        let report = clinic.office().audit().unwrap();
        let report = report.accesses(&subject("MRN-1"), ..).unwrap();
        let listed: Vec<_> = (report.accesses.iter())
            .filter(|access| access.kind != AccessKind::Upkeep)
            .map(|access| {
                let record = access.record.as_deref().unwrap_or_default();
                (
                    &*access.actor,
                    access.operation,
                    record,
                    access.version,
                    access.certain,
                )
            })
            .collect();
        assert_eq!(
            listed[..2],
            [
                (
                    "dr.garcia",
                    Operation::Put,
                    "AllergyIntolerance/1",
                    Some(1),
                    true
                ),
                (
                    "dr.garcia",
                    Operation::Read,
                    "AllergyIntolerance/1",
                    Some(1),
                    true
                ),
            ]
        );
        // A record that does not exist is shown as a tag, because the vault cannot resolve its
        // name.
        assert_eq!(
            (listed[2].0, listed[2].2.len(), listed[2].3),
            ("nurse.lee", 32, None)
        );
        assert_eq!(
            (listed[3].0, listed[3].1),
            ("privacy.office", Operation::ReadJournal)
        );
        assert_eq!(listed.len(), 4);
        assert!(report.unreadable.is_empty());
    }
}

#[test]
fn read_before_change_in_same_millisecond_is_listed_first() {
    for clinic in Clinic::each() {
        let session = clinic.garcia();
        session.put(&allergy(), b"none").unwrap();
        session.get(&allergy()).unwrap();
        session.put(&allergy(), b"penicillin").unwrap();
        let report = clinic.office().audit().unwrap();
        let report = report.accesses(&subject("MRN-1"), ..).unwrap();
        let own = (report.accesses.iter())
            .filter(|access| matches!(access.operation, Operation::Put | Operation::Read));
        let listed: Vec<_> = own
            .map(|access| (access.operation, access.version))
            .collect();
        let expected = [
            (Operation::Put, Some(1)),
            (Operation::Read, Some(1)),
            (Operation::Put, Some(2)),
        ];
        assert_eq!(listed, expected);
    }
}

#[test]
fn activity_report_shows_identifiers_of_patients() {
    for clinic in Clinic::each() {
        for patient in ["MRN-1", "MRN-2"] {
            clinic.garcia().put(&record(patient, "a"), b"-").unwrap();
        }
        let gone = subject("MRN-2");
        clinic.office().erase_subject(&gone, "asked for").unwrap();
        let audit = clinic.office().audit().unwrap();
        let actor = actor("dr.garcia");
        let names = |trail: &chartlock::audit::AuditTrail| -> Vec<_> {
            let report = trail.activity(&actor, ..).unwrap();
            let subjects = report.subjects.iter();
            subjects
                .map(|one| one.subject.identifier.as_deref().map(str::to_owned))
                .collect()
        };
        assert_eq!(names(&audit), [None, None]);
        // The vault also resolves the identifiers of erased patients.
        let all = audit.resolve_all().unwrap();
        let known = ["MRN-1", "MRN-2"].map(|known| Some(known.to_owned()));
        assert_eq!(names(&all), known);
    }
}

#[test]
fn disclosures_are_listed_in_accounting() {
    for clinic in Clinic::each() {
        clinic.garcia().put(&allergy(), b"penicillin").unwrap();
        let health = clinic.act("records", Purpose::PublicHealth);
        let department = "Health department, 1 Main Street";
        health
            .disclose(&subject("MRN-1"), department, "a notification")
            .unwrap();
        let court = clinic.act("records", Purpose::Legal);
        court
            .disclose_record(&allergy(), "District court", "the whole record")
            .unwrap();
        let referral = clinic.garcia();
        referral
            .disclose(&subject("MRN-1"), "Dr. Roe", "a referral")
            .unwrap();
        let audit = clinic.office().audit().unwrap();
        let report = audit.disclosures(&subject("MRN-1")).unwrap();
        let listed: Vec<_> = report
            .disclosures
            .iter()
            .map(|one| {
                (
                    one.recipient.as_str(),
                    one.description.as_str(),
                    one.record.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            listed,
            [
                (department, "a notification", None),
                (
                    "District court",
                    "the whole record",
                    Some("AllergyIntolerance/1")
                ),
            ]
        );
        assert_eq!((report.excluded.treatment, report.excluded.payment), (1, 0));
    }
}

#[test]
fn disclosure_without_recipient_or_description_is_refused() {
    let clinic = Clinic::on(MemoryStorage::new());
    let session = clinic.garcia();
    let long = "x".repeat(1025);
    for (recipient, description) in [
        ("", "a"),
        ("a", ""),
        ("a\nb", "c"),
        (&long[..256], "a"),
        ("a", &long),
    ] {
        let (field, text) = match recipient {
            "a" => (InputField::Description, description),
            _ => (InputField::Recipient, recipient),
        };
        let invalid = Err(invalid_text(field, text));
        let refused = session.disclose(&subject("MRN-1"), recipient, description);
        assert_eq!(refused, invalid);
        let refused = session.disclose_record(&allergy(), recipient, description);
        assert_eq!(refused, invalid);
    }
    let longest = session.disclose(&subject("MRN-1"), &long[..255], &long[..1024]);
    assert_eq!(longest, Ok(()));
}

#[test]
fn evidence_lists_each_sealing_of_a_version() {
    for clinic in Clinic::each() {
        clinic.garcia().put(&allergy(), b"penicillin").unwrap();
        clinic.garcia().put(&allergy(), &vec![7; 100_000]).unwrap();
        clinic.garcia().retract(&allergy()).unwrap();
        clinic.vault.reencrypt_subject(&subject("MRN-1")).unwrap();
        let audit = clinic.office().audit().unwrap();
        for (version, first) in [
            (1, Operation::Put),
            (2, Operation::Put),
            (3, Operation::Retract),
        ] {
            let evidence = audit.evidence(&allergy(), version).unwrap();
            let by: Vec<_> = evidence.sealings.iter().map(|one| one.operation).collect();
            assert_eq!(by[0], first, "{version}");
            assert!(
                by[1..].iter().all(|again| *again == Operation::Reencrypt),
                "{by:?}"
            );
            let last = evidence.sealings.last().unwrap();
            assert_eq!(evidence.stored, Some(last.digest));
            assert!(audit.confirm(&evidence).unwrap().holds(), "{version}");
        }
        assert!(audit.evidence(&allergy(), 4).unwrap().sealings.is_empty());
        assert_eq!(audit.evidence(&allergy(), 1).unwrap().sealings.len(), 2);
    }
}

#[test]
fn checkpoint_confirms_evidence_of_earlier_sealings() {
    for clinic in Clinic::each() {
        clinic.garcia().put(&allergy(), b"penicillin").unwrap();
        // Another process also puts a record, in its own chain. The checkpoint references a page
        // of the first process, and that page records the head of the other chain.
        let other = VaultOptions::new().clock(Arc::clone(&clinic.clock) as Arc<dyn Clock>);
        let other = other.open(Arc::clone(&clinic.storage), &Fixed(1)).unwrap();
        let night = session_as(&other, "dr.night", Purpose::Treatment);
        night.put(&allergy(), b"latex").unwrap();
        drop((night, other));
        let checkpoint = clinic.vault.checkpoint().unwrap();
        clinic.garcia().put(&allergy(), b"none").unwrap();
        let later = clinic.vault.checkpoint().unwrap();
        let audit = clinic.office().audit().unwrap();
        for (version, by_first) in [(1, true), (2, true), (3, false)] {
            let evidence = audit.evidence(&allergy(), version).unwrap();
            assert!(!audit.confirm(&evidence).unwrap().is_pinned());
            let first = evidence.clone().pinned_by(&checkpoint);
            let first = audit.confirm(&first).unwrap();
            assert_eq!(
                (first.holds(), first.is_pinned()),
                (true, by_first),
                "{version}"
            );
            let later = audit.confirm(&evidence.pinned_by(&later)).unwrap();
            assert_eq!((later.holds(), later.is_pinned()), (true, true));
        }
    }
}

#[test]
fn checkpoint_of_another_journal_does_not_confirm_evidence() {
    let [clinic, other] = Clinic::each();
    clinic.garcia().put(&allergy(), b"penicillin").unwrap();
    let audit = clinic.office().audit().unwrap();
    let evidence = audit.evidence(&allergy(), 1).unwrap();
    let foreign = other.vault.checkpoint().unwrap();
    let listed = audit
        .confirm(&evidence.clone().pinned_by(&foreign))
        .unwrap();
    assert_eq!(
        (listed.checkpoint, listed.holds(), listed.is_pinned()),
        (Some(false), false, false)
    );
    let checkpoint = clinic.vault.checkpoint().unwrap();
    let pinned = evidence.pinned_by(&checkpoint);
    assert!(audit.confirm(&pinned).unwrap().is_pinned());
    // Delete the last page, because a journal that was rolled back lacks the checkpoint's page.
    let pages = keys_of(&*clinic.storage, b"j");
    objects::delete(&*clinic.storage, pages.last().unwrap());
    assert_eq!(audit.confirm(&pinned).unwrap().checkpoint, Some(false));
    let mut mistyped = pinned;
    mistyped.checkpoint = Some("chartlock checkpoint 1 0".into());
    assert_eq!(audit.confirm(&mistyped).unwrap_err(), Error::BadCheckpoint);
}

#[test]
fn auditor_lists_same_entries_as_vault_without_names() {
    for clinic in Clinic::each() {
        clinic.garcia().put(&allergy(), b"penicillin").unwrap();
        let slot = clinic.vault.add_auditor_slot(&Fixed(2)).unwrap();
        let own = clinic.office().audit().unwrap();
        let own = own.accesses(&subject("MRN-1"), ..).unwrap();
        let actor = actor("auditor");
        let storage = Arc::clone(&clinic.storage);
        let auditor = Auditor::open(storage, &Fixed(2), actor, Purpose::Operations).unwrap();
        assert_eq!(auditor.slot(), slot);
        let theirs = auditor.trail().accesses(&subject("MRN-1"), ..).unwrap();
        let (last, theirs) = theirs.accesses.split_last().unwrap();
        assert_eq!(&*last.actor, "auditor");
        assert_eq!(theirs.len(), own.accesses.len());
        for (theirs, own) in theirs.iter().zip(&own.accesses) {
            assert_eq!(theirs.position, own.position);
            let record = theirs.record.as_deref().unwrap_or_default();
            assert!(!record.contains("Allergy"));
        }
        let evidence = auditor.trail().evidence(&allergy(), 1).unwrap();
        assert!(auditor.trail().confirm(&evidence).unwrap().holds());
        let all = auditor.trail().resolve_all().unwrap();
        assert!(!serde_json::to_string(&items(&all)).unwrap().contains("MRN"));
    }
}

#[test]
fn auditor_on_read_only_storage_journals_to_spool() {
    for clinic in Clinic::each() {
        clinic.garcia().put(&allergy(), b"penicillin").unwrap();
        clinic.vault.add_auditor_slot(&Fixed(2)).unwrap();
        clinic.office().audit().unwrap();
        let read_only = || {
            Faulty::new(Arc::clone(&clinic.storage), |_, moment| match moment {
                FaultPoint::Commit(_) => FaultAction::Fail(StorageError::Denied),
                _ => FaultAction::Proceed,
            })
        };
        let spool: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let actor = || actor("auditor");
        let refused = Auditor::open(read_only(), &Fixed(2), actor(), Purpose::Legal);
        assert_eq!(refused.unwrap_err(), Error::Journal(StorageError::Denied));
        let elsewhere = Arc::clone(&spool);
        let auditor =
            Auditor::open_read_only(read_only(), elsewhere, &Fixed(2), actor(), Purpose::Legal);
        let auditor = auditor.unwrap();
        let trail = auditor.trail();
        let theirs = trail.accesses(&subject("MRN-1"), ..).unwrap();
        assert!(
            theirs
                .accesses
                .iter()
                .any(|access| access.operation == Operation::Put)
        );
        let asked = |clinic: &Clinic| {
            let audit = clinic.office().audit().unwrap();
            let report = audit.accesses(&subject("MRN-1"), ..).unwrap();
            let own = report.accesses.into_iter();
            own.filter(|access| &*access.actor == "auditor").count()
        };
        assert_eq!(asked(&clinic), 0);
        let home = clinic
            .office()
            .bring_journal_home("the auditor's spool", &spool)
            .unwrap();
        assert_eq!((home.pages, asked(&clinic)), (2, 1));
        // An unwritable spool is refused in the same way as an unwritable storage.
        let storage = Arc::clone(&clinic.storage);
        let refused =
            Auditor::open_read_only(storage, read_only(), &Fixed(2), actor(), Purpose::Legal);
        assert_eq!(refused.unwrap_err(), Error::Journal(StorageError::Denied));
    }
}

#[test]
fn lost_slot_exposes_records_until_its_removal() {
    for clinic in Clinic::each() {
        clinic.garcia().put(&record("MRN-1", "a"), b"-").unwrap();
        clinic.garcia().put(&record("MRN-2", "a"), b"-").unwrap();
        clinic
            .office()
            .erase_subject(&subject("MRN-2"), "asked for")
            .unwrap();
        clinic.days(1);
        let slot = clinic.vault.add_slot(&Fixed(9)).unwrap();
        let lost = clinic.days(1);
        drop(
            VaultOptions::new()
                .open(Arc::clone(&clinic.storage), &Fixed(1))
                .unwrap(),
        );
        clinic.garcia().put(&record("MRN-3", "a"), b"-").unwrap();
        clinic.garcia().put(&record("MRN-3", "a"), b"-").unwrap();
        let found = clinic.days(1);
        clinic.vault.remove_slot(slot).unwrap();
        clinic.days(1);
        clinic.garcia().put(&record("MRN-4", "a"), b"-").unwrap();
        let audit = clinic.office().audit().unwrap();
        let report = audit.exposure(&Exposed::Slot(slot), lost..found).unwrap();
        let mut listed: Vec<_> = report
            .subjects
            .iter()
            .map(|one| {
                (
                    one.subject.identifier.as_deref().unwrap(),
                    one.records,
                    one.versions,
                )
            })
            .collect();
        listed.sort_unstable();
        assert_eq!(listed, [("MRN-1", 1, 1), ("MRN-3", 1, 2)]);
        assert_eq!(
            (report.scope, report.erased_before),
            (ExposureScope::AllSubjects, 1)
        );
        assert_eq!(report.not_in_the_journal, 0);
        assert_eq!(report.key_lifetime.since.unwrap().day(), "2026-11-22");
        assert_eq!(report.key_lifetime.until, Some(found));
        let later = audit.exposure(
            &Exposed::Slot(slot),
            Timestamp::from_millis(found.millis() + 1)..,
        );
        assert_eq!(later.unwrap().scope, ExposureScope::Nothing);
    }
}

#[test]
fn keys_expose_nothing_before_their_creation() {
    let clinic = Clinic::on(MemoryStorage::new());
    clinic.garcia().put(&record("MRN-1", "a"), b"-").unwrap();
    let before = Timestamp::from_millis(NOON)..clinic.days(1);
    clinic.days(1);
    clinic.vault.rotate_master_key().unwrap();
    let census = clinic.vault.key_usage().unwrap();
    let master = Exposed::MasterKey(census.masters[0].number);
    let keys = clinic.vault.subject_key_usage(&subject("MRN-1")).unwrap();
    let key = Exposed::PatientKey(subject("MRN-1"), keys[0].number);
    let audit = clinic.office().audit().unwrap();
    for (exposed, reach) in [
        (master, ExposureScope::AllSubjects),
        (key, ExposureScope::OneSubject),
    ] {
        let early = audit.exposure(&exposed, before.clone()).unwrap();
        assert_eq!(
            (early.scope, early.subjects.len()),
            (ExposureScope::Nothing, 0)
        );
        let now = audit.exposure(&exposed, ..).unwrap();
        assert_eq!((now.scope, now.subjects.len()), (reach, 1));
    }
}

#[test]
fn exposed_subject_without_entries_is_counted() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let clock = Arc::new(ManualClock::default());
    let options = || VaultOptions::new().clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let before = options().without_journal();
    let before = before.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    session(&before).put(&record("MRN-1", "a"), b"-").unwrap();
    drop(before);
    let vault = options().open(Arc::clone(&storage), &Fixed(1)).unwrap();
    let session = session(&vault);
    session.put(&record("MRN-2", "a"), b"-").unwrap();
    let report = session
        .audit()
        .unwrap()
        .exposure(&Exposed::Slot(1), ..)
        .unwrap();
    let identifier = |index: usize| report.subjects[index].subject.identifier.as_deref();
    let both = [identifier(0), identifier(1)];
    assert!(both.contains(&Some("MRN-1")) && both.contains(&Some("MRN-2")));
    assert_eq!((report.not_in_the_journal, report.records), (1, 1));
}

#[test]
fn every_entry_of_a_vault_is_a_valid_fhir_event() {
    for clinic in Clinic::each() {
        let session = clinic.garcia();
        session.put(&allergy(), b"penicillin").unwrap();
        session.put(&allergy(), b"none").unwrap();
        session.get(&allergy()).unwrap();
        session.history(&allergy()).unwrap();
        assert_eq!(session.list(&subject("MRN-1")).unwrap().count(), 1);
        assert_eq!(session.subjects().unwrap().count(), 1);
        session.retract(&allergy()).unwrap();
        let hold = session.place_hold(&subject("MRN-1"), "a lawsuit").unwrap();
        let refused = session.erase_subject(&subject("MRN-1"), "asked for");
        assert_eq!(refused, Err(Error::OnHold));
        session.lift_hold(&subject("MRN-1"), hold).unwrap();
        clinic.vault.rotate_master_key().unwrap();
        clinic.vault.reencrypt_subject(&subject("MRN-1")).unwrap();
        session
            .erase_subject(&subject("MRN-1"), "asked for")
            .unwrap();
        let practice = RecordId::organization("formulary", "drugs").unwrap();
        session.put(&practice, b"-").unwrap();
        let audit = clinic.office().audit().unwrap().resolve_all().unwrap();
        let application = Application::new("clinic-app", "ward-3.clinic.example");
        let mut profiles = BTreeSet::new();
        for entry in entries(&audit) {
            let event = audit_event(&entry, &application);
            assert_eq!(crate::fhir::faults(&event), [""; 0], "{event:#}");
            let profile = crate::fhir::profile(&event);
            profiles.insert(profile.unwrap_or_default().to_owned());
        }
        for profile in [
            "PatientCreate",
            "PatientUpdate",
            "PatientRead",
            "PatientQuery",
            "Query",
            "PatientDelete",
            "Create",
            "",
        ] {
            assert!(profiles.contains(profile), "{profile}");
        }
    }
}

#[test]
fn reports_of_locked_vault_return_locked() {
    let clinic = Clinic::on(MemoryStorage::new());
    clinic.garcia().put(&allergy(), b"penicillin").unwrap();
    let audit = clinic.office().audit().unwrap();
    let mut reading = audit.entries(..).unwrap();
    assert!(reading.next().unwrap().is_ok());
    clinic.vault.lock();
    assert_eq!(reading.next().unwrap().unwrap_err(), Error::Locked);
    assert!(reading.next().is_none());
    assert_eq!(audit.entries(..).unwrap_err(), Error::Locked);
    assert_eq!(clinic.office().audit().unwrap_err(), Error::Locked);
    let disclosed = clinic.garcia().disclose(&subject("MRN-1"), "a", "b");
    assert_eq!(disclosed, Err(Error::Locked));
}

/// Policy that permits care to all actors, and journal reads to the privacy office under a consent.
#[derive(Debug)]
struct Careful;

impl AccessPolicy for Careful {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        match (request.operation, request.actor.name()) {
            (Operation::Disclose, "records") => {
                Decision::PermitUnder(ConsentReference::new("Consent/7").unwrap())
            }
            (Operation::ReadJournal, "privacy.office") => Decision::Permit,
            (Operation::Disclose | Operation::ReadJournal, _) => Decision::Deny,
            _ => Decision::Permit,
        }
    }
}

#[test]
fn reports_and_disclosures_require_policy_permission() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let options = VaultOptions::new().policy(Careful);
    let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let act = |actor: &str| session_as(&vault, actor, Purpose::Legal);
    act("dr.garcia").put(&allergy(), b"penicillin").unwrap();
    let refused = act("dr.garcia").disclose(&subject("MRN-1"), "Press", "all");
    assert_eq!(refused, Err(Error::Denied));
    act("records")
        .disclose(
            &subject("MRN-1"),
            "Court; consent x",
            "all; consent y\nof it",
        )
        .unwrap();
    let curious = act("dr.garcia").audit().unwrap();
    assert_eq!(curious.entries(..).unwrap_err(), Error::Denied);
    assert_eq!(
        curious.accesses(&subject("MRN-1"), ..).unwrap_err(),
        Error::Denied
    );
    assert_eq!(curious.evidence(&allergy(), 1).unwrap_err(), Error::Denied);
    assert_eq!(
        curious.exposure(&Exposed::Slot(1), ..).unwrap_err(),
        Error::Denied
    );
    assert_eq!(curious.resolve_all().unwrap_err(), Error::Denied);
    let audit = act("privacy.office").audit().unwrap();
    let report = audit.disclosures(&subject("MRN-1")).unwrap();
    let [court] = &report.disclosures[..] else {
        panic!("one disclosure")
    };
    assert_eq!(court.recipient, "Court; consent x");
    assert_eq!(court.description, "all; consent y\nof it");
    assert_eq!(court.consent.as_deref(), Some("Consent/7"));
    let accesses = audit.accesses(&subject("MRN-1"), ..).unwrap();
    let denied: Vec<_> = (accesses.accesses.iter())
        .filter(|access| access.outcome == chartlock::access::AccessOutcome::Denied)
        .map(|access| (access.operation, &*access.actor))
        .collect();
    let journal = (Operation::ReadJournal, "dr.garcia");
    assert_eq!(
        denied,
        [(Operation::Disclose, "dr.garcia"), journal, journal]
    );
}

#[test]
fn access_report_marks_break_glass_reads() {
    let clinic = Clinic::on(MemoryStorage::new());
    clinic.garcia().put(&allergy(), b"penicillin").unwrap();
    let night = actor("dr.night");
    let hour = Duration::from_secs(3600);
    let glass = clinic
        .vault
        .break_glass(night, subject("MRN-1"), "unconscious", hour)
        .unwrap();
    glass.get(&allergy()).unwrap();
    let audit = clinic.office().audit().unwrap();
    let report = audit.accesses(&subject("MRN-1"), ..).unwrap();
    let marked: Vec<_> = (report.accesses.iter())
        .filter(|access| access.under_break_glass)
        .map(|access| (&*access.actor, access.operation, &*access.why))
        .collect();
    let why = "break the glass";
    let opened = ("dr.night", Operation::BreakGlass, why);
    assert_eq!(marked, [opened, ("dr.night", Operation::Read, why)]);
}

#[test]
fn journal_types_targets_of_retention_and_holds() {
    for clinic in Clinic::each() {
        clinic.garcia().put(&allergy(), b"penicillin").unwrap();
        let patient = subject("MRN-1");
        let legal = clinic.act("legal", Purpose::Legal);
        let entry = keys_of(&*clinic.storage, b"p").pop().unwrap();
        let until = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        legal.retain_until(&patient, Some(until)).unwrap();
        legal.retain_until(&patient, None).unwrap();
        let before = value_of(&*clinic.storage, &entry).unwrap();
        let hold = legal.place_hold(&patient, "subpoena").unwrap();
        let held = value_of(&*clinic.storage, &entry).unwrap();
        legal.lift_hold(&patient, hold).unwrap();
        assert_eq!(legal.lift_hold(&patient, hold), Err(Error::NoSuchHold));
        let trail = clinic.office().audit().unwrap();
        let report = trail.accesses(&patient, ..).unwrap();
        let by_legal = report.accesses.iter().filter(|it| &*it.actor == "legal");
        let shown: Vec<_> = by_legal
            .map(|it| (&*it.what, it.retention.is_some(), it.hold, it.certain))
            .collect();
        let expected = [
            ("set a retention", true, None, true),
            ("lift the retention", true, None, true),
            ("place a legal hold", false, Some(hold), true),
            ("lift a legal hold", false, Some(hold), true),
            ("lift a legal hold", false, Some(hold), true),
        ];
        assert_eq!(shown, expected);
        let application = Application::new("clinic-app", "ward-3.clinic.example");
        let codes = trail
            .entries(..)
            .unwrap()
            .filter_map(|item| match item.unwrap() {
                AuditItem::Entry(entry) if &*entry.actor == "legal" => {
                    let event = audit_event(&entry, &application);
                    Some(event["type"]["code"].as_str().unwrap().to_owned())
                }
                AuditItem::Entry(_) => None,
                AuditItem::Fault(fault) => panic!("{fault:?}"),
            });
        let codes: Vec<_> = codes.collect();
        assert_eq!(codes, ["hold", "unhold", "hold", "unhold", "unhold"]);
        assert!(clinic.vault.verify(None).unwrap().is_clean());
        // The entries are evidence of the patient entries that they wrote.
        for former in [before, held] {
            let now = value_of(&*clinic.storage, &entry).unwrap();
            objects::put(&*clinic.storage, &entry, &former);
            assert!(!clinic.vault.verify(None).unwrap().is_clean());
            objects::put(&*clinic.storage, &entry, &now);
        }
    }
}
