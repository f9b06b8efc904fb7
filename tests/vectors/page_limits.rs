//! Journal pages that need the most memory for their length. The decoder limits its memory, and no
//! page of a valid length may reach that limit. These pages are too large to commit as vectors.

use chartlock::internals::crypto::{AuthorityKey, JournalKey};
use chartlock::internals::journal;

use crate::page::{Context, Page, Seen, Subject, Target};
use crate::pages::{entry, place, strict};
use crate::writer::World;

/// Maximum length of a body without its authority tag.
const BODY_MAX: usize = 1_048_576 - 36;

fn length(page: &Page) -> usize {
    wincode::serialize(page).unwrap().len()
}

fn empty(world: &World) -> Page {
    Page {
        contexts: Vec::new(),
        subjects: Vec::new(),
        entries: Vec::new(),
        ..strict(world, [0; 32])
    }
}

/// Opens a page that `change` has filled until no further row fits.
fn opens(change: impl FnOnce(&mut Page, usize)) {
    let mut page = empty(&World::new("fullest", 1));
    let available = BODY_MAX - length(&page);
    change(&mut page, available);
    let opened = open(&wincode::serialize(&page).unwrap());
    assert_eq!(opened.seen.len(), page.seen.len());
    assert_eq!(opened.contexts.len(), page.contexts.len());
    assert_eq!(opened.subjects.len(), page.subjects.len());
}

fn open(body: &[u8]) -> journal::Page {
    assert!((BODY_MAX - 64..=BODY_MAX).contains(&body.len()));
    let mut world = World::new("fullest", 1);
    let at = place(&world, 0);
    world.put_page_body(&at, body);
    let journal = JournalKey::from_bytes(&world.keyring.journal_keys[0].key);
    let authority = AuthorityKey::from_bytes(&world.keyring.authority_keys[0].key);
    let value = &world.storage[&world.page_at(&at)];
    let id = journal::PageId {
        writer: at.writer,
        sequence: at.sequence,
    };
    let keys = journal::PageKeys {
        vault: world.vault,
        key: &|_| Some(&journal),
        authority: Some(&|_| Some(&authority)),
        closed_pages: None,
    };
    keys.open(value, &id).unwrap()
}

fn empty_context() -> Context {
    Context {
        actor: String::new(),
        purpose: String::new(),
        request: String::new(),
        organization: String::new(),
        under_break_glass: 0,
    }
}

#[test]
fn journal_page_with_maximum_seen_heads_opens() {
    opens(|page, available| {
        let seen = Seen {
            page: place(&World::new("fullest", 1), 0),
            digest: [7; 32],
        };
        page.seen = vec![seen; available / 56];
    });
}

#[test]
fn journal_page_with_maximum_contexts_opens() {
    opens(|page, available| page.contexts = vec![empty_context(); available / 33]);
}

#[test]
fn journal_page_with_maximum_subjects_opens() {
    opens(|page, available| {
        let subject = |n: usize| Subject {
            chart: (n as u128).to_le_bytes(),
            jsub: [0; 16],
        };
        page.subjects = (0..available / 32).map(subject).collect();
    });
}

/// Builds the body by hand, because `wincode` limits the length of serialized values.
#[test]
fn journal_page_with_maximum_entries_opens() {
    let mut page = empty(&World::new("fullest", 1));
    page.contexts = vec![empty_context()];
    page.entries = vec![entry(2, Target::Vault)];
    let mut body = wincode::serialize(&page).unwrap();
    // The body ends with the number of entries, one entry, and the number of extensions.
    let end = body.len();
    let (count, one) = (end - 8 - 19 - 8, end - 8 - 19..end - 8);
    let one = body[one].to_vec();
    let entries = (BODY_MAX - end) / one.len() + 1;
    body[count..count + 8].copy_from_slice(&(entries as u64).to_le_bytes());
    body.truncate(end - 8);
    body.extend(one.repeat(entries - 1));
    body.extend([0; 8]);
    assert_eq!(open(&body).entries.len(), entries);
}

#[test]
fn journal_page_with_maximum_extensions_opens() {
    opens(|page, available| {
        let longer = available / 32;
        page.extensions = (0..longer as u16)
            .map(|number| (number, vec![0; 22]))
            .collect();
    });
}
