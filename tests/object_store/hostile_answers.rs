//! Tests of wrong answers, and of servers that are no object stores: no answer is taken for an absence or for
//! other content.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chartlock::storage::{
    BackendCode, CommitError, Expect, MemoryStorage, Projection, RouterStorage, Scan, Storage,
    StorageError, Transaction,
};
use chartlock::{Error, Vault};

use crate::common::http_proxy::{Action, HttpProxy};
use crate::common::{Fixed, record, session};
use crate::fake_bucket::{bucket, open, options};

const MALFORMED: StorageError = StorageError::Io(ErrorKind::InvalidData);

fn scan(prefix: &[u8]) -> Scan<'_> {
    Scan {
        prefix,
        after: None,
        limit: 10,
        projection: Projection::Keys,
    }
}

fn text(status: u16, body: &str) -> Action {
    Action::Answer(status, String::new(), body.as_bytes().to_vec())
}

/// A wrong address, a proxy and a deleted bucket also answer with status 404.
#[test]
fn status_404_without_error_code_is_no_absence() {
    for body in [
        "<html>404 page not found</html>",
        "<Error><Code>NoSuchBucket</Code></Error>",
        "",
    ] {
        let (proxy, objects) = bucket(move |request| {
            let is_hit = !request.is_list() && !request.target.contains("probe");
            is_hit.then(|| text(404, body))
        });
        objects.lock().unwrap().put("7231", b"sealed");
        let storage = open(&proxy);
        let error = StorageError::Backend(BackendCode::Http(404));
        assert_eq!(storage.read(&[b"r1"]), Err(error));
        for expect in [Expect::Absent, Expect::Any] {
            let check = Transaction::new().check(b"r1", expect);
            assert_eq!(storage.commit(&[check]), [Err(error.into())]);
        }
        let delete = Transaction::new().delete(b"r1");
        assert_eq!(storage.commit(&[delete]), [Err(error.into())]);
        let put = Transaction::new().put(b"r1", b"2", Expect::Absent);
        assert_eq!(storage.commit(&[put]), [Err(error.into())]);
    }
}

#[test]
fn missing_bucket_is_refused_at_opening() {
    let (proxy, _) = bucket(|_| Some(Action::error(404, "NoSuchBucket")));
    let error = StorageError::Backend(BackendCode::Http(404));
    assert_eq!(options(&proxy).open().unwrap_err(), error);
}

/// Answers a list with `list`.
fn lists(list: &'static str) -> Result<usize, StorageError> {
    let (proxy, objects) = bucket(|_| None);
    objects.lock().unwrap().put("7231", b"sealed");
    drop(open(&proxy));
    let (proxy, _) = bucket(move |request| request.is_list().then(|| text(200, list)));
    let opened = options(&proxy).open();
    opened.and_then(|storage| Ok(storage.scan(scan(b"r"))?.items.len()))
}

macro_rules! list {
    ($more:literal, $($name:literal),*) => {
        concat!(
            "<ListBucketResult>",
            $("<Contents><Key>", $name, "</Key><Size>1</Size><ETag>&quot;1&quot;</ETag>",
              "<LastModified>2026-11-30T00:00:00Z</LastModified></Contents>",)*
            "<IsTruncated>", $more, "</IsTruncated></ListBucketResult>"
        )
    };
}

#[test]
fn answer_that_is_no_list_is_never_an_empty_list() {
    assert_eq!(lists(list!("false", "north/7231", "north/7232")), Ok(2));
    for list in [
        "",
        "<html><body>Welcome</body></html>",
        "<ListBucketResult></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated>",
        // Cut after the first key.
        "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>north/7231</Key>",
        // The list is truncated, but contains no key and no token to continue.
        list!("true",),
        // Repeated, in descending order, and outside the prefix.
        list!("false", "north/7231", "north/7231"),
        list!("false", "north/7232", "north/7231"),
        "<ListAllMyBucketsResult><IsTruncated>false</IsTruncated></ListAllMyBucketsResult>",
    ] {
        assert_eq!(lists(list), Err(MALFORMED), "{list}");
    }
}

#[test]
fn object_with_a_foreign_name_is_refused() {
    for list in [
        list!("false", "north/7231", "north/notes.txt"),
        // Upper-case digits, an odd number of digits, and a key of 65 bytes.
        list!("false", "north/7A"),
        list!("false", "north/723"),
        list!("false", "south/7231"),
        list!(
            "false",
            "north/0000000000000000000000000000000000000000000000000000000000000000\
            000000000000000000000000000000000000000000000000000000000000000000"
        ),
    ] {
        assert_eq!(lists(list), Err(StorageError::Foreign), "{list}");
    }
}

#[test]
fn folder_marks_and_probes_are_ignored() {
    let (proxy, objects) = bucket(|_| None);
    {
        let mut objects = objects.lock().unwrap();
        objects.put("", b"");
        objects.put("probe-0123", b"1");
        objects.put("7231", b"sealed");
    }
    let storage = open(&proxy);
    let page = storage.scan(Scan {
        limit: 1,
        ..scan(b"")
    });
    let page = page.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].key, b"r1");
}

#[test]
fn page_that_repeats_keys_is_refused() {
    let (proxy, objects) = bucket(|request| {
        let is_next = request
            .parameter("start-after")
            .is_some_and(|after| after.ends_with("7231"));
        is_next.then(|| text(200, list!("true", "north/7231", "north/7232")))
    });
    objects.lock().unwrap().put("7231", b"1");
    let storage = open(&proxy);
    let next = Scan {
        after: Some(b"r1"),
        ..scan(b"r")
    };
    assert_eq!(storage.scan(next), Err(MALFORMED));
}

#[test]
fn etag_that_cannot_be_a_precondition_is_refused() {
    for etag in [
        "",
        "ETag: \"\"\r\n",
        "ETag: W/\"1\"\r\n",
        "ETag: \"a b\"\r\n",
        "ETag: \"a\"b\"\r\n",
    ] {
        let (proxy, objects) = bucket(move |request| {
            let is_hit = !request.is_list() && !request.target.contains("probe");
            is_hit.then(|| Action::Answer(200, etag.into(), b"sealed".to_vec()))
        });
        objects.lock().unwrap().put("7231", b"sealed");
        let storage = open(&proxy);
        assert_eq!(storage.read(&[b"r1"]), Err(MALFORMED), "{etag}");
        // The put may have happened.
        let put = Transaction::new().put(b"r1", b"2", Expect::Any);
        assert_eq!(storage.commit(&[put]), [Err(CommitError::Unknown)]);
    }
}

#[test]
fn revision_that_no_etag_can_have_is_a_conflict() {
    let (proxy, _) = bucket(|_| None);
    let storage = open(&proxy);
    for revision in [b"\"\r\nHost: other".as_slice(), b"", b"\xff", &[b'1'; 1000]] {
        let expect = Expect::Unchanged(chartlock::storage::Revision::new(revision));
        let put = Transaction::new().put(b"r1", b"2", expect);
        let conflict = CommitError::Conflict { operation: 0 };
        assert_eq!(storage.commit(&[put]), [Err(conflict)]);
    }
    assert!(proxy.take().is_empty());
}

#[test]
fn oversized_object_is_damaged_and_not_read() {
    let (proxy, objects) = bucket(|request| {
        let huge = |_| {
            b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 1000000000000000000\r\n\r\n"
                .to_vec()
        };
        request.is("GET").then_some(Action::Change(huge))
    });
    objects.lock().unwrap().put("7231", b"sealed");
    let storage = open(&proxy);
    assert_eq!(storage.read(&[b"r1"]), Err(StorageError::Damaged));
    let (proxy, objects) = bucket(|_| None);
    objects.lock().unwrap().put("7231", &vec![1; (2 << 20) + 1]);
    objects.lock().unwrap().put("7232", b"sealed");
    let storage = open(&proxy);
    assert_eq!(storage.read(&[b"r1"]), Err(StorageError::Damaged));
    let values = Scan {
        projection: Projection::Values,
        ..scan(b"r")
    };
    let page = storage.scan(values).unwrap();
    assert_eq!(page.unreadable.len(), 1);
    assert_eq!(page.items.len(), 1);
}

/// A server that ignores preconditions would let two writers overwrite each other.
#[test]
fn server_without_preconditions_is_refused_at_opening() {
    let (proxy, _) = bucket(|request| {
        let etag = format!("ETag: \"{}\"\r\n", request.body.len());
        request
            .is("PUT")
            .then(|| Action::Answer(200, etag, Vec::new()))
    });
    assert_eq!(
        options(&proxy).open().unwrap_err(),
        StorageError::Unsupported
    );
}

#[test]
fn wrong_bytes_with_status_200_are_never_returned_as_content() {
    let (proxy, objects) = bucket(|_| None);
    let router = RouterStorage::new(open(&proxy), MemoryStorage::new());
    let vault = Vault::create(router, &Fixed(1)).unwrap();
    let session = session(&vault);
    let (scan, other) = (record("MRN-1", "scan"), record("MRN-1", "other"));
    let content = vec![7; 300_000];
    session.put(&scan, &content).unwrap();
    session.put(&other, &vec![8; 300_000]).unwrap();
    assert_eq!(&*session.get(&scan).unwrap().unwrap(), content);
    let whole = objects.lock().unwrap().objects.clone();
    let names: Vec<_> = whole.keys().cloned().collect();
    assert!(names.len() >= 2);
    type Alter = fn(&mut Vec<u8>);
    let alterations: [Alter; 4] = [
        |bytes| bytes[1000] ^= 1,
        |bytes| bytes.truncate(1000),
        |bytes| bytes.clear(),
        |bytes| *bytes = b"<html>Welcome</html>".to_vec(),
    ];
    for alter in alterations {
        for object in objects.lock().unwrap().objects.values_mut() {
            alter(&mut object.1);
        }
        for id in [&scan, &other] {
            let error = session.get(id).unwrap_err();
            let is_damage = matches!(
                error,
                Error::NotAuthentic | Error::Malformed | Error::SegmentMissing
            );
            assert!(is_damage, "{error}");
        }
        objects.lock().unwrap().objects = whole.clone();
    }
    // Each object takes the place of the next one.
    let mut swapped: Vec<_> = whole.values().cloned().collect();
    swapped.rotate_left(1);
    objects.lock().unwrap().objects = names.into_iter().zip(swapped).collect();
    assert!(session.get(&scan).is_err());
    objects.lock().unwrap().objects.clear();
    assert_eq!(session.get(&scan).unwrap_err(), Error::SegmentMissing);
}

/// The list states one byte for each object.
#[test]
fn page_of_objects_larger_than_listed_is_limited_by_received_bytes() {
    const OBJECT: usize = 2 << 20;
    let names = ["7231", "7232", "7233", "7234", "7235"];
    let (proxy, objects) = bucket(|request| {
        let is_scan = request.parameter("prefix")?.ends_with("72");
        let listed = list!(
            "false",
            "north/7231",
            "north/7232",
            "north/7233",
            "north/7234",
            "north/7235"
        );
        is_scan.then(|| text(200, listed))
    });
    for name in names {
        objects.lock().unwrap().put(name, &vec![1; OBJECT]);
    }
    let storage = open(&proxy);
    let of = |projection| {
        let page = storage.scan(Scan {
            projection,
            ..scan(b"r")
        });
        page.unwrap()
    };
    let page = of(Projection::Values);
    assert_eq!((page.items.len(), page.more), (3, true));
    let page = of(Projection::Head(4));
    assert_eq!((page.items.len(), page.more), (5, false));
    for item in page.items {
        assert_eq!((item.value.len(), item.length), (4, OBJECT as u64));
    }
}

/// Returns a bucket that answers each scan with an empty page. `token` returns the token of the next page.
fn empty_pages(token: fn(usize) -> usize) -> HttpProxy {
    let pages = AtomicUsize::new(0);
    let (proxy, _) = bucket(move |request| {
        if !request.parameter("prefix")?.ends_with("72") {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
        let token = token(pages.fetch_add(1, Ordering::SeqCst));
        let list = format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
        );
        Some(text(200, &list))
    });
    proxy
}

#[test]
fn empty_page_that_repeats_its_token_is_refused() {
    let proxy = empty_pages(|_| 7);
    let storage = open(&proxy);
    assert_eq!(storage.scan(scan(b"r")), Err(MALFORMED));
    assert_eq!(proxy.take().len(), 2);
}

#[test]
fn endless_empty_pages_time_out() {
    let proxy = empty_pages(|page| page);
    let options = options(&proxy).wait_for_server(Duration::ZERO);
    let storage = options.wait_for_answer(Duration::from_millis(500));
    let storage = storage.open().unwrap();
    let start = Instant::now();
    assert_eq!(storage.scan(scan(b"r")), Err(StorageError::TimedOut));
    assert_eq!(storage.last(&[b"r"]), Err(StorageError::TimedOut));
    assert!(start.elapsed() < Duration::from_secs(60));
}
