//! Texts of findings for operators.

use chartlock::verify::{CheckpointState, FindingKind, JournalFault};

pub(crate) fn kind_text(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Altered => "altered",
        FindingKind::Unreadable => "unreadable, because its key was destroyed",
        FindingKind::Missing => "missing",
        FindingKind::Unexpected => "unexpected",
        FindingKind::RolledBack => "rolled back",
        FindingKind::ContentMissing => "content missing",
        FindingKind::ContentAltered => "content altered",
        FindingKind::Forked => "written by two copies of the vault",
        FindingKind::ReencryptedTampered => {
            "re-encrypted from content that the journal does not record"
        }
        _ => UNKNOWN,
    }
}

pub(crate) fn fault_text(fault: JournalFault) -> &'static str {
    match fault {
        JournalFault::Missing => "missing",
        JournalFault::Cut => "end of a chain missing",
        JournalFault::Altered => "altered",
        JournalFault::Unlinked => "does not continue the previous page",
        JournalFault::Replaced => "replaced",
        JournalFault::Forked => "written by two copies of the vault",
        JournalFault::Incomplete => "lacks the writes of stored objects",
        JournalFault::Unsupported => "written by a newer release",
        JournalFault::Unexpected => "unexpected object among the pages",
        JournalFault::Forged => "forged with the journal key",
        JournalFault::Late => "written under former keys after these were closed",
        JournalFault::Unproven => "under former keys, without proof of its time",
        JournalFault::UnknownJournalKey => "under an unknown journal key",
        _ => UNKNOWN,
    }
}

pub(crate) fn checkpoint_text(state: CheckpointState) -> &'static str {
    match state {
        CheckpointState::Intact => "intact",
        CheckpointState::Gone => "its page is missing",
        CheckpointState::Replaced => "its page was replaced",
        CheckpointState::BeforeRestore => "before the restore",
        _ => UNKNOWN,
    }
}

const UNKNOWN: &str = "unknown to this release";
