//! Hostile clients: malformed, oversized and unauthenticated requests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Request, Response, connect};
use super::common::postgres_server;
use super::service::{Home, Service, shared};
use super::{DOCTOR, get, put, resource};

/// Sends bytes as they are, and returns the response's status; `None` if the connection was closed.
fn raw(portal: &Service, bytes: &[u8]) -> Option<u16> {
    let mut stream = connect(portal.port);
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    Response::try_read(&mut stream).map(|response| response.status)
}

#[test]
fn ids_outside_fhir_are_refused() {
    let portal = shared();
    let long = "x".repeat(65);
    for id in [
        "%2e%2e%2fetc",
        "a%2Fb",
        "a%00b",
        "a%0d%0ab",
        "%ff",
        "a%20b",
        "é",
        "a*",
        "a:b",
        &long,
    ] {
        for path in [
            format!("/patients/{id}/Observation/bp"),
            format!("/patients/hos-1/Observation/{id}"),
            format!("/patients/hos-1/{id}/bp"),
            format!("/patients/hos-1/images/{id}"),
            format!("/patients/{id}/break-glass"),
        ] {
            let put = Request::new("PUT", &path)
                .header("Content-Type", "image/png")
                .body("{}");
            let status = portal.ask(DOCTOR, put).status;
            assert!(matches!(status, 400 | 405), "{path}: {status}");
        }
    }
    // Dots change no directory, because a name is never a path of a file.
    portal
        .ask(DOCTOR, get("/patients/../Observation/.."))
        .expect(404);
    portal
        .ask(DOCTOR, get("/patients/hos-1/Observation/bp/../../../.."))
        .expect(404);
}

#[test]
fn malformed_resources_are_refused() {
    let portal = shared();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = resource("Observation", "bp", &format!(r#","x":{deep}"#));
    let repeated = resource("Observation", "bp", r#","id":"other""#);
    for body in [
        "",
        "null",
        "[]",
        "{",
        r#"{"resourceType":"Observation"}"#,
        r#"{"resourceType":"Condition","id":"bp"}"#,
        r#"{"resourceType":"Observation","id":"other"}"#,
        r#"{"resourceType":"Observation","id":"bp","meta":{"security":"R"}}"#,
        "{\"resourceType\":\"Observation\",\"id\":\"bp\"}{}",
        &deep,
        &repeated,
    ] {
        let put = Request::new("PUT", "/patients/hos-2/Observation/bp").body(body);
        portal.ask(DOCTOR, put).expect(400);
    }
    let latin = Request::new("PUT", "/patients/hos-2/Observation/bp").body(b"{\"id\":\"\xe9\"}");
    portal.ask(DOCTOR, latin).expect(400);
    portal
        .ask(DOCTOR, get("/patients/hos-2/Observation/bp"))
        .expect(404);
}

#[test]
fn body_over_the_limit_is_refused() {
    let portal = shared();
    let large = format!(r#","text":"{}""#, "x".repeat(5 << 20));
    portal
        .ask(DOCTOR, put("hos-3", "Observation", "bp", &large))
        .expect(413);
    // The limit also applies to a body without an announced length.
    let mut stream = connect(portal.port);
    let head = Request::new("PUT", "/patients/hos-3/Observation/bp").token(DOCTOR);
    let head = String::from_utf8(head.header("Transfer-Encoding", "chunked").head(0)).unwrap();
    let head = head.replace("Content-Length: 0\r\n", "");
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..6 {
        let chunk = [b"100000\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    if let Some(response) = Response::try_read(&mut stream) {
        assert_eq!(response.status, 413);
    }
    portal
        .ask(DOCTOR, get("/patients/hos-3/Observation/bp"))
        .expect(404);
}

#[test]
fn invalid_request_id_is_replaced() {
    let portal = shared();
    for id in ["", "a b", "a;b", "\u{e9}", "<script>", &"x".repeat(65)] {
        let response = portal
            .send(&get("/health/live").header("X-Request-Id", id))
            .expect(204);
        let given = response.header("X-Request-Id").unwrap();
        assert!(
            given != id && given.is_ascii() && !given.contains(' '),
            "{given}"
        );
    }
}

#[test]
fn malformed_requests_do_not_end_the_service() {
    let portal = shared();
    let many = "X: y\r\n".repeat(10_000);
    let long = "x".repeat(1 << 20);
    for bytes in [
        "",
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /patients HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        "PUT /patients/a/B/c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /health/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\n b\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &format!("GET /health/live HTTP/1.1\r\n{many}\r\n"),
        &format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        &format!("GET /health/live HTTP/1.1\r\nX: {long}\r\n\r\n"),
    ] {
        let status = raw(portal, bytes.as_bytes());
        let shown = &bytes[..bytes.len().min(60)];
        assert!(
            status.is_none_or(|it| (400..500).contains(&it)),
            "{shown}: {status:?}"
        );
    }
    portal.send(&get("/health/ready")).expect(204);
}

#[test]
fn silent_clients_block_no_other_client() {
    let portal = shared();
    let mut silent: Vec<TcpStream> = (0..200).map(|_| connect(portal.port)).collect();
    for (number, stream) in silent.iter_mut().enumerate() {
        if number % 2 == 0 {
            stream
                .write_all(b"PUT /patients/hos-4/images/x HTTP/1.1\r\nHost: x\r\nX")
                .unwrap();
        }
    }
    portal
        .ask(DOCTOR, put("hos-4", "Condition", "c", ""))
        .expect(201);
    drop(silent);
}

#[test]
fn unauthenticated_upload_is_refused_before_its_body() {
    let portal = shared();
    let mut stream = connect(portal.port);
    let upload =
        Request::new("PUT", "/patients/hos-5/images/x").header("Content-Type", "image/png");
    stream.write_all(&upload.head(1 << 40)).unwrap();
    // The answer comes although no byte of the body was sent.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[test]
fn request_longer_than_the_idle_limit_is_answered() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    assert!(server.psql("create database portal_idle").0);
    let connection = format!("postgres://postgres@127.0.0.1:{}/portal_idle", server.port);
    let home = Home::of_database(connection).with_variable("PORTAL_IDLE_SECONDS", 1);
    let portal = Service::start(&home);
    let path = "/patients/hos-6/Condition/c";
    portal
        .ask(DOCTOR, put("hos-6", "Condition", "c", ""))
        .expect(201);
    thread::scope(|scope| {
        let (is_locked, locked) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let sql = "\\c portal_idle
                begin; lock table chartlock.object; select pg_sleep(5); commit";
            is_locked.send(()).unwrap();
            assert!(server.psql(sql).0);
        });
        locked.recv().unwrap();
        thread::sleep(Duration::from_secs(1));
        let start = Instant::now();
        portal.ask(DOCTOR, get(path)).expect(200);
        let took = start.elapsed();
        assert!(took > Duration::from_secs(2), "waited only {took:?}");
    });
    portal.stop();
}

#[test]
fn client_that_stops_sending_is_disconnected() {
    let home = Home::new().with_variable("PORTAL_IDLE_SECONDS", 1);
    let portal = Service::start(&home);
    let upload = put("hos-7", "Condition", "c", "").token(DOCTOR).head(100);
    let upload = [&upload[..], b"{"].concat();
    for part in [&b""[..], b"GET /health/live HTTP/1.1\r\n", &upload] {
        let mut stream = connect(portal.port);
        stream.write_all(part).unwrap();
        let start = Instant::now();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(start.elapsed() < Duration::from_secs(60));
        assert!(!answer.starts_with(b"HTTP/1.1 2"));
    }
    portal
        .ask(DOCTOR, get("/patients/hos-7/Condition/c"))
        .expect(404);
    portal.stop();
}
