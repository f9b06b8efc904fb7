//! Journal pages with content that this release can read but does not write.

use std::sync::Arc;

use chartlock::internals::crypto::{CipherSuite, JournalKey, Nonce, page_key};
use chartlock::internals::journal::{Act, Context, Page, PageId, Stage, SubjectRef, Target};
use chartlock::{Error, Operation, access::AccessOutcome};

const VAULT: [u8; 16] = [3; 16];
const PLACE: PageId = PageId {
    writer: [4; 16],
    sequence: 5,
};

fn key() -> JournalKey {
    JournalKey::from_bytes(&[6; 32])
}

fn page() -> Page {
    let act = Act::new(Arc::new(Context::default()), Operation::Read, "");
    let subject = SubjectRef {
        chart: [1; 16],
        tag: [2; 16],
    };
    let draft = act.draft(9, Target::Subject(subject), AccessOutcome::Done);
    Page::new([0; 32], vec![], [(&draft, Stage::Done)].into_iter()).unwrap()
}

fn seal(page: &Page) -> Vec<u8> {
    let suite = CipherSuite::Aes256Gcm;
    page.seal(suite, &VAULT, (7, &key()), &PLACE).unwrap()
}

fn open(value: &[u8]) -> Result<Page, Error> {
    Page::open(value, &VAULT, &key(), &PLACE)
}

/// Returns a sealed page whose body ends with these extensions.
fn extended(value: &[u8], extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let (head, rest) = value.split_first_chunk::<8>().unwrap();
    let (salt, rest) = rest.split_first_chunk::<32>().unwrap();
    let (commitment, sealed) = rest.split_first_chunk::<32>().unwrap();
    let (body, tag) = sealed.split_last_chunk::<16>().unwrap();
    let position = (&PLACE.writer, PLACE.sequence);
    let derived = page_key(CipherSuite::Aes256Gcm, &key(), salt, &VAULT, position, head);
    let (sealing, derived) = derived.unwrap();
    assert_eq!(&derived, commitment);
    let mut body = body.to_vec();
    sealing.open(Nonce::ZERO, &mut body, tag).unwrap();
    assert_eq!(body.split_off(body.len() - 8), [0; 8]);
    body.extend((extensions.len() as u64).to_le_bytes());
    for (number, bytes) in extensions {
        body.extend(number.to_le_bytes());
        body.extend((bytes.len() as u64).to_le_bytes());
        body.extend_from_slice(bytes);
    }
    let tag = sealing.seal(Nonce::ZERO, &mut body).unwrap();
    [&value[..72], &body, &tag].concat()
}

#[test]
fn journal_page_with_repeated_subject_is_malformed() {
    let mut page = page();
    assert_eq!(open(&seal(&page)), Ok(page.clone()));
    let mut other = page.subjects[0];
    other.tag = [8; 16];
    page.subjects.push(other);
    assert_eq!(open(&seal(&page)), Ok(page.clone()));
    page.subjects.push(page.subjects[0]);
    assert_eq!(open(&seal(&page)), Err(Error::Malformed));
}

#[test]
fn journal_page_with_unordered_or_critical_extensions_is_refused() {
    let value = seal(&page());
    const X: &[u8] = b"x";
    let known: [&[(u16, &[u8])]; 3] = [&[], &[(1, X), (2, b"")], &[(0x7fff, X)]];
    for known in known {
        open(&extended(&value, known)).unwrap();
    }
    for malformed in [[(2, X), (1, X)], [(1, X), (1, X)]] {
        let refused = open(&extended(&value, &malformed));
        assert_eq!(refused, Err(Error::Malformed));
    }
    for critical in [&[(0x8000, X)][..], &[(1, X), (0xffff, X)]] {
        let refused = open(&extended(&value, critical));
        assert_eq!(refused, Err(Error::Unsupported));
    }
}

#[test]
fn denied_error_maps_to_denied_outcome() {
    assert_eq!(AccessOutcome::of(&Error::Denied), AccessOutcome::Denied);
}
