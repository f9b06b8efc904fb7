//! Tests of PKCS#11.
