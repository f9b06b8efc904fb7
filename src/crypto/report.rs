//! Report on the crates that implement the cryptographic primitives in this build.

use std::fmt;

use serde::Serialize;

use crate::crypto::provider::active;

/// The crates that implement the primitives in this build, as [`crypto_report`] returns them.
///
/// The report lists linked code only. It makes no statement about audits, approvals or
/// certificates.
///
/// ```
/// let report = chartlock::report::crypto_report();
/// assert_eq!(report.argon2id.package, "argon2"); // the same with every provider
/// assert!(report.to_string().starts_with("AES-256-GCM: "));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CryptoReport {
    /// The implementation of AES-256-GCM (suite 1).
    pub aes_256_gcm: Implementation,
    /// The implementation of ChaCha20-Poly1305 (suite 2).
    pub chacha20_poly1305: Implementation,
    /// The implementation of SHA-256.
    pub sha_256: Implementation,
    /// The implementation of HKDF-Expand with HMAC-SHA-256, which derives sealing keys and tags.
    pub hkdf_sha_256: Implementation,
    /// The implementation of Argon2id, which stretches passphrases. No FIPS module contains Argon2id.
    pub argon2id: Implementation,
    /// The crate that requests random bytes from the operating system, the only source of
    /// randomness.
    pub random: Implementation,
    /// The state of AWS-LC's FIPS build.
    pub fips_build: FipsBuild,
}

/// The crate that implements a primitive, and the library that the crate wraps, if any.
///
/// ```
/// # let report = chartlock::report::crypto_report();
/// assert_eq!(report.argon2id.to_string(), "argon2 0.6");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Implementation {
    /// The name of the crate.
    pub package: &'static str,
    /// The series of compatible releases that chartlock depends on. For the exact version, see your
    /// `Cargo.lock`, because a crate cannot query the version of another crate.
    pub series: &'static str,
    /// The version that the linked library reports, if the crate wraps a library.
    pub library: Option<&'static str>,
}

impl Implementation {
    pub(super) const fn of(package: &'static str, series: &'static str) -> Self {
        Self {
            package,
            series,
            library: None,
        }
    }
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.package, self.series)?;
        match self.library {
            Some(version) => write!(f, " (AWS-LC {version})"),
            None => Ok(()),
        }
    }
}

/// The state of AWS-LC's FIPS build, which the feature `fips` links.
///
/// The value describes this program only. NIST's list and your assessor decide whether the module's
/// version is certified for your platform and use.
///
/// ```
/// # use chartlock::report::FipsBuild;
/// let linked = chartlock::report::crypto_report().fips_build != FipsBuild::NotLinked;
/// assert_eq!(linked, cfg!(feature = "fips"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum FipsBuild {
    /// The FIPS build is not linked.
    NotLinked,
    /// The FIPS build is linked and runs in FIPS mode.
    Linked {
        /// The module's version, if known at build time.
        module: Option<u32>,
        /// `true` if the self-tests passed when this report was created.
        self_tests_pass: bool,
    },
}

impl fmt::Display for FipsBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Linked {
            module,
            self_tests_pass,
        } = self
        else {
            return f.write_str("not linked");
        };
        f.write_str("linked")?;
        if let Some(module) = module {
            write!(f, ", module version {module}")?;
        }
        f.write_str(match self_tests_pass {
            true => ", self-tests passed",
            false => ", self-tests FAILED",
        })
    }
}

/// The part of the report that depends on the provider.
pub struct Provided {
    pub(super) aes_256_gcm: Implementation,
    pub(super) chacha20_poly1305: Implementation,
    pub(super) sha_256: Implementation,
    pub(super) hkdf_sha_256: Implementation,
    pub(super) fips_build: FipsBuild,
}

/// Returns the crates that implement the primitives, and the state of AWS-LC's FIPS build.
///
/// ```
/// println!("{}", chartlock::report::crypto_report()); // in a start-up log or an "about" dialog
/// ```
///
/// If the FIPS build is linked, each call runs the FIPS self-tests again. If a self-test fails,
/// AWS-LC ends the process by default.
pub fn crypto_report() -> CryptoReport {
    let provided = active::provided();
    CryptoReport {
        aes_256_gcm: provided.aes_256_gcm,
        chacha20_poly1305: provided.chacha20_poly1305,
        sha_256: provided.sha_256,
        hkdf_sha_256: provided.hkdf_sha_256,
        argon2id: Implementation::of("argon2", "0.6"),
        random: Implementation::of("rand", "0.10"),
        fips_build: provided.fips_build,
    }
}

impl fmt::Display for CryptoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "AES-256-GCM: {}", self.aes_256_gcm)?;
        writeln!(f, "ChaCha20-Poly1305: {}", self.chacha20_poly1305)?;
        writeln!(f, "SHA-256: {}", self.sha_256)?;
        writeln!(f, "HKDF-SHA-256: {}", self.hkdf_sha_256)?;
        writeln!(f, "Argon2id: {}", self.argon2id)?;
        writeln!(f, "Random bytes: operating system, through {}", self.random)?;
        write!(f, "FIPS build of AWS-LC: {}", self.fips_build)
    }
}
