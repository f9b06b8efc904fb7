//! A portal in a process of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use chartlock::keys::KeyFile;
use chartlock::{FileStorage, Vault};
use tempfile::TempDir;

use super::common::s3_server::{self, S3Server};

use super::client::{Request, Response};

/// Shell script that starts a portal and sends SIGTERM when standard input ends. Standard input ends with
/// the test process, even if the process is killed.
const SCRIPT: &str = r#""$@" </dev/null & portal=$!; echo "pid $portal"; cat >/dev/null; kill -TERM $portal 2>/dev/null; wait $portal"#;

/// A running portal.
pub(crate) struct Service {
    pub(crate) port: u16,
    pid: u32,
    child: Child,
    /// Standard input of the script, until the portal is to end.
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
    home: Home,
}

/// Directory of a portal's files.
#[derive(Clone)]
pub(crate) struct Home {
    scratch: std::sync::Arc<TempDir>,
    storage: OsString,
    /// Port of an object store, if the storage has a bucket.
    bucket_port: u16,
    /// Further environment variables.
    variables: Vec<(&'static str, String)>,
}

impl Home {
    /// Creates a home with a key file, for a vault in a directory.
    pub(crate) fn new() -> Self {
        let scratch = super::common::scratch::quick();
        let storage = scratch.path().join("clinic").into_os_string();
        Self::with_storage(scratch, storage)
    }

    /// Creates a home for a vault in a database.
    pub(crate) fn of_database(connection: String) -> Self {
        Self::with_storage(tempfile::tempdir().unwrap(), connection.into())
    }

    fn with_storage(scratch: TempDir, storage: OsString) -> Self {
        KeyFile::create(scratch.path().join("clinic.key")).unwrap();
        Self {
            scratch: scratch.into(),
            storage,
            bucket_port: 0,
            variables: Vec::new(),
        }
    }

    /// Adds a bucket for large content.
    pub(crate) fn with_bucket(mut self, server: &S3Server, prefix: &str) -> Self {
        self.bucket_port = server.port;
        self.storage
            .push(format!(" s3://{}/{prefix}", s3_server::BUCKET));
        self
    }

    /// Adds an environment variable.
    pub(crate) fn with_variable(mut self, name: &'static str, value: impl ToString) -> Self {
        self.variables.push((name, value.to_string()));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns the certificate authority of the database, if the test wrote one.
    fn authority(&self) -> Option<PathBuf> {
        let path = self.path().join("authority.pem");
        path.exists().then_some(path)
    }

    /// Opens the vault, after the portal ended.
    pub(crate) fn open(&self) -> Vault {
        let key = KeyFile::open(self.path().join("clinic.key")).unwrap();
        Vault::open(FileStorage::open(&self.storage).unwrap(), &key).unwrap()
    }
}

/// Returns the path of the example's executable. `cargo test` builds it unless its arguments select other
/// targets.
pub(crate) fn executable() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples/portal");
    assert!(
        path.exists(),
        "{} is missing; build it with `cargo build --example portal`",
        path.display()
    );
    path
}

impl Service {
    /// Starts a portal, and waits until it listens.
    pub(crate) fn start(home: &Home) -> Self {
        let mut service = Self::launch(home);
        service.wait_until_listening();
        service
    }

    /// Starts a portal without waiting for it.
    pub(crate) fn launch(home: &Home) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let errors = File::create(home.path().join(format!("errors-{number}"))).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(executable())
            .args(["--listen", "127.0.0.1:0"])
            .env("PORTAL_STORAGE", &home.storage)
            .env("PORTAL_KEY_FILE", home.path().join("clinic.key"))
            .env("AWS_ACCESS_KEY_ID", s3_server::KEY)
            .env("AWS_SECRET_ACCESS_KEY", s3_server::SECRET)
            .env("AWS_REGION", "us-east-1")
            .env(
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", home.bucket_port),
            )
            .envs(home.authority().map(|path| ("PORTAL_CA_FILE", path)))
            .envs(home.variables.clone())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut service = Self {
            port: 0,
            pid: 0,
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            home: home.clone(),
        };
        service.pid = service.wait_for_line("pid ").parse().unwrap();
        service
    }

    pub(crate) fn wait_until_listening(&mut self) {
        let port = self.wait_for_line("listening on http://127.0.0.1:");
        self.port = port.parse().unwrap();
    }

    /// Returns the rest of the next line that begins with a text.
    fn wait_for_line(&mut self, begin: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let bytes = self.output.read_line(&mut line).unwrap();
            assert!(bytes > 0, "the portal ended: {}", self.errors());
            if let Some(rest) = line.trim_end().strip_prefix(begin) {
                return rest.to_owned();
            }
        }
    }

    pub(crate) fn send(&self, request: &Request) -> Response {
        request.send(self.port)
    }

    /// Sends a request of a user.
    pub(crate) fn ask(&self, token: &str, request: Request) -> Response {
        request.token(token).send(self.port)
    }

    /// Returns what all portals of this home wrote to standard error.
    pub(crate) fn errors(&self) -> String {
        let files = fs::read_dir(self.home.path()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let files = files.filter(|path| path.to_string_lossy().contains("errors-"));
        files
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }

    /// Returns the peak memory of the portal in bytes.
    pub(crate) fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().split_whitespace().next().unwrap();
        kib.parse::<u64>().unwrap() << 10
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&mut self) {
        drop(self.input.take());
    }

    /// Waits until the portal has ended, and asserts that it ended without an error.
    pub(crate) fn wait(mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.errors());
        self.wait_for_line("ended: the journal is complete");
    }

    pub(crate) fn stop(mut self) {
        self.terminate();
        self.wait();
    }

    /// Kills the portal.
    pub(crate) fn kill(mut self) {
        let kill = Command::new("kill")
            .args(["-KILL", &self.pid.to_string()])
            .status();
        assert!(kill.unwrap().success());
        self.terminate();
        let _ = self.child.wait().unwrap();
    }
}

/// Returns a portal that many tests share. Each test uses patients of its own.
pub(crate) fn shared() -> &'static Service {
    static SERVICE: OnceLock<Service> = OnceLock::new();
    SERVICE.get_or_init(|| Service::start(&Home::new()))
}
