//! Access policies, break-glass, honeytokens and security events.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod break_glass;
mod closing;
#[path = "../common/mod.rs"]
mod common;
mod deciding;
mod denials;
mod fallback;
mod handles;
mod honeytoken;
mod labels;
mod meters;
mod read_only;
mod rules;
mod security_events;
mod sessions;

use std::sync::LazyLock;

use chartlock::{
    Actor, Operation, Purpose,
    access::{AccessPolicy, AccessRequest, Rule, RulePolicy},
};
use common::actor;

/// Returns `true` if the rules permit an operation of Dr. Garcia for treatment.
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
