//! What somebody who can write the storage achieves with it: errors, or what the design leaves to
//! the journal, listed here one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use chartlock::internals::envelope::{Head, INLINE_MAX, Kind};
use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{Error, RecordId, Vault};

use crate::common::Fixed;
use crate::raw::{self, Objects};
use crate::stage::{Stage, content, record, session, subject};

/// What each verb that reads answered: a fingerprint of it, or the error.
type Answers = BTreeMap<String, Result<String, Error>>;

const RECORDS: [(&str, &str); 5] = [
    ("MRN-1", "amended"),
    ("MRN-1", "retracted"),
    ("MRN-1", "large"),
    ("MRN-2", "single"),
    ("MRN-3", "returned"),
];

/// Set for the long form, which leaves out no bit of a segment either.
const EVERY_BIT: &str = "CHARTLOCK_EVERY_BIT";

/// The kind byte of a record whose content is in segments.
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

/// A vault of a few records, with each kind of object in it.
fn built(stage: &Stage) -> Objects {
    let vault = stage.create();
    let chart = session(&vault);
    let [amended, retracted, large, single, _] =
        RECORDS.map(|(patient, name)| record(patient, name));
    chart.put(&amended, b"first").unwrap();
    chart.put(&amended, b"second").unwrap();
    chart.put(&amended, b"third").unwrap();
    chart.put(&retracted, b"to be retracted").unwrap();
    chart.retract(&retracted).unwrap();
    chart.put(&large, &content(1, INLINE_MAX + 1)).unwrap();
    chart.put(&single, b"only").unwrap();
    // An upload that broke off after its first segment.
    let (broken, _) = stage.open_with(|_, moment| match moment {
        FaultPoint::Commit(operations) if raw::puts(operations).any(|(key, _)| key[0] == b'r') => {
            FaultAction::Stop
        }
        _ => FaultAction::Proceed,
    });
    let abandoned = record("MRN-2", "abandoned");
    let put = session(&broken).put(&abandoned, &content(2, INLINE_MAX + 1));
    assert!(put.is_err());
    assert_eq!(raw::counts(&stage.storage), [1, 2, 4, 3, 2, 1]);
    raw::objects(&stage.storage)
}

/// Asks every verb that reads, through a vault that is opened for it.
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
    let chart = session(vault);
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
        note("get", chart.get(&id).map(bytes));
        for version in 1..=4 {
            let verb = format!("version {version}");
            note(&verb, chart.get_version(&id, version).map(bytes));
        }
        let history = chart.history(&id).map(|infos| {
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
        let listed = chart.list(&subject(patient)).and_then(|infos| {
            infos
                .map(|info| info.map(|info| (info.name().to_owned(), info.version())))
                .collect()
        });
        let listed = listed.map(|listed: BTreeSet<_>| fingerprint(listed));
        answers.insert(format!("list {patient}"), listed);
    }
    let subjects = chart.subjects().unwrap();
    let subjects = subjects.map(|subject| subject.map(|subject| subject.identifier().to_owned()));
    let subjects = subjects.collect::<Result<BTreeSet<_>, _>>();
    answers.insert("subjects".to_owned(), subjects.map(fingerprint));
    answers
}

/// What an alteration came to.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Outcome {
    /// Classes in which verbs failed.
    failed: BTreeSet<String>,
    /// Verbs that did not fail, and answered otherwise than before.
    others: BTreeSet<String>,
}

fn outcome(truth: &Answers, now: &Answers) -> Outcome {
    let mut outcome = Outcome::default();
    for (verb, answer) in now {
        match answer {
            answer if truth.get(verb) == Some(answer) => {}
            Err(error) => {
                assert!(is_stated(error), "{verb}: {error:?} is no failure class");
                outcome.failed.insert(format!("{error:?}"));
            }
            Ok(_) => drop(outcome.others.insert(verb.clone())),
        }
    }
    outcome
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed =
            |items: &BTreeSet<String>| items.iter().cloned().collect::<Vec<_>>().join(", ");
        match (self.failed.is_empty(), self.others.is_empty()) {
            (true, true) => f.write_str("unseen"),
            (false, true) => f.write_str(&listed(&self.failed)),
            (true, false) => write!(f, "older: {}", listed(&self.others)),
            (false, false) => write!(
                f,
                "{}; older: {}",
                listed(&self.failed),
                listed(&self.others)
            ),
        }
    }
}

/// The failure classes of the format, and what a lost header and an erasure say.
fn is_stated(error: &Error) -> bool {
    use Error::*;
    matches!(
        error,
        Malformed
            | Unsupported
            | UnknownMasterKey
            | UnknownPatientKey
            | NotAuthentic
            | WrongKey
            | HeaderDamaged
            | HeaderRolledBack
            | SegmentMissing
            | CurrentMissing
            | HistoryGap
            | NoVault
            | Erased
    )
}

/// The parts of an upload that broke off: no record names them, so no verb reads them.
fn is_abandoned(objects: &Objects, key: &[u8]) -> bool {
    let named = objects.iter().any(|(record, value)| {
        let segmented = matches!(record[0], b'r' | b'h')
            && Head::parse(value).is_ok_and(|head| head.kind == Kind::Segmented);
        segmented && key[1..].starts_with(&[&record[1..17], &value[96..112]].concat())
    });
    matches!(key[0], b's' | b'w') && !named
}

/// An alteration must not go unseen, and no verb may take it for something else.
fn must_fail(objects: &Objects, key: &[u8], outcome: &Outcome) {
    let class = key[0] as char;
    assert!(outcome.others.is_empty(), "{class}: {outcome}");
    assert!(
        !outcome.failed.is_empty() || is_abandoned(objects, key),
        "{class}: unseen"
    );
}

/// Of a segment's 67 KB one bit in each 256 bytes, and all of its edges, unless asked for all.
fn bits(length: usize, every: bool) -> impl Iterator<Item = (usize, u8)> {
    let all = length < 4096 || every;
    let edge = move |byte| byte < 16 || byte + 32 > length;
    (0..length)
        .flat_map(|byte| (0..8).map(move |bit| (byte, bit)))
        .filter(move |(byte, bit)| all || edge(*byte) || (byte % 256, *bit) == (0, 0))
        .map(|(byte, bit)| (byte, 1 << bit))
}

#[test]
fn every_bit() {
    for stage in [Stage::memory(), Stage::memory_other_suite()] {
        let objects = built(&stage);
        let truth = answers(&stage);
        let mut classes = BTreeMap::<(char, String), u64>::new();
        for (key, value) in &objects {
            let mut altered = value.clone();
            let every = !is_abandoned(&objects, key) && std::env::var_os(EVERY_BIT).is_some();
            for (byte, mask) in bits(value.len(), every) {
                // The other suite differs in the cipher, not in what is checked.
                if stage.stride > 1 && mask > 1 {
                    continue;
                }
                altered[byte] ^= mask;
                raw::put(&stage.storage, key, &altered);
                altered[byte] ^= mask;
                let now = match key[0] {
                    b's' | b'w' => large_only(&stage),
                    // The large record takes longest, and most of the small ones do not touch it.
                    b'r' | b'h' if value[2] != SEGMENTED => {
                        answers_about(&stage, ids().filter(|id| id.name() != "large"))
                    }
                    _ => answers(&stage),
                };
                let outcome = outcome(&truth, &now);
                must_fail(&objects, key, &outcome);
                let counted = (key[0] as char, outcome.to_string());
                *classes.entry(counted).or_default() += 1;
            }
            raw::put(&stage.storage, key, value);
        }
        assert_eq!(answers(&stage), truth);
        for ((class, found), count) in classes {
            println!("{class} {count:6} bits: {found}");
        }
    }
}

/// Segments and intents are read by nothing but this.
fn large_only(stage: &Stage) -> Answers {
    let vault = stage.open();
    let id = record("MRN-1", "large");
    let got = session(&vault).get(&id);
    let got = got.map(|found| fingerprint(&found.unwrap()[..]));
    BTreeMap::from([("large get".to_owned(), got)])
}

#[test]
fn every_length() {
    let stage = Stage::memory();
    let objects = built(&stage);
    let truth = answers(&stage);
    for (key, value) in &objects {
        let step = value.len() / 500 + 1;
        let shorter = (0..value.len())
            .step_by(step)
            .map(|length| value[..length].to_vec());
        let longer = [&value[..], &[0]].concat();
        for altered in shorter.chain([longer]) {
            raw::put(&stage.storage, key, &altered);
            must_fail(&objects, key, &outcome(&truth, &answers(&stage)));
        }
        raw::put(&stage.storage, key, value);
    }
}

#[test]
fn every_exchange_and_every_copy() {
    for stage in [Stage::memory(), Stage::memory_other_suite()] {
        let objects = built(&stage);
        let truth = answers(&stage);
        let all: Vec<_> = objects.iter().collect();
        let (mut exchanged, mut copied) = (0, 0);
        for (index, (left, value)) in all.iter().enumerate() {
            for (right, other) in &all[index + 1..] {
                raw::put(&stage.storage, left, other);
                raw::put(&stage.storage, right, value);
                let seen = outcome(&truth, &answers(&stage));
                let either = if is_abandoned(&objects, left) {
                    right
                } else {
                    left
                };
                must_fail(&objects, either, &seen);
                raw::put(&stage.storage, left, value);
                raw::put(&stage.storage, right, other);
                exchanged += 1;
            }
            for (over, _) in all.iter().filter(|(over, _)| over != left) {
                raw::put(&stage.storage, over, value);
                must_fail(&objects, over, &outcome(&truth, &answers(&stage)));
                raw::put(&stage.storage, over, &objects[*over]);
                copied += 1;
            }
        }
        assert_eq!((exchanged, copied), (13 * 12 / 2, 13 * 12));
        assert_eq!(answers(&stage), truth);
    }
}

/// What a deletion shows, and what only the journal will show: a record without an earlier version,
/// and a patient, are gone without a trace in what is left.
#[test]
fn every_deletion() {
    let stage = Stage::memory();
    let objects = built(&stage);
    let truth = answers(&stage);
    let mut seen = BTreeSet::new();
    for (key, value) in &objects {
        raw::delete(&stage.storage, key);
        let outcome = outcome(&truth, &answers(&stage));
        raw::put(&stage.storage, key, value);
        if is_abandoned(&objects, key) {
            assert_eq!(outcome, Outcome::default());
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

/// Every object, back to each of its own earlier bytes: an error, or the older state that the
/// design leaves to the journal.
#[test]
fn every_rollback() {
    let stage = Stage::memory();
    let mut past = Vec::new();
    happened(&stage, &mut |step| {
        past.push((step, raw::objects(&stage.storage)))
    });
    let truth = answers(&stage);
    let now = raw::objects(&stage.storage);
    let mut seen = BTreeSet::new();
    for (key, value) in &now {
        let since = past
            .iter()
            .find(|(_, then)| then.contains_key(key))
            .unwrap()
            .0;
        let mut tried = BTreeSet::from([value]);
        for (step, then) in &past {
            let Some(former) = then.get(key).filter(|former| tried.insert(former)) else {
                continue;
            };
            raw::put(&stage.storage, key, former);
            let outcome = outcome(&truth, &answers(&stage));
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

/// A history in which each kind of object is replaced in each way.
fn happened(stage: &Stage, after: &mut dyn FnMut(&'static str)) {
    let [amended, retracted, large, erased, returned] =
        RECORDS.map(|(patient, name)| record(patient, name));
    let vault = stage.create();
    let chart = session(&vault);
    after("creation");
    chart.put(&amended, b"first").unwrap();
    after("put 1");
    chart.put(&amended, b"second").unwrap();
    after("put 2");
    chart.put(&retracted, b"to be retracted").unwrap();
    after("put to be retracted");
    chart.retract(&retracted).unwrap();
    after("retraction");
    chart.put(&large, &content(1, INLINE_MAX + 1)).unwrap();
    after("large put");
    vault.add_slot(&Fixed(2)).unwrap();
    after("second slot");
    vault.rotate_subject_key(amended.subject()).unwrap();
    after("patient rotation");
    chart.put(&amended, b"third").unwrap();
    after("put 3");
    chart.put(&erased, b"to be erased").unwrap();
    chart.put(&returned, b"of before").unwrap();
    after("other patients");
    vault.rotate_master_key().unwrap();
    after("master rotation");
    vault.reencrypt_subject(amended.subject()).unwrap();
    after("re-encryption");
    chart.erase_subject(erased.subject(), "asked for").unwrap();
    chart
        .erase_subject(returned.subject(), "asked for")
        .unwrap();
    after("erasures");
    chart.reopen_chart(returned.subject()).unwrap();
    after("return");
    chart.put(&returned, b"of after").unwrap();
    chart.put(&amended, b"fourth").unwrap();
    after("put 4");
}

/// Each object under the step that first wrote it. "older" lists the verbs that answer from before:
/// a record's former current version under a key that lives, a patient's entry of before an erasure
/// while its master key lives, and the slots that an old header names.
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
