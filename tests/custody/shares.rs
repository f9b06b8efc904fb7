//! Tests of recovery shares.
