//! Small HTTP client, which can also send malformed requests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// A request, built part by part.
#[derive(Clone)]
pub(crate) struct Request {
    head: String,
    body: Vec<u8>,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            head: format!("{method} {path} HTTP/1.1\r\nHost: portal\r\n"),
            body: Vec::new(),
        }
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// Sets a body of JSON, or of the media type that a header set.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        match self.head.contains("Content-Type: ") {
            true => self,
            false => self.header("Content-Type", "application/json"),
        }
    }

    /// Returns the head alone, for a body of this length.
    pub(crate) fn head(&self, length: u64) -> Vec<u8> {
        let head = &self.head;
        format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n").into_bytes()
    }

    pub(crate) fn send(&self, port: u16) -> Response {
        let mut stream = connect(port);
        stream
            .write_all(&self.head(self.body.len() as u64))
            .unwrap();
        // A server that refuses a request may close before it has read the body.
        let _ = stream.write_all(&self.body);
        Response::read(&mut stream)
    }
}

pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let limit = Some(Duration::from_secs(120));
    stream.set_read_timeout(limit).unwrap();
    stream.set_write_timeout(limit).unwrap();
    stream
}

/// Reads a response until the end of its head, and returns the head and the rest that came with it.
pub(crate) fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut read, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(at + 4);
            return Some((String::from_utf8(read).unwrap(), rest));
        }
        match stream.read(&mut part) {
            Ok(bytes) if bytes > 0 => read.extend_from_slice(&part[..bytes]),
            _ => return None,
        }
    }
}

impl Response {
    /// Reads a response to its end. The body is whole only if the connection was not cut.
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        Self::try_read(stream).unwrap()
    }

    pub(crate) fn try_read(stream: &mut TcpStream) -> Option<Self> {
        let (head, mut body) = read_head(stream)?;
        let _ = stream.read_to_end(&mut body);
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head, body })
    }

    /// Returns a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Asserts the status, and shows the body if it differs.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]);
        assert_eq!(self.status, status, "{}\n{body}", self.head);
        self
    }
}

impl Response {
    /// Asserts that the request succeeded.
    #[track_caller]
    pub(crate) fn expect_success(self) -> Self {
        let status = self.status;
        match (200..300).contains(&status) {
            true => self,
            false => self.expect(200),
        }
    }
}

/// Returns a header of a response's head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    Some(lines.find(|(known, _)| known.eq_ignore_ascii_case(name))?.1)
}
