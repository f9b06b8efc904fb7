//! Tests of the provider report, which lists the linked implementations and makes no other claims.

use std::fs;
use std::path::Path;

use chartlock::report::{CryptoReport, FipsBuild, Implementation, crypto_report};

fn implementations(report: &CryptoReport) -> [Implementation; 6] {
    [
        report.aes_256_gcm,
        report.chacha20_poly1305,
        report.sha_256,
        report.hkdf_sha_256,
        report.argon2id,
        report.random,
    ]
}

#[test]
fn provider_report_versions_match_manifest() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    for implementation in implementations(&crypto_report()) {
        let package = format!("{} = ", implementation.package);
        // Skip a feature with the package's name, because its value is a list.
        let line = (manifest.lines())
            .find(|line| line.starts_with(&package) && !line.starts_with(&format!("{package}[")))
            .unwrap();
        let version = line.split('"').nth(1).unwrap();
        let series = implementation.series;
        assert!(
            version == series || version.starts_with(&format!("{series}.")),
            "{package} {version}, not {series}"
        );
    }
}

#[test]
fn provider_report_contains_selected_provider() {
    let report = crypto_report();
    let aws_lc = cfg!(feature = "aws-lc-rs");
    let expected = match aws_lc {
        true => ["aws-lc-rs"; 4],
        false => ["aes-gcm", "chacha20poly1305", "sha2", "hkdf"],
    };
    let [ours @ .., argon2id, random] = implementations(&report);
    assert_eq!(ours.map(|implementation| implementation.package), expected);
    assert!(ours.iter().all(|one| one.library.is_some() == aws_lc));
    assert_eq!(argon2id.to_string(), "argon2 0.6");
    assert_eq!(random.to_string(), "rand 0.10");
    assert_eq!(report, crypto_report());
}

#[test]
fn provider_report_shows_fips_build_if_linked() {
    let answered = match crypto_report().fips_build {
        FipsBuild::Linked {
            self_tests_pass, ..
        } => Some(self_tests_pass),
        _ => None,
    };
    assert_eq!(answered, cfg!(feature = "fips").then_some(true));
}

#[test]
fn provider_report_lists_each_primitive_and_claims_no_validation() {
    let report = crypto_report();
    let text = report.to_string();
    let names = text.lines().map(|line| line.split(':').next().unwrap());
    let expected = [
        "AES-256-GCM",
        "ChaCha20-Poly1305",
        "SHA-256",
        "HKDF-SHA-256",
        "Argon2id",
        "Random bytes",
        "FIPS build of AWS-LC",
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    for word in ["valid", "certif", "approv", "compl"] {
        assert!(!text.to_lowercase().contains(word), "{word}");
    }
    if let Some(version) = report.sha_256.library {
        assert!(text.contains(&format!("aws-lc-rs 1 (AWS-LC {version})")));
        assert!(version.starts_with(|first: char| first.is_ascii_digit()));
    }
}

#[test]
fn provider_report_serializes_to_json() {
    let report = crypto_report();
    let value = serde_json::to_value(report).unwrap();
    assert_eq!(value["argon2id"]["package"], "argon2");
    assert_eq!(value["sha_256"]["package"], report.sha_256.package);
    let linked = value["fips_build"] != "NotLinked";
    assert_eq!(linked, cfg!(feature = "fips"));
}
