//! Honeytokens: records that nobody has a reason to read, so that a read raises a security event.
//!
//! The mark is an extension of the sealed meta, not a label: a list of records shows labels to the
//! very people whom a poison record is for. The storage sees nothing of it, and the policy neither.
//! Each version has its own mark; re-encryption carries it on. Listing, counting, verifying and
//! re-encrypting raise nothing, as they hand out no content.

use crate::access::security_event::SecurityEvent;
use crate::format::envelope::Meta;
use crate::id::Actor;

/// What must be told before content under this meta is handed to `actor`.
pub fn alarm(meta: &Meta, actor: &Actor) -> Option<SecurityEvent> {
    meta.is_honeytoken().then(|| SecurityEvent::HoneytokenRead {
        actor: actor.clone(),
    })
}
