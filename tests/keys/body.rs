//! Sealed bodies of keyrings and patient entries. The modules `mirror` and `reseal`, a second
//! implementation of the format, read and write these bodies. The library must refuse every body
//! that the format does not allow.

use chartlock::Error;
use chartlock::internals::keys::{EntryState, Header, PatientEntry};
use proptest::prelude::*;

use crate::fixtures::*;
use crate::mirror::{self, Chart, Entry, Hold, Key, Keyring, PatientKey, State};
use crate::reseal;

fn read_keyring(vault: &Vault) -> Keyring {
    let body = mirror::keyring_body(&vault.value, &vault.root);
    wincode::deserialize_exact(&body).unwrap()
}

/// Seals a keyring body with the writer in `reseal`, and parses the resulting header.
fn header_of(vault: &Vault, body: &[u8]) -> Header {
    let value = reseal::with_keyring_body(&vault.value, &vault.root, body);
    Header::parse(&value).unwrap()
}

fn refused_keyring(change: impl FnOnce(&mut Keyring)) -> Error {
    let vault = vault(SUITES[0]);
    let mut keyring = read_keyring(&vault);
    keyring.masters.push(key(1, 1));
    let header = header_of(&vault, &wincode::serialize(&keyring).unwrap());
    header.unlock(&Fixed(1)).unwrap();
    change(&mut keyring);
    let header = header_of(&vault, &wincode::serialize(&keyring).unwrap());
    header.unlock(&Fixed(1)).unwrap_err()
}

fn key(number: u32, state: u32) -> Key {
    Key {
        number,
        state,
        created: -1,
        key: [number as u8; 32],
    }
}

struct Sealed {
    vault: Vault,
    value: Vec<u8>,
}

impl Sealed {
    fn new() -> Self {
        let vault = vault(SUITES[0]);
        let value = vault.seal(&mut PatientEntry::new(subject(), NOW).unwrap());
        Self { vault, value }
    }

    fn read(&self, value: &[u8]) -> Entry {
        let master = &self.vault.keyring.active_master().key;
        let tag = self.vault.tag(&subject());
        let body = mirror::entry_body(value, master, self.vault.id(), &tag);
        wincode::deserialize_exact(&body).unwrap()
    }

    fn open(&self, body: &[u8]) -> Result<PatientEntry, Error> {
        let master = &self.vault.keyring.active_master().key;
        let (id, tag) = (self.vault.id(), self.vault.tag(&subject()));
        let value = reseal::with_entry_body(&self.value, master, id, &tag, body);
        self.vault.open(&value, &subject())
    }

    fn changed(&self, change: impl FnOnce(&mut Entry)) -> Result<PatientEntry, Error> {
        let mut entry = self.read(&self.value);
        change(&mut entry);
        self.open(&wincode::serialize(&entry).unwrap())
    }
}

#[test]
fn second_implementation_reads_keyring() {
    let mut vault = vault(SUITES[1]);
    let former = vault.keyring.active_master().number;
    vault.keyring.add_master(NOW + 1).unwrap();
    vault.store();
    let read = read_keyring(&vault);
    let (active, inactive) = (&read.masters[0], &read.masters[1]);
    let expected = vault.keyring.active_master();
    assert_eq!(read.schema, 1);
    assert_eq!((active.number, active.state), (expected.number, 0));
    assert_eq!(
        (active.created, &active.key),
        (NOW + 1, expected.key.expose())
    );
    assert_eq!((inactive.number, inactive.state), (former, 1));
    assert_eq!((read.name_keys.len(), read.journal_keys.len()), (1, 1));
    assert_eq!(read.extensions, []);
    vault.keyring.destroy_master(former).unwrap();
    vault.store();
    let retired = (1, former.to_le_bytes().to_vec());
    assert_eq!(read_keyring(&vault).extensions, [retired]);
}

#[test]
fn second_implementation_reads_patient_entry() {
    let sealed = Sealed::new();
    let mut entry = sealed.vault.open(&sealed.value, &subject()).unwrap();
    let read = sealed.read(&sealed.value);
    let chart = entry.chart().unwrap();
    let key = chart.active_key();
    let expected = Entry {
        schema: 1,
        sequence: 1,
        generation: 1,
        state: State::Live,
        kind: 1,
        identifier: "MRN-1042".into(),
        charts: vec![Chart {
            id: *chart.id(),
            name_key: *chart.name_key().expose(),
            state: 0,
            created: NOW,
            keys: vec![PatientKey {
                number: key.number,
                compartment: 0,
                state: 0,
                created: NOW,
                key: *key.key.expose(),
            }],
        }],
        moving_from: 0,
        dead_charts: vec![],
        holds: vec![],
        retention: None,
        extensions: vec![],
    };
    assert_eq!(read, expected);
    let chart = entry.begin_erasure(NOW).unwrap();
    let read = sealed.read(&sealed.vault.seal(&mut entry));
    assert_eq!(
        (read.state, read.charts),
        (State::Erasing { chart }, vec![])
    );
    entry.finish_erasure().unwrap();
    let read = sealed.read(&sealed.vault.seal(&mut entry));
    assert_eq!((read.state, read.dead_charts), (State::Erased, vec![chart]));
}

#[test]
fn unknown_body_extensions_are_kept_below_0x8000_and_refused_above() {
    let mut vault = vault(SUITES[0]);
    let mut keyring = read_keyring(&vault);
    keyring.extensions = vec![(0, vec![]), (3, vec![7; 9]), (0x7fff, vec![1])];
    vault.header = header_of(&vault, &wincode::serialize(&keyring).unwrap());
    vault.keyring = vault.header.unlock(&Fixed(1)).unwrap().keyring;
    let former = vault.keyring.active_master().number;
    vault.keyring.add_master(NOW).unwrap();
    vault.keyring.destroy_master(former).unwrap();
    vault.store();
    let retired = (1, former.to_le_bytes().to_vec());
    keyring.extensions.insert(1, retired);
    assert_eq!(read_keyring(&vault).extensions, keyring.extensions);
    let critical = |keyring: &mut Keyring| keyring.extensions.push((0x8000, vec![]));
    assert_eq!(refused_keyring(critical), Error::Unsupported);

    let sealed = Sealed::new();
    let mut entry = (sealed.changed(|entry| entry.extensions.push((0x7fff, vec![3; 70])))).unwrap();
    entry.rotate_key(NOW).unwrap();
    entry.destroy_inactive().unwrap();
    let read = sealed.read(&sealed.vault.seal(&mut entry));
    assert_eq!(read.extensions.len(), 2);
    assert_eq!(read.extensions[1], (0x7fff, vec![3; 70]));
    let critical = sealed.changed(|entry| entry.extensions.push((0xffff, vec![])));
    assert_eq!(critical.unwrap_err(), Error::Unsupported);
}

#[test]
fn legal_holds_aliases_and_retention_survive_resealing() {
    let sealed = Sealed::new();
    let hold = Hold {
        id: 4,
        since: NOW,
        reason: "subpoena".into(),
    };
    let mut entry = sealed
        .changed(|entry| {
            entry.holds.push(hold.clone());
            entry.retention = Some(NOW);
        })
        .unwrap();
    let read = sealed.read(&sealed.vault.seal(&mut entry));
    assert_eq!((read.holds, read.retention), (vec![hold], Some(NOW)));
    let mut alias = sealed
        .changed(|entry| {
            entry.charts.clear();
            entry.state = State::Alias {
                kind: 1,
                identifier: "MRN-7".into(),
            };
        })
        .unwrap();
    let target = crate::common::subject("MRN-7");
    assert!(matches!(alias.state(), EntryState::Alias(other) if *other == target));
    assert_eq!(alias.rotate_key(NOW), Err(Error::Unsupported));
    assert_eq!(alias.begin_erasure(NOW), Err(Error::Unsupported));
    assert_eq!(alias.reopen(NOW), Err(Error::Unsupported));
    let read = sealed.read(&sealed.vault.seal(&mut alias));
    assert!(matches!(read.state, State::Alias { .. }));
}

/// Earlier releases stored identifiers without a visible character, which apps can no longer construct.
#[test]
fn stored_identifier_without_visible_character_opens() {
    for invisible in [" ", "\u{200b}", "\u{202e}"] {
        let alias = Sealed::new().changed(|entry| {
            entry.charts.clear();
            entry.state = State::Alias {
                kind: 1,
                identifier: invisible.into(),
            };
        });
        let alias = alias.unwrap();
        assert!(matches!(alias.state(), EntryState::Alias(it) if it.identifier() == invisible));
        assert!(chartlock::Subject::patient(invisible).is_err());
    }
}

#[test]
fn entry_under_former_name_key_opens() {
    let mut sealed = Sealed::new();
    let tag = sealed.vault.tag(&subject());
    let mut keyring = read_keyring(&sealed.vault);
    keyring.name_keys[0].state = 1;
    keyring.name_keys.insert(0, key(5, 0));
    let header = header_of(&sealed.vault, &wincode::serialize(&keyring).unwrap());
    sealed.vault.keyring = header.open_keyring(&sealed.vault.root).unwrap();
    assert_ne!(sealed.vault.tag(&subject()), tag);
    let id = sealed.vault.id();
    chartlock::internals::keys::open_entry(&sealed.value, &sealed.vault.keyring, id, &tag).unwrap();
}

#[test]
fn keyring_body_violating_format_is_refused() {
    use Error::{Malformed, Unsupported};
    type Change = fn(&mut Keyring);
    let changes: [(Change, Error); 14] = [
        (|keyring| keyring.schema = 0, Unsupported),
        (|keyring| keyring.schema = 2, Unsupported),
        (|keyring| keyring.masters[0].state = 2, Unsupported),
        (|keyring| keyring.masters.clear(), Malformed),
        (|keyring| keyring.name_keys.clear(), Malformed),
        (|keyring| keyring.journal_keys.clear(), Malformed),
        (|keyring| keyring.masters[0].state = 1, Malformed),
        (|keyring| keyring.masters[1].state = 0, Malformed),
        (|keyring| keyring.masters.swap(0, 1), Malformed),
        (
            |keyring| keyring.masters.extend([key(2, 1), key(2, 1)]),
            Malformed,
        ),
        (
            |keyring| keyring.masters[1].number = keyring.masters[0].number,
            Malformed,
        ),
        (
            |keyring| keyring.extensions = vec![(2, vec![]), (2, vec![])],
            Malformed,
        ),
        (
            |keyring| keyring.extensions = vec![(3, vec![]), (2, vec![])],
            Malformed,
        ),
        (
            |keyring| keyring.extensions = vec![(1, vec![0; 5])],
            Malformed,
        ),
    ];
    for (n, (change, expected)) in changes.into_iter().enumerate() {
        assert_eq!(refused_keyring(change), expected, "change {n}");
    }
}

#[test]
fn entry_body_violating_format_is_refused() {
    use Error::{Malformed, NotAuthentic, Unsupported};
    type Change = fn(&mut Entry);
    let changes: [(Change, Error); 18] = [
        (|entry| entry.schema = 0, Unsupported),
        (|entry| entry.schema = 2, Unsupported),
        (|entry| entry.state = State::Later, Unsupported),
        (|entry| entry.kind = 3, Unsupported),
        (|entry| entry.charts[0].state = 2, Unsupported),
        (|entry| entry.charts[0].keys[0].compartment = 1, Unsupported),
        (|entry| entry.moving_from = 1, Unsupported),
        (
            |entry| entry.charts.push(entry.charts[0].clone()),
            Unsupported,
        ),
        (|entry| entry.charts.clear(), Malformed),
        (|entry| entry.charts[0].keys.clear(), Malformed),
        (|entry| entry.charts[0].keys[0].state = 1, Malformed),
        (|entry| entry.state = State::Erased, Malformed),
        (
            |entry| entry.state = State::Erasing { chart: [0; 16] },
            Malformed,
        ),
        (|entry| entry.identifier.clear(), Malformed),
        (|entry| entry.identifier.push('\n'), Malformed),
        (|entry| entry.identifier = "x".repeat(256), Malformed),
        (|entry| entry.identifier.push('x'), NotAuthentic),
        (|entry| entry.kind = 2, NotAuthentic),
    ];
    let sealed = Sealed::new();
    for (n, (change, expected)) in changes.into_iter().enumerate() {
        assert_eq!(sealed.changed(change).unwrap_err(), expected, "change {n}");
    }
}

#[test]
fn truncated_or_extended_sealed_body_is_malformed() {
    let sealed = Sealed::new();
    let body = wincode::serialize(&sealed.read(&sealed.value)).unwrap();
    sealed.open(&body).unwrap();
    for length in 0..body.len() {
        let cut = sealed.open(&body[..length]).unwrap_err();
        assert_eq!(cut, Error::Malformed, "{length}");
    }
    let grown = [body.as_slice(), &[0]].concat();
    assert_eq!(sealed.open(&grown).unwrap_err(), Error::Malformed);
}

#[test]
fn sealed_body_with_huge_counts_is_malformed() {
    let sealed = Sealed::new();
    let body = wincode::serialize(&sealed.read(&sealed.value)).unwrap();
    // These are the offsets of the identifier's length, and of the counts of charts, keys, dead
    // charts, holds and extensions.
    for offset in [23, 39, 107, 166, 174, 183] {
        for count in [u64::MAX, u64::MAX / 2, 1 << 40, 1 << 22, 1 << 16] {
            let mut body = body.clone();
            assert!(u64::from_le_bytes(body[offset..offset + 8].try_into().unwrap()) < 9);
            body[offset..offset + 8].copy_from_slice(&count.to_le_bytes());
            assert_eq!(sealed.open(&body).unwrap_err(), Error::Malformed);
        }
    }
}

#[test]
fn sealed_body_of_maximum_length_reopens_unchanged() {
    let sealed = Sealed::new();
    // Use legal holds, because a hold has the lowest ratio of stored bytes to memory.
    let hold = Hold {
        id: 0,
        since: 0,
        reason: String::new(),
    };
    let fill = |count| sealed.changed(|entry| entry.holds = vec![hold.clone(); count]);
    fill((1024 * 1024 - 191) / 24).unwrap();
    let mut entry = sealed.vault.open(&sealed.value, &subject()).unwrap();
    assert_eq!(
        fill((1024 * 1024 - 191) / 24 + 1).unwrap_err(),
        Error::Malformed
    );
    // Resealing an unchanged body of the maximum length must succeed.
    let rest = (7, vec![1; 1024 * 1024 - 191 - 2 - 8]);
    let full = sealed.changed(|entry| entry.extensions = vec![rest]);
    let full = sealed.vault.seal(&mut full.unwrap());
    assert_eq!(full.len(), 88 + 1024 * 1024);
    sealed.vault.open(&full, &subject()).unwrap();
    // Sealing must refuse a body that opening would refuse.
    for _ in 0..1024 * 1024 / 50 {
        entry.rotate_key(NOW).unwrap();
    }
    let (master, tag) = (
        sealed.vault.keyring.active_master(),
        sealed.vault.tag(&subject()),
    );
    let id = sealed.vault.id();
    let refused =
        chartlock::internals::keys::seal_entry(SUITES[0], master, id, &tag, 1, &mut entry);
    assert_eq!(refused.unwrap_err(), Error::TooLarge);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bodies_are_refused(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let sealed = Sealed::new();
        let mut body = vec![1, 0];
        body.extend(&noise);
        prop_assert!(sealed.open(&body).is_err());
        let header = header_of(&sealed.vault, &body);
        prop_assert!(header.unlock(&Fixed(1)).is_err());
    }

    #[test]
    fn arbitrary_changes_of_body_never_panic(offset in 0..191_usize, byte: u8) {
        let sealed = Sealed::new();
        let mut body = wincode::serialize(&sealed.read(&sealed.value)).unwrap();
        body[offset] = byte;
        if let Ok(mut entry) = sealed.open(&body) {
            // Resealing changes only the sequence and the generation, which are in the first 18
            // bytes.
            let value = sealed.vault.seal(&mut entry);
            let again = wincode::serialize(&sealed.read(&value)).unwrap();
            prop_assert_eq!(&again[18..], &body[18..]);
        }
    }

    #[test]
    fn arbitrary_headers_are_refused(noise in proptest::collection::vec(any::<u8>(), 0..600), slots in 0..20_u8) {
        let mut value = b"\x89CLK\r\n\x1a\n\x01\x00\x01".to_vec();
        value.push(slots);
        value.extend(&noise);
        prop_assert!(Header::parse(&value).is_err());
    }
}
