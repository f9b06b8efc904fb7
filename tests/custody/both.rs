//! Tests of two factors.
