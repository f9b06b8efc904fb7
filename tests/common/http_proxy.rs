//! Proxy in front of an object store, or in place of an object store. A test decides how the proxy handles
//! each request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request that a client sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn is(&self, method: &str) -> bool {
        self.method == method && !self.is_list()
    }

    pub(crate) fn is_list(&self) -> bool {
        self.target.contains("list-type=2")
    }

    /// Returns a header; the name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8(self.head.clone()).unwrap();
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        let (_, value) = lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.to_owned())
    }

    /// Returns the name of the object, below the bucket.
    pub(crate) fn object(&self) -> &str {
        let path = self.target.split('?').next().unwrap();
        path.splitn(3, '/').nth(2).unwrap_or("")
    }

    /// Returns a parameter of the query, with its escaped slashes.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        Some(value.replace("%2F", "/"))
    }
}

/// Action of the proxy for a request.
pub(crate) enum Action {
    Forward,
    /// Forward the request, and close the connection of the client without an answer.
    Cut,
    /// Answer with this status, headers and body, without forwarding.
    Answer(u16, String, Vec<u8>),
    /// Forward the request, and change the answer.
    Change(fn(Vec<u8>) -> Vec<u8>),
    /// Never answer.
    Stall,
}

impl Action {
    /// Answers with an error of the protocol.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code></Error>");
        Self::Answer(status, String::new(), body.into_bytes())
    }
}

type Decide = dyn Fn(&Request) -> Action + Send + Sync;

/// A running proxy. It runs until the process ends.
pub(crate) struct HttpProxy {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl HttpProxy {
    /// Starts a proxy in front of the server on a port.
    pub(crate) fn start(
        server: u16,
        decide: impl Fn(&Request) -> Action + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, decide) = (Arc::clone(&requests), Arc::new(decide));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, seen, decide) =
                    (client.unwrap(), Arc::clone(&seen), Arc::clone(&decide));
                thread::spawn(move || serve(client, server, &seen, &*decide));
            }
        });
        Self { port, requests }
    }

    /// Returns the requests since the last call.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn serve(client: TcpStream, server: u16, seen: &Mutex<Vec<Request>>, decide: &Decide) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut client = client;
    // Serve one request for each connection, because a changed answer may be shorter than its stated length.
    if let Some(request) = receive(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        let answer = match decide(&request) {
            Action::Forward => forward(server, &request),
            Action::Change(change) => change(forward(server, &request)),
            Action::Cut => {
                forward(server, &request);
                Vec::new()
            }
            Action::Answer(status, headers, body) => {
                let length = match request.method.as_str() {
                    "HEAD" => String::new(),
                    _ => format!("Content-Length: {}\r\n", body.len()),
                };
                let head =
                    format!("HTTP/1.1 {status} Said\r\nConnection: close\r\n{length}{headers}\r\n");
                [head.as_bytes(), &body].concat()
            }
            Action::Stall => {
                thread::sleep(Duration::from_secs(600));
                Vec::new()
            }
        };
        let _ = client.write_all(&answer);
    }
    let _ = client.shutdown(Shutdown::Both);
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8(head.clone()).unwrap();
    let mut words = text.split(' ');
    let mut request = Request {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        head,
        body: Vec::new(),
    };
    let length = request.header("content-length");
    request.body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// Sends a request to the server, and returns its whole answer.
fn forward(server: u16, request: &Request) -> Vec<u8> {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", server)) else {
        return Vec::new();
    };
    // The signature covers the header `Host` with the port of this proxy, which servers accept.
    let head = String::from_utf8(request.head.clone()).unwrap();
    let head = head.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    let sent = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&request.body));
    let mut answer = Vec::new();
    if sent.is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    answer
}
