//! Upload intents: what parses is written back as it was.

use chartlock::internals::envelope::Intent;

pub fn run(data: &[u8]) {
    if let Ok(intent) = Intent::parse(data) {
        assert_eq!(intent.encode(), data);
    }
}
