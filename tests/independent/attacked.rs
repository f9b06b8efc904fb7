//! Verification of the vaults that the independent reader attacked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use chartlock::keys::KeyFile;
use chartlock::storage::{Expect, MemoryStorage, Storage, Transaction, archive};
use chartlock::verify::VerifyReport;
use chartlock::{Error, VaultOptions};
use serde_json::Value;

use crate::common::objects::{Objects, objects_of};

/// Environment variable that CI sets once the attacks are written.
const REQUIRED: &str = "CHARTLOCK_ATTACKED";

/// Kinds of findings, by the part of the report that contains them.
type Findings = BTreeMap<String, BTreeSet<String>>;

/// A vault that the test wrote, and its credential.
struct Fresh {
    objects: Objects,
    key_file: KeyFile,
}

impl Fresh {
    fn read(directory: &Path) -> Self {
        let archived = fs::read(directory.join("vault.clarchive")).unwrap();
        let storage = MemoryStorage::new();
        archive::read(std::io::Cursor::new(archived), &storage).unwrap();
        let text = fs::read_to_string(directory.join("key file")).unwrap();
        Self {
            objects: objects_of(&storage, b""),
            key_file: KeyFile::from_text(&text).unwrap(),
        }
    }

    /// Returns the findings on the vault after a move.
    fn verify(&self, attack: &Value) -> Result<VerifyReport, Error> {
        let mut objects = self.objects.clone();
        for (key, value) in attack["changes"].as_object().unwrap() {
            let key = bytes(key);
            match value.as_str() {
                Some(value) => objects.insert(key, bytes(value)),
                None => objects.remove(&key),
            };
        }
        let storage = Arc::new(MemoryStorage::new());
        let puts = objects
            .into_iter()
            .map(|(key, value)| Transaction::new().put(key, &value[..], Expect::Absent));
        for result in storage.commit(&puts.collect::<Vec<_>>()) {
            result.unwrap();
        }
        let options = VaultOptions::new().without_background();
        options.open(storage, &self.key_file)?.verify(None)
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
    bytes.collect()
}

/// Returns the kinds of all findings of a report.
fn findings(report: &VerifyReport) -> Findings {
    let report = serde_json::to_value(report).unwrap();
    let mut findings = Findings::new();
    for (part, name) in [
        ("journal", "fault"),
        ("records", "kind"),
        ("unattested", "kind"),
    ]
    .into_iter()
    .chain([("entries", "kind"), ("unattested_entries", "kind")])
    {
        let kinds = report[part].as_array().unwrap().iter();
        let kinds: BTreeSet<_> = kinds
            .map(|found| found[name].as_str().unwrap().to_owned())
            .collect();
        if !kinds.is_empty() {
            findings.insert(part.to_owned(), kinds);
        }
    }
    if let Some(kind) = report["header"]["kind"].as_str() {
        findings.insert("header".to_owned(), [kind.to_owned()].into());
    }
    findings
}

/// Returns the parts and kinds of `these` that are not in any of `others`.
fn without(these: &Findings, others: &[&Findings]) -> Vec<String> {
    let pairs = these
        .iter()
        .flat_map(|(part, kinds)| kinds.iter().map(move |kind| (part, kind)));
    let is_in = |part: &String, kind: &String| {
        let mut others = others.iter();
        others.any(|other| other.get(part).is_some_and(|kinds| kinds.contains(kind)))
    };
    pairs
        .filter(|(part, kind)| !is_in(part, kind))
        .map(|(part, kind)| format!("{part}: {kind}"))
        .collect()
}

/// Returns what verification reports otherwise than the attack expects.
fn difference(fresh: &Fresh, attack: &Value) -> Option<String> {
    let expected =
        |part: &str| -> Findings { serde_json::from_value(attack[part].clone()).unwrap() };
    let (must, may) = (expected("must"), expected("may"));
    let name = attack["name"].as_str().unwrap();
    let report = match fresh.verify(attack) {
        Ok(report) => report,
        Err(error) => return Some(format!("{name}: {error:?}")),
    };
    let found = findings(&report);
    let missing = without(&must, &[&found]);
    let surplus = without(&found, &[&must, &may]);
    let differs = !missing.is_empty() || !surplus.is_empty();
    differs.then(|| format!("{name}: lacks {missing:?}, has {surplus:?}"))
}

/// Compares the verification of each attacked vault with the class that the attack expects.
#[test]
fn attacked_vaults_are_reported_as_expected() {
    if std::env::var_os(REQUIRED).is_none() {
        eprintln!("skipped: CI sets {REQUIRED} after `python3 tests/independent attack`");
        return;
    }
    let vaults = Path::new(env!("CARGO_TARGET_TMPDIR")).join("independent");
    let mut tried = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(vaults).unwrap() {
        let directory = entry.unwrap().path();
        let attacks = fs::read_to_string(directory.join("attacks.json")).unwrap();
        let attacks: Vec<Value> = serde_json::from_str(&attacks).unwrap();
        let fresh = Fresh::read(&directory);
        for attack in &attacks {
            tried += 1;
            let difference = difference(&fresh, attack);
            let name = directory.file_name().unwrap().display();
            wrong.extend(difference.map(|difference| format!("{name}: {difference}")));
        }
    }
    assert!(tried > 400, "{tried} attacks");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
