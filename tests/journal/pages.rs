//! Journal pages with content that this release can read but does not write.

use std::sync::Arc;

use chartlock::internals::crypto::{
    AuthorityKey, CipherSuite, JournalKey, Nonce, authority_tag, page_key, sha256,
};
use chartlock::internals::journal::{
    Act, Authority, Context, Page, PageError, PageId, PageKeys, Sealer, SlotRef, Stage, SubjectRef,
    Target,
};
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

fn sealer(authority: Option<[u8; 32]>) -> Sealer {
    Sealer {
        suite: CipherSuite::Aes256Gcm,
        vault: VAULT,
        number: 7,
        key: key(),
        authority: authority.map(|key| Authority {
            number: 9,
            key: AuthorityKey::from_bytes(&key),
        }),
        former: Default::default(),
    }
}

fn seal(page: &Page) -> Vec<u8> {
    page.seal(&sealer(Some([8; 32])), &PLACE).unwrap()
}

fn open(value: &[u8]) -> Result<Page, PageError> {
    let (key, authority) = (key(), AuthorityKey::from_bytes(&[8; 32]));
    let keys = PageKeys {
        vault: VAULT,
        key: &|_| Some(&key),
        authority: Some(&|number| (number == 9).then_some(&authority)),
        closed_pages: None,
    };
    keys.open(value, &PLACE)
}

/// Opens a page as an auditor, who has no authority key.
fn open_as_auditor(value: &[u8]) -> Result<Page, PageError> {
    let key = key();
    let keys = PageKeys {
        vault: VAULT,
        key: &|_| Some(&key),
        authority: None,
        closed_pages: None,
    };
    keys.open(value, &PLACE)
}

/// Length of the filter of a page about one subject: a count and four values.
const FILTER: usize = 10;

/// Returns a sealed page whose body ends with these extensions.
fn extended(value: &[u8], extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let (clear, sealed) = value.split_at(72 + FILTER);
    let head = clear.first_chunk().unwrap();
    let salt = clear[8..40].try_into().unwrap();
    let (body, tag) = sealed.split_last_chunk::<16>().unwrap();
    let position = (&PLACE.writer, PLACE.sequence);
    let bound = (head, &clear[72..]);
    let derived = page_key(
        CipherSuite::Aes256Gcm,
        &key(),
        salt,
        &VAULT,
        position,
        bound,
    );
    let (sealing, derived) = derived.unwrap();
    assert_eq!(derived, clear[40..72]);
    let mut body = body.to_vec();
    sealing.open(Nonce::ZERO, &mut body, tag).unwrap();
    body.truncate(body.len() - 36);
    assert_eq!(body.split_off(body.len() - 8), [0; 8]);
    body.extend((extensions.len() as u64).to_le_bytes());
    for (number, bytes) in extensions {
        body.extend(number.to_le_bytes());
        body.extend((bytes.len() as u64).to_le_bytes());
        body.extend_from_slice(bytes);
    }
    body.extend(9_u32.to_le_bytes());
    let digest = sha256(&[clear, &body]);
    let authority = AuthorityKey::from_bytes(&[8; 32]);
    body.extend(authority_tag(&authority, &VAULT, position, &digest).unwrap());
    let tag = sealing.seal(Nonce::ZERO, &mut body).unwrap();
    [clear, &body, &tag].concat()
}

#[test]
fn page_under_another_authority_key_is_forged() {
    let page = page();
    assert_eq!(open(&seal(&page)), Ok(page.clone()));
    let forged = page.seal(&sealer(Some([7; 32])), &PLACE).unwrap();
    assert_eq!(open(&forged), Err(PageError::Forged));
    // An auditor cannot check the tag.
    assert_eq!(open_as_auditor(&forged), Ok(page.clone()));
    let mut unknown = sealer(Some([8; 32]));
    unknown.authority.as_mut().unwrap().number = 10;
    let forged = page.seal(&unknown, &PLACE).unwrap();
    assert_eq!(open(&forged), Err(PageError::Forged));
}

#[test]
fn page_with_altered_byte_is_never_called_forged() {
    let value = seal(&page());
    for at in 0..value.len() {
        let mut altered = value.clone();
        altered[at] ^= 1;
        assert!(matches!(open(&altered), Err(PageError::Refused(_))), "{at}");
    }
}

#[test]
fn auditors_page_with_other_content_is_forged() {
    let as_auditor = |operation, target| {
        let act = Act::new(Arc::new(Context::default()), operation, "");
        let draft = act.draft(9, target, AccessOutcome::Done);
        let page = Page::new([0; 32], vec![], [(&draft, Stage::Done)].into_iter()).unwrap();
        page.seal(&sealer(None), &PLACE).unwrap()
    };
    let reads = as_auditor(Operation::ReadJournal, Target::Vault);
    assert!(open(&reads).is_ok() && open_as_auditor(&reads).is_ok());
    let slot = |journal_only| Target::Slot(SlotRef::new(7, 2, journal_only));
    let opens = as_auditor(Operation::ReadJournal, slot(true));
    assert!(open(&opens).is_ok() && open_as_auditor(&opens).is_ok());
    let header = Target::Header {
        generation: 2,
        digest: [1; 32],
    };
    for (operation, target) in [
        (Operation::Read, Target::Vault),
        (Operation::Erase, Target::Vault),
        (Operation::AcceptRestore, Target::Vault),
        (Operation::ReadJournal, header),
        (Operation::ReadJournal, slot(false)),
        (Operation::ReadJournal, Target::MasterKey(7)),
        (Operation::AddSlot, slot(true)),
    ] {
        let page = as_auditor(operation, target);
        assert_eq!(open(&page), Err(PageError::Forged));
        assert_eq!(open_as_auditor(&page), Err(PageError::Forged));
    }
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
    assert_eq!(
        open(&seal(&page)),
        Err(PageError::Refused(Error::Malformed))
    );
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
        assert_eq!(refused, Err(PageError::Refused(Error::Malformed)));
    }
    for critical in [&[(0x8000, X)][..], &[(1, X), (0xffff, X)]] {
        let refused = open(&extended(&value, critical));
        assert_eq!(refused, Err(PageError::Refused(Error::Unsupported)));
    }
}

#[test]
fn denied_error_maps_to_denied_outcome() {
    assert_eq!(AccessOutcome::of(&Error::Denied), AccessOutcome::Denied);
}
