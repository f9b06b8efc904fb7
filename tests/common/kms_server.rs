//! Servers with the protocol of AWS KMS that the tests start on loopback. Both keep keys in memory. moto checks
//! contexts and tampering, and ignores the state of a key; ministack checks the state, and answers an altered
//! ciphertext with an altered plaintext.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::scratch;
use super::server_process::{ServerProcess, free_port, python_program};

/// Region of all keys.
pub(crate) const REGION: &str = "eu-central-1";

/// A running server.
pub(crate) struct KmsServer {
    pub(crate) port: u16,
    _process: ServerProcess,
}

/// Returns the moto server that all tests of this process share; `None` if it is not installed.
pub(crate) fn moto() -> Option<&'static KmsServer> {
    static SERVER: OnceLock<Option<KmsServer>> = OnceLock::new();
    let start = || KmsServer::start("moto_server", "moto[server]");
    SERVER.get_or_init(start).as_ref()
}

/// Returns the ministack server that all tests of this process share; `None` if it is not installed.
pub(crate) fn ministack() -> Option<&'static KmsServer> {
    static SERVER: OnceLock<Option<KmsServer>> = OnceLock::new();
    let start = || KmsServer::start("ministack", "ministack");
    SERVER.get_or_init(start).as_ref()
}

/// Returns the servers that are installed.
pub(crate) fn all() -> impl Iterator<Item = &'static KmsServer> {
    [moto(), ministack()].into_iter().flatten()
}

impl KmsServer {
    fn start(name: &str, package: &str) -> Option<Self> {
        let program = python_program(name, package)?;
        let port = free_port();
        let port_text = port.to_string();
        let arguments = match name {
            "moto_server" => vec!["-H", "127.0.0.1", "-p", &port_text],
            _ => Vec::new(),
        };
        let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        let environment = [("BIND_HOST", "127.0.0.1"), ("GATEWAY_PORT", &port_text)];
        let directory = scratch::quick().keep();
        let server = Self {
            port,
            _process: ServerProcess::start(&program, directory, &arguments, &environment),
        };
        let end = Instant::now() + Duration::from_secs(120);
        while !server
            .try_act("ListKeys", "{}")
            .is_some_and(|answer| answer.contains("\"Keys\""))
        {
            assert!(Instant::now() < end, "{name} did not start");
            thread::sleep(Duration::from_millis(100));
        }
        Some(server)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Creates a symmetric key, and returns its id.
    pub(crate) fn create_key(&self) -> String {
        let answer = self.act("CreateKey", "{}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    /// Performs an action of KMS, such as `DisableKey`, on a key.
    pub(crate) fn act_on(&self, action: &str, key: &str) {
        self.act(action, &format!("{{\"KeyId\":\"{key}\"}}"));
    }

    fn act(&self, action: &str, body: &str) -> String {
        let answer = self.try_act(action, body).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
        answer
    }

    fn try_act(&self, action: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        // The servers choose the service by the scope of the signature, which they do not check.
        let head = format!(
            "POST / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nX-Amz-Target: TrentService.{action}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/kms/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}
