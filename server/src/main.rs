//! The `chalkboard` binary: hands its arguments and environment to the library and returns its exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chalkboard_server::command::run(std::env::args_os(), std::env::vars_os())
}
