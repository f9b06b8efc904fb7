//! The verbs on records, one caller at a time.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use chartlock::internals::envelope::{INLINE_MAX, SEGMENT, padme};
use chartlock::{Document, Error, Precondition, RecordId, RecordInfo, Session, Subject};

use crate::clock::LONG_AGO;
use crate::common::clock::ManualClock;
use crate::raw;
use crate::stage::{Stage, content, record, session, subject};

everywhere!(
    absence,
    versions,
    sizes,
    put_if,
    batches,
    batches_refused,
    retractions,
    history_and_list,
    metadata,
    metadata_out_of_bounds,
    subjects_and_practices,
    unicode_forms,
    reopened,
    json,
);

fn listed(session: &Session, subject: &Subject) -> Vec<(String, u64)> {
    let records = session.list(subject).unwrap().map(Result::unwrap);
    let mut records: Vec<_> = records
        .map(|info| (info.name().to_owned(), info.version()))
        .collect();
    records.sort();
    records
}

fn absence(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let id = record("MRN-1", "Observation/1");
    for _ in 0..2 {
        assert!(chart.get(&id).unwrap().is_none());
        assert!(chart.get_version(&id, 1).unwrap().is_none());
        assert!(chart.history(&id).unwrap().is_empty());
        assert_eq!(chart.retract(&id), Ok(None));
        assert!(listed(&chart, id.subject()).is_empty());
        // The second time the subject is known, and the record still is not.
        chart.put(&record("MRN-1", "another"), b"x").unwrap();
        chart.retract(&record("MRN-1", "another")).unwrap();
    }
}

fn versions(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let id = record("MRN-1", "Observation/1");
    for version in 1..=20 {
        let body = content(version, 100 * version as usize);
        assert_eq!(chart.put(&id, &body), Ok(version));
        let now = chart.get(&id).unwrap().unwrap();
        assert_eq!((&now[..], now.version()), (&body[..], version));
    }
    for version in 1..=20 {
        let then = chart.get_version(&id, version).unwrap().unwrap();
        assert_eq!(then.version(), version);
        assert_eq!(then[..], content(version, 100 * version as usize));
    }
    for beyond in [0, 21, u64::MAX] {
        assert!(chart.get_version(&id, beyond).unwrap().is_none());
    }
    assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 19, 0, 0]);
}

fn sizes(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let edges = [0, 1, 64, 2048, INLINE_MAX, SEGMENT, 3 * SEGMENT];
    let sizes = edges.map(|edge| [edge.saturating_sub(1), edge, edge + 1]);
    for (seed, size) in (1..).zip(sizes.into_iter().flatten()) {
        let id = record("MRN-1", &format!("size {size}"));
        let body = content(seed, size);
        let before = raw::counts(&stage.storage)[4];
        let version = chart.put(&id, &body).unwrap();
        let stored = chart.get(&id).unwrap().unwrap();
        assert!(stored[..] == body[..], "{size} bytes came back as others");
        assert_eq!(stored.info().length(), Some(size as u64));
        assert_eq!(stored.info().version(), version);
        let segments = match size {
            0..=INLINE_MAX => 0,
            _ => padme(size as u64).div_ceil(SEGMENT as u64) as usize,
        };
        let added = raw::counts(&stage.storage)[4] - before;
        assert_eq!(added, segments, "segments of {size} bytes");
    }
    // No upload is left under way.
    assert_eq!(raw::counts(&stage.storage)[5], 0);
}

fn put_if(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let id = record("MRN-1", "Observation/1");
    let put_if = |expected| chart.put_if(&id, expected, b"body");
    assert_eq!(put_if(Precondition::Version(1)), Err(Error::Conflict));
    assert_eq!(put_if(Precondition::Version(0)), Err(Error::Conflict));
    assert_eq!(put_if(Precondition::Absent), Ok(1));
    assert_eq!(put_if(Precondition::Absent), Err(Error::Conflict));
    assert_eq!(put_if(Precondition::Version(1)), Ok(2));
    assert_eq!(put_if(Precondition::Version(1)), Err(Error::Conflict));
    assert_eq!(put_if(Precondition::Version(3)), Err(Error::Conflict));
    assert_eq!(
        chart.retract_if(&id, Precondition::Version(1)),
        Err(Error::Conflict)
    );
    assert_eq!(chart.retract_if(&id, Precondition::Version(2)), Ok(Some(3)));
    assert_eq!(put_if(Precondition::Absent), Ok(4));
    // A large one is refused just the same, and leaves nothing behind.
    let large = content(1, INLINE_MAX + 1);
    assert_eq!(
        chart.put_if(&id, Precondition::Version(3), &large),
        Err(Error::Conflict)
    );
    assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 3, 0, 0]);
}

fn batches(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
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
    let outcomes = chart.put_many(documents).unwrap();
    let mut written = std::collections::HashMap::<&RecordId, u64>::new();
    for ((id, body), outcome) in ids.iter().zip(&bodies).zip(outcomes) {
        let version = written.entry(id).or_default();
        *version += 1;
        assert_eq!(outcome, Ok(*version));
        let stored = chart.get_version(id, *version).unwrap().unwrap();
        assert!(stored[..] == body[..]);
    }
    // The same record several times in one batch: a version each, in order.
    let twice = [&ids[0], &ids[1], &ids[0], &ids[0]];
    let documents = [b"1", b"2", b"3", b"4"].map(Document::from);
    let outcomes = chart.put_many(twice.into_iter().zip(documents)).unwrap();
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
        let stored = chart.get_version(&ids[0], version).unwrap().unwrap();
        assert_eq!(&stored[..], body);
    }
    assert!(chart.put_many([]).unwrap().is_empty());
}

fn batches_refused(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let ids = ["a", "b"].map(|name| record("MRN-1", name));
    let before = raw::objects(&stage.storage);
    let documents = [Document::new(b"1"), Document::new(b"2").label("")];
    assert_eq!(
        chart.put_many(ids.iter().zip(documents)),
        Err(Error::InvalidMetadata)
    );
    assert_eq!(raw::objects(&stage.storage), before);
    // An erased subject costs its own records only.
    chart.put(&ids[0], b"1").unwrap();
    chart.erase_subject(ids[0].subject(), "asked for").unwrap();
    let other = record("MRN-2", "a");
    let documents = [b"1", b"2", b"3"].map(Document::from);
    let batch = [&ids[0], &other, &ids[1]].into_iter().zip(documents);
    assert_eq!(
        chart.put_many(batch).unwrap(),
        [Err(Error::Erased), Ok(1), Err(Error::Erased)]
    );
}

fn retractions(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let id = record("MRN-1", "Observation/1");
    let large = content(2, INLINE_MAX + 1);
    assert_eq!(chart.put(&id, b"first"), Ok(1));
    assert_eq!(chart.retract(&id), Ok(Some(2)));
    assert!(chart.get(&id).unwrap().is_none());
    assert!(chart.get_version(&id, 2).unwrap().is_none());
    assert!(listed(&chart, id.subject()).is_empty());
    assert_eq!(chart.retract(&id), Ok(None));
    assert_eq!(chart.put(&id, &large), Ok(3));
    assert_eq!(chart.retract(&id), Ok(Some(4)));
    assert_eq!(chart.put(&id, b"last"), Ok(5));
    assert_eq!(&chart.get_version(&id, 1).unwrap().unwrap()[..], b"first");
    assert!(chart.get_version(&id, 3).unwrap().unwrap()[..] == large[..]);
    let history = chart.history(&id).unwrap();
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

fn history_and_list(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    // More than any walk fetches at a time.
    let id = record("MRN-1", "often amended");
    for version in 1..=150_u64 {
        assert_eq!(chart.put(&id, &version.to_le_bytes()), Ok(version));
    }
    let history = chart.history(&id).unwrap();
    let versions: Vec<_> = history.iter().map(RecordInfo::version).collect();
    assert_eq!(versions, (1..=150).collect::<Vec<_>>());
    let ids: Vec<_> = (0..300)
        .map(|index| record("MRN-2", &format!("record {index:03}")))
        .collect();
    let bodies: Vec<_> = (0_u32..300).map(u32::to_le_bytes).collect();
    let documents = bodies.iter().map(Document::from);
    let outcomes = chart.put_many(ids.iter().zip(documents)).unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(1)));
    let expected: Vec<_> = ids.iter().map(|id| (id.name().to_owned(), 1)).collect();
    assert_eq!(listed(&chart, &subject("MRN-2")), expected);
    assert_eq!(
        listed(&chart, &subject("MRN-1")),
        [("often amended".to_owned(), 150)]
    );
}

fn metadata(stage: &Stage) {
    let options = stage.options().clock(Arc::new(ManualClock::at(LONG_AGO)));
    let vault = stage.create_by(options);
    let chart = session(&vault);
    let now = UNIX_EPOCH + Duration::from_millis(LONG_AGO as u64);
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
        chart.put(&id, document.clone()).unwrap();
        let record = chart.get(&id).unwrap().unwrap();
        let history = chart.history(&id).unwrap();
        let listed = chart.list(id.subject()).unwrap().map(Result::unwrap);
        let listed = listed.into_iter().find(|info| info.name() == name).unwrap();
        for info in [record.info(), &history[0], &listed] {
            assert_eq!(info.name(), name);
            assert_eq!(info.content_type(), content_type);
            assert_eq!(info.labels().collect::<Vec<_>>(), labels);
            assert_eq!(info.written_at(), now);
        }
    }
}

fn metadata_out_of_bounds(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let id = record("MRN-1", "Observation/1");
    let before = raw::objects(&stage.storage);
    let too_many = (0..33).fold(Document::new(b"x"), |document, index| {
        document.label(&index.to_string())
    });
    let documents = [
        Document::new(b"x").content_type("text/é"),
        Document::new(b"x").content_type("text/plain\n"),
        Document::new(b"x").content_type(&"t".repeat(256)),
        Document::new(b"x").label(""),
        Document::new(b"x").label("a\0b"),
        Document::new(b"x").label(&"l".repeat(256)),
        too_many,
    ];
    for document in documents {
        assert_eq!(chart.put(&id, document), Err(Error::InvalidMetadata));
    }
    assert_eq!(raw::objects(&stage.storage), before);
}

fn subjects_and_practices(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    // One identifier, a patient and a practice: two subjects.
    let patient = record("formulary", "entry");
    let practice = RecordId::organization("formulary", "entry").unwrap();
    assert_eq!(chart.put(&patient, b"a patient's"), Ok(1));
    assert_eq!(chart.put(&practice, b"the practice's"), Ok(1));
    assert_eq!(&chart.get(&patient).unwrap().unwrap()[..], b"a patient's");
    assert_eq!(
        &chart.get(&practice).unwrap().unwrap()[..],
        b"the practice's"
    );
    let more: Vec<_> = (0..200)
        .map(|index| record(&format!("MRN-{index}"), "entry"))
        .collect();
    let documents = std::iter::repeat(Document::new(b"x"));
    for outcome in chart.put_many(more.iter().zip(documents)).unwrap() {
        outcome.unwrap();
    }
    let mut expected: Vec<_> = more.iter().map(|id| id.subject().clone()).collect();
    expected.extend([patient.subject().clone(), practice.subject().clone()]);
    expected.sort();
    let subjects = chart.subjects().unwrap().collect::<Result<Vec<_>, _>>();
    let mut subjects = subjects.unwrap();
    subjects.sort();
    assert_eq!(subjects, expected);
}

fn unicode_forms(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let ids = ["Jos\u{e9}", "Jose\u{301}"].map(|name| record(name, "n"));
    let names = ["\u{e9}", "e\u{301}"].map(|name| record("MRN-1", name));
    for (body, id) in [b"1", b"2", b"3", b"4"]
        .iter()
        .zip(ids.iter().chain(&names))
    {
        assert_eq!(chart.put(id, *body), Ok(1));
    }
    for (body, id) in [b"1", b"2", b"3", b"4"]
        .iter()
        .zip(ids.iter().chain(&names))
    {
        assert_eq!(&chart.get(id).unwrap().unwrap()[..], *body);
    }
    assert_eq!(chart.subjects().unwrap().count(), 3);
}

fn reopened(stage: &Stage) {
    let id = record("MRN-1", "Observation/1");
    let large = content(3, 2 * SEGMENT + 7);
    {
        let vault = stage.create();
        session(&vault).put(&id, &large).unwrap();
        session(&vault).put(&id, b"amended").unwrap();
    }
    let vault = stage.open();
    let chart = session(&vault);
    assert_eq!(&chart.get(&id).unwrap().unwrap()[..], b"amended");
    assert!(chart.get_version(&id, 1).unwrap().unwrap()[..] == large[..]);
    assert_eq!(chart.put(&id, b"again"), Ok(3));
}

#[cfg(feature = "json")]
fn json(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let id = record("MRN-1", "Observation/1");
    assert_eq!(chart.get_json::<Vec<u32>>(&id), Ok(None));
    chart.put_json(&id, &vec![120, 80]).unwrap();
    assert_eq!(chart.get_json::<Vec<u32>>(&id), Ok(Some(vec![120, 80])));
    let stored = chart.get(&id).unwrap().unwrap();
    assert_eq!(stored.info().content_type(), Some("application/json"));
    assert_eq!(&stored[..], b"[120,80]");
    assert_eq!(chart.get_json::<String>(&id), Err(Error::Json));
    // Its buffer moves several times while it is written.
    let long: Vec<u32> = (0..30_000).collect();
    chart.put_json(&id, &long).unwrap();
    assert_eq!(chart.get_json(&id), Ok(Some(long)));
    let no_json = std::collections::HashMap::from([((1, 2), 3)]);
    assert_eq!(chart.put_json(&id, &no_json), Err(Error::Json));
    assert_eq!(chart.history(&id).unwrap().len(), 2);
}
