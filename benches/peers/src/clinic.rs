//! The records of a clinic: what is worked on.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};

use crate::documents::Documents;

/// Where the clinic's data lie beside a checkout, and the sample within it.
const BESIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/clinic");
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data");

/// Every record below a directory, cut as the `clinic` example cuts them.
pub(crate) struct Clinic {
    pub(crate) directory: PathBuf,
    pub(crate) documents: Documents,
}

impl Clinic {
    /// Of a directory, or of the largest one that is here.
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

    /// What is measured on, in words.
    pub(crate) fn says(&self) -> String {
        let Documents { files, records, .. } = &self.documents;
        let mib = self.documents.record_bytes() as f64 / f64::from(1 << 20);
        format!(
            "{} records of {} documents, {mib:.1} MiB",
            records.len(),
            files.len()
        )
    }

    /// So many of the records' contents, evenly over all of them in their order.
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
    fn a_sample_goes_over_all_records_and_is_always_the_same() -> Result<()> {
        let clinic = Clinic::below(Path::new(SAMPLE))?;
        let sample = clinic.sample(100);
        assert_eq!(sample.len(), 100);
        assert_eq!(sample, clinic.sample(100));
        let all = clinic.documents.records.len();
        assert_eq!(clinic.sample(all + 1).len(), all);
        Ok(())
    }
}
