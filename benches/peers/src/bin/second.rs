//! The same program, for when it is built with chartlock's second provider: see `second.rs` above.

fn main() -> std::process::ExitCode {
    chartlock_peers::main()
}
