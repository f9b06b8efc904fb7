//! All keys of a stored vault, and all keys derived from them for stored objects.

use chartlock::internals::crypto::Place;
use chartlock::internals::envelope::{self, Address, Content, Head};
use chartlock::internals::keys::{Header, Keyring, PatientEntry, open_entry, unwrap};
use chartlock::keys::{Credential, SlotContext};
use chartlock::storage::{FileStorage, Projection};
use hkdf::Hkdf;
use sha2::Sha256;
use sha2::block_api::compress256;

use crate::common::objects::scan_all;
use crate::image::Pieces;

/// The prefix of the names of derived keys.
pub(crate) const DERIVED: &str = "derived";

type Key = [u8; 32];

/// Adds the keys of the vault that `credential` opens.
pub(crate) fn add(storage: &FileStorage, credential: &dyn Credential, pieces: &mut Pieces) {
    let value = scan_all(storage, b"v", Projection::Values).remove(0).1;
    let header = Header::parse(&value).unwrap();
    add_slots(&header, &value, credential, pieces);
    let unlocked = header.unlock(credential).unwrap();
    add_key("root key", unlocked.root.expose(), pieces);
    let ring = slots_end(&value);
    let (frame, salt) = (sha256(&value[..ring]), &value[ring..ring + 32]);
    derive(
        "ring key",
        unlocked.root.expose(),
        &[b"cl1/ring", salt, &frame],
        pieces,
    );
    let vault = Keys {
        header,
        keyring: unlocked.keyring,
    };
    for key in vault.keyring.masters() {
        add_key("master key", key.key.expose(), pieces);
    }
    for key in vault.keyring.name_keys() {
        add_key("name key", key.key.expose(), pieces);
    }
    add_key(
        "journal key",
        vault.keyring.active_journal_key().key.expose(),
        pieces,
    );
    vault.add_pages(storage, pieces);
    for (key, value) in scan_all(storage, b"p", Projection::Values) {
        vault.add_entry(storage, key[1..].try_into().unwrap(), &value, pieces);
    }
}

struct Keys {
    header: Header,
    keyring: Keyring,
}

impl Keys {
    fn add_pages(&self, storage: &FileStorage, pieces: &mut Pieces) {
        for (key, value) in scan_all(storage, b"j", Projection::Values) {
            let number = u32::from_le_bytes(value[4..8].try_into().unwrap());
            let journal = self.keyring.journal_key(number).unwrap().key.expose();
            let sequence = u64::from_be_bytes(key[17..].try_into().unwrap()).to_le_bytes();
            let page = [
                &b"cl1/jrnl"[..],
                &value[8..40],
                self.header.vault(),
                &key[1..17],
                &sequence,
                &value[..8],
            ];
            derive("page key", journal, &page, pieces);
        }
    }

    fn add_entry(&self, storage: &FileStorage, tag: [u8; 16], value: &[u8], pieces: &mut Pieces) {
        let entry = open_entry(value, &self.keyring, self.header.vault(), &tag).unwrap();
        let number = u32::from_le_bytes(value[4..8].try_into().unwrap());
        let master = self.keyring.master(number).unwrap().key.expose();
        let sealed = [
            &b"cl1/pent"[..],
            &value[8..40],
            self.header.vault(),
            &tag,
            &value[..8],
        ];
        derive("entry key", master, &sealed, pieces);
        let Some(chart) = entry.chart() else { return };
        add_key("patient name key", chart.name_key().expose(), pieces);
        for key in chart.keys() {
            add_key("patient key", key.key.expose(), pieces);
        }
        for place in [Place::Current, Place::Earlier] {
            let prefix = [&[place.code()], &chart.id()[..]].concat();
            for (key, value) in scan_all(storage, &prefix, Projection::Values) {
                let record = key[17..33].try_into().unwrap();
                let address = Address {
                    chart: *chart.id(),
                    record,
                };
                add_record(&entry, place, &address, value, pieces);
            }
        }
    }
}

fn add_record(
    entry: &PatientEntry,
    place: Place,
    address: &Address,
    value: Vec<u8>,
    pieces: &mut Pieces,
) {
    let head = Head::parse(&value).unwrap();
    let first: [u8; 112] = value[..112].try_into().unwrap();
    let (number, commitment) = (head.key_number, &head.commitment);
    let patient = &entry.key(number).unwrap().key;
    let wrapped = [
        &b"cl1/wrap"[..],
        &[place.code(), 0, 0, 0],
        &first[4..8],
        commitment,
    ];
    derive("wrap key", patient.expose(), &wrapped, pieces);
    let key = unwrap(
        head.suite,
        patient,
        place,
        number,
        commitment,
        &head.wrapped,
    )
    .unwrap();
    add_key("data key", key.expose(), pieces);
    let Address { chart, record } = address;
    let kind = [first[0], first[1], first[2], 0];
    derive(
        "body key",
        key.expose(),
        &[b"cl1/body", chart, record, &first[8..16], &kind],
        pieces,
    );
    let opened = envelope::open(value, &head, address, None, &key).unwrap();
    if let Content::Segmented { stream, key, .. } = opened.content {
        add_key("stream key", key.expose(), pieces);
        let kind = [first[0], first[1], 0, 0];
        derive(
            "chunk key",
            key.expose(),
            &[b"cl1/strm", chart, &stream, &kind],
            pieces,
        );
    }
}

/// Adds the slot secrets of one credential, and the slot keys derived from them.
fn add_slots(header: &Header, value: &[u8], credential: &dyn Credential, pieces: &mut Pieces) {
    let mut at = 36;
    while at < slots_end(value) {
        let [kind, id] = [at, at + 2].map(|at| u16::from_le_bytes([value[at], value[at + 1]]));
        let length = u32::from_le_bytes(value[at + 4..at + 8].try_into().unwrap()) as usize;
        let (parameters, sealed) = value[at + 8..at + 8 + length].split_at(length - 112);
        at += 8 + length;
        if kind != credential.kind() {
            continue;
        }
        let context = SlotContext::new(*header.vault(), kind, id, header.suite());
        let secret = credential.secret(parameters, &context).unwrap().unwrap();
        add_key("slot secret", secret.expose(), pieces);
        let slot = [
            &b"cl1/slot"[..],
            header.vault(),
            &kind.to_le_bytes(),
            &id.to_le_bytes(),
            &[header.suite().code(), 0, 0, 0],
            &sealed[..32],
            &sha256(parameters),
        ];
        derive("slot key", secret.expose(), &slot, pieces);
    }
}

fn slots_end(header: &[u8]) -> usize {
    (0..header[11]).fold(36, |at, _| {
        at + 8 + u32::from_le_bytes(header[at + 4..at + 8].try_into().unwrap()) as usize
    })
}

fn sha256(bytes: &[u8]) -> Key {
    chartlock::internals::crypto::sha256(&[bytes])
}

/// Adds a key, its padded HMAC blocks and the two HMAC states derived from the key, because the two
/// states together can replace the key.
fn add_key(what: &str, key: &Key, pieces: &mut Pieces) {
    pieces.add(what, key);
    for pad in [0x36, 0x5c] {
        let mut block = [pad; 64];
        block
            .iter_mut()
            .zip(key)
            .for_each(|(byte, key)| *byte ^= key);
        pieces.add(what, &block[..32]);
        let mut state = [
            0x6a09_e667,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ];
        compress256(&mut state, &[block]);
        let state: Vec<u8> = state
            .iter()
            .flat_map(|word: &u32| word.to_ne_bytes())
            .collect();
        pieces.add(&format!("{DERIVED}: HMAC state of {what}"), &state);
    }
}

/// Adds the first 32 bytes that HKDF-Expand derives from `key` and `info`. These bytes are a cipher
/// key, which is also the start of the cipher's key schedule.
fn derive(what: &str, key: &Key, info: &[&[u8]], pieces: &mut Pieces) {
    let mut derived = [0; 32];
    let hkdf = Hkdf::<Sha256>::from_prk(key).unwrap();
    hkdf.expand_multi_info(info, &mut derived).unwrap();
    pieces.add(&format!("{DERIVED}: {what}"), &derived);
}
