//! Rotations: effects, load, interruption, conflicts, unreadable objects, and the destruction of
//! master keys.

mod conflicts;
mod destroy_master_key;
mod effects;
mod interruption;
mod load;
mod streams;
mod unreadable_objects;

use chartlock::{
    Error, Vault,
    report::{ReencryptionReport, RotationReport},
};

use crate::stage::subject;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Master,
    Patient,
    ReencryptPatient,
    Reencrypt,
}

const VERBS: [Verb; 4] = [
    Verb::Master,
    Verb::Patient,
    Verb::ReencryptPatient,
    Verb::Reencrypt,
];

#[derive(Debug)]
enum Report {
    Master(RotationReport),
    Chart(ReencryptionReport),
}

impl Verb {
    fn run(self, vault: &Vault) -> Result<Report, Error> {
        let patient = subject("MRN-1");
        match self {
            Self::Master => vault.rotate_master_key().map(Report::Master),
            Self::Patient => vault.rotate_subject_key(&patient).map(Report::Chart),
            Self::ReencryptPatient => vault.reencrypt_subject(&patient).map(Report::Chart),
            Self::Reencrypt => vault.reencrypt().map(Report::Chart),
        }
    }
}

impl Report {
    /// Tests whether nothing remains to be rotated.
    fn is_complete(&self) -> bool {
        match self {
            Self::Master(report) => (report.entries_blocking, report.entries_orphaned) == (0, 0),
            Self::Chart(report) => {
                (report.blocking, report.orphaned, report.contended) == (0, 0, 0)
            }
        }
    }
}
