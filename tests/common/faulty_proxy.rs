//! Proxy in front of a PostgreSQL server that delays messages, and cuts connections once a commit was sent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Text of the message that commits a transaction, with its terminator.
const COMMIT: &[u8] = b"commit\0";

/// A running proxy in front of a server on loopback. It runs until the process ends.
pub(crate) struct FaultyProxy {
    pub(crate) port: u16,
    cuts: Arc<AtomicUsize>,
    round_trips: Arc<AtomicUsize>,
}

impl FaultyProxy {
    /// Starts a proxy that cuts the connection of every commit whose number is a multiple of `every`. The
    /// server receives the commit, and the client receives no answer.
    pub(crate) fn cutting(server: u16, every: usize) -> Self {
        Self::start(server, every, Duration::ZERO)
    }

    /// Starts a proxy that forwards all bytes after a delay, in both directions.
    pub(crate) fn delaying(server: u16, delay: Duration) -> Self {
        Self::start(server, usize::MAX, delay)
    }

    fn start(server: u16, every: usize, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (commits, cuts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&cuts);
        let round_trips = Arc::new(AtomicUsize::new(0));
        let all_trips = Arc::clone(&round_trips);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                // Set by each request, and cleared by the first answer to it.
                let is_asked = Arc::new(AtomicBool::new(false));
                let (is_answered, trips) = (Arc::clone(&is_asked), Arc::clone(&all_trips));
                thread::spawn(move || {
                    let answered = |_: &[u8]| {
                        let is_first = is_answered.swap(false, Ordering::SeqCst);
                        trips.fetch_add(usize::from(is_first), Ordering::SeqCst);
                        false
                    };
                    forward(from, to, delay, answered)
                });
                let (commits, cuts) = (Arc::clone(&commits), Arc::clone(&counted));
                thread::spawn(move || {
                    let is_cut = |bytes: &[u8]| {
                        is_asked.store(true, Ordering::SeqCst);
                        if !bytes.windows(COMMIT.len()).any(|part| part == COMMIT) {
                            return false;
                        }
                        let number = commits.fetch_add(1, Ordering::SeqCst) + 1;
                        let is_cut = number.is_multiple_of(every);
                        cuts.fetch_add(usize::from(is_cut), Ordering::SeqCst);
                        is_cut
                    };
                    forward(client, server, delay, is_cut);
                });
            }
        });
        Self {
            port,
            cuts,
            round_trips,
        }
    }

    /// Returns the number of times that the server answered after a request.
    pub(crate) fn round_trips(&self) -> usize {
        self.round_trips.load(Ordering::SeqCst)
    }

    /// Returns the number of connections that were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

/// Forwards bytes until one side closes the connection, or until `is_cut` returns `true` for forwarded bytes.
fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    delay: Duration,
    is_cut: impl Fn(&[u8]) -> bool,
) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        thread::sleep(delay);
        // Count before forwarding, because the answer may follow immediately.
        let is_cut = is_cut(&bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() || is_cut {
            break;
        }
    }
    // The client gets no answer; the server reads to the end of what was sent.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Write);
}
