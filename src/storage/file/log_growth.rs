//! Estimate of the pages that a commit adds to the write-ahead log.

use super::schema::PAGE_BYTES;

/// Bytes of a row beside its key and value.
const ROW_BYTES: usize = 40;
/// Rows of one chart that share a page of the key index. Those of a large chart share fewer pages, so the log
/// then grows larger than estimated.
const ROWS_PER_INDEX_PAGE: usize = 4;
/// Bytes that the keys of one chart have in common: the class and the chart.
const CHART_PREFIX: usize = 17;

/// Changes of a commit, as they count for the growth of the log.
#[derive(Debug, Default)]
pub(super) struct LogGrowth {
    /// Bytes of new rows. Their numbers ascend, so they fill neighbouring pages.
    bytes: usize,
    /// Further pages that the commit changes.
    pages: usize,
    /// Prefix of the last key.
    prefix: Vec<u8>,
    /// Number of successive rows with this prefix.
    rows: usize,
}

impl LogGrowth {
    /// Counts a new row.
    pub(super) fn add_row(&mut self, key: &[u8], value: usize) {
        self.bytes += ROW_BYTES + key.len() + value;
        let prefix = key.get(..CHART_PREFIX).unwrap_or(key);
        if self.prefix != prefix {
            self.prefix.clear();
            self.prefix.extend_from_slice(prefix);
            self.rows = 0;
        }
        if self.rows.is_multiple_of(ROWS_PER_INDEX_PAGE) {
            self.pages += 1;
        }
        self.rows += 1;
    }

    pub(super) fn add_pages(&mut self, pages: usize) {
        self.pages += pages;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages == 0
    }

    pub(super) fn pages(&self) -> usize {
        self.pages + self.bytes.div_ceil(PAGE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_chart_share_pages() {
        let mut growth = LogGrowth::default();
        assert!(growth.is_empty());
        for row in 0..8_u8 {
            growth.add_row(&[[7; CHART_PREFIX].as_slice(), &[row]].concat(), 1000);
        }
        assert_eq!(growth.pages(), 2 + 2);
        growth.add_row(&[8; CHART_PREFIX], 1000);
        growth.add_pages(1);
        assert_eq!(growth.pages(), 2 + 2 + 2);
    }
}
