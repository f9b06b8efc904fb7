//! Fuzz target for upload intents. A parsed intent must encode to the same bytes.

use chartlock::internals::envelope::Intent;

pub fn run(data: &[u8]) {
    if let Ok(intent) = Intent::parse(data) {
        assert_eq!(intent.encode(), data);
    }
}
