#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chartlock_fuzz::parameters::run(data));
