//! The same program, built with chartlock's second provider, see `src/second.rs`.

fn main() -> std::process::ExitCode {
    chartlock_peers::main()
}
