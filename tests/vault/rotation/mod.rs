//! Every rotation: what it changes and leaves alone, under load, broken off, and its gate.

mod contended;
mod effects;
mod gate;
mod interrupted;
mod load;
mod strangers;
mod streams;

use chartlock::{
    Error, Vault,
    report::{ReencryptionReport, RotationReport},
};

use crate::stage::subject;

/// A rotation.
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

/// What a rotation reported.
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
    /// Whether it came to its end, and left nothing behind.
    fn is_complete(&self) -> bool {
        match self {
            Self::Master(report) => (report.entries_blocking, report.entries_orphaned) == (0, 0),
            Self::Chart(report) => {
                (report.blocking, report.orphaned, report.contended) == (0, 0, 0)
            }
        }
    }
}
