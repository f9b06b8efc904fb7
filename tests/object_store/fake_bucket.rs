//! Object store in memory, which answers the requests of a proxy.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use chartlock::storage::{ObjectOptions, ObjectStorage};

use crate::common::http_proxy::{Action, HttpProxy, Request};
use crate::common::s3_server::options_at;

/// Prefix of the storage in the bucket.
pub(crate) const PREFIX: &str = "north";

/// Objects by name, each with the number of its write.
#[derive(Default)]
pub(crate) struct FakeBucket {
    pub(crate) objects: BTreeMap<String, (u64, Vec<u8>)>,
    writes: u64,
}

/// Starts a bucket whose answers `decide` may replace; `None` keeps the answer.
pub(crate) fn bucket(
    decide: impl Fn(&Request) -> Option<Action> + Send + Sync + 'static,
) -> (HttpProxy, Arc<Mutex<FakeBucket>>) {
    let bucket = Arc::new(Mutex::new(FakeBucket::default()));
    let objects = Arc::clone(&bucket);
    let proxy = HttpProxy::start(0, move |request| {
        decide(request).unwrap_or_else(|| objects.lock().unwrap().answer(request))
    });
    (proxy, bucket)
}

/// Options for a bucket, with short time-outs.
pub(crate) fn options(proxy: &HttpProxy) -> ObjectOptions {
    let wait = std::time::Duration::from_millis(300);
    options_at(proxy.port, PREFIX)
        .wait_for_server(wait)
        .wait_for_answer(wait * 3)
}

/// Opens a storage, and forgets the requests of the opening.
pub(crate) fn open(proxy: &HttpProxy) -> ObjectStorage {
    let storage = options(proxy).open().unwrap();
    proxy.take();
    storage
}

impl FakeBucket {
    /// Writes an object below the prefix.
    pub(crate) fn put(&mut self, name: &str, value: &[u8]) {
        self.writes += 1;
        let object = (self.writes, value.to_vec());
        self.objects.insert(format!("{PREFIX}/{name}"), object);
    }

    pub(crate) fn answer(&mut self, request: &Request) -> Action {
        if request.is_list() {
            return self.list(request);
        }
        let name = request.object();
        let current = self
            .objects
            .get(name)
            .map(|(write, _)| format!("\"{write}\""));
        match &*request.method {
            "PUT" => {
                let expected = request.header("if-match");
                let is_refused = match expected {
                    Some(etag) => current != Some(etag),
                    None => request.header("if-none-match").is_some() && current.is_some(),
                };
                if is_refused {
                    return Action::error(412, "PreconditionFailed");
                }
                self.writes += 1;
                let object = (self.writes, request.body.clone());
                self.objects.insert(name.to_owned(), object);
                Action::Answer(200, etag(self.writes), Vec::new())
            }
            "DELETE" => {
                self.objects.remove(name);
                Action::Answer(204, String::new(), Vec::new())
            }
            _ => self.get(request),
        }
    }

    fn get(&self, request: &Request) -> Action {
        let Some((write, value)) = self.objects.get(request.object()) else {
            return Action::error(404, "NoSuchKey");
        };
        let length = value.len();
        if request.is("HEAD") {
            let headers = format!("{}Content-Length: {length}\r\n", etag(*write));
            return Action::Answer(200, headers, Vec::new());
        }
        let range = request.header("range");
        let end = range.map(|range| {
            range
                .strip_prefix("bytes=0-")
                .unwrap()
                .parse::<usize>()
                .unwrap()
        });
        match end {
            Some(_) if length == 0 => Action::error(416, "InvalidRange"),
            Some(last) => {
                let last = last.min(length - 1);
                let range = format!("Content-Range: bytes 0-{last}/{length}\r\n");
                Action::Answer(206, etag(*write) + &range, value[..=last].to_vec())
            }
            None => Action::Answer(200, etag(*write), value.clone()),
        }
    }

    fn list(&self, request: &Request) -> Action {
        let prefix = request.parameter("prefix").unwrap_or_default();
        let token = request.parameter("continuation-token");
        let after = token
            .or(request.parameter("start-after"))
            .unwrap_or_default();
        let limit: usize = request.parameter("max-keys").unwrap().parse().unwrap();
        let from = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let mut found = self
            .objects
            .range(from)
            .filter(|(name, _)| name.starts_with(&prefix));
        let mut body = String::from("<?xml version=\"1.0\"?><ListBucketResult>");
        let mut last = "";
        for (name, (write, value)) in found.by_ref().take(limit) {
            last = name;
            let size = value.len();
            write!(
                body,
                "<Contents><Key>{name}</Key><Size>{size}</Size><ETag>&quot;{write}&quot;</ETag>\
                 <LastModified>2026-11-30T00:00:00Z</LastModified></Contents>"
            )
            .unwrap();
        }
        let more = found.next().is_some();
        let token = match more {
            true => format!("<NextContinuationToken>{last}</NextContinuationToken>"),
            false => String::new(),
        };
        write!(
            body,
            "<IsTruncated>{more}</IsTruncated>{token}</ListBucketResult>"
        )
        .unwrap();
        Action::Answer(200, String::new(), body.into_bytes())
    }
}

fn etag(write: u64) -> String {
    format!("ETag: \"{write}\"\r\n")
}
