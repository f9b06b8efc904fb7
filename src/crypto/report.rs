//! Names the crates that compute the primitives in this build.

use std::fmt;

use serde::Serialize;

use crate::crypto::provider::active;

/// Which crates run each primitive in this build: from [`crypto_report`].
///
/// It says what is linked. It is no statement about audits, approvals or certificates.
///
/// ```
/// let report = chartlock::report::crypto_report();
/// assert_eq!(report.argon2id.package, "argon2"); // whatever the provider is
/// assert!(report.to_string().starts_with("AES-256-GCM: "));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CryptoReport {
    /// AES-256-GCM, suite 1.
    pub aes_256_gcm: Implementation,
    /// ChaCha20-Poly1305, suite 2.
    pub chacha20_poly1305: Implementation,
    /// SHA-256.
    pub sha_256: Implementation,
    /// HKDF-Expand with HMAC-SHA-256, the one derivation of every key.
    pub hkdf_sha_256: Implementation,
    /// Argon2id, for passphrases. Part of no FIPS module.
    pub argon2id: Implementation,
    /// What asks the operating system for random bytes: chartlock has no other source of them.
    pub random: Implementation,
    /// Whether it is AWS-LC's FIPS build that is linked.
    pub fips_build: FipsBuild,
}

/// What runs a primitive.
///
/// ```
/// # let report = chartlock::report::crypto_report();
/// assert_eq!(report.argon2id.to_string(), "argon2 0.6");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Implementation {
    /// The crate.
    pub package: &'static str,
    /// The series of compatible releases that this crate asks for. Which one of them it is, a crate
    /// cannot know of another: your `Cargo.lock` does.
    pub series: &'static str,
    /// The version that the linked library itself states, where one is behind the crate.
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

/// Whether it is AWS-LC's FIPS build that is linked, as the feature `fips` asks for.
///
/// That is a fact about this program, and no more: whether a module of this version holds a
/// certificate, for this platform and this use of it, is for NIST's list and your assessor.
///
/// ```
/// # use chartlock::report::FipsBuild;
/// let linked = chartlock::report::crypto_report().fips_build != FipsBuild::NotLinked;
/// assert_eq!(linked, cfg!(feature = "fips"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum FipsBuild {
    /// It is not.
    NotLinked,
    /// It is, and runs in its FIPS mode.
    Linked {
        /// The module's version, where it was known at build time.
        module: Option<u32>,
        /// Whether its self-tests, run again for this report, pass.
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
            true => ", its self-tests pass",
            false => ", its self-tests FAIL",
        })
    }
}

/// What a provider says of itself.
pub struct Provided {
    pub(super) aes_256_gcm: Implementation,
    pub(super) chacha20_poly1305: Implementation,
    pub(super) sha_256: Implementation,
    pub(super) hkdf_sha_256: Implementation,
    pub(super) fips_build: FipsBuild,
}

/// Which crates run each primitive, and whether AWS-LC's FIPS build is linked.
///
/// ```
/// println!("{}", chartlock::report::crypto_report()); // for a log at start-up, or an about box
/// ```
///
/// Where the FIPS build is linked, this runs its self-tests again. When one of them fails, AWS-LC by
/// default ends the process.
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
        writeln!(
            f,
            "random bytes: the operating system's, by {}",
            self.random
        )?;
        write!(f, "FIPS build of AWS-LC: {}", self.fips_build)
    }
}
