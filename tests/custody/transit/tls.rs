//! TLS with a CA of the clinic's own.

use chartlock::keys::CredentialFailure::{Other, Unreachable};
use chartlock::keys::TransitOptions;

use super::double::Double;
use super::{Clinic, server};
use crate::common::openbao::{OpenBao, ROOT_TOKEN};
use crate::common::tls::certificate_in;

fn over_tls(server: &OpenBao, host: &str, key: &str) -> TransitOptions {
    let address = format!("https://{host}:{}", server.tls_port);
    TransitOptions::new(&address, key).token(ROOT_TOKEN)
}

#[test]
fn configured_ca_is_trusted() {
    let server = server!();
    let key = server.key();
    let options = over_tls(server, "localhost", &key);
    let transit = options
        .ca_certificates(&server.certificate)
        .build()
        .unwrap();
    Clinic::new(&transit).assert_opens(&transit);
}

#[test]
fn certificate_that_is_not_trusted_is_unreachable() {
    let server = server!();
    let key = server.key();
    let clinic = Clinic::new(&server.transit(&key));
    let public = over_tls(server, "localhost", &key);
    clinic.assert_fails(&public.build().unwrap(), Unreachable);

    let directory = tempfile::tempdir().unwrap();
    let openssl = std::process::Command::new("openssl");
    let foreign = certificate_in(directory.path(), openssl);
    let foreign = over_tls(server, "localhost", &key).ca_certificates(&foreign);
    clinic.assert_fails(&foreign.build().unwrap(), Unreachable);

    // The certificate is valid for `localhost`, not for the address.
    let misnamed = over_tls(server, "127.0.0.1", &key).ca_certificates(&server.certificate);
    clinic.assert_fails(&misnamed.build().unwrap(), Unreachable);
}

#[test]
fn several_configured_cas_are_trusted() {
    let server = server!();
    let key = server.key();
    let directory = tempfile::tempdir().unwrap();
    let openssl = std::process::Command::new("openssl");
    let foreign = certificate_in(directory.path(), openssl);
    let both = [foreign, server.certificate.clone()].concat();
    let transit = over_tls(server, "localhost", &key).ca_certificates(&both);
    let transit = transit.build().unwrap();
    Clinic::new(&transit).assert_opens(&transit);
}

#[test]
fn wrong_scheme_fails() {
    let server = server!();
    let key = server.key();
    let clinic = Clinic::new(&server.transit(&key));
    let plain = format!("http://localhost:{}", server.tls_port);
    let plain = TransitOptions::new(&plain, &key).token(ROOT_TOKEN);
    clinic.assert_fails(&plain.build().unwrap(), Other);

    let double = Double::start();
    let tls = format!("https://localhost:{}", double.port);
    let tls = TransitOptions::new(&tls, &key).token(ROOT_TOKEN);
    clinic.assert_fails(&tls.build().unwrap(), Unreachable);
}
