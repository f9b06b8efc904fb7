//! Which keys lie together, and which values lie in files.

use std::sync::LazyLock;

/// The key of the vault header.
pub(super) const HEADER_KEY: &[u8] = b"v";

/// The first bytes of keys that have a keyspace of their own, ascending.
const OWN: [u8; 7] = *b"hjprsvw";

/// Where in the engine's list of keyspaces all other keys are.
const OTHER: usize = OWN.len();

/// The names of the keyspaces, in the order of their numbers.
pub(super) const NAMES: [&str; OWN.len() + 1] = ["h", "j", "p", "r", "s", "v", "w", "other"];

/// The keyspace of a key.
pub(super) fn class_of(key: &[u8]) -> usize {
    key.first()
        .and_then(|first| OWN.iter().position(|own| own == first))
        .unwrap_or(OTHER)
}

/// Whether values of this class are in files: what is destroyed, and what is large.
pub(super) fn is_apart(class: usize) -> bool {
    matches!(NAMES.get(class), Some(&("v" | "p" | "s")))
}

/// Whether values of this class are content segments.
pub(super) fn is_segment(class: usize) -> bool {
    matches!(NAMES.get(class), Some(&"s"))
}

/// Whether values of this class are patient entries, of which nothing may stay behind.
pub(super) fn is_entry(class: usize) -> bool {
    matches!(NAMES.get(class), Some(&"p"))
}

/// The classes of values in files.
pub(super) fn apart_classes() -> impl Iterator<Item = usize> {
    (0..NAMES.len()).filter(|class| is_apart(*class))
}

/// Keys that lie together: their keyspace, and the first and the last of their first bytes.
type Together = (usize, u8, u8);

/// All keys, ascending.
static TOGETHER: LazyLock<Vec<Together>> = LazyLock::new(|| {
    (0..=u8::MAX).fold(Vec::new(), |mut all: Vec<Together>, byte| {
        let class = class_of(&[byte]);
        match all.last_mut() {
            Some((last, _, until)) if *last == class => *until = byte,
            _ => all.push((class, byte, byte)),
        }
        all
    })
});

/// The stretches of keys that lie together and may begin with `prefix`, ascending.
pub(super) fn stretches(prefix: &[u8]) -> impl Iterator<Item = Together> {
    let first = prefix.first().copied();
    let stretches = TOGETHER.iter().copied();
    stretches
        .filter(move |(_, from, until)| first.is_none_or(|first| (*from..=*until).contains(&first)))
}
