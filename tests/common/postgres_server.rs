//! PostgreSQL servers that the tests start on loopback.

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use chartlock::storage::{PostgresOptions, PostgresStorage};
use tempfile::TempDir;

use super::server_process::{SCRIPT, free_port};

/// A running server with an empty database cluster.
pub(crate) struct Server {
    bin: PathBuf,
    directory: TempDir,
    pub(crate) port: u16,
    /// The script and the server. The script's standard input is open while the server should run.
    child: Mutex<Option<Child>>,
    schemas: AtomicU32,
}

/// Returns the server that all tests of this process share; `None` if PostgreSQL is not installed.
pub(crate) fn shared() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(Server::start);
    server.as_ref()
}

impl Server {
    /// Starts a server; `None` if PostgreSQL is not installed. Panics instead if `CHARTLOCK_SERVERS` is set.
    pub(crate) fn start() -> Option<Self> {
        let Some(bin) = bin() else {
            let is_required = std::env::var_os("CHARTLOCK_SERVERS").is_some();
            assert!(
                !is_required,
                "PostgreSQL is not installed (Debian: postgresql)"
            );
            eprintln!("SKIPPED: PostgreSQL is not installed (Debian: postgresql)");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        // The server refuses to run as root, so another user must be able to write to the directory.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        let initdb = as_postgres(&bin.join("initdb"))
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-N",
                "--no-locale",
                "-E",
                "UTF8",
                "-D",
            ])
            .arg(directory.path().join("data"))
            .stdout(Stdio::null())
            .status();
        assert!(initdb.unwrap().success(), "initdb failed");
        let server = Self {
            bin,
            port: free_port(),
            directory,
            child: Mutex::new(None),
            schemas: AtomicU32::new(0),
        };
        server.run();
        Some(server)
    }

    /// Starts the server's process, and waits until it accepts connections.
    pub(crate) fn run(&self) {
        let port = self.port.to_string();
        let child = as_postgres(Path::new("sh"))
            .args(["-c", SCRIPT, "QUIT"])
            .arg(self.bin.join("postgres"))
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .arg("-k")
            .arg(self.directory.path())
            .args([
                "-p",
                &port,
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=300",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.directory.path().join("log")).unwrap())
            .spawn();
        *self.child.lock().unwrap() = Some(child.unwrap());
        let end = Instant::now() + Duration::from_secs(60);
        while !self.psql("select 1").0 {
            assert!(Instant::now() < end, "the server did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the directory of the database cluster.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Stops the server at once, like a crash: the next start recovers from the write-ahead log.
    pub(crate) fn crash(&self) {
        let child = self.child.lock().unwrap().take();
        let mut child = child.unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    /// Returns a command that runs a client program as the superuser.
    fn client(&self, program: &str) -> Command {
        let mut client = Command::new(self.bin.join(program));
        client.args(["-h", "127.0.0.1", "-U", "postgres", "-p"]);
        client.arg(self.port.to_string());
        client
    }

    /// Runs SQL as the superuser. Returns `true` if the SQL succeeded, and the output.
    pub(crate) fn psql(&self, sql: &str) -> (bool, String) {
        let mut psql = self
            .client("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A client that could not connect has ended with an error status.
        let _ = psql.stdin.take().unwrap().write_all(sql.as_bytes());
        let output = psql.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), text.trim().to_owned())
    }

    /// Returns the SQL that `pg_dump` writes for a schema.
    pub(crate) fn dump(&self, schema: &str) -> String {
        let output = self
            .client("pg_dump")
            .args(["-n", schema, "postgres"])
            .output()
            .unwrap();
        assert!(output.status.success(), "pg_dump failed");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns options for a schema that no other test uses.
    pub(crate) fn options(&self) -> PostgresOptions {
        let number = self.schemas.fetch_add(1, Ordering::SeqCst);
        self.options_of(&format!("test_{number}"))
    }

    pub(crate) fn options_of(&self, schema: &str) -> PostgresOptions {
        options_at(self.port, "postgres", schema)
    }

    /// Opens an empty storage in a new schema.
    pub(crate) fn storage(&self) -> PostgresStorage {
        let options = self.options();
        options.migrate().unwrap();
        options.open().unwrap()
    }
}

/// Returns options for a server or a proxy on loopback.
pub(crate) fn options_at(port: u16, user: &str, schema: &str) -> PostgresOptions {
    let connection = format!("host=127.0.0.1 port={port} user={user} dbname=postgres");
    let options = PostgresOptions::parse(&connection).unwrap();
    options.schema(schema).unwrap().connections(4)
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.get_mut().unwrap().is_some() {
            self.crash();
        }
    }
}

/// A running pgbouncer in transaction mode.
pub(crate) struct Bouncer {
    pub(crate) port: u16,
    child: Child,
}

impl Bouncer {
    /// Returns `true` if pgbouncer is installed. If it is not, panics if `CHARTLOCK_SERVERS` is set.
    pub(crate) fn is_installed() -> bool {
        let is_installed = program("pgbouncer").is_some();
        let is_required = std::env::var_os("CHARTLOCK_SERVERS").is_some();
        assert!(
            is_installed || !is_required,
            "pgbouncer is not installed (Debian: pgbouncer)"
        );
        if !is_installed {
            eprintln!("SKIPPED: pgbouncer is not installed (Debian: pgbouncer)");
        }
        is_installed
    }

    /// Starts pgbouncer in front of a server, with its files in a directory.
    pub(crate) fn start(server: u16, directory: &Path) -> Self {
        fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
        let (port, config) = (free_port(), directory.join("pgbouncer.ini"));
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={server} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 8\nunix_socket_dir =\n"
        );
        fs::write(&config, text).unwrap();
        let child = as_postgres(Path::new("sh"))
            .args(["-c", SCRIPT, "TERM"])
            .arg(program("pgbouncer").unwrap())
            .arg(&config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "pgbouncer did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        let child = child.unwrap();
        Self { port, child }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// Returns the path of an installed program.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut programs = directories.map(|directory| directory.join(name));
    programs.find(|program| program.exists())
}

/// Returns a command that runs as the user `postgres` if this process runs as root.
pub(crate) fn as_postgres(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = match is_root {
        true => Command::new("runuser"),
        false => Command::new(program),
    };
    if is_root {
        command.args(["-u", "postgres", "--"]).arg(program);
    }
    command.current_dir("/");
    command
}

/// Returns the directory with the newest server programs, among Debian's packages and the search path.
fn bin() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<_> = std::env::split_paths(&path).collect();
    let all = path.into_iter().chain(debian);
    let programs = ["initdb", "postgres", "psql", "pg_dump"];
    all.filter(|bin| programs.iter().all(|program| bin.join(program).exists()))
        .max()
}
