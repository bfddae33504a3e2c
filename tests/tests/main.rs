//! The promises of Chalkboard, a file each.

mod determinism;
mod drawing;
mod merging;
mod seeing;
