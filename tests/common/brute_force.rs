//! Key usage of a vault, counted object by object with the test's own credential.

use std::collections::BTreeMap;

use chartlock::Error;
use chartlock::internals::crypto::PatientTag;
use chartlock::internals::envelope::Head;
use chartlock::internals::keys::{EntryHead, Header, Keyring, PatientEntry, open_entry};
use chartlock::keys::Credential;
use chartlock::storage::Storage;

use super::credential::Fixed;
use super::objects::objects_of;

/// Parses a header and opens its keyring with a credential.
pub(crate) fn header(value: &[u8], credential: &dyn Credential) -> (Header, Keyring) {
    let header = Header::parse(value).unwrap();
    let keyring = header.unlock(credential).unwrap().keyring;
    (header, keyring)
}

pub(crate) fn header_value(storage: &dyn Storage) -> Vec<u8> {
    objects_of(storage, b"v").remove(&b"v"[..]).unwrap()
}

/// Opens every patient entry with the keys of a header.
pub(crate) fn entries(
    storage: &dyn Storage,
    header_value: &[u8],
) -> Vec<(EntryHead, Result<PatientEntry, Error>)> {
    let (header, keyring) = header(header_value, &Fixed(1));
    objects_of(storage, b"p")
        .into_iter()
        .map(|(key, value)| {
            let tag: PatientTag = key[1..].try_into().unwrap();
            let opened = open_entry(&value, &keyring, header.vault(), &tag);
            (EntryHead::parse(&value).unwrap(), opened)
        })
        .collect()
}

/// Number of objects under each key, by key number.
pub(crate) type Counts = BTreeMap<u32, u64>;

/// Key usage of a storage, counted object by object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BruteForce {
    pub(crate) masters: Counts,
    pub(crate) subjects: u64,
    pub(crate) erased: u64,
    pub(crate) patient_keys: u64,
    pub(crate) records: u64,
    pub(crate) earlier_versions: u64,
    pub(crate) under_former_keys: u64,
    /// The number of versions under each patient key, for each subject with a chart.
    pub(crate) by_subject: BTreeMap<String, Counts>,
}

pub(crate) fn brute_force(storage: &dyn Storage) -> BruteForce {
    let value = header_value(storage);
    let (_, keyring) = header(&value, &Fixed(1));
    let mut usage = BruteForce {
        masters: keyring.masters().map(|key| (key.number, 0)).collect(),
        ..BruteForce::default()
    };
    for (head, entry) in entries(storage, &value) {
        *usage.masters.get_mut(&head.master).unwrap() += 1;
        let entry = entry.unwrap();
        let Some(chart) = entry.chart() else {
            usage.erased += 1;
            continue;
        };
        usage.subjects += 1;
        let mut keys: Counts = chart.keys().map(|key| (key.number, 0)).collect();
        usage.patient_keys += keys.len() as u64;
        for class in [b'r', b'h'] {
            let prefix = [&[class], &chart.id()[..]].concat();
            for value in objects_of(storage, &prefix).values() {
                let number = Head::parse(value).unwrap().key_number;
                *keys.get_mut(&number).unwrap() += 1;
                let count = match class {
                    b'r' => &mut usage.records,
                    _ => &mut usage.earlier_versions,
                };
                *count += 1;
                usage.under_former_keys += u64::from(number != chart.active_key().number);
            }
        }
        let identifier = entry.subject().identifier().to_owned();
        usage.by_subject.insert(identifier, keys);
    }
    usage
}

/// Returns the key usage that the vault reports, as a [`BruteForce`] value.
pub(crate) fn key_usage(vault: &chartlock::Vault) -> BruteForce {
    let usage = vault.key_usage().unwrap();
    assert_eq!(
        (usage.unreadable_versions, usage.unreadable_entries),
        (0, 0)
    );
    let by_number = |counts: &[chartlock::report::KeyCount]| -> Counts {
        let active = counts.iter().filter(|count| count.active).count();
        assert_eq!(active, 1);
        counts.iter().map(|key| (key.number, key.objects)).collect()
    };
    let session = super::session(vault);
    let subjects = session.subjects().unwrap().map(Result::unwrap);
    BruteForce {
        masters: by_number(&usage.masters),
        subjects: usage.subjects,
        erased: usage.erased,
        patient_keys: usage.patient_keys,
        records: usage.records,
        earlier_versions: usage.earlier_versions,
        under_former_keys: usage.under_former_keys,
        by_subject: subjects
            .map(|subject| {
                let counts = vault.subject_key_usage(&subject).unwrap();
                (subject.identifier().to_owned(), by_number(&counts))
            })
            .collect(),
    }
}
