//! The promises of Chalkboard, a file each.

mod converging;
mod determinism;
mod drawing;
mod merging;
mod seeing;
