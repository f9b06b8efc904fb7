//! Tests of the transit engine of Vault and OpenBao.
