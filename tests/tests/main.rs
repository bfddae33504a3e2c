//! The promises of Chalkboard, a file each.

mod abuse;
mod browsers;
mod certificates;
mod converging;
mod crashing;
mod determinism;
mod drawing;
mod formats;
mod joining;
mod keeping;
mod merging;
mod reconnecting;
mod seeing;
mod serving;
mod startup;
mod surviving;
mod swarming;
mod tidy;
mod transports;
