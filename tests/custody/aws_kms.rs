//! Tests of AWS KMS.
