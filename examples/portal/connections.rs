//! Listener with a limited number of connections, and a limit on their idle time between requests and within
//! them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// Maximum number of concurrent connections. Further clients wait until a client disconnects.
const CONNECTIONS_MAX: usize = 1024;

/// A listener whose connections have limits.
pub(crate) struct Connections {
    listener: TcpListener,
    free: Arc<Semaphore>,
    idle_max: Duration,
}

impl Connections {
    /// Limits the connections of a listener. A connection ends after `idle_max` without a byte in either
    /// direction, unless a request runs. Such a client stopped sending its request, does not read its answer,
    /// or keeps an unused connection.
    pub(crate) fn new(listener: TcpListener, idle_max: Duration) -> Self {
        Self {
            listener,
            idle_max,
            free: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.free).acquire_owned().await else {
                // Unreachable, because the semaphore is never closed.
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    return (Connection::new(stream, permit, self.idle_max), address);
                }
                // Wait, because the process may have no free file descriptor at the moment.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails after it was idle for too long.
pub(crate) struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    requests: Requests,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit, idle_max: Duration) -> Self {
        let _best_effort = stream.set_nodelay(true);
        Self {
            stream,
            idle: Box::pin(sleep(idle_max)),
            requests: Requests {
                running: Arc::default(),
                idle_max,
            },
            _permit: permit,
        }
    }

    /// Restarts the time after progress, and fails after too long without any.
    fn watch<T>(
        &mut self,
        task: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.restart();
            return poll;
        }
        while self.idle.as_mut().poll(task).is_ready() {
            // The server also polls the stream while a request runs, to detect a client that disconnects.
            if self.requests.running.load(Ordering::Acquire) == 0 {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.restart();
        }
        Poll::Pending
    }

    fn restart(&mut self) {
        let end = Instant::now() + self.requests.idle_max;
        self.idle.as_mut().reset(end);
    }
}

/// The requests of one connection.
#[derive(Clone)]
pub(crate) struct Requests {
    /// Number of requests whose handlers run.
    running: Arc<AtomicUsize>,
    idle_max: Duration,
}

impl Connected<IncomingStream<'_, Connections>> for Requests {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        stream.io().requests.clone()
    }
}

/// Runs a request, and keeps its connection from becoming idle meanwhile. The client must still send the body
/// without long pauses.
pub(crate) async fn keep(
    ConnectInfo(requests): ConnectInfo<Requests>,
    request: Request,
    next: Next,
) -> Response {
    requests.running.fetch_add(1, Ordering::AcqRel);
    let _end = RequestGuard(Arc::clone(&requests.running));
    let request = request.map(|body| without_pauses(body, requests.idle_max));
    next.run(request).await
}

/// Guard that counts down the running requests when a request ends, also if the client disconnects.
struct RequestGuard(Arc<AtomicUsize>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn without_pauses(body: Body, pause_max: Duration) -> Body {
    let parts = body.into_data_stream();
    Body::from_stream(try_unfold(parts, move |mut parts| async move {
        let part = timeout(pause_max, parts.next()).await;
        let part = part.map_err(axum::Error::new)?;
        Ok::<_, axum::Error>(part.transpose()?.map(|part| (part, parts)))
    }))
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(task, out);
        self.watch(task, poll)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.watch(task, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(task, parts);
        self.watch(task, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
