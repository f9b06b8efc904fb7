//! Join of the journal and authority keys of two headers.

use chartlock::CipherSuite;
use chartlock::Error;
use chartlock::internals::crypto::RootKey;
use chartlock::internals::journal::{ChainHead, PageId};
use chartlock::internals::keys::{Header, Keyring};

use crate::common::Fixed;

/// A header from which copies of its keyring are opened.
struct Copies {
    header: Header,
    root: RootKey,
}

impl Copies {
    fn of(keyring: &Keyring) -> Self {
        let sealed = Header::create(CipherSuite::Aes256Gcm, keyring, &Fixed(1));
        let (value, root) = sealed.unwrap();
        let header = Header::parse(&value).unwrap();
        Self { header, root }
    }

    fn open(&self) -> Keyring {
        self.header.open_keyring(&self.root).unwrap()
    }
}

fn head(number: u8) -> ChainHead {
    ChainHead {
        page: PageId {
            writer: [number; 16],
            sequence: 1,
        },
        digest: [number; 32],
    }
}

fn rotate(keyring: &mut Keyring, heads: &[u8]) {
    keyring.rotate_journal_keys(1).unwrap();
    let heads = heads.iter().map(|number| head(*number)).collect();
    keyring.close_journal_keys(heads).unwrap();
}

/// Returns the numbers of the journal keys, the active one first.
fn numbers(keyring: &Keyring) -> Vec<u32> {
    let former = keyring.former_journal_keys().map(|key| key.number);
    std::iter::once(keyring.active_journal_key().number)
        .chain(former)
        .collect()
}

/// Returns the bytes of the journal and authority keys.
fn bytes(keyring: &Keyring) -> Vec<[u8; 32]> {
    let journal = numbers(keyring).into_iter();
    let journal = journal.map(|number| *keyring.journal_key(number).unwrap().key.expose());
    let former = keyring.former_authority_keys();
    let authority = std::iter::once(keyring.active_authority_key()).chain(former);
    journal
        .chain(authority.map(|key| *key.key.expose()))
        .collect()
}

#[test]
fn later_keys_become_active_and_masters_stay() {
    let restored = Copies::of(&Keyring::new(0).unwrap());
    let mut later = restored.open();
    rotate(&mut later, &[1]);
    rotate(&mut later, &[2, 3]);
    later.add_master(5).unwrap();
    let mut joined = restored.open();
    assert_eq!(joined.join(&later), Ok(vec![]));
    assert_eq!(bytes(&joined), bytes(&later));
    assert!(joined.closed_heads().eq(later.closed_heads()));
    assert_eq!(joined.masters().count(), 1);
    // The joined keyring is sealed and opened again, with its chain of former keys.
    let copies = Copies::of(&joined);
    assert_eq!(bytes(&copies.open()), bytes(&later));
}

#[test]
fn keys_of_diverged_sides_are_in_order() {
    let mut first = Keyring::new(0).unwrap();
    rotate(&mut first, &[1]);
    let copies = Copies::of(&first);
    for rotations in [1, 2] {
        let (mut restored, mut later) = (copies.open(), copies.open());
        rotate(&mut restored, &[2]);
        for _ in 0..rotations {
            rotate(&mut later, &[3]);
        }
        let (own, theirs) = (numbers(&restored), numbers(&later));
        let unclosed = restored.join(&later).unwrap();
        let newer = &theirs[..rotations];
        let expected = [newer, &own[..1], &own[1..]].concat();
        assert_eq!(numbers(&restored), expected);
        // Only the newest former key can be closing; all others need heads.
        assert_eq!(restored.is_closing(), rotations == 1);
        let needed = if rotations == 1 { &[][..] } else { &own[..1] };
        assert_eq!(unclosed, needed);
        let heads: Vec<_> = restored.closed_heads().copied().collect();
        for number in [1, 2, 3] {
            assert!(heads.contains(&head(number)), "{number}");
        }
        assert_eq!(numbers(&Copies::of(&restored).open()), expected);
    }
}

#[test]
fn keyring_with_former_keys_only_changes_nothing() {
    let copies = Copies::of(&Keyring::new(0).unwrap());
    let (mut restored, old) = (copies.open(), copies.open());
    rotate(&mut restored, &[1]);
    let before = bytes(&restored);
    assert_eq!(restored.join(&old), Ok(vec![]));
    assert_eq!(bytes(&restored), before);
    assert!(restored.closed_heads().eq(&[head(1)]));
}

#[test]
fn keyring_of_another_vault_is_refused() {
    let mut keyring = Keyring::new(0).unwrap();
    let before = bytes(&keyring);
    let mut other = Keyring::new(0).unwrap();
    assert_eq!(keyring.join(&other), Err(Error::ForeignHeader));
    rotate(&mut other, &[1]);
    assert_eq!(keyring.join(&other), Err(Error::ForeignHeader));
    assert_eq!(bytes(&keyring), before);
}

#[test]
fn closing_keeps_heads_of_both_sides_and_is_bounded() {
    let mut first = Keyring::new(0).unwrap();
    rotate(&mut first, &[1]);
    let copies = Copies::of(&first);
    let (mut restored, mut later) = (copies.open(), copies.open());
    restored
        .close_journal_keys((0..64).map(head).collect())
        .unwrap();
    later
        .close_journal_keys((60..70).map(head).collect())
        .unwrap();
    restored.join(&later).unwrap();
    let mut found: Vec<_> = restored.closed_heads().map(|head| head.digest[0]).collect();
    found.sort_unstable();
    assert_eq!(found, Vec::from_iter(0..70));
    restored.replace_closed_heads(|head| head.digest[0] < 3, &[head(80), head(5)]);
    assert_eq!(restored.closed_heads().count(), 68);
    let bounded = restored.bound_closed_heads(|heads| {
        assert_eq!(heads.len(), 68);
        Ok(head(99))
    });
    bounded.unwrap();
    assert!(restored.closed_heads().eq(&[head(99)]));
}
