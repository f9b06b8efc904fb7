//! The numbers and digests of an entry's target, as reports show them.

use crate::audit::entry::{RetentionMark, SlotMark};
use crate::audit::hex::Hex;
use crate::audit::time::Timestamp;
use crate::journal::Target;

/// The numbers and the digest that a target contains.
#[derive(Default)]
pub(super) struct TargetFields {
    pub(super) version: Option<u64>,
    pub(super) sequence: Option<u64>,
    pub(super) generation: Option<u64>,
    pub(super) slot: Option<SlotMark>,
    pub(super) master_key: Option<u32>,
    pub(super) retention: Option<RetentionMark>,
    pub(super) hold: Option<u64>,
    pub(super) digest: Option<Hex<32>>,
    pub(super) digest_before: Option<Hex<32>>,
}

impl TargetFields {
    pub(super) fn of(target: &Target) -> Self {
        let mut fields = Self::default();
        if let Some(written) = target.sealed_entry() {
            fields.sequence = Some(written.sequence);
            fields.digest = Some(Hex(written.digest));
        }
        match target {
            Target::Header { generation, digest } => {
                fields.generation = Some(*generation);
                fields.digest = Some(Hex(*digest));
            }
            Target::Record { version, .. } => {
                fields.version = Some(*version).filter(|version| *version > 0);
            }
            Target::Version {
                version, digest, ..
            } => {
                fields.version = Some(*version);
                fields.digest = Some(Hex(*digest));
            }
            Target::Reencrypted {
                version,
                before,
                after,
                ..
            } => {
                fields.version = Some(*version);
                fields.digest = Some(Hex(*after));
                fields.digest_before = Some(Hex(*before));
            }
            Target::Slot(slot) => fields.slot = Some(SlotMark::of(slot)),
            Target::MasterKey(number) => fields.master_key = Some(*number),
            Target::Retention { until, .. } => {
                let until = until.map(Timestamp::from_millis);
                fields.retention = Some(until.map_or(RetentionMark::Lifted, RetentionMark::Until));
            }
            Target::Hold { hold, .. } => fields.hold = Some(*hold),
            Target::Vault
            | Target::Subject(_)
            | Target::Records { .. }
            | Target::Entry { .. }
            | Target::Settled(..)
            | Target::Finding(_) => {}
        }
        fields
    }
}
