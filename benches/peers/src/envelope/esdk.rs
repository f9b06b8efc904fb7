//! Envelope of the AWS Encryption SDK with a raw AES keyring, which needs no key service outside
//! the process.

use std::collections::HashMap;
use std::fmt;

use anyhow::{Context, Result, anyhow};
use aws_esdk::Client;
use aws_esdk::material_providers::client::Client as Providers;
use aws_esdk::material_providers::types::keyring::KeyringRef;
use aws_esdk::material_providers::types::material_providers_config::MaterialProvidersConfig;
use aws_esdk::material_providers::types::{AesWrappingAlg, EsdkAlgorithmSuiteId};
use aws_esdk::types::aws_encryption_sdk_config::AwsEncryptionSdkConfig;
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::runtime::Runtime;

use super::{CONTEXT, Envelope, Sealed};

/// The signing mode of the SDK. By default, the SDK also signs each message under a fresh key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signing {
    Yes,
    No,
}

pub(crate) struct Esdk {
    client: Client,
    keyring: KeyringRef,
    signing: Signing,
    runtime: Runtime,
}

impl Esdk {
    pub(crate) fn new(signing: Signing) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut key = vec![0; 32];
        SysRng.try_fill_bytes(&mut key)?;
        let config = MaterialProvidersConfig::builder()
            .build()
            .map_err(convert)?;
        let providers = Providers::from_conf(config).map_err(convert)?;
        let config = AwsEncryptionSdkConfig::builder().build().map_err(convert)?;
        let keyring = providers
            .create_raw_aes_keyring()
            .key_namespace("clinic")
            .key_name("patients")
            .wrapping_key(key)
            .wrapping_alg(AesWrappingAlg::AlgAes256GcmIv12Tag16)
            .send();
        Ok(Self {
            client: Client::from_conf(config).map_err(convert)?,
            keyring: runtime.block_on(keyring).map_err(convert)?,
            signing,
            runtime,
        })
    }

    fn suite(&self) -> EsdkAlgorithmSuiteId {
        match self.signing {
            Signing::Yes => EsdkAlgorithmSuiteId::AlgAes256GcmHkdfSha512CommitKeyEcdsaP384,
            Signing::No => EsdkAlgorithmSuiteId::AlgAes256GcmHkdfSha512CommitKey,
        }
    }
}

/// Converts an error of the SDK to text, because `anyhow` does not accept its type.
fn convert(error: impl fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

fn context() -> HashMap<String, String> {
    HashMap::from([("record".to_owned(), CONTEXT.to_owned())])
}

impl Envelope for Esdk {
    fn name(&self) -> String {
        match self.signing {
            Signing::Yes => "aws-esdk, signing".to_owned(),
            Signing::No => "aws-esdk, no signing".to_owned(),
        }
    }

    fn seal(&self, content: &[u8]) -> Result<Sealed> {
        let sealed = self
            .client
            .encrypt()
            .plaintext(content)
            .keyring(self.keyring.clone())
            .encryption_context(context())
            .algorithm_suite_id(self.suite())
            .send();
        let sealed = self.runtime.block_on(sealed).map_err(convert)?;
        Ok(Sealed::Whole(
            sealed
                .ciphertext
                .context("the message is missing")?
                .into_inner(),
        ))
    }

    fn open(&self, sealed: Sealed, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        let opened = self
            .client
            .decrypt()
            .ciphertext(sealed.whole()?)
            .keyring(self.keyring.clone())
            .encryption_context(context())
            .send();
        let opened = self.runtime.block_on(opened).map_err(convert)?;
        then(opened.plaintext.context("the content is missing")?.as_ref());
        Ok(())
    }
}
