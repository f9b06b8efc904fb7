//! Measurement program that is built with chartlock's second crypto provider; `src/second.rs`
//! starts this program.

fn main() -> std::process::ExitCode {
    chartlock_peers::main()
}
