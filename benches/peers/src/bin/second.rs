//! The measurement program, built with chartlock's second crypto provider (see `src/second.rs`).

fn main() -> std::process::ExitCode {
    chartlock_peers::main()
}
