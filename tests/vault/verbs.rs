//! Record operations without concurrent callers.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use chartlock::input::{InputFault, InputField};
use chartlock::internals::envelope::{INLINE_MAX, SEGMENT, padme};
use chartlock::{Document, Error, Precondition, RecordId, RecordInfo, Session, Subject};

use crate::clock::LONG_AGO;
use crate::common::clock::ManualClock;
use crate::common::invalid::{invalid_metadata, invalid_text};
use crate::raw;
use crate::stage::{Stage, content, record, session_on, subject};

everywhere!(
    absent_record_reads_as_none,
    each_put_adds_a_version,
    content_of_every_size_reads_back,
    put_if_checks_the_precondition,
    batch_returns_one_result_per_document,
    batch_with_invalid_metadata_changes_nothing,
    retract_hides_content_and_keeps_history,
    history_and_list_beyond_one_page_are_complete,
    metadata_reads_back,
    metadata_beyond_limits_returns_invalid_metadata,
    patient_and_organization_with_same_identifier_are_distinct,
    unicode_forms_are_distinct_names,
    reopened_vault_reads_and_continues_versions,
    json_records_read_back,
);

fn listed(session: &Session, subject: &Subject) -> Vec<(String, u64)> {
    let records = session.list(subject).unwrap().map(Result::unwrap);
    let mut records: Vec<_> = records
        .map(|info| (info.name().to_owned(), info.version()))
        .collect();
    records.sort();
    records
}

fn absent_record_reads_as_none(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Observation/1");
    for _ in 0..2 {
        assert!(session.get(&id).unwrap().is_none());
        assert!(session.get_version(&id, 1).unwrap().is_none());
        assert!(session.history(&id).unwrap().is_empty());
        assert_eq!(session.retract(&id), Ok(None));
        assert!(listed(&session, id.subject()).is_empty());
        // In the second round, the subject exists, but the record is still absent.
        session.put(&record("MRN-1", "another"), b"x").unwrap();
        session.retract(&record("MRN-1", "another")).unwrap();
    }
}

fn each_put_adds_a_version(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Observation/1");
    for version in 1..=20 {
        let body = content(version, 100 * version as usize);
        assert_eq!(session.put(&id, &body), Ok(version));
        let current = session.get(&id).unwrap().unwrap();
        assert_eq!((&current[..], current.version()), (&body[..], version));
    }
    for version in 1..=20 {
        let earlier = session.get_version(&id, version).unwrap().unwrap();
        assert_eq!(earlier.version(), version);
        assert_eq!(earlier[..], content(version, 100 * version as usize));
    }
    for beyond in [0, 21, u64::MAX] {
        assert!(session.get_version(&id, beyond).unwrap().is_none());
    }
    assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 19, 0, 0]);
}

fn content_of_every_size_reads_back(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let edges = [0, 1, 64, 2048, INLINE_MAX, SEGMENT, 3 * SEGMENT];
    let sizes = edges.map(|edge| [edge.saturating_sub(1), edge, edge + 1]);
    for (seed, size) in (1..).zip(sizes.into_iter().flatten()) {
        let id = record("MRN-1", &format!("size {size}"));
        let body = content(seed, size);
        let before = raw::counts(&stage.storage)[4];
        let version = session.put(&id, &body).unwrap();
        let stored = session.get(&id).unwrap().unwrap();
        assert!(stored[..] == body[..], "{size} bytes did not read back");
        assert_eq!(stored.info().length(), Some(size as u64));
        assert_eq!(stored.info().version(), version);
        let segments = match size {
            0..=INLINE_MAX => 0,
            _ => padme(size as u64).div_ceil(SEGMENT as u64) as usize,
        };
        let added = raw::counts(&stage.storage)[4] - before;
        assert_eq!(added, segments, "segments of {size} bytes");
    }
    // No upload intent remains.
    assert_eq!(raw::counts(&stage.storage)[5], 0);
}

fn put_if_checks_the_precondition(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Observation/1");
    let put_if = |expected| session.put_if(&id, expected, b"body");
    assert_eq!(put_if(Precondition::Version(1)), Err(Error::Conflict));
    let invalid = invalid_metadata(InputField::ExpectedVersion, InputFault::OutOfRange);
    let version_0 = Precondition::Version(0);
    assert_eq!(put_if(version_0), Err(invalid.clone()));
    assert_eq!(session.retract_if(&id, version_0), Err(invalid.clone()));
    for length in [10, 100_000] {
        let mut writer = session.writer(&id).expecting(version_0);
        let written = writer.write_all(&vec![b'x'; length]);
        let refused = written.and_then(|()| Ok(writer.finish()?)).unwrap_err();
        assert_eq!(refused.downcast::<Error>().unwrap(), invalid);
    }
    assert_eq!(put_if(Precondition::Absent), Ok(1));
    assert_eq!(put_if(Precondition::Absent), Err(Error::Conflict));
    assert_eq!(put_if(Precondition::Version(1)), Ok(2));
    assert_eq!(put_if(Precondition::Version(1)), Err(Error::Conflict));
    assert_eq!(put_if(Precondition::Version(3)), Err(Error::Conflict));
    assert_eq!(
        session.retract_if(&id, Precondition::Version(1)),
        Err(Error::Conflict)
    );
    assert_eq!(
        session.retract_if(&id, Precondition::Version(2)),
        Ok(Some(3))
    );
    assert_eq!(put_if(Precondition::Absent), Ok(4));
    // A large put is refused in the same way and leaves nothing behind.
    let large = content(1, INLINE_MAX + 1);
    assert_eq!(
        session.put_if(&id, Precondition::Version(3), &large),
        Err(Error::Conflict)
    );
    assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 3, 0, 0]);
}

fn batch_returns_one_result_per_document(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let ids: Vec<RecordId> = (0..60)
        .map(|index| {
            record(
                &format!("MRN-{}", index % 7),
                &format!("record {}", index % 30),
            )
        })
        .collect();
    let sizes = |index: usize| {
        if index == 17 {
            INLINE_MAX + 99
        } else {
            index * 40
        }
    };
    let bodies: Vec<_> = (0..60)
        .map(|index| content(index as u64, sizes(index)))
        .collect();
    let documents = ids.iter().zip(bodies.iter().map(Document::from));
    let outcomes = session.put_many(documents).unwrap();
    let mut written = std::collections::HashMap::<&RecordId, u64>::new();
    for ((id, body), outcome) in ids.iter().zip(&bodies).zip(outcomes) {
        let version = written.entry(id).or_default();
        *version += 1;
        assert_eq!(outcome, Ok(*version));
        let stored = session.get_version(id, *version).unwrap().unwrap();
        assert!(stored[..] == body[..]);
    }
    // A record that occurs several times in a batch gets one version per occurrence, in order.
    let twice = [&ids[0], &ids[1], &ids[0], &ids[0]];
    let documents = [b"1", b"2", b"3", b"4"].map(Document::from);
    let outcomes = session.put_many(twice.into_iter().zip(documents)).unwrap();
    let first = written[&ids[0]];
    assert_eq!(
        outcomes,
        [
            Ok(first + 1),
            Ok(written[&ids[1]] + 1),
            Ok(first + 2),
            Ok(first + 3)
        ]
    );
    for (version, body) in [(first + 1, b"1"), (first + 2, b"3"), (first + 3, b"4")] {
        let stored = session.get_version(&ids[0], version).unwrap().unwrap();
        assert_eq!(&stored[..], body);
    }
    assert!(session.put_many([]).unwrap().is_empty());
}

fn batch_with_invalid_metadata_changes_nothing(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let ids = ["a", "b"].map(|name| record("MRN-1", name));
    let before = raw::objects(&stage.storage);
    let documents = [Document::new(b"1"), Document::new(b"2").label("")];
    assert_eq!(
        session.put_many(ids.iter().zip(documents)),
        Err(invalid_text(InputField::Label, ""))
    );
    assert_eq!(raw::objects(&stage.storage), before);
    // In a batch, an erased subject causes errors only for its own records.
    session.put(&ids[0], b"1").unwrap();
    session
        .erase_subject(ids[0].subject(), "asked for")
        .unwrap();
    let other = record("MRN-2", "a");
    let documents = [b"1", b"2", b"3"].map(Document::from);
    let batch = [&ids[0], &other, &ids[1]].into_iter().zip(documents);
    assert_eq!(
        session.put_many(batch).unwrap(),
        [Err(Error::Erased), Ok(1), Err(Error::Erased)]
    );
}

fn retract_hides_content_and_keeps_history(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Observation/1");
    let large = content(2, INLINE_MAX + 1);
    assert_eq!(session.put(&id, b"first"), Ok(1));
    assert_eq!(session.retract(&id), Ok(Some(2)));
    assert!(session.get(&id).unwrap().is_none());
    assert!(session.get_version(&id, 2).unwrap().is_none());
    assert!(listed(&session, id.subject()).is_empty());
    assert_eq!(session.retract(&id), Ok(None));
    assert_eq!(session.put(&id, &large), Ok(3));
    assert_eq!(session.retract(&id), Ok(Some(4)));
    assert_eq!(session.put(&id, b"last"), Ok(5));
    assert_eq!(&session.get_version(&id, 1).unwrap().unwrap()[..], b"first");
    assert!(session.get_version(&id, 3).unwrap().unwrap()[..] == large[..]);
    let history = session.history(&id).unwrap();
    let seen: Vec<_> = history
        .iter()
        .map(|info| (info.version(), info.is_retraction(), info.length()))
        .collect();
    assert_eq!(
        seen,
        [
            (1, false, Some(5)),
            (2, true, None),
            (3, false, Some(large.len() as u64)),
            (4, true, None),
            (5, false, Some(4))
        ]
    );
}

fn history_and_list_beyond_one_page_are_complete(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    // Put more versions than fit on one scan page.
    let id = record("MRN-1", "often amended");
    for version in 1..=150_u64 {
        assert_eq!(session.put(&id, &version.to_le_bytes()), Ok(version));
    }
    let history = session.history(&id).unwrap();
    let versions: Vec<_> = history.iter().map(RecordInfo::version).collect();
    assert_eq!(versions, (1..=150).collect::<Vec<_>>());
    let ids: Vec<_> = (0..300)
        .map(|index| record("MRN-2", &format!("record {index:03}")))
        .collect();
    let bodies: Vec<_> = (0_u32..300).map(u32::to_le_bytes).collect();
    let documents = bodies.iter().map(Document::from);
    let outcomes = session.put_many(ids.iter().zip(documents)).unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(1)));
    let expected: Vec<_> = ids.iter().map(|id| (id.name().to_owned(), 1)).collect();
    assert_eq!(listed(&session, &subject("MRN-2")), expected);
    assert_eq!(
        listed(&session, &subject("MRN-1")),
        [("often amended".to_owned(), 150)]
    );
}

fn metadata_reads_back(stage: &Stage) {
    let options = stage.options().clock(Arc::new(ManualClock::at(LONG_AGO)));
    let vault = stage.create_by(options);
    let session = session_on(&vault);
    let current = UNIX_EPOCH + Duration::from_millis(LONG_AGO as u64);
    let many: Vec<_> = (0..32).map(|index| format!("label {index:02}")).collect();
    let all = |document: Document<'static>| {
        many.iter()
            .fold(document, |document, label| document.label(label))
    };
    let long = "é".repeat(127);
    let cases = [
        ("plain", Document::new(b"x"), None, vec![]),
        (
            "known type",
            Document::new(b"x").content_type("application/fhir+json"),
            Some("application/fhir+json"),
            vec![],
        ),
        (
            "unknown type, labels unsorted and twice",
            Document::new(b"x")
                .content_type("chemical/x-pdb; a=b")
                .label("lab")
                .label("é")
                .label("archive")
                .label("lab"),
            Some("chemical/x-pdb; a=b"),
            vec!["archive", "lab", "é"],
        ),
        (
            "as many labels as there can be",
            all(Document::new(b"x")),
            None,
            many.iter().map(String::as_str).collect(),
        ),
        (
            "a long label",
            Document::new(b"x").label(&long),
            None,
            vec![&long],
        ),
    ];
    for (name, document, content_type, labels) in cases {
        let id = record("MRN-1", name);
        session.put(&id, document.clone()).unwrap();
        let record = session.get(&id).unwrap().unwrap();
        let history = session.history(&id).unwrap();
        let listed = session.list(id.subject()).unwrap().map(Result::unwrap);
        let listed = listed.into_iter().find(|info| info.name() == name).unwrap();
        for info in [record.info(), &history[0], &listed] {
            assert_eq!(info.name(), name);
            assert_eq!(info.content_type(), content_type);
            assert_eq!(info.labels().collect::<Vec<_>>(), labels);
            assert_eq!(info.written_at(), current);
        }
    }
}

fn metadata_beyond_limits_returns_invalid_metadata(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Observation/1");
    let before = raw::objects(&stage.storage);
    let too_many = (0..33).fold(Document::new(b"x"), |document, index| {
        document.label(&index.to_string())
    });
    let of_type = |content_type: &str| Document::new(b"x").content_type(content_type);
    let labeled = |label: &str| Document::new(b"x").label(label);
    let (content_type, label) = (InputField::ContentType, InputField::Label);
    let not_ascii = |position| InputFault::NotPrintableAscii { position };
    let long = InputFault::TooLong { length: 256 };
    let control = InputFault::ControlCharacter { position: 1 };
    let count = InputFault::TooMany { count: 33 };
    let documents = [
        (of_type("text/é"), content_type, not_ascii(5)),
        (of_type("text/plain\n"), content_type, not_ascii(10)),
        (of_type(&"t".repeat(256)), content_type, long),
        (labeled(""), label, InputFault::Empty),
        (labeled("a\0b"), label, control),
        (labeled(&"l".repeat(256)), label, long),
        (too_many, InputField::Labels, count),
    ];
    for (document, field, fault) in documents {
        let refused = session.put(&id, document);
        assert_eq!(refused, Err(invalid_metadata(field, fault)));
    }
    assert_eq!(raw::objects(&stage.storage), before);
}

fn patient_and_organization_with_same_identifier_are_distinct(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    // A patient and an organization with the same identifier are two subjects.
    let patient = record("formulary", "entry");
    let organization = RecordId::organization("formulary", "entry").unwrap();
    assert_eq!(session.put(&patient, b"a patient's"), Ok(1));
    assert_eq!(session.put(&organization, b"the practice's"), Ok(1));
    assert_eq!(&session.get(&patient).unwrap().unwrap()[..], b"a patient's");
    assert_eq!(
        &session.get(&organization).unwrap().unwrap()[..],
        b"the practice's"
    );
    let more: Vec<_> = (0..200)
        .map(|index| record(&format!("MRN-{index}"), "entry"))
        .collect();
    let documents = std::iter::repeat(Document::new(b"x"));
    for outcome in session.put_many(more.iter().zip(documents)).unwrap() {
        outcome.unwrap();
    }
    let mut expected: Vec<_> = more.iter().map(|id| id.subject().clone()).collect();
    expected.extend([patient.subject().clone(), organization.subject().clone()]);
    expected.sort();
    let subjects = session.subjects().unwrap().collect::<Result<Vec<_>, _>>();
    let mut subjects = subjects.unwrap();
    subjects.sort();
    assert_eq!(subjects, expected);
}

fn unicode_forms_are_distinct_names(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let ids = ["Jos\u{e9}", "Jose\u{301}"].map(|name| record(name, "n"));
    let names = ["\u{e9}", "e\u{301}"].map(|name| record("MRN-1", name));
    for (body, id) in [b"1", b"2", b"3", b"4"]
        .iter()
        .zip(ids.iter().chain(&names))
    {
        assert_eq!(session.put(id, *body), Ok(1));
    }
    for (body, id) in [b"1", b"2", b"3", b"4"]
        .iter()
        .zip(ids.iter().chain(&names))
    {
        assert_eq!(&session.get(id).unwrap().unwrap()[..], *body);
    }
    assert_eq!(session.subjects().unwrap().count(), 3);
}

fn reopened_vault_reads_and_continues_versions(stage: &Stage) {
    let id = record("MRN-1", "Observation/1");
    let large = content(3, 2 * SEGMENT + 7);
    {
        let vault = stage.create();
        session_on(&vault).put(&id, &large).unwrap();
        session_on(&vault).put(&id, b"amended").unwrap();
    }
    let vault = stage.open();
    let session = session_on(&vault);
    assert_eq!(&session.get(&id).unwrap().unwrap()[..], b"amended");
    assert!(session.get_version(&id, 1).unwrap().unwrap()[..] == large[..]);
    assert_eq!(session.put(&id, b"again"), Ok(3));
}

#[cfg(feature = "json")]
fn json_records_read_back(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Observation/1");
    assert_eq!(session.get_json::<Vec<u32>>(&id), Ok(None));
    session.put_json(&id, &vec![120, 80]).unwrap();
    assert_eq!(session.get_json::<Vec<u32>>(&id), Ok(Some(vec![120, 80])));
    let stored = session.get(&id).unwrap().unwrap();
    assert_eq!(stored.info().content_type(), Some("application/json"));
    assert_eq!(&stored[..], b"[120,80]");
    assert_eq!(session.get_json::<String>(&id), Err(Error::Json));
    // Use a long list, so that the serialization buffer is reallocated several times.
    let long: Vec<u32> = (0..30_000).collect();
    session.put_json(&id, &long).unwrap();
    assert_eq!(session.get_json(&id), Ok(Some(long)));
    let no_json = std::collections::HashMap::from([((1, 2), 3)]);
    assert_eq!(session.put_json(&id, &no_json), Err(Error::Json));
    let nested = |number: f64| [(Some(number), "null")];
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let refused = session.put_json(&id, &nested(number));
        assert_eq!(refused, Err(Error::NotFinite));
        let by_name = std::collections::HashMap::from([("systolic", number as f32)]);
        assert_eq!(session.put_json(&id, &by_name), Err(Error::NotFinite));
    }
    assert_eq!(session.history(&id).unwrap().len(), 2);
    assert_eq!(session.put_json(&id, &nested(120.5)), Ok(3));
}
