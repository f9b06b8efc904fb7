//! Settings from the command line and the environment.

use std::env;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::Outcome;
use crate::common::{Argument, Arguments, UsageError};

pub(crate) const USAGE: &str = "\
A web service over one vault: FHIR records, images, roles, consent, break-glass, access reports.

    cargo run --release --example portal [-- --listen ADDRESS]
    cargo run --release --example portal -- --create-key-file PATH

    --listen ADDRESS       address and port, 127.0.0.1:8080 by default; port 0 chooses a free one
    --create-key-file PATH creates a key file for PORTAL_KEY_FILE, and ends; an existing file is kept

PORTAL_STORAGE          a directory, or a connection string such as postgres://portal@localhost/clinic;
                        by default a directory that is removed at the end. With \" s3://BUCKET/PREFIX\"
                        behind it, large content goes to that bucket; the variables of the AWS tools,
                        such as AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID, say how to reach it
PORTAL_KEY_FILE         the key file that opens the vault; by default a passphrase that everybody knows
PORTAL_CA_FILE          the certificate authority (PEM) of the database and of the bucket, for TLS
PORTAL_WAIT_SECONDS     how long to wait for another process to release the storage, 60 by default
PORTAL_IDLE_SECONDS     how long a connection may be idle before the service ends it, 60 by default";

/// Settings of the service.
pub(crate) struct Settings {
    /// The key file to create instead of running the service.
    pub(crate) new_key_file: Option<PathBuf>,
    pub(crate) listen: SocketAddr,
    pub(crate) place: Place,
    /// Bucket and prefix for the segments of large content.
    pub(crate) bucket: Option<(String, String)>,
    pub(crate) key_file: Option<PathBuf>,
    /// The certificate authority of the database and of the bucket, for TLS.
    pub(crate) authority: Option<PathBuf>,
    /// Longest time to wait for another process to release the storage.
    pub(crate) wait: Duration,
    /// Longest idle time of a connection.
    pub(crate) idle_max: Duration,
}

/// Place of the vault, except for large content if there is a bucket.
pub(crate) enum Place {
    /// A directory that is removed at the end.
    Temporary,
    Directory(PathBuf),
    /// A connection string of PostgreSQL.
    Postgres(String),
}

impl Settings {
    pub(crate) fn read(arguments: &mut Arguments) -> Outcome<Self> {
        let (mut listen, mut new_key_file) = (None, None);
        while let Some(argument) = arguments.next()? {
            match argument {
                Argument::Option(option) if option == "--listen" => {
                    let value = arguments.value(&option, "an address, such as 127.0.0.1:8080")?;
                    let address = value.to_str().and_then(|value| value.parse().ok());
                    let needs =
                        || UsageError::new("--listen needs an address, such as 127.0.0.1:8080");
                    listen = Some(address.ok_or_else(needs)?);
                }
                Argument::Option(option) if option == "--create-key-file" => {
                    let path = arguments.value(&option, "the path of a new file")?;
                    new_key_file = Some(PathBuf::from(path));
                }
                Argument::Option(option) => return Err(UsageError::unknown(&option).into()),
                Argument::Operand(_) => {
                    return Err(UsageError::new("this example takes no other arguments").into());
                }
            }
        }
        let (place, bucket) = Place::read()?;
        Ok(Self {
            new_key_file,
            listen: listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            place,
            bucket,
            key_file: env::var_os("PORTAL_KEY_FILE").map(PathBuf::from),
            authority: env::var_os("PORTAL_CA_FILE").map(PathBuf::from),
            wait: seconds("PORTAL_WAIT_SECONDS", 0..=u64::MAX)?,
            idle_max: seconds("PORTAL_IDLE_SECONDS", 1..=3600)?,
        })
    }
}

impl Place {
    /// Reads the place, and the bucket that follows the place.
    fn read() -> Outcome<(Self, Option<(String, String)>)> {
        let Some(place) = env::var_os("PORTAL_STORAGE") else {
            return Ok((Self::Temporary, None));
        };
        if place.is_empty() {
            return Err(
                "PORTAL_STORAGE is empty; name a directory or a database, or unset it".into(),
            );
        }
        let Some(text) = place.to_str() else {
            return Ok((Self::Directory(place.into()), None));
        };
        let Some((main, bucket)) = text.rsplit_once(" s3://") else {
            return Ok((Self::named(text), None));
        };
        let (bucket, prefix) = bucket
            .split_once('/')
            .filter(|(bucket, prefix)| !bucket.is_empty() && !prefix.is_empty())
            .ok_or(
                "PORTAL_STORAGE needs a bucket and a prefix, such as s3://clinic-images/portal",
            )?;
        let bucket = Some((bucket.to_owned(), prefix.to_owned()));
        Ok((Self::named(main), bucket))
    }

    fn named(text: &str) -> Self {
        let is_database = text.starts_with("postgres://") || text.starts_with("postgresql://");
        match is_database {
            true => Self::Postgres(text.to_owned()),
            false => Self::Directory(text.into()),
        }
    }
}

/// Reads a number of seconds from an environment variable, 60 by default.
fn seconds(variable: &str, range: RangeInclusive<u64>) -> Outcome<Duration> {
    let Some(value) = env::var_os(variable) else {
        return Ok(Duration::from_secs(60));
    };
    let seconds = value.to_str().and_then(|value| value.parse().ok());
    let seconds = seconds.filter(|seconds| range.contains(seconds));
    let (least, most) = (range.start(), range.end());
    let bad = || format!("{variable} needs a number of seconds from {least} to {most}");
    Ok(Duration::from_secs(seconds.ok_or_else(bad)?))
}
