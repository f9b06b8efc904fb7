//! See the library of this name.

fn main() -> std::process::ExitCode {
    chartlock_peers::main()
}
