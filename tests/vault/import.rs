//! Imports of records from another system: outcomes, original times and authors, repetition after an interruption.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chartlock::progress::{CancelToken, Phase, ProgressUpdate};
use chartlock::report::ImportReport;
use chartlock::{Document, Error, ImportItem, ImportOutcome, RecordId, Session, Vault};

use crate::common::{record, session, subject};
use crate::stage::Stage;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn note(number: usize) -> Document<'static> {
    Document::owned(format!("note {number}").into_bytes())
        .content_type("text/plain")
        .label("note")
        .original_time(at(1_400_000_000 + number as u64))
        .original_author("dr.garcia")
}

/// Returns the id of a note: three patients have the notes by turns.
fn id(number: usize) -> RecordId {
    record(&format!("MRN-{}", number % 3), &format!("notes/{number}"))
}

fn item(number: usize) -> ImportItem {
    ImportItem::new(id(number), note(number))
}

/// Imports items, and returns their outcomes and the result.
fn import(
    session: &Session,
    items: impl IntoIterator<Item = ImportItem>,
) -> (Vec<ImportOutcome>, Result<ImportReport, Error>) {
    let mut outcomes = Vec::new();
    let items = items.into_iter().map(Ok::<_, io::Error>);
    let report = session.import(items, |_, outcome| outcomes.push(outcome.clone()));
    (outcomes, report)
}

fn counts(report: ImportReport) -> (u64, u64, u64) {
    (report.stored, report.already_stored, report.failed)
}

fn assert_imported(vault: &Vault, numbers: impl IntoIterator<Item = usize>) {
    let session = session(vault);
    for number in numbers {
        let found = session.get(&id(number)).unwrap().unwrap();
        assert_eq!(&found[..], format!("note {number}").as_bytes());
        let info = found.info();
        assert_eq!(
            info.original_time(),
            Some(at(1_400_000_000 + number as u64))
        );
        assert_eq!(info.original_author(), Some("dr.garcia"));
        assert_eq!(info.content_type(), Some("text/plain"));
        assert!(info.written_at() > at(1_500_000_000));
        assert_eq!(found.version(), 1);
    }
}

everywhere!(
    import_stores_content_with_original_time_and_author,
    repeated_import_writes_nothing_again,
    versions_are_imported_in_their_order,
    changed_retracted_expunged_and_erased_records_do_not_come_back,
    other_content_under_the_same_name_is_a_conflict,
    differing_item_of_a_repeated_import_is_a_conflict,
    import_of_later_versions_replaces_no_change_of_the_app,
    invalid_item_fails_alone,
    failing_source_ends_the_import_after_the_items_before_it,
    cancelled_import_continues_later,
    original_time_and_author_survive_reencryption,
);

fn import_stores_content_with_original_time_and_author(stage: &Stage) {
    let vault = stage.create();
    let (outcomes, report) = import(&session(&vault), (0..2_500).map(item));
    assert_eq!(outcomes, vec![ImportOutcome::Stored; 2_500]);
    assert_eq!(counts(report.unwrap()), (2_500, 0, 0));
    assert_imported(&vault, (0..2_500).step_by(97));
    let large = ImportItem::new(id(0), Document::owned(vec![7; 200_000])).version(2);
    let (outcomes, _) = import(&session(&vault), [large.clone()]);
    assert_eq!(outcomes, [ImportOutcome::Stored]);
    let (outcomes, _) = import(&session(&vault), [large]);
    assert_eq!(outcomes, [ImportOutcome::AlreadyStored]);
    assert_eq!(session(&vault).get(&id(0)).unwrap().unwrap().len(), 200_000);
    assert!(vault.verify(None).unwrap().is_clean());
}

fn repeated_import_writes_nothing_again(stage: &Stage) {
    let vault = stage.create();
    import(&session(&vault), (0..40).map(item)).1.unwrap();
    drop(vault);
    let vault = stage.open();
    let (_, report) = import(&session(&vault), (0..100).map(item));
    assert_eq!(counts(report.unwrap()), (60, 40, 0));
    assert_imported(&vault, 0..100);
}

fn versions_are_imported_in_their_order(stage: &Stage) {
    let vault = stage.create();
    let of_one = || {
        (1..=5_u64).map(|version| ImportItem::new(id(0), note(version as usize)).version(version))
    };
    let (_, report) = import(&session(&vault), of_one());
    assert_eq!(counts(report.unwrap()), (5, 0, 0));
    let history = session(&vault).history(&id(0)).unwrap();
    let times: Vec<_> = history.iter().map(|info| info.original_time()).collect();
    assert_eq!(
        times,
        [1, 2, 3, 4, 5].map(|number| Some(at(1_400_000_000 + number)))
    );
    let (_, report) = import(&session(&vault), of_one());
    assert_eq!(counts(report.unwrap()), (0, 5, 0));
    // A version whose predecessor is missing.
    let (outcomes, report) = import(&session(&vault), [item(1).version(2), item(0).version(7)]);
    let conflict = ImportOutcome::Failed(Error::Conflict);
    assert_eq!(outcomes, [conflict.clone(), conflict]);
    assert_eq!(counts(report.unwrap()), (0, 0, 2));
    assert_eq!(session(&vault).history(&id(0)).unwrap().len(), 5);
}

fn changed_retracted_expunged_and_erased_records_do_not_come_back(stage: &Stage) {
    let vault = stage.create();
    let session = session(&vault);
    import(&session, (0..5).map(item)).1.unwrap();
    session.put(&id(0), b"changed").unwrap();
    session.retract(&id(1)).unwrap();
    session
        .expunge(&id(2), "filed under the wrong patient")
        .unwrap();
    let (outcomes, _) = import(&session, (0..5).map(item));
    assert_eq!(outcomes, vec![ImportOutcome::AlreadyStored; 5]);
    assert_eq!(&session.get(&id(0)).unwrap().unwrap()[..], b"changed");
    assert!(session.get(&id(1)).unwrap().is_none());
    assert!(session.get(&id(2)).unwrap().is_none());
    session
        .erase_subject(id(0).subject(), "the patient asked")
        .unwrap();
    let (outcomes, report) = import(&session, (0..3).map(item));
    assert_eq!(outcomes[0], ImportOutcome::Failed(Error::Erased));
    assert_eq!(counts(report.unwrap()), (0, 2, 1));
}

fn other_content_under_the_same_name_is_a_conflict(stage: &Stage) {
    let vault = stage.create();
    let session = session(&vault);
    session.put(&id(0), b"of another program").unwrap();
    session.put(&id(1), &vec![1; 100_000]).unwrap();
    let others = [
        item(0),
        ImportItem::new(
            id(0),
            Document::owned(&b"of another program"[..]).original_author("x"),
        ),
        ImportItem::new(
            id(0),
            Document::owned(&b"of another program"[..]).original_time(at(1)),
        ),
        ImportItem::new(id(1), Document::owned(vec![1; 99_999])),
    ];
    let (outcomes, _) = import(&session, others);
    assert_eq!(outcomes, vec![ImportOutcome::Failed(Error::Conflict); 4]);
    // The same content, which no import wrote.
    let same = ImportItem::new(id(0), Document::owned(&b"of another program"[..]));
    assert_eq!(
        import(&session, [same.clone()]).0,
        [ImportOutcome::Failed(Error::Conflict)]
    );
    assert_eq!(
        import(&session, [same.version(2)]).0,
        [ImportOutcome::Failed(Error::Conflict)]
    );
    assert_eq!(session.history(&id(0)).unwrap().len(), 1);
}

fn differing_item_of_a_repeated_import_is_a_conflict(stage: &Stage) {
    let vault = stage.create();
    let session = session(&vault);
    let large = |byte: u8, label: &str| {
        let content = [vec![7; 150_000], vec![byte]].concat();
        ImportItem::new(id(0), Document::owned(content).label(label))
    };
    assert_eq!(import(&session, [large(1, "a")]).0, [ImportOutcome::Stored]);
    let outcomes = import(&session, [large(1, "a"), large(2, "a"), large(1, "b")]).0;
    let conflict = ImportOutcome::Failed(Error::Conflict);
    assert_eq!(
        outcomes,
        [
            ImportOutcome::AlreadyStored,
            conflict.clone(),
            conflict.clone()
        ]
    );
    // The same comparison for an earlier version.
    session.put(&id(0), b"changed").unwrap();
    let outcomes = import(&session, [large(1, "a"), large(2, "a"), large(1, "b")]).0;
    assert_eq!(
        outcomes,
        [ImportOutcome::AlreadyStored, conflict.clone(), conflict]
    );
    let versions = session.history(&id(0)).unwrap().len();
    assert_eq!(versions, 2);
}

fn import_of_later_versions_replaces_no_change_of_the_app(stage: &Stage) {
    let vault = stage.create();
    let session = session(&vault);
    let versions = |record: usize, to: u64| {
        (1..=to).map(move |version| {
            ImportItem::new(id(record), note(version as usize)).version(version)
        })
    };
    for record in 0..3 {
        import(&session, versions(record, 3)).1.unwrap();
    }
    session.put(&id(0), b"changed").unwrap();
    session.retract(&id(1)).unwrap();
    session
        .expunge(&id(2), "filed under the wrong patient")
        .unwrap();
    let conflict = ImportOutcome::Failed(Error::Conflict);
    for record in 0..3 {
        let (outcomes, _) = import(&session, versions(record, 5));
        assert_eq!(outcomes[..3], [const { ImportOutcome::AlreadyStored }; 3]);
        assert_eq!(outcomes[3..], [conflict.clone(), conflict.clone()]);
    }
    assert_eq!(&session.get(&id(0)).unwrap().unwrap()[..], b"changed");
    assert!(session.get(&id(1)).unwrap().is_none());
    assert!(session.get(&id(2)).unwrap().is_none());
    // An import continues after its own versions only.
    import(&session, versions(3, 3)).1.unwrap();
    let (_, report) = import(&session, versions(3, 5));
    assert_eq!(counts(report.unwrap()), (2, 3, 0));
}

fn invalid_item_fails_alone(stage: &Stage) {
    let vault = stage.create();
    let long = "a".repeat(256);
    let invalid = ["", "two\nlines", &long]
        .map(|author| ImportItem::new(id(1), Document::owned(&b"{}"[..]).original_author(author)));
    for invalid in invalid {
        let (outcomes, report) = import(&session(&vault), [item(0), invalid, item(2)]);
        assert!(matches!(
            outcomes[1],
            ImportOutcome::Failed(Error::InvalidMetadata(_))
        ));
        assert_eq!(report.unwrap().failed, 1);
    }
    let (outcomes, _) = import(&session(&vault), [item(1).version(0)]);
    assert!(matches!(
        outcomes[..],
        [ImportOutcome::Failed(Error::InvalidMetadata(_))]
    ));
    assert!(session(&vault).get(&id(1)).unwrap().is_none());
    assert_imported(&vault, [0, 2]);
}

fn failing_source_ends_the_import_after_the_items_before_it(stage: &Stage) {
    let vault = stage.create();
    let items = (0..10).map(|number| match number {
        7 => Err(io::Error::other("the table is damaged")),
        number => Ok(item(number)),
    });
    let mut stored = 0;
    let report = session(&vault).import(items, |_, _| stored += 1);
    assert_eq!(report, Err(Error::Source(io::ErrorKind::Other)));
    assert_eq!(stored, 7);
    assert_imported(&vault, 0..7);
    assert!(session(&vault).get(&id(8)).unwrap().is_none());
}

fn cancelled_import_continues_later(stage: &Stage) {
    static DONE: AtomicU64 = AtomicU64::new(0);
    let vault = stage.create();
    let token = CancelToken::new();
    let observed = vault
        .with_cancel(&token)
        .with_progress(|update: ProgressUpdate| {
            assert_eq!(update.phase, Phase::Importing);
            DONE.store(update.done, Ordering::SeqCst);
        });
    let mut stored = 0;
    let items = (0..3_000).map(|number| Ok::<_, io::Error>(item(number)));
    let report = session(&observed).import(items, |_, _| {
        stored += 1;
        token.cancel();
    });
    assert_eq!((report, stored), (Err(Error::Cancelled), 1_024));
    assert_eq!(DONE.load(Ordering::SeqCst), 1_024);
    let (_, report) = import(&session(&vault), (0..3_000).map(item));
    assert_eq!(counts(report.unwrap()), (1_976, 1_024, 0));
}

fn original_time_and_author_survive_reencryption(stage: &Stage) {
    let vault = stage.create();
    import(&session(&vault), (0..6).map(item)).1.unwrap();
    vault.reencrypt_subject(&subject("MRN-0")).unwrap();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    assert_imported(&vault, 0..6);
}
