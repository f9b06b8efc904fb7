//! Tests that no error, `Debug` or log contains secrets, names of keys or text of the service.

use std::fmt::Debug;
use std::sync::Mutex;

use chartlock::keys::{AwsIdentity, AwsKmsOptions, Credential};
use log::{LevelFilter, Log, Metadata, Record};

use super::{PATIENCE, answering, context, endpoint, working};
use crate::common::child::{assert_success, child, directory_from_parent};
use crate::common::kms_server::REGION;
use crate::common::scratch;
use crate::common::server_process::free_port;

const PLANTED: [&str; 6] = [
    "PLANTEDID",
    "PLANTEDSECRET",
    "PLANTEDTOKEN",
    "plantedkey",
    "plantedtext",
    "plantedpath",
];

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}", record.target(), record.args());
        LINES.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

fn assert_clean(text: &str) {
    let text = text.to_lowercase();
    for planted in PLANTED {
        assert!(!text.contains(&planted.to_lowercase()), "{text}");
    }
}

fn shown(value: &(impl Debug + ?Sized)) -> String {
    format!("{value:?} {value:#?}")
}

#[test]
fn errors_debug_and_logs_contain_nothing_planted() {
    let directory = scratch::quick();
    let name = "aws_kms::secrecy::child_logs_everything";
    let mut command = child(name, directory.path());
    // Without this variable, the web identity would be sent to AWS.
    let nobody = format!("http://127.0.0.1:{}", free_port());
    command.env("AWS_ENDPOINT_URL_STS", nobody);
    assert_success(command);
}

/// Runs in a process of its own, because a process has one logger.
#[test]
fn child_logs_everything() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    log::set_logger(&Lines).unwrap();
    // At the level TRACE, the client of AWS KMS refuses to work.
    log::set_max_level(LevelFilter::Debug);

    let broken = directory.join("plantedpath");
    std::fs::write(&broken, "[plantedtext\naws_access_key_id = PLANTEDID\n[[=").unwrap();
    let key = AwsIdentity::temporary_key("PLANTEDID", "PLANTEDSECRET", "PLANTEDTOKEN");
    let unusable = AwsIdentity::temporary_key("PLANTEDID", "PLANTEDSECRET", "PLANTED\nTOKEN");
    let down = format!("http://127.0.0.1:{}", free_port());
    let texts = [
        "AccessDeniedException",
        "NotFoundException",
        "plantedtext",
        "ThrottlingException",
    ];
    let servers = texts.map(|kind| {
        let body = format!("{{\"__type\":\"{kind}\",\"message\":\"plantedtext PLANTEDID\"}}");
        answering(400, body)
    });
    let working = working();
    let mut addresses = vec![down, endpoint(&working)];
    addresses.extend(servers.iter().map(endpoint));

    for address in addresses {
        for identity in [
            key.clone(),
            unusable.clone(),
            AwsIdentity::profile_of("plantedtext", &broken),
            AwsIdentity::web_identity("plantedtext", &broken),
        ] {
            assert_clean(&shown(&identity));
            let options = AwsKmsOptions::new("alias/plantedkey", REGION)
                .identity(identity)
                .endpoint(&address)
                .time_limit(PATIENCE);
            assert_clean(&shown(&options));
            let kms = options.build().unwrap();
            assert_clean(&shown(&kms));
            for error in [
                kms.enrol(&context()).map(|_| ()).err(),
                kms.secret(&[1, 2, 3], &context()).map(|_| ()).err(),
            ] {
                assert_clean(&format!("{error:?} {error:#?}"));
                if let Some(error) = error {
                    assert_clean(&error.to_string());
                }
            }
        }
    }
    let refused = AwsKmsOptions::new("plantedkey plantedkey", REGION).build();
    let refused = refused.unwrap_err();
    assert_clean(&format!("{refused} {refused:?}"));

    let lines = LINES.lock().unwrap();
    assert!(!lines.is_empty(), "the client logs its requests");
    lines.iter().for_each(|line| assert_clean(line));
}
