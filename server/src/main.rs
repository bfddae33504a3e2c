//! The `chalkboard` binary: hands its arguments and environment to the library and returns its exit code.

use std::process::ExitCode;

/// A shard frees and asks for small pieces of memory with every packet: the system's allocator took a tenth more of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chalkboard_server::command::run(std::env::args_os(), std::env::vars_os())
}
