//! Estimate of the pages that a commit adds to the write-ahead log.

use super::schema::PAGE_BYTES;

/// Bytes of a row in addition to its key and value.
const ROW_BYTES: usize = 40;
/// New rows of one chart that share a page of the key index. In a large chart, fewer rows share a page, so
/// the log grows more than estimated.
const ROWS_PER_INDEX_PAGE: usize = 4;
/// Length of the prefix that all keys of one chart share, in bytes: the class and the chart.
const CHART_PREFIX_BYTES: usize = 17;

/// Estimated growth of the log by the changes of a commit.
#[derive(Debug, Default)]
pub(super) struct LogGrowth {
    /// Bytes of new rows. Row numbers ascend, so new rows fill neighbouring pages.
    bytes: usize,
    /// Number of other pages that the commit changes.
    pages: usize,
    /// Prefix of the last key.
    prefix: Vec<u8>,
    /// Number of successive rows with this prefix.
    rows: usize,
}

impl LogGrowth {
    /// Adds a new row.
    pub(super) fn add_row(&mut self, key: &[u8], value_bytes: usize) {
        self.bytes += ROW_BYTES + key.len() + value_bytes;
        let prefix = key.get(..CHART_PREFIX_BYTES).unwrap_or(key);
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
            growth.add_row(&[[7; CHART_PREFIX_BYTES].as_slice(), &[row]].concat(), 1000);
        }
        assert_eq!(growth.pages(), 2 + 2);
        growth.add_row(&[8; CHART_PREFIX_BYTES], 1000);
        growth.add_pages(1);
        assert_eq!(growth.pages(), 2 + 2 + 2);
    }
}
