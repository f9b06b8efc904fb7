//! The records of a clinic: the input data of all measurements.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};

use crate::documents::Documents;

/// The directory of a larger clinic data set next to a checkout. Without this directory, the
/// measurements use the sample inside the checkout.
const BESIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/clinic");
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data");

/// All records below a directory, split as the `clinic` example splits them.
pub(crate) struct Clinic {
    pub(crate) directory: PathBuf,
    pub(crate) documents: Documents,
}

impl Clinic {
    /// Reads the records below `directory`. The default is the data set next to the checkout, or
    /// the sample if there is no data set.
    pub(crate) fn read(directory: Option<PathBuf>) -> Result<Self> {
        let here = || {
            let places = [BESIDE, SAMPLE].map(PathBuf::from);
            places.into_iter().find(|place| place.is_dir())
        };
        let directory = directory.or_else(here).unwrap_or_default();
        Self::below(&directory)
    }

    fn below(directory: &Path) -> Result<Self> {
        let documents = Documents::below(directory).map_err(|error| anyhow!("{error}"))?;
        ensure!(
            !documents.records.is_empty(),
            "there are no records in the directory"
        );
        Ok(Self {
            directory: directory.to_owned(),
            documents,
        })
    }

    /// Returns a summary of the clinic's data for reports.
    pub(crate) fn says(&self) -> String {
        let Documents { files, records, .. } = &self.documents;
        let mib = self.documents.record_bytes() as f64 / f64::from(1 << 20);
        format!(
            "{} records of {} documents, {mib:.1} MiB",
            records.len(),
            files.len()
        )
    }

    /// Returns the contents of `count` records, spread evenly over all records.
    pub(crate) fn sample(&self, count: usize) -> Vec<&[u8]> {
        let records = &self.documents.records;
        let count = count.min(records.len()).max(1);
        let step = records.len() as f64 / count as f64;
        (0..count)
            .filter_map(|number| records.get((number as f64 * step) as usize))
            .map(|record| self.documents.content(record))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_spans_all_records_and_is_deterministic() -> Result<()> {
        let clinic = Clinic::below(Path::new(SAMPLE))?;
        let sample = clinic.sample(100);
        assert_eq!(sample.len(), 100);
        assert_eq!(sample, clinic.sample(100));
        let all = clinic.documents.records.len();
        assert_eq!(clinic.sample(all + 1).len(), all);
        Ok(())
    }
}
