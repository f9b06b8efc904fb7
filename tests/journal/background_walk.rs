//! Walk of all chains by the background thread of an open vault, which pins the chain heads that the
//! opening missed.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chartlock::internals::journal::{
    AccessOutcome, Act, Context, EntryDraft, Page, PageId, Stage as EntryStage, Target,
};
use chartlock::storage::{Expect, Transaction};
use chartlock::verify::JournalFault;
use chartlock::{Journaling, Operation, Vault, VaultOptions};

use crate::common::journal::pages;
use crate::common::objects::delete;
use crate::stage::{Fixed, Stage, record, session};

/// Number of chains, above the number of heads that a start of a chain finds.
const CHAINS: u32 = 2_500;
/// Time limit of the walk, which begins half a second after an entry.
const LIMIT: Duration = Duration::from_secs(60);

fn options(mode: Journaling) -> VaultOptions {
    VaultOptions::new().journaling(mode)
}

fn open(stage: &Stage, options: VaultOptions) -> Vault {
    options.open(Arc::clone(&stage.storage), &Fixed(1)).unwrap()
}

/// Stores many chains of one page, as earlier openings of the vault leave them.
fn store_chains(stage: &Stage) -> HashSet<PageId> {
    let sealer = stage.sealer();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap().as_millis() as u64;
    let act = Act::new(Arc::new(Context::default()), Operation::Open, "");
    let draft: EntryDraft = act.draft(now as i64, Target::Vault, AccessOutcome::Done);
    let mut chains = HashSet::new();
    for number in 0..CHAINS {
        let began = now - 1_000 * u64::from(number + 1);
        let mut writer = [3; 16];
        writer[..6].copy_from_slice(&began.to_be_bytes()[2..]);
        let id = PageId {
            writer,
            sequence: 0,
        };
        let staged = [(&draft, EntryStage::Done)].into_iter();
        let page = Page::new([0; 32], Vec::new(), staged).unwrap();
        let value = page.seal(&sealer, &id).unwrap();
        let put = Transaction::new().put(key(&id), &value[..], Expect::Absent);
        stage.storage.commit(&[put]).pop().unwrap().unwrap();
        chains.insert(id);
    }
    chains
}

fn key(id: &PageId) -> Vec<u8> {
    [b"j", &id.writer[..], &id.sequence.to_be_bytes()].concat()
}

/// Returns the heads of these chains that no page pins.
fn unpinned(stage: &Stage, chains: &HashSet<PageId>) -> HashSet<PageId> {
    let pages = pages(&*stage.storage);
    let seen = pages.iter().flat_map(|(_, page)| &page.seen);
    let pinned: HashSet<_> = seen.map(|head| head.page).collect();
    chains.difference(&pinned).copied().collect()
}

/// Removes a chain, and returns `true` if a verification reports exactly that chain as cut.
fn is_missed(stage: &Stage, chain: &PageId) -> bool {
    delete(&*stage.storage, &key(chain));
    let vault = open(stage, options(Journaling::Grouped).without_background());
    let report = vault.verify(None).unwrap();
    let cut = report.journal.iter();
    let writers: Vec<_> = cut
        .filter(|found| found.fault == JournalFault::Cut)
        .map(|found| found.writer)
        .collect();
    assert_eq!(writers.len(), report.journal.len(), "{report:#?}");
    writers == [Some(chain.writer)]
}

fn walk_in_background(mode: Journaling) {
    let stage = Stage::memory();
    let vault = stage.create_by(options(mode));
    let id = record("MRN-1", "Note/1");
    session(&vault).put(&id, "a note").unwrap();
    drop(vault);
    let chains = store_chains(&stage);
    let vault = open(&stage, options(mode));
    assert!(session(&vault).get(&id).unwrap().is_some());
    let missed = unpinned(&stage, &chains);
    assert!(missed.len() > 100, "{} chains are missed", missed.len());
    // Later entries carry the pins of the walk. The app calls nothing else.
    let begun = Instant::now();
    while !unpinned(&stage, &chains).is_empty() {
        assert!(begun.elapsed() < LIMIT, "the walk does not end");
        thread::sleep(Duration::from_millis(50));
        session(&vault).get(&id).unwrap();
    }
    drop(vault);
    assert!(is_missed(&stage, missed.iter().min().unwrap()));
}

#[test]
fn background_walk_of_grouped_journal_pins_heads_that_opening_missed() {
    walk_in_background(Journaling::Grouped);
}

#[test]
fn background_walk_of_strict_journal_pins_heads_that_opening_missed() {
    walk_in_background(Journaling::Strict);
}

/// Without the background thread, nothing pins these heads, so the loss of a chain goes unnoticed.
#[test]
fn opening_without_background_thread_pins_no_further_heads() {
    let stage = Stage::memory();
    drop(stage.create_by(options(Journaling::Grouped)));
    let chains = store_chains(&stage);
    let vault = open(&stage, options(Journaling::Grouped).without_background());
    let id = record("MRN-1", "Note/1");
    for _ in 0..3 {
        session(&vault).get(&id).unwrap();
    }
    drop(vault);
    let missed = unpinned(&stage, &chains);
    assert!(missed.len() > 100, "{} chains are missed", missed.len());
    assert!(!is_missed(&stage, missed.iter().min().unwrap()));
}
