//! Checks of the clinic example on the sample documents of the repository. The checks cover each
//! document's patient, the content of every record, and the absence of plaintext from the storage's
//! files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "common/mod.rs"]
mod common;
#[path = "../examples/clinic/documents.rs"]
mod documents;
#[path = "../examples/clinic/patients.rs"]
mod patients;
#[path = "../examples/clinic/scan.rs"]
mod scan;

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use chartlock::keys::Passphrase;
use chartlock::storage::Storage;
use chartlock::{
    Actor, CipherSuite, FileStorage, MemoryStorage, Purpose, Subject, SubjectKind, Vault,
    VaultOptions,
};
use documents::{Documents, Record};

type Outcome<T> = Result<T, Box<dyn Error>>;

const WORDS: &str = "a passphrase of the clinic test";

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn documents() -> Documents {
    Documents::below(&sample()).unwrap()
}

fn passphrase() -> Passphrase {
    common::passphrase(WORDS)
}

fn seal(documents: &Documents, storage: impl Storage + 'static, suite: CipherSuite) -> Vault {
    let options = VaultOptions::new().cipher_suite(suite);
    let vault = options.create(storage, &passphrase()).unwrap();
    let session = vault.session(Actor::new("test").unwrap(), Purpose::SystemAdministration);
    let records = documents.records.iter();
    let puts = records.map(|record| (&record.id, documents.document(record)));
    let outcomes = session.put_many(puts).unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(1)));
    vault
}

fn compare(documents: &Documents, vault: &Vault) {
    let session = vault.session(Actor::new("test").unwrap(), Purpose::SystemAdministration);
    for record in &documents.records {
        let stored = session.get(&record.id).unwrap().unwrap();
        assert!(stored[..] == *documents.content(record));
        assert_eq!(stored.info().content_type(), Some(record.content_type));
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn sample_documents_match_size_in_provenance_file() {
    let provenance = fs::read_to_string(sample().join("PROVENANCE.md")).unwrap();
    let files = files(&sample());
    let documents = files.iter().filter(|path| !path.ends_with("PROVENANCE.md"));
    let sizes: Vec<u64> = documents
        .map(|path| path.metadata().unwrap().len())
        .collect();
    let (number, size) = (sizes.len(), sizes.iter().sum::<u64>());
    assert!(size < 400_000);
    let size = format!("{},{:03}", size / 1000, size % 1000);
    assert!(provenance.contains(&format!("{number} files, {size} bytes")));
}

/// Returns the subject of the record that contains the whole file at this path.
fn whose<'a>(documents: &'a Documents, path: &str) -> &'a Subject {
    let records = documents.records.iter();
    let mut of_file = records.filter(|record| record.id.name() == path);
    of_file.next().unwrap().id.subject()
}

#[test]
fn each_sample_document_is_filed_under_its_patient() {
    let documents = documents();
    let expected = [
        ("hl7v2/hl7v2-fhir-bridge/adt_a04_v23_latin1.hl7", "C-55123"),
        ("hl7v2/simple-hl7/adt.hl7", "454721"),
        ("dicom/MR_small.dcm", "4MR1"),
        ("dicom/rtplan.dcm", "id00001"),
        ("dicom/series-98892003/MR1-4919.dcm", "98890234"),
        ("ccda/C-CDA_R2-1_CCD.xml", "2.16.840.1.113883.4.1^444222222"),
        (
            "fhir/synthea-es/eprescription/Maite_Romero_Gonzalez_e91510dd_eprescription.json",
            "882d4721-16e8-447e-b209-953ccffb33df",
        ),
    ];
    for (path, patient) in expected {
        assert_eq!(whose(&documents, path), &Subject::patient(patient).unwrap());
    }
    // These files have no patient identifier, or an empty identifier.
    for path in [
        "hl7v2/hl7-parser/sample_adt_a01_encoded.hl7",
        "dicom/reportsi.dcm",
    ] {
        assert_eq!(whose(&documents, path).kind(), SubjectKind::Organization);
    }
    let arlen = Subject::patient("e260e9c4-5f1a-43b6-b6fe-b13a2412b67e").unwrap();
    let of_arlen = |record: &&Record| *record.id.subject() == arlen;
    // The file has 241 lines. Six lines are resources without a patient: two organizations, one
    // location, one practitioner, one practitioner role and one provenance.
    assert_eq!(documents.records.iter().filter(of_arlen).count(), 235);
}

#[test]
fn sample_records_equal_parts_of_their_files() {
    let documents = documents();
    let mut sealed: BTreeMap<&str, u64> = BTreeMap::new();
    for record in &documents.records {
        let content = documents.content(record);
        *sealed.entry(record.format.label()).or_default() += content.len() as u64;
        if record.format.label() == "fhir" {
            let resource: serde_json::Value = serde_json::from_slice(content).unwrap();
            assert!(resource["resourceType"].is_string());
        }
    }
    for file in &documents.files {
        *sealed.get_mut(file.format.label()).unwrap() -= match file.format.label() {
            "fhir" => 0,
            _ => file.content.len() as u64,
        };
    }
    sealed.remove("fhir");
    assert!(sealed.values().all(|left| *left == 0));
    let names: HashSet<_> = documents.records.iter().map(|record| &record.id).collect();
    assert_eq!(names.len(), documents.records.len());
    assert!(
        documents
            .records
            .iter()
            .any(|record| documents.content(record).len() > 65_536)
    );
}

#[test]
fn sample_records_under_each_suite_survive_key_rotation() {
    let documents = documents();
    for suite in [CipherSuite::Aes256Gcm, CipherSuite::ChaCha20Poly1305] {
        let vault = seal(&documents, MemoryStorage::new(), suite);
        compare(&documents, &vault);
        vault.rotate_master_key().unwrap();
        let report = vault.reencrypt().unwrap();
        assert_eq!(report.reencrypted, documents.records.len() as u64);
        compare(&documents, &vault);
        assert_eq!(vault.key_usage().unwrap().under_former_keys, 0);
    }
}

#[test]
fn storage_files_contain_no_plaintext_of_documents() {
    let documents = documents();
    let scratch = tempfile::tempdir().unwrap();
    let [directory, empty] = ["vault", "empty"].map(|name| scratch.path().join(name));
    let vault = seal(
        &documents,
        FileStorage::open(&directory).unwrap(),
        CipherSuite::default(),
    );
    vault.rotate_master_key().unwrap();
    drop(vault);
    Vault::create(FileStorage::open(&empty).unwrap(), &passphrase()).unwrap();

    let findings = scan::search(&documents, WORDS, &directory, &empty).unwrap();
    assert_eq!(findings.found, []);
    assert!(findings.storage_bytes > documents.record_bytes());
    // The search covers every file, record name and patient identifier, and the passphrase. Short
    // names could match by chance, so the search only counts them.
    assert!(findings.inputs > documents.files.len() + findings.names);
    assert!(findings.input_bytes > documents.file_bytes());
    assert!(findings.names > 800 && findings.short_names < 10);
    assert!(findings.planted.0 > 800);
    assert_eq!(findings.planted.0, findings.planted.1);

    // As a control, the search must find a planted 12-byte part of a document and a planted 7-byte
    // name.
    let message = &documents
        .files
        .iter()
        .find(|file| file.path.ends_with("latin1.hl7"));
    let planted = [&message.unwrap().content[100..112], b"..id00001.."].concat();
    fs::write(directory.join("planted"), planted).unwrap();
    let findings = scan::search(&documents, WORDS, &directory, &empty).unwrap();
    let found: Vec<_> = findings.found.iter().map(|(_, found)| &found[..]).collect();
    assert!(found.contains(&&message.unwrap().content[100..112]));
    assert!(found.contains(&b"id00001".as_slice()));
    assert_eq!(found.len(), 2);
}
