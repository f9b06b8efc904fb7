//! Command-line program that runs the measurements of this package's library.

fn main() -> std::process::ExitCode {
    chartlock_peers::main()
}
