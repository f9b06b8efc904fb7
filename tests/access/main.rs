//! Who may do what, and what those who keep watch hear of.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod glass;
mod labels;
mod meters;
mod poison;
mod rules;
mod sessions;
mod watch;

use std::sync::LazyLock;

use chartlock::{
    Actor, Operation, Purpose,
    access::{AccessPolicy, AccessRequest, Rule, RulePolicy},
};
use common::actor;

/// Whether these rules let Dr. Garcia do it, to treat.
fn permits<'a>(
    rules: impl IntoIterator<Item = Rule>,
    operation: Operation,
    more: impl FnOnce(AccessRequest<'a>) -> AccessRequest<'a>,
) -> bool {
    static GARCIA: LazyLock<Actor> = LazyLock::new(|| actor("dr.garcia"));
    let request = more(AccessRequest::new(&GARCIA, Purpose::Treatment, operation));
    let policy = RulePolicy::new(rules).unwrap();
    policy.decide(&request).is_permitted()
}
