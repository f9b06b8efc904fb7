//! Access of the sources of AWS access keys to environment, files and services.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use reqsign_core::{Context, Env, Error as SourceError, FileRead, HttpSend};

use crate::error::{CredentialFailure, Result};
use crate::keys::credentials::http::{
    HttpClient, HttpOptions, Request, Response, Uri, check_address, is_protected,
};

/// The maximum time limit of a request to a metadata service or to STS. On a machine without a metadata
/// service, the connection may end only by this limit.
const LIMIT_MAX: Duration = Duration::from_secs(5);
/// The maximum number of bytes of a file with access keys or a token that are read.
const FILE_MAX: u64 = 1024 * 1024;
/// The hosts of the metadata services of containers (ECS, and EKS with IPv4 and IPv6) and of instances (IPv4 and
/// IPv6). They have no TLS, and are reached without a network in between.
const METADATA_HOSTS: [&str; 5] = [
    "169.254.170.2",
    "169.254.170.23",
    "[fd00:ec2::23]",
    "169.254.169.254",
    "[fd00:ec2::254]",
];
/// The variable that names another address of STS.
const STS_ADDRESS: &str = "AWS_ENDPOINT_URL_STS";

/// Creates the access. `limit` is the time limit of a request to KMS.
///
/// # Errors
/// [`Error::InvalidCredentialSetting`](crate::Error::InvalidCredentialSetting) for an address of STS that is not
/// protected, or a time limit out of bounds.
pub(super) fn context(limit: Duration) -> Result<Context> {
    let sts = Environment.var(STS_ADDRESS);
    sts.as_deref().map_or(Ok(()), check_address)?;
    let http = HttpClient::new(&HttpOptions {
        limit: limit.min(LIMIT_MAX),
        ..HttpOptions::default()
    })?;
    Ok(Context::new()
        .with_env(Environment)
        .with_file_read(Files)
        .with_http_send(Services { http, sts }))
}

/// The environment of the process. In place of `reqsign_core::OsEnv`, which panics if any variable is not
/// Unicode. Such a variable has a wrong value here, so that a source does not use its default in place of it.
#[derive(Debug)]
struct Environment;

impl Env for Environment {
    fn var(&self, key: &str) -> Option<String> {
        Some(std::env::var_os(key)?.to_string_lossy().into_owned())
    }

    fn vars(&self) -> HashMap<String, String> {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os();
        variables
            .map(|(key, value)| (text(key), text(value)))
            .collect()
    }

    fn home_dir(&self) -> Option<PathBuf> {
        std::env::home_dir()
    }
}

#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        // Opening a pipe could block forever.
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        let file = File::open(path)?;
        // A buffer of the whole size does not grow, and so leaves no copies of the secret.
        let mut bytes = Vec::with_capacity(metadata.len().min(FILE_MAX) as usize + 1);
        file.take(FILE_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn failed(failure: CredentialFailure) -> SourceError {
    SourceError::unexpected("no answer").with_source(failure)
}

/// Metadata services and STS.
#[derive(Debug)]
struct Services {
    http: HttpClient,
    sts: Option<String>,
}

impl HttpSend for Services {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        let (mut parts, body) = request.into_parts();
        if let Some(address) = self.sts_address(&parts.uri) {
            parts.uri = address.parse()?;
        }
        let is_metadata = |host| METADATA_HOSTS.contains(&host);
        if !is_protected(&parts.uri) && !parts.uri.host().is_some_and(is_metadata) {
            return Err(failed(CredentialFailure::Denied));
        }
        let answer = self.http.send(Request::from_parts(parts, &*body));
        let answer = answer.map_err(failed)?;
        let body = Bytes::copy_from_slice(&answer.body);
        Ok(Response::builder().status(answer.status).body(body)?)
    }
}

impl Services {
    /// Returns the address of STS that the environment names, for a request to STS.
    fn sts_address(&self, uri: &Uri) -> Option<&str> {
        let is_sts = uri.host().is_some_and(|host| host.starts_with("sts."));
        self.sts.as_deref().filter(|_| is_sts)
    }
}
