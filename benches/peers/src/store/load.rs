//! Load of the store measurements: the patients, names and contents of the records that all stores
//! receive.

use anyhow::{Context, Result, ensure};
use chartlock::{RecordId, Subject};

use crate::clinic::Clinic;
use crate::documents::Format;

/// The number of records of each patient.
pub(super) const CHART: usize = 300;
/// The number of records that each visit adds.
const VISIT: usize = 10;
/// The distance between the numbers of successive visitors. A prime distance makes every patient
/// visit once before any patient visits again.
const STRIDE: usize = 7919;
/// The number of records in a batch.
pub(super) const BATCH: usize = 1000;

/// The source of the records' contents.
enum Contents<'a> {
    /// The clinic's FHIR resources in order, repeated as needed.
    Resources(Vec<&'a [u8]>),
    /// Pieces of one file's content, each of the given size in bytes.
    Pieces(&'a [u8], usize),
}

/// The records of a clinic. Each patient has a chart that grows by a few records with each visit,
/// and patients visit in scattered order.
pub(super) struct Load<'a> {
    contents: Contents<'a>,
    records: usize,
}

impl<'a> Load<'a> {
    /// Creates a load with the sizes of the clinic's resources.
    pub(super) fn resources(clinic: &'a Clinic, records: usize) -> Result<Self> {
        let documents = &clinic.documents;
        let resources: Vec<_> = documents
            .records
            .iter()
            .filter(|record| matches!(record.format, Format::FhirLines | Format::FhirJson))
            .map(|record| documents.content(record))
            .collect();
        ensure!(!resources.is_empty(), "the clinic has no FHIR resources");
        Ok(Self {
            contents: Contents::Resources(resources),
            records,
        })
    }

    /// Creates a load of records of one size, in bytes.
    pub(super) fn pieces(clinic: &'a Clinic, size: usize, records: usize) -> Result<Self> {
        let files = clinic.documents.files.iter();
        let largest = files
            .map(|file| &file.content)
            .max_by_key(|content| content.len());
        let largest = largest.context("the clinic has no files")?;
        ensure!(largest.len() > 2 * size, "no file is large enough");
        Ok(Self {
            contents: Contents::Pieces(largest, size),
            records,
        })
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    pub(super) fn patients(&self) -> usize {
        (self.records / CHART).max(1)
    }

    pub(super) fn subject(patient: usize) -> Result<Subject> {
        Ok(Subject::patient(&format!("MRN-{patient:06}"))?)
    }

    pub(super) fn id(&self, number: usize) -> Result<RecordId> {
        let patient = number / VISIT * STRIDE % self.patients();
        let name = format!("Observation/{number:08}");
        Ok(RecordId::new(Self::subject(patient)?, &name)?)
    }

    /// Returns the id of an additional record, which is not part of the load, for one of the load's
    /// patients.
    pub(super) fn later_id(&self, number: usize) -> Result<RecordId> {
        let patient = mixed(number as u64) as usize % self.patients();
        let name = format!("Note/{number:08}");
        Ok(RecordId::new(Self::subject(patient)?, &name)?)
    }

    /// Returns the id of the only record of an additional patient.
    pub(super) fn new_patient_id(&self, number: usize) -> Result<RecordId> {
        let patient = Self::subject(self.patients() + number)?;
        Ok(RecordId::new(patient, "Patient")?)
    }

    pub(super) fn content(&self, number: usize) -> &'a [u8] {
        let found = match &self.contents {
            Contents::Resources(all) => all.get(number % all.len()).copied(),
            Contents::Pieces(text, size) => {
                let start = mixed(number as u64) as usize % (text.len() - size);
                text.get(start..start + size)
            }
        };
        found.unwrap_or_default()
    }
}

/// A sequence of pseudorandom numbers that is the same in every run.
pub(super) struct Picks(u64);

impl Picks {
    pub(super) fn new() -> Self {
        Self(0)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 += 1;
        mixed(self.0) as usize % end.max(1)
    }
}

/// The finalizer of SplitMix64.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
