//! Runs the measurements of the library with this name.

fn main() -> std::process::ExitCode {
    chartlock_peers::main()
}
