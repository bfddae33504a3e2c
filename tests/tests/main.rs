//! The promises of Chalkboard, a file each.

mod abuse;
mod browsers;
mod certificates;
mod clocks;
mod converging;
mod crashing;
mod determinism;
mod drawing;
mod formats;
mod joining;
mod keeping;
mod live_ink;
mod looking_back;
mod merging;
mod reconnecting;
mod replaying;
mod seeing;
mod serving;
mod simulating;
mod startup;
mod starving;
mod surviving;
mod swarming;
mod tidy;
mod transports;
mod undoing;
