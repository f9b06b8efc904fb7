//! Double of the service, whose answers a test can replace.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::keys::{Transit, TransitOptions};
use serde_json::{Value, json};

pub(super) const KEY: &str = "planted-key";
pub(super) const TOKEN: &str = "planted-token";

/// A request that the double received.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) head: String,
    pub(super) body: Value,
}

impl Received {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = reader.read_line(&mut head).ok()?;
            (read > 0).then_some(())?;
        }
        let mut received = Self {
            head,
            body: Value::Null,
        };
        let length = received.header("content-length").unwrap_or("0");
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        received.body = serde_json::from_slice(&body).unwrap_or_default();
        Some(received)
    }

    /// Returns the path: an operation and the name of a key, after the mount.
    pub(super) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// Answer that a test sets for an operation.
#[derive(Clone)]
pub(super) enum Reply {
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// A head, then 256 bytes at a time without an end, with this pause before each time.
    Endless(Duration),
}

impl Reply {
    /// Returns an answer with this status and body.
    pub(super) fn of(status: u16, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Planted\r\nContent-Length: {length}\r\n\r\n");
        Self::Bytes([head.as_bytes(), body].concat())
    }

    fn send(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        match self {
            Self::Bytes(bytes) => stream.write_all(bytes),
            Self::Endless(pause) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                // It ends with an error when the client hangs up.
                loop {
                    std::thread::sleep(*pause);
                    stream.write_all(&[b' '; 256])?;
                }
            }
        }
    }
}

#[derive(Default)]
struct State {
    replies: HashMap<&'static str, Reply>,
    received: Vec<Received>,
    /// Plaintext and bound bytes of each ciphertext.
    encrypted: Vec<(Value, Value)>,
}

/// A service that behaves as a transit engine with one key does, until a test sets other answers.
pub(super) struct Double {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
}

impl Double {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let double = Self {
            port,
            state: Arc::clone(&state),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&state));
                std::thread::spawn(move || {
                    let reply = Received::read(&stream).map(|received| answer(&state, received));
                    // The client may have hung up.
                    let _ = reply.map(|reply| reply.send(&stream));
                });
            }
        });
        double
    }

    pub(super) fn options(&self) -> TransitOptions {
        TransitOptions::new(&format!("http://127.0.0.1:{}", self.port), KEY).token(TOKEN)
    }

    pub(super) fn transit(&self) -> Transit {
        self.options().build().unwrap()
    }

    /// Sets the answer to each later request for an operation: `encrypt`, `decrypt` or `keys`.
    pub(super) fn reply(&self, operation: &'static str, reply: Reply) {
        self.state.lock().unwrap().replies.insert(operation, reply);
    }

    /// Returns the requests since the last call.
    pub(super) fn received(&self) -> Vec<Received> {
        std::mem::take(&mut self.state.lock().unwrap().received)
    }
}

fn answer(state: &Mutex<State>, received: Received) -> Reply {
    let mut state = state.lock().unwrap();
    state.received.push(received.clone());
    let path = received.path();
    let of_test = state
        .replies
        .iter()
        .find(|(operation, _)| path.contains(&format!("/{operation}/")))
        .map(|(_, reply)| reply.clone());
    of_test.unwrap_or_else(|| honest(&mut state, path, &received.body))
}

fn honest(state: &mut State, path: &str, body: &Value) -> Reply {
    let result = if path.contains("/encrypt/") {
        let number = state.encrypted.len();
        let bound = body["associated_data"].clone();
        (state.encrypted).push((body["plaintext"].clone(), bound));
        json!({ "ciphertext": format!("vault:v1:{number}") })
    } else if path.contains("/decrypt/") {
        let ciphertext = body["ciphertext"].as_str().unwrap();
        let number = ciphertext.rsplit(':').next().and_then(|n| n.parse().ok());
        let encrypted = number.and_then(|number: usize| state.encrypted.get(number));
        match encrypted.filter(|(_, bound)| *bound == body["associated_data"]) {
            Some((plaintext, _)) => json!({ "plaintext": plaintext }),
            None => return Reply::of(400, r#"{"errors":["planted text"]}"#),
        }
    } else {
        json!({ "type": "aes256-gcm96", "min_decryption_version": 1 })
    };
    Reply::of(200, json!({ "data": result }).to_string())
}
