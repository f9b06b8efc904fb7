//! Tampering by an attacker who can write the storage: reads fail, or return an older state that
//! only the journal reveals. The tests list these states.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use chartlock::internals::envelope::{Head, INLINE_MAX, Kind};
use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{Error, RecordId, Vault};

use crate::common::{Fixed, is_failure_class};
use crate::raw::{self, Objects};
use crate::stage::{Stage, content, record, session_on, subject};

/// Results of all read operations: a fingerprint of the content, or the error.
type Answers = BTreeMap<String, Result<String, Error>>;

const RECORDS: [(&str, &str); 5] = [
    ("MRN-1", "amended"),
    ("MRN-1", "retracted"),
    ("MRN-1", "large"),
    ("MRN-2", "single"),
    ("MRN-3", "returned"),
];

/// Environment variable that enables the long form of the tests, which also flips every bit of a
/// segment.
const EVERY_BIT: &str = "CHARTLOCK_EVERY_BIT";

/// The kind byte of a record with content in segments.
const SEGMENTED: u8 = 2;

fn ids() -> impl Iterator<Item = RecordId> {
    RECORDS
        .into_iter()
        .map(|(patient, name)| record(patient, name))
}

fn fingerprint(value: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Creates a vault of a few records that contains each kind of object.
fn build(stage: &Stage) -> Objects {
    let vault = stage.create();
    let session = session_on(&vault);
    let [amended, retracted, large, single, _] =
        RECORDS.map(|(patient, name)| record(patient, name));
    session.put(&amended, b"first").unwrap();
    session.put(&amended, b"second").unwrap();
    session.put(&amended, b"third").unwrap();
    session.put(&retracted, b"to be retracted").unwrap();
    session.retract(&retracted).unwrap();
    session.put(&large, &content(1, INLINE_MAX + 1)).unwrap();
    session.put(&single, b"only").unwrap();
    // Abandons an upload after its first segment.
    let (interrupted, _) = stage.open_with(|_, point| match point {
        FaultPoint::Commit(operations) if raw::puts(operations).any(|(key, _)| key[0] == b'r') => {
            FaultAction::Stop
        }
        _ => FaultAction::Proceed,
    });
    let abandoned = record("MRN-2", "abandoned");
    let put = session_on(&interrupted).put(&abandoned, &content(2, INLINE_MAX + 1));
    assert!(put.is_err());
    assert_eq!(raw::counts(&stage.storage), [1, 2, 4, 3, 2, 1]);
    raw::objects(&stage.storage)
}

/// Opens the vault and returns the results of all operations that read.
fn answers(stage: &Stage) -> Answers {
    answers_about(stage, ids())
}

fn answers_about(stage: &Stage, ids: impl Iterator<Item = RecordId>) -> Answers {
    match stage.options().open(stage.shared(), &Fixed(1)) {
        Ok(vault) => answers_of(&vault, ids),
        Err(error) => BTreeMap::from([("open".to_owned(), Err(error))]),
    }
}

fn answers_of(vault: &Vault, ids: impl Iterator<Item = RecordId>) -> Answers {
    let session = session_on(vault);
    let slots = vault.slots().map(|slots| slots.len().to_string());
    let mut answers = Answers::from([("slots".to_owned(), slots)]);
    for id in ids {
        let mut note = |verb: &str, answer| {
            answers.insert(format!("{} {verb}", id.name()), answer);
        };
        let bytes = |found: Option<chartlock::Record>| match found {
            Some(record) => fingerprint(&record[..]),
            None => "absent".to_owned(),
        };
        note("get", session.get(&id).map(bytes));
        for version in 1..=4 {
            let verb = format!("version {version}");
            note(&verb, session.get_version(&id, version).map(bytes));
        }
        let history = session.history(&id).map(|infos| {
            fingerprint(
                infos
                    .iter()
                    .map(|info| (info.version(), info.length()))
                    .collect::<Vec<_>>(),
            )
        });
        note("history", history);
    }
    for patient in ["MRN-1", "MRN-2", "MRN-3"] {
        let listed = session.list(&subject(patient)).and_then(|infos| {
            infos
                .map(|info| info.map(|info| (info.name().to_owned(), info.version())))
                .collect()
        });
        let listed = listed.map(|listed: BTreeSet<_>| fingerprint(listed));
        answers.insert(format!("list {patient}"), listed);
    }
    let subjects = session.subjects().unwrap();
    let subjects = subjects.map(|subject| subject.map(|subject| subject.identifier().to_owned()));
    let subjects = subjects.collect::<Result<BTreeSet<_>, _>>();
    answers.insert("subjects".to_owned(), subjects.map(fingerprint));
    answers
}

/// The effect of an alteration on reads.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct TamperOutcome {
    /// Errors of the operations that failed.
    failed: BTreeSet<String>,
    /// Operations that succeeded but returned a different result.
    changed: BTreeSet<String>,
}

fn outcome(original: &Answers, now: &Answers) -> TamperOutcome {
    let mut outcome = TamperOutcome::default();
    for (verb, answer) in now {
        match answer {
            answer if original.get(verb) == Some(answer) => {}
            Err(error) => {
                assert!(
                    is_failure_class(error),
                    "{verb}: {error:?} is not a stated failure"
                );
                outcome.failed.insert(format!("{error:?}"));
            }
            Ok(_) => drop(outcome.changed.insert(verb.clone())),
        }
    }
    outcome
}

impl fmt::Display for TamperOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed =
            |items: &BTreeSet<String>| items.iter().cloned().collect::<Vec<_>>().join(", ");
        match (self.failed.is_empty(), self.changed.is_empty()) {
            (true, true) => f.write_str("unseen"),
            (false, true) => f.write_str(&listed(&self.failed)),
            (true, false) => write!(f, "older: {}", listed(&self.changed)),
            (false, false) => write!(
                f,
                "{}; older: {}",
                listed(&self.failed),
                listed(&self.changed)
            ),
        }
    }
}

/// Tests whether the object belongs to an abandoned upload, which no record references and no
/// operation reads.
fn is_abandoned(objects: &Objects, key: &[u8]) -> bool {
    let named = objects.iter().any(|(record, value)| {
        let segmented = matches!(record[0], b'r' | b'h')
            && Head::parse(value).is_ok_and(|head| head.kind == Kind::Segmented);
        segmented && key[1..].starts_with(&[&record[1..17], &value[96..112]].concat())
    });
    matches!(key[0], b's' | b'w') && !named
}

/// Asserts that an alteration is detected, and that no operation returns other content.
fn assert_detected(objects: &Objects, key: &[u8], outcome: &TamperOutcome) {
    let class = key[0] as char;
    assert!(outcome.changed.is_empty(), "{class}: {outcome}");
    assert!(
        !outcome.failed.is_empty() || is_abandoned(objects, key),
        "{class}: undetected"
    );
}

/// Lists all bits of a value. For a long value, lists only the edges and one bit in every 256
/// bytes, unless `every` is set.
fn bits(length: usize, every: bool) -> impl Iterator<Item = (usize, u8)> {
    let all = length < 4096 || every;
    let edge = move |byte| byte < 16 || byte + 32 > length;
    (0..length)
        .flat_map(|byte| (0..8).map(move |bit| (byte, bit)))
        .filter(move |(byte, bit)| all || edge(*byte) || (byte % 256, *bit) == (0, 0))
        .map(|(byte, bit)| (byte, 1 << bit))
}

#[test]
fn flip_of_every_bit_is_detected() {
    for stage in [Stage::memory(), Stage::memory_other_suite()] {
        let objects = build(&stage);
        let before = raw::all_objects(&stage.storage);
        let original = answers(&stage);
        let mut classes = BTreeMap::<(char, String), u64>::new();
        for (key, value) in &objects {
            let mut altered = value.clone();
            let every = !is_abandoned(&objects, key) && std::env::var_os(EVERY_BIT).is_some();
            for (byte, mask) in bits(value.len(), every) {
                // The second cipher suite differs in the cipher, not in the checks, so one bit of
                // each byte is enough.
                if stage.stride > 1 && mask > 1 {
                    continue;
                }
                if mask == 1 {
                    // Remove the chains of the openings before, because each opening reads all chains.
                    raw::reset(&stage.storage, &before);
                }
                altered[byte] ^= mask;
                raw::put(&stage.storage, key, &altered);
                altered[byte] ^= mask;
                let now = match key[0] {
                    b's' | b'w' => large_only(&stage),
                    // Reading the large record takes longest, and most small records do not affect
                    // the result.
                    b'r' | b'h' if value[2] != SEGMENTED => {
                        answers_about(&stage, ids().filter(|id| id.name() != "large"))
                    }
                    _ => answers(&stage),
                };
                let outcome = outcome(&original, &now);
                assert_detected(&objects, key, &outcome);
                let counted = (key[0] as char, outcome.to_string());
                *classes.entry(counted).or_default() += 1;
            }
            raw::put(&stage.storage, key, value);
        }
        assert_eq!(answers(&stage), original);
        for ((class, found), count) in classes {
            println!("{class} {count:6} bits: {found}");
        }
    }
}

/// Reads the large record, because no other operation reads segments and intents.
fn large_only(stage: &Stage) -> Answers {
    let vault = stage.open();
    let id = record("MRN-1", "large");
    let got = session_on(&vault).get(&id);
    let got = got.map(|found| fingerprint(&found.unwrap()[..]));
    BTreeMap::from([("large get".to_owned(), got)])
}

#[test]
fn truncation_to_every_length_is_detected() {
    let stage = Stage::memory();
    let objects = build(&stage);
    let original = answers(&stage);
    for (key, value) in &objects {
        let step = value.len() / 500 + 1;
        let shorter = (0..value.len())
            .step_by(step)
            .map(|length| value[..length].to_vec());
        let longer = [&value[..], &[0]].concat();
        for altered in shorter.chain([longer]) {
            raw::put(&stage.storage, key, &altered);
            assert_detected(&objects, key, &outcome(&original, &answers(&stage)));
        }
        raw::put(&stage.storage, key, value);
    }
}

#[test]
fn exchange_and_copy_of_every_object_are_detected() {
    for stage in [Stage::memory(), Stage::memory_other_suite()] {
        let objects = build(&stage);
        let original = answers(&stage);
        let all: Vec<_> = objects.iter().collect();
        let (mut exchanged, mut copied) = (0, 0);
        for (index, (left, value)) in all.iter().enumerate() {
            for (right, other) in &all[index + 1..] {
                raw::put(&stage.storage, left, other);
                raw::put(&stage.storage, right, value);
                let seen = outcome(&original, &answers(&stage));
                let either = if is_abandoned(&objects, left) {
                    right
                } else {
                    left
                };
                assert_detected(&objects, either, &seen);
                raw::put(&stage.storage, left, value);
                raw::put(&stage.storage, right, other);
                exchanged += 1;
            }
            for (over, _) in all.iter().filter(|(over, _)| over != left) {
                raw::put(&stage.storage, over, value);
                assert_detected(&objects, over, &outcome(&original, &answers(&stage)));
                raw::put(&stage.storage, over, &objects[*over]);
                copied += 1;
            }
        }
        assert_eq!((exchanged, copied), (13 * 12 / 2, 13 * 12));
        assert_eq!(answers(&stage), original);
    }
}

/// A deleted record without earlier versions and a deleted patient leave no trace outside the
/// journal. All other deletions are detected.
#[test]
fn deletion_of_every_object_has_the_stated_outcome() {
    let stage = Stage::memory();
    let objects = build(&stage);
    let original = answers(&stage);
    let mut seen = BTreeSet::new();
    for (key, value) in &objects {
        raw::delete(&stage.storage, key);
        let outcome = outcome(&original, &answers(&stage));
        raw::put(&stage.storage, key, value);
        if is_abandoned(&objects, key) {
            assert_eq!(outcome, TamperOutcome::default());
            continue;
        }
        seen.insert(format!("{} gone: {outcome}", key[0] as char));
    }
    let all_of = |patient: &str, names: [&str; 3]| -> String {
        let verbs = |name: &str| match name {
            "amended" => vec!["get", "history", "version 1", "version 2", "version 3"],
            "retracted" => vec!["history", "version 1"],
            _ => vec!["get", "history", "version 1"],
        };
        let names = names.into_iter().filter(|name| !name.is_empty());
        let verbs = names.flat_map(|name| {
            verbs(name)
                .into_iter()
                .map(move |verb| format!("{name} {verb}"))
        });
        let all = verbs.chain([format!("list {patient}"), "subjects".to_owned()]);
        all.collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(", ")
    };
    let expected = [
        "v gone: NoVault".to_owned(),
        format!(
            "p gone: older: {}",
            all_of("MRN-1", ["amended", "large", "retracted"])
        ),
        format!("p gone: older: {}", all_of("MRN-2", ["single", "", ""])),
        "r gone: CurrentMissing; older: list MRN-1".to_owned(),
        "r gone: CurrentMissing".to_owned(),
        "r gone: older: large get, large history, large version 1, list MRN-1".to_owned(),
        "r gone: older: list MRN-2, single get, single history, single version 1".to_owned(),
        "h gone: HistoryGap".to_owned(),
        "s gone: SegmentMissing".to_owned(),
    ];
    for line in &seen {
        println!("{line}");
    }
    assert_eq!(seen, BTreeSet::from(expected));
}

/// Rolls every object back to each of its former values. Reads fail, or return an older state that
/// only the journal reveals.
#[test]
fn rollback_of_every_object_has_the_stated_outcome() {
    let stage = Stage::memory();
    let mut snapshots = Vec::new();
    run_history(&stage, &mut |step| {
        snapshots.push((step, raw::objects(&stage.storage)))
    });
    let original = answers(&stage);
    let now = raw::objects(&stage.storage);
    let mut seen = BTreeSet::new();
    for (key, value) in &now {
        let since = snapshots
            .iter()
            .find(|(_, snapshot)| snapshot.contains_key(key))
            .unwrap()
            .0;
        let mut tried = BTreeSet::from([value]);
        for (step, snapshot) in &snapshots {
            let Some(former) = snapshot.get(key).filter(|former| tried.insert(former)) else {
                continue;
            };
            raw::put(&stage.storage, key, former);
            let outcome = outcome(&original, &answers(&stage));
            seen.insert(format!(
                "{} of {since}, as of {step}: {outcome}",
                key[0] as char
            ));
        }
        raw::put(&stage.storage, key, value);
    }
    for line in &seen {
        println!("{line}");
    }
    let expected = ROLLBACKS.map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(expected));
}

/// Runs a history in which each kind of object is replaced in each way.
fn run_history(stage: &Stage, after: &mut dyn FnMut(&'static str)) {
    let [amended, retracted, large, erased, returned] =
        RECORDS.map(|(patient, name)| record(patient, name));
    let vault = stage.create();
    let session = session_on(&vault);
    after("creation");
    session.put(&amended, b"first").unwrap();
    after("put 1");
    session.put(&amended, b"second").unwrap();
    after("put 2");
    session.put(&retracted, b"to be retracted").unwrap();
    after("put to be retracted");
    session.retract(&retracted).unwrap();
    after("retraction");
    session.put(&large, &content(1, INLINE_MAX + 1)).unwrap();
    after("large put");
    vault.add_slot(&Fixed(2)).unwrap();
    after("second slot");
    vault.rotate_subject_key(amended.subject()).unwrap();
    after("patient rotation");
    session.put(&amended, b"third").unwrap();
    after("put 3");
    session.put(&erased, b"to be erased").unwrap();
    session.put(&returned, b"of the former chart").unwrap();
    after("other patients");
    vault.rotate_master_key().unwrap();
    after("master rotation");
    vault.reencrypt_subject(amended.subject()).unwrap();
    after("re-encryption");
    session
        .erase_subject(erased.subject(), "asked for")
        .unwrap();
    session
        .erase_subject(returned.subject(), "asked for")
        .unwrap();
    after("erasures");
    session.reopen_chart(returned.subject()).unwrap();
    after("return");
    session.put(&returned, b"of the new chart").unwrap();
    session.put(&amended, b"fourth").unwrap();
    after("put 4");
}

/// Expected outcomes of all rollbacks. Each object is identified by the step that first wrote the
/// object.
///
/// "older" lists the operations that return an older state. The causes are a former current version
/// under an existing key, the slots of an old header, and an erased patient's former entry while
/// its master key exists.
const ROLLBACKS: [&str; 24] = [
    "h of put 2, as of patient rotation: UnknownPatientKey",
    "h of put 2, as of put 2: UnknownPatientKey",
    "h of put 3, as of put 3: UnknownPatientKey",
    "h of retraction, as of patient rotation: UnknownPatientKey",
    "h of retraction, as of retraction: UnknownPatientKey",
    "p of other patients, as of erasures: Erased; older: subjects",
    "p of other patients, as of master rotation: older: list MRN-2, single get, single history, single version 1, single version 2, single version 3, single version 4, subjects",
    "p of other patients, as of master rotation: older: list MRN-3, returned get, returned history, returned version 1",
    "p of other patients, as of other patients: UnknownMasterKey",
    "p of put 1, as of master rotation: UnknownPatientKey",
    "p of put 1, as of patient rotation: UnknownMasterKey",
    "p of put 1, as of put 1: UnknownMasterKey",
    "r of large put, as of large put: UnknownPatientKey",
    "r of large put, as of patient rotation: UnknownPatientKey",
    "r of put 1, as of patient rotation: UnknownPatientKey",
    "r of put 1, as of put 1: UnknownPatientKey",
    "r of put 1, as of put 2: UnknownPatientKey",
    "r of put 1, as of put 3: UnknownPatientKey",
    "r of put 1, as of re-encryption: older: amended get, amended history, amended version 4, list MRN-1",
    "r of put to be retracted, as of patient rotation: UnknownPatientKey",
    "r of put to be retracted, as of put to be retracted: UnknownPatientKey",
    "r of put to be retracted, as of retraction: UnknownPatientKey",
    "v of creation, as of creation: UnknownMasterKey; older: slots",
    "v of creation, as of second slot: UnknownMasterKey",
];
