//! Exceptions: moves that may achieve more than an error and a finding, each with the sentence of
//! SECURITY.md that documents the exception.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::judge::Gain;
use crate::moves::{Class, Kind};

const NONE: Gain = Gain {
    unseen: false,
    unseen_with_checkpoint: false,
    older: false,
    absent: false,
    wrong: false,
    freed: false,
    early: false,
    unnamed: false,
};
const UNSEEN: Gain = Gain {
    unseen: true,
    unseen_with_checkpoint: true,
    ..NONE
};

/// An exception for some moves.
pub(crate) struct Exception {
    pub(crate) class: Class,
    /// Kinds of moves to which the exception applies; empty for all.
    pub(crate) kinds: &'static [Kind],
    pub(crate) allowed: Gain,
    /// Sentence of SECURITY.md that documents the exception.
    pub(crate) sentence: &'static str,
}

impl Exception {
    fn covers(&self, class: Class, kind: Kind) -> bool {
        self.class == class && (self.kinds.is_empty() || self.kinds.contains(&kind))
    }
}

const UNNAMED: &str = "Segments and upload intents that no version names are no finding: no read opens them, and `collect_garbage` frees them.";
const PUT_BACK: &str = "A record that is put back to earlier bytes reads as it did then.";
const REMOVED: &str = "A record that is removed with all its versions reads as one that never existed. So does a patient whose entry is removed.";
const YESTERDAY: &str = "The whole storage put back to yesterday is consistent in itself. Only what you kept elsewhere reveals it.";

pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception {
        class: Class::Key(b'a'),
        kinds: &[],
        allowed: UNSEEN,
        sentence: "An encrypted object lists recorded heads; if it is lost or put back, heads are recorded again.",
    },
    Exception {
        class: Class::Upload,
        kinds: &[],
        allowed: UNSEEN,
        sentence: UNNAMED,
    },
    Exception {
        class: Class::Key(b's'),
        kinds: &[Kind::PutBackDeleted, Kind::PlantStray],
        allowed: UNSEEN,
        sentence: UNNAMED,
    },
    Exception {
        class: Class::Key(b'j'),
        kinds: &[Kind::CutNewest],
        allowed: Gain {
            unseen: true,
            ..NONE
        },
        sentence: "the newest chain's last reads can be cut off undetected until the vault is opened again or a checkpoint is made.",
    },
    Exception {
        class: Class::Key(b'r'),
        kinds: &[Kind::PutBack, Kind::PutBackClass],
        allowed: Gain {
            older: true,
            ..NONE
        },
        sentence: PUT_BACK,
    },
    Exception {
        class: Class::Key(b'r'),
        kinds: &[Kind::Delete, Kind::DeleteClass],
        allowed: Gain {
            absent: true,
            ..NONE
        },
        sentence: REMOVED,
    },
    Exception {
        class: Class::Key(b'p'),
        kinds: &[Kind::Delete, Kind::DeleteClass],
        allowed: Gain {
            absent: true,
            ..NONE
        },
        sentence: REMOVED,
    },
    Exception {
        class: Class::Key(b'r'),
        kinds: &[Kind::PutBack, Kind::PutBackClass],
        allowed: Gain {
            freed: true,
            ..NONE
        },
        sentence: "If only older records are put back, the content of the newer ones counts as garbage, and `collect_garbage` frees it.",
    },
    Exception {
        class: Class::Storage,
        kinds: &[Kind::PutBackClass],
        allowed: Gain {
            unseen: true,
            older: true,
            absent: true,
            ..NONE
        },
        sentence: YESTERDAY,
    },
    Exception {
        class: Class::Storage,
        kinds: &[Kind::PutBackPatients, Kind::PutBackAllButJournal],
        allowed: Gain {
            older: true,
            absent: true,
            ..NONE
        },
        sentence: "A storage writer can put back earlier bytes of the same place: of one record, of one patient, or of everything.",
    },
    Exception {
        class: Class::Insider,
        kinds: &[Kind::Graft, Kind::GraftClass],
        allowed: Gain {
            older: true,
            wrong: true,
            ..NONE
        },
        sentence: "A storage writer who once held a patient or data key can put other content under that key, in the same place, until `reencrypt`.",
    },
    Exception {
        class: Class::Insider,
        kinds: &[Kind::WorkLeft],
        allowed: Gain {
            older: true,
            absent: true,
            wrong: true,
            ..NONE
        },
        sentence: "Reads then return what this person wrote.",
    },
    Exception {
        class: Class::Insider,
        kinds: &[Kind::GraftClass],
        allowed: Gain {
            absent: true,
            ..NONE
        },
        sentence: REMOVED,
    },
    Exception {
        class: Class::Clock,
        kinds: &[Kind::ClockAhead],
        allowed: Gain {
            early: true,
            ..NONE
        },
        sentence: "A retention goes by the clock of the machine that erases.",
    },
    Exception {
        class: Class::Key(b'j'),
        kinds: &[Kind::Flip],
        allowed: Gain {
            unnamed: true,
            ..NONE
        },
        sentence: "Pages under a key number that the header lacks are one finding, which counts the pages and names none.",
    },
];

/// Returns the gain of a move beyond the exceptions, and the indexes of the exceptions that it needed.
pub(crate) fn beyond(class: Class, kind: Kind, gain: Gain) -> (Gain, BTreeSet<usize>) {
    let (mut rest, mut needed) = (gain, BTreeSet::new());
    let all = EXCEPTIONS.iter().enumerate();
    for (index, exception) in all.filter(|(_, it)| it.covers(class, kind)) {
        let less = rest.without(exception.allowed);
        if less != rest {
            rest = less;
            needed.insert(index);
        }
    }
    (rest, needed)
}

/// Asserts that a move achieved no more than the exceptions allow.
#[track_caller]
pub(crate) fn assert_allowed(name: &dyn Display, class: Class, kind: Kind, gain: Gain) {
    let (rest, _) = beyond(class, kind, gain);
    assert_eq!(rest, Gain::default(), "{name}");
}

#[test]
fn every_exception_is_documented() {
    let words = |text: &str| {
        text.replace("**", "")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let page = words(include_str!("../../SECURITY.md"));
    for exception in EXCEPTIONS {
        let sentence = words(exception.sentence);
        assert!(page.contains(&sentence), "SECURITY.md lacks: {sentence}");
    }
}
