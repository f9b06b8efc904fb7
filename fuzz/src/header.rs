//! Fuzz target for headers.
//!
//! The inputs are raw bytes, hostile slots before a valid keyring, keyring bodies under a valid
//! seal, and modified valid headers. The valid seal lets arbitrary bodies reach the decoder.

use std::sync::OnceLock;

use chartlock::Error;
use chartlock::internals::crypto::CipherSuite;
use chartlock::internals::keys::Header;
use chartlock::keys::Passphrase;

use super::fixed::{
    Fixed, choice, frame, header_value, keyring, keyring_body, plain_keyring_body, root, slot,
    suite,
};
use super::input::Input;

/// The maximum number of edits to one header; more edits find nothing new.
const EDITS: usize = 4;
/// The length of the fixed fields at the end of every slot, in bytes.
const TAIL: usize = 112;

pub fn run(data: &[u8]) {
    let Some((what, data)) = choice(data) else {
        return;
    };
    match what >> 1 & 3 {
        0 => raw(data),
        1 => slots(what, data),
        2 => body(what, data),
        _ => altered(suite(what), &mut Input::new(data)),
    }
}

fn raw(value: &[u8]) {
    let Ok(header) = Header::parse(value) else {
        return;
    };
    // No slot may open, because raw bytes contain no valid seal. Two slots may have the same kind.
    for slot in header.slots() {
        header.unlock(&Fixed(slot.kind)).unwrap_err();
        header.unlock_journal(&Fixed(slot.kind)).unwrap_err();
    }
    let opened = header.open_keyring(&root());
    assert_eq!(opened.unwrap_err(), Error::RootKeyChanged);
}

fn slots(what: u8, data: &[u8]) {
    let Some((count, slots)) = choice(data) else {
        return;
    };
    let suite = suite(what);
    let value = header_value(suite, &frame(suite, count, slots), &plain_keyring_body());
    let Ok(header) = Header::parse(&value) else {
        return;
    };
    let (costs, left) = costs(count, slots);
    let keyring = match header.open_keyring(&root()) {
        Ok(keyring) => keyring,
        // The parser reads the bytes after the slots as the salt and commitment of the keyring.
        Err(error) => {
            assert_eq!(error, Error::RootKeyChanged);
            return assert!(!left.is_empty(), "a valid keyring did not open");
        }
    };
    // Slots must be written back byte for byte, because the commitment covers them. The bytes after them can be
    // former journal keys, which are written anew.
    let next = header.sealed_with(&root(), &keyring, 2).unwrap();
    let length = slots.len() - left.len();
    assert_eq!(next[36..36 + length], slots[..length]);
    if costs.into_iter().all(|cost| cost != Cost::Stretched) {
        let opened = header.unlock(&Passphrase::new("correct horse battery staple"));
        let slots = header.slots();
        let is_of_kind = slots
            .iter()
            .any(|slot| slot.kind == 1 && !slot.journal_only);
        let expected = match is_of_kind {
            true => Error::WrongKey,
            false => Error::NoSlotOfKind,
        };
        assert_eq!(opened.err(), Some(expected));
    }
}

/// The cost of key stretching, from the parameters of a slot.
#[derive(PartialEq)]
enum Cost {
    /// No cost, because the slot has another kind or parameters out of bounds. `Passphrase` skips
    /// such a slot.
    None,
    /// The minimum cost, which is cheap enough for fuzzing.
    Least,
    /// A higher allowed cost, which is too expensive for fuzzing.
    Stretched,
}

/// Returns the cost of each of `count` slots, and the bytes after the slots.
fn costs(count: u8, mut slots: &[u8]) -> (Vec<Cost>, &[u8]) {
    let mut costs = Vec::new();
    for _ in 0..count {
        let (head, rest) = slots.split_first_chunk::<8>().unwrap();
        let length = u32::from_le_bytes(head[4..].try_into().unwrap()) as usize;
        let (parameters, rest) = rest.split_at(length - TAIL);
        costs.push(match head[..2] {
            [1, 0] => cost(parameters),
            _ => Cost::None,
        });
        slots = &rest[TAIL..];
    }
    (costs, slots)
}

fn cost(parameters: &[u8]) -> Cost {
    let number = |place: usize| u32::from_le_bytes(parameters[place..][..4].try_into().unwrap());
    if parameters.len() != 44 {
        return Cost::None;
    }
    match (number(0), number(4), number(8)) {
        (0x2000, 1, 1) => Cost::Least,
        (memory @ 0x2000..=0x10_0000, passes @ 1..=16, 1..=16)
            if u64::from(memory) * u64::from(passes) <= 4 << 20 =>
        {
            Cost::Stretched
        }
        _ => Cost::None,
    }
}

fn body(what: u8, body: &[u8]) {
    let suite = suite(what);
    let value = header_value(suite, &frame(suite, 1, &slot()), body);
    let Ok(header) = Header::parse(&value) else {
        return;
    };
    match header.open_keyring(&root()) {
        Ok(mut keyring) => {
            let again = header.sealed_with(&root(), &keyring, 1).unwrap();
            assert_eq!(
                keyring_body(suite, &again),
                body,
                "the keyring body was encoded differently"
            );
            let slots = keyring.with_slot_names(header.slots()).unwrap();
            let id = slots[0].id;
            keyring.name_slot(id, None, 7).unwrap();
            keyring.keep_slot_names(&slots).unwrap();
            let named = header.sealed_with(&root(), &keyring, 2).unwrap();
            let named = Header::parse(&named).unwrap().open_keyring(&root());
            let named = named.unwrap().with_slot_names(header.slots()).unwrap();
            assert_eq!(named[0].created(), Some(7));
            assert_eq!(named[0].label(), slots[0].label());
        }
        Err(error) => assert!(matches!(error, Error::Malformed | Error::Unsupported)),
    }
}

/// Returns a header with two slots that open the vault, one that opens the journal, and one that no
/// credential opens.
fn valid(suite: CipherSuite) -> &'static [u8] {
    static HEADERS: [OnceLock<Vec<u8>>; 2] = [const { OnceLock::new() }; 2];
    HEADERS[usize::from(suite.code() - 1)].get_or_init(|| {
        let value = header_value(suite, &frame(suite, 1, &slot()), &plain_keyring_body());
        let mut header = Header::parse(&value).unwrap();
        let keyring = keyring();
        header.add_slot(&root(), &Fixed(1), None).unwrap();
        let journal = &keyring.active_journal_key().key;
        header.add_auditor_slot(journal, &Fixed(2), None).unwrap();
        header.add_slot(&root(), &Fixed(3), None).unwrap();
        header.sealed_with(&root(), &keyring, 2).unwrap()
    })
}

/// Checks that no credential opens a modified header, and that an auditor's credential opens the
/// right journal key or nothing.
fn altered(suite: CipherSuite, input: &mut Input<'_>) {
    let valid = valid(suite);
    let mut value = valid.to_vec();
    for _ in 0..input.byte() as usize % (EDITS + 1) {
        let edit = input.byte();
        let place = input.number() as usize % (value.len() + 1);
        match edit % 8 {
            0 => value.truncate(place),
            1 => value.insert(place, edit),
            2 => drop(value.splice(place..(place + 9).min(value.len()), [])),
            3 => value[place..]
                .iter_mut()
                .take(1)
                .for_each(|byte| *byte = edit),
            4 => exchange_slots(&mut value, place),
            5 => value
                .iter_mut()
                .skip(8)
                .take(28)
                .for_each(|byte| *byte ^= edit & 8),
            _ => value[place..]
                .iter_mut()
                .take(1)
                .for_each(|byte| *byte ^= 1 << (edit >> 3 & 7)),
        }
    }
    let Ok(header) = Header::parse(&value) else {
        assert_ne!(value, valid);
        return;
    };
    for credential in [1, 3].map(Fixed) {
        match header.unlock(&credential) {
            Ok(unlocked) => {
                assert_eq!(value, valid, "a modified header opened");
                assert_eq!(unlocked.root.expose(), root().expose());
                assert_eq!(unlocked.keyring.active_master().number, 7);
            }
            Err(error) => {
                assert_ne!(value, valid);
                assert!(is_refusal(&error), "{error:?}");
            }
        }
    }
    match header.unlock_journal(&Fixed(2)) {
        Ok((keys, _)) => assert_eq!(keys.active().1.expose(), &[9; 32]),
        Err(error) => {
            assert_ne!(value, valid);
            assert!(is_refusal(&error), "{error:?}");
        }
    }
}

/// Swaps two of the four slots. All slots have the same size.
fn exchange_slots(value: &mut [u8], places: usize) {
    let size = slot().len();
    let (one, other) = (places % 4, places / 4 % 4);
    if let Some(slots) = value.get_mut(36..36 + 4 * size)
        && one != other
    {
        let (left, right) = slots.split_at_mut(one.max(other) * size);
        left[one.min(other) * size..][..size].swap_with_slice(&mut right[..size]);
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::WrongKey | Error::NoSlotOfKind | Error::HeaderDamaged
    )
}
