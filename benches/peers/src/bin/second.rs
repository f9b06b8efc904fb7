//! Measurement program, built with chartlock's second crypto provider. See `src/second.rs`.

fn main() -> std::process::ExitCode {
    chartlock_peers::main()
}
