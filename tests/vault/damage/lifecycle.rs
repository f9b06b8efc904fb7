//! Garbage collection, erasure and expunge in charts with unreadable objects.

use chartlock::internals::envelope::SEGMENT;
use chartlock::report::GarbageReport;

use super::{NAMES, PATIENTS, Scene};
use crate::common::Fixed;
use crate::common::clock::ManualClock;
use crate::raw;
use crate::stage::{Stage, content, record, session_on, subject};

everywhere!(
    collection_with_unreadable_object_frees_nothing_in_its_chart,
    collection_with_unreadable_stream_keeps_it,
    erasure_deletes_unreadable_objects,
    erasure_with_unreadable_entry_deletes_nothing,
    expunge_deletes_unreadable_earlier_versions_and_segments,
    expunge_of_unreadable_current_version_deletes_nothing,
);

const DAY: i64 = 24 * 60 * 60 * 1000;
const START: i64 = 1_700_000_000_000;

impl Scene<'_> {
    fn at(stage: &Stage, time: i64) -> chartlock::VaultOptions {
        stage
            .options()
            .clock(std::sync::Arc::new(ManualClock::at(time)))
    }

    /// Adds an abandoned upload of two segments to each chart.
    fn abandon_uploads(&self) {
        let hook = crate::garbage::stop_before_record;
        for patient in PATIENTS {
            let (vault, _) = self.stage.open_faulty(Self::at(self.stage, START), hook);
            let put = session_on(&vault).put(&record(patient, "CT/2"), &content(9, SEGMENT + 1));
            put.unwrap_err();
        }
    }

    /// Collects garbage a hundred days after the uploads, and asserts that the first patient's
    /// objects are all kept.
    fn collect(&self) -> GarbageReport {
        let storage = std::sync::Arc::clone(&self.storage);
        let options = Self::at(self.stage, START + 100 * DAY);
        let vault = options.open(storage, &Fixed(1)).unwrap();
        let first = |objects: raw::Objects| -> Vec<_> {
            let mut keys: Vec<_> = objects.into_keys().collect();
            keys.retain(|key| key != b"v" && raw::belongs_to(self.stage, key, PATIENTS[0]));
            keys
        };
        let before = first(raw::objects(&self.stage.storage));
        let report = vault.collect_garbage().unwrap();
        assert_eq!(first(raw::objects(&self.stage.storage)), before);
        report
    }
}

fn collection_with_unreadable_object_frees_nothing_in_its_chart(stage: &Stage) {
    let scene = Scene::with(stage, Scene::at(stage, START));
    scene.abandon_uploads();
    for class in *b"prhw" {
        for key in scene.keys(class) {
            scene.damage(&key);
            let report = scene.collect();
            let counts = (report.charts_passed_over, report.unreadable_versions);
            match class {
                b'p' => assert_eq!((report.unknown_charts, report.unreadable_entries), (1, 1)),
                b'w' => assert_eq!((report.uploads_under_way, counts), (1, (0, 0))),
                _ => assert_eq!(counts, (1, 1)),
            }
        }
    }
    scene.assert_whole();
}

fn collection_with_unreadable_stream_keeps_it(stage: &Stage) {
    let scene = Scene::with(stage, Scene::at(stage, START));
    scene.abandon_uploads();
    let intent = scene.keys(b'w').remove(0);
    let mut segments = scene.keys(b's').into_iter();
    let first = segments.find(|key| key[17..33] == intent[17..33]).unwrap();
    raw::delete(&stage.storage, &intent);
    scene.damage(&first);
    let report = scene.collect();
    assert_eq!((report.unreadable_streams, report.misnamed_streams), (1, 0));
    scene.repair();
    assert_eq!(scene.open().collect_garbage().unwrap().segments, 2);
    scene.assert_whole();
}

fn erasure_deletes_unreadable_objects(stage: &Stage) {
    let scene = Scene::new(stage);
    let keys = [b'r', b'h', b's'].map(|class| scene.keys(class)).concat();
    let second = raw::counts(&stage.storage).map(|count| count / 2);
    scene.storage.damage(&keys);
    let erased = scene
        .session()
        .erase_subject(&subject(PATIENTS[0]), "asked for it");
    let report = erased.unwrap();
    assert!(report.keys_destroyed);
    assert_eq!(
        (report.records, report.earlier_versions, report.segments),
        (3, 2, 1)
    );
    assert_eq!(raw::counts(&stage.storage)[2..], second[2..]);
    assert!(scene.open().verify(None).unwrap().is_clean());
}

fn erasure_with_unreadable_entry_deletes_nothing(stage: &Stage) {
    let scene = Scene::new(stage);
    let entry = scene.keys(b'p').remove(0);
    scene.damage(&entry);
    let before = raw::objects(&stage.storage);
    let vault = scene.open();
    let erased = session_on(&vault).erase_subject(&subject(PATIENTS[0]), "asked for it");
    assert!(erased.is_err());
    assert!(raw::objects(&stage.storage) == before);
    drop(vault);
    scene.assert_whole();
}

fn expunge_deletes_unreadable_earlier_versions_and_segments(stage: &Stage) {
    let scene = Scene::new(stage);
    let keys = [scene.keys(b'h'), scene.keys(b's')].concat();
    scene.storage.damage(&keys);
    let session = scene.session();
    let report = session.expunge(&record(PATIENTS[0], NAMES[0]), "wrong patient");
    assert_eq!(report.unwrap().versions, 3);
    session
        .expunge(&record(PATIENTS[0], NAMES[1]), "wrong patient")
        .unwrap();
    assert_eq!(scene.keys(b'h'), Vec::<Vec<u8>>::new());
    for name in &NAMES[..2] {
        assert!(session.get(&record(PATIENTS[0], name)).unwrap().is_none());
    }
    scene.repair();
    assert!(scene.open().verify(None).unwrap().is_clean());
}

fn expunge_of_unreadable_current_version_deletes_nothing(stage: &Stage) {
    let scene = Scene::new(stage);
    let large = scene.segmented();
    scene.damage(&large);
    let before = raw::objects(&stage.storage);
    let expunged = scene
        .session()
        .expunge(&record(PATIENTS[0], NAMES[1]), "wrong patient");
    assert!(expunged.is_err());
    assert!(raw::objects(&stage.storage) == before);
    scene.assert_whole();
}
