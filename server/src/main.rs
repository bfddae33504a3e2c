//! The `chalkboard` binary.

fn main() {}
