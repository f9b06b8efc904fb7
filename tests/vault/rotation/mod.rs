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
enum Rotation {
    Master,
    Subject,
    ReencryptSubject,
    Reencrypt,
}

const ROTATIONS: [Rotation; 4] = [
    Rotation::Master,
    Rotation::Subject,
    Rotation::ReencryptSubject,
    Rotation::Reencrypt,
];

#[derive(Debug)]
enum Report {
    Master(RotationReport),
    Subject(ReencryptionReport),
}

impl Rotation {
    fn run(self, vault: &Vault) -> Result<Report, Error> {
        let patient = subject("MRN-1");
        match self {
            Self::Master => vault.rotate_master_key().map(Report::Master),
            Self::Subject => vault.rotate_subject_key(&patient).map(Report::Subject),
            Self::ReencryptSubject => vault.reencrypt_subject(&patient).map(Report::Subject),
            Self::Reencrypt => vault.reencrypt().map(Report::Subject),
        }
    }
}

impl Report {
    /// Tests whether nothing remains to be rotated.
    fn is_complete(&self) -> bool {
        match self {
            Self::Master(report) => (report.entries_blocking, report.entries_orphaned) == (0, 0),
            Self::Subject(report) => {
                (report.blocking, report.orphaned, report.contended) == (0, 0, 0)
            }
        }
    }
}
