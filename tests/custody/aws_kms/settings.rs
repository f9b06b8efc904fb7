//! Tests of the options.

use std::time::Duration;

use chartlock::Error;
use chartlock::keys::{AwsKms, AwsKmsOptions};

use super::KEY;
use crate::common::kms_server::REGION;

#[test]
fn options_out_of_bounds_are_refused() {
    let valid = || AwsKmsOptions::new(KEY, REGION);
    let longest = "k".repeat(2048);
    for accepted in [
        valid(),
        AwsKmsOptions::new(&longest, "cn-north-1"),
        valid().endpoint("https://kms.clinic.example/"),
        valid().endpoint("http://localhost:4566"),
        valid().endpoint("http://[::1]:4566"),
        valid().environment_proxy(),
        valid()
            .endpoint("https://localhost:4566")
            .environment_proxy(),
        valid().time_limit(Duration::from_millis(1)),
        valid().time_limit(Duration::from_secs(3600)),
    ] {
        accepted.build().unwrap();
    }
    let too_long = "k".repeat(2049);
    for refused in [
        AwsKmsOptions::new("", REGION),
        AwsKmsOptions::new(&too_long, REGION),
        AwsKmsOptions::new("a key", REGION),
        AwsKmsOptions::new("sch\u{fc}ssel", REGION),
        AwsKmsOptions::new(KEY, ""),
        AwsKmsOptions::new(KEY, "eu.central"),
        AwsKmsOptions::new(KEY, "attacker.example/"),
        AwsKmsOptions::new(KEY, &"r".repeat(65)),
        valid().endpoint(""),
        valid().endpoint("kms.clinic.example"),
        valid().endpoint("http://kms.clinic.example"),
        valid().endpoint("http://localhost.attacker.example"),
        valid().endpoint("https://user:password@kms.clinic.example"),
        valid().endpoint("ftp://localhost"),
        // The proxy would read the slot secrets.
        valid()
            .endpoint("http://localhost:4566")
            .environment_proxy(),
        valid()
            .endpoint("HTTP://127.0.0.1:4566")
            .environment_proxy(),
        valid().time_limit(Duration::ZERO),
        valid().time_limit(Duration::from_secs(3601)),
        valid().ca_certificates(b""),
        valid().ca_certificates(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ] {
        assert_eq!(
            refused.build().unwrap_err(),
            Error::InvalidCredentialSetting
        );
    }
    assert_eq!(
        AwsKms::new("", REGION).unwrap_err(),
        Error::InvalidCredentialSetting
    );
}
