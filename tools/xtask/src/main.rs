//! Build, run, test and check Chalkboard.

fn main() {}
