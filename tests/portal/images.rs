//! Images: streamed uploads and downloads, ranges, and clients that disconnect.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::client::{Request, Response, connect, header, read_head};
use super::service::{Home, Service, shared};
use super::{DESK, DOCTOR, NURSE, get};

const DICOM: &str = "application/dicom";
const MIB: u64 = 1 << 20;

fn upload(path: &str) -> Request {
    Request::new("PUT", path).header("Content-Type", DICOM)
}

fn sample() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dicom/CT_small.dcm");
    fs::read(path).unwrap()
}

#[test]
fn uploaded_image_is_downloaded_whole_and_in_ranges() {
    let portal = shared();
    let (path, image) = ("/patients/ima-1/images/ct-1", sample());
    let created = portal
        .ask(DOCTOR, upload(path).body(image.clone()))
        .expect(201);
    assert_eq!(created.header("ETag"), Some("\"1\""));
    let whole = portal.ask(NURSE, get(path)).expect(200);
    assert!(whole.body == image);
    assert_eq!(whole.header("Content-Type"), Some(DICOM));
    assert_eq!(whole.header("Accept-Ranges"), Some("bytes"));
    let length = image.len();
    for (range, from, to) in [
        ("bytes=128-131", 128, 132),
        ("bytes=0-0", 0, 1),
        ("bytes=39000-", 39_000, length),
        ("bytes=39000-99999999999", 39_000, length),
        ("bytes=-100", length - 100, length),
        ("bytes=-99999999999", 0, length),
    ] {
        let part = portal
            .ask(DOCTOR, get(path).header("Range", range))
            .expect(206);
        assert!(part.body == image[from..to], "{range}");
        let place = format!("bytes {from}-{}/{length}", to - 1);
        assert_eq!(part.header("Content-Range"), Some(&*place), "{range}");
    }
    for range in ["bytes=39206-", "bytes=99999999999-", "bytes=-0"] {
        let refused = portal
            .ask(DOCTOR, get(path).header("Range", range))
            .expect(416);
        assert_eq!(
            refused.header("Content-Range"),
            Some(&*format!("bytes */{length}"))
        );
    }
    // Anything else is ignored, as HTTP permits.
    for range in [
        "bytes=5-4",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=0-1,3-4",
        "bytes=",
        "bytes=-",
        "lines=1-2",
        "bytes=99999999999999999999-",
    ] {
        let all = portal
            .ask(DOCTOR, get(path).header("Range", range))
            .expect(200);
        assert!(all.body == image, "{range}");
    }
    let part = |known: &str| {
        get(path)
            .header("Range", "bytes=0-3")
            .header("If-Range", known)
    };
    portal.ask(DOCTOR, part("\"1\"")).expect(206);
    portal.ask(DOCTOR, part("\"2\"")).expect(200);
    let head = portal.ask(DOCTOR, Request::new("HEAD", path)).expect(200);
    assert_eq!(head.header("Content-Length"), Some(&*length.to_string()));
    assert!(head.body.is_empty());
    portal.ask(DESK, get(path)).expect(403);
    portal.ask(DESK, upload(path).body(image)).expect(403);
    portal
        .ask(DOCTOR, get("/patients/ima-1/images/none"))
        .expect(404);
}

#[test]
fn upload_of_other_media_type_is_refused() {
    let portal = shared();
    for media_type in ["text/html", "image/svg+xml", "application/dicom\u{fe}", ""] {
        let put =
            Request::new("PUT", "/patients/ima-2/images/x").header("Content-Type", media_type);
        portal.ask(DOCTOR, put.body("<script>")).expect(415);
    }
    portal
        .ask(DOCTOR, get("/patients/ima-2/images/x"))
        .expect(404);
}

/// Returns the byte at a position of generated content.
fn byte_at(position: u64) -> u8 {
    (position / 7 % 251) as u8
}

fn generated(from: u64, length: u64) -> Vec<u8> {
    (from..from + length).map(byte_at).collect()
}

#[test]
fn large_upload_and_download_use_bounded_memory() {
    let length = match std::env::var_os("CHARTLOCK_LONG") {
        Some(_) => 1024 * MIB,
        None => 192 * MIB,
    };
    let portal = Service::start(&Home::new());
    let path = "/patients/ima-3/images/large";
    let block = generated(0, 7 * 251 * 1000);
    // Small transfers first, so that the peak contains what the portal needs once.
    portal
        .ask(
            DOCTOR,
            upload("/patients/ima-3/images/small").body(block.clone()),
        )
        .expect(201);
    portal
        .ask(DOCTOR, get("/patients/ima-3/images/small"))
        .expect(200);
    let before = portal.peak();

    let mut stream = connect(portal.port);
    stream
        .write_all(&upload(path).token(DOCTOR).head(length))
        .unwrap();
    let mut left = length;
    while left > 0 {
        let part = left.min(block.len() as u64);
        stream.write_all(&block[..part as usize]).unwrap();
        left -= part;
    }
    Response::read(&mut stream).expect(201);

    let mut stream = connect(portal.port);
    stream.write_all(&get(path).token(DOCTOR).head(0)).unwrap();
    let (head, mut read) = read_head(&mut stream).unwrap();
    assert_eq!(header(&head, "Content-Length"), Some(&*length.to_string()));
    let (mut position, mut part) = (0, vec![0; 1 << 20]);
    loop {
        let start = (position % block.len() as u64) as usize;
        let fits = (block.len() - start).min(read.len());
        assert!(read[..fits] == block[start..start + fits]);
        assert!(read[fits..] == block[..read.len() - fits]);
        position += read.len() as u64;
        match stream.read(&mut part).unwrap() {
            0 => break,
            bytes => read = part[..bytes].to_vec(),
        }
    }
    assert_eq!(position, length);
    let taken = portal.peak() - before;
    println!(
        "{} MiB for {} MiB, beside {} MiB",
        taken / MIB,
        length / MIB,
        before / MIB
    );
    assert!(taken < 64 * MIB, "{} MiB", taken / MIB);
    portal.stop();
}

#[test]
fn cut_upload_leaves_no_version_and_no_segment() {
    let home = Home::new();
    let portal = Service::start(&home);
    let path = "/patients/ima-4/images/ct";
    portal.ask(DOCTOR, upload(path).body("before")).expect(201);
    for sent in [0, 10, 100_000, 30 << 20] {
        // A body that is shorter than its Content-Length.
        let mut stream = connect(portal.port);
        stream
            .write_all(&upload(path).token(DOCTOR).head(1 << 30))
            .unwrap();
        stream.write_all(&generated(0, sent)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let response = Response::try_read(&mut stream);
        assert!(response.is_none_or(|it| it.status == 400), "{sent}");

        // A chunked body without its last chunk.
        let mut stream = connect(portal.port);
        let head = upload(path)
            .token(DOCTOR)
            .header("Transfer-Encoding", "chunked");
        let head = String::from_utf8(head.head(0)).unwrap();
        let head = head.replace("Content-Length: 0\r\n", "");
        stream.write_all(head.as_bytes()).unwrap();
        write!(stream, "{:x}\r\n", sent.max(1)).unwrap();
        stream.write_all(&generated(0, sent)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let response = Response::try_read(&mut stream);
        assert!(response.is_none_or(|it| it.status == 400), "{sent}");
    }
    wait_until_empty(&home.path().join("clinic/segments"));
    let current = portal.ask(DOCTOR, get(path)).expect(200);
    assert_eq!(
        (&current.body[..], current.header("ETag")),
        (&b"before"[..], Some("\"1\""))
    );
    portal.stop();
    let vault = home.open();
    let garbage = vault.collect_garbage().unwrap();
    assert_eq!(garbage.segments, 0, "{garbage:?}");
    assert!(vault.verify(None).unwrap().is_clean());
}

/// Waits for the removal of unfinished uploads, which continues in the background after their requests.
fn wait_until_empty(directory: &Path) {
    let end = Instant::now() + Duration::from_secs(60);
    while fs::read_dir(directory).unwrap().next().is_some() {
        assert!(Instant::now() < end, "the segments were not removed");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn dropped_and_stalled_downloads_block_no_other_request() {
    let portal = Service::start(&Home::new());
    let path = "/patients/ima-5/images/ct";
    let image = generated(0, 20 * MIB);
    portal
        .ask(DOCTOR, upload(path).body(image.clone()))
        .expect(201);
    let begin = || {
        let mut stream = connect(portal.port);
        stream.write_all(&get(path).token(DOCTOR).head(0)).unwrap();
        let (head, _) = read_head(&mut stream).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        stream
    };
    // Clients that stop reading occupy no thread, so that other clients are served.
    let stalled: Vec<TcpStream> = (0..64).map(|_| begin()).collect();
    let refused = portal.ask(DOCTOR, get(path)).expect(503);
    assert_eq!(refused.header("Retry-After"), Some("1"));
    portal
        .ask(DOCTOR, super::put("ima-5", "Condition", "c", ""))
        .expect(201);
    portal.send(&get("/health/ready")).expect(204);
    drop(stalled);
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let download = portal.ask(DOCTOR, get(path));
        if download.status == 200 {
            assert!(download.body == image);
            break;
        }
        assert!(Instant::now() < end, "the downloads never ended");
        sleep(Duration::from_millis(20));
    }
    portal.stop();
}
