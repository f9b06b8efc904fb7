//! Check of re-encryptions: the content that a re-encryption sealed again must be journaled.
//!
//! The entries of one version are edges of a graph: each leads from the digest before a re-encryption to
//! the digest after it. Verification reports a version that was never written, or was rolled back, even
//! after its re-encryption. Only an accepted restore ends this finding.

use std::collections::{BTreeMap, HashSet};

use crate::crypto::Digest;
use crate::verify::expectation::{Expectation, of_version};
use crate::verify::expected_state::{KnownFact, Origin};

/// Returns the versions whose re-encryptions sealed tampered content. Each has `true` if the journal
/// proves the tampering, and `false` if the journal records the version only as re-encrypted.
///
/// `known` contains the facts from before the record was read. `all` contains all facts of a later
/// reading in order of versions, because a page may be listed before the page that it builds on.
pub(super) fn tampered_versions(
    known: &Expectation<'_>,
    all: &[KnownFact],
) -> impl Iterator<Item = (u64, bool)> {
    let mut edges: BTreeMap<u64, Vec<&KnownFact>> = BTreeMap::new();
    for known in &known.known {
        if known.fact.before.is_some() {
            edges.entry(known.fact.version).or_default().push(known);
        }
    }
    edges.into_iter().filter_map(|(version, edges)| {
        if has_two_successors(&edges) {
            return Some((version, true));
        }
        let facts = of_version(all, version);
        let mut origins = facts.iter().map(|known| known.fact.origin);
        let is_named = origins.any(|origin| origin != Origin::Reencrypted);
        has_unknown_source(&edges, facts).then_some((version, is_named))
    })
}

/// Returns `true` if an edge begins at a digest that no fact on the version contains.
fn has_unknown_source(edges: &[&KnownFact], facts: &[KnownFact]) -> bool {
    let digests: HashSet<Digest> = facts.iter().map(|known| known.fact.digest).collect();
    let mut sources = edges.iter().filter_map(|known| known.fact.before);
    sources.any(|source| !digests.contains(&source))
}

/// Returns `true` if two settled edges begin at the same digest. A re-encryption replaces only the
/// stored value that it read, so the former value was put back in between.
///
/// A later edge settles an edge that ends at its source, because a re-encryption announces only
/// what it read from storage.
fn has_two_successors(edges: &[&KnownFact]) -> bool {
    let sources: HashSet<_> = edges.iter().filter_map(|known| known.fact.before).collect();
    let is_settled = |known: &&&KnownFact| known.certain || sources.contains(&known.fact.digest);
    let mut successors = BTreeMap::new();
    edges.iter().filter(is_settled).any(|known| {
        let fact = &known.fact;
        let other = successors.insert(fact.before, fact.digest);
        other.is_some_and(|other| other != fact.digest)
    })
}
