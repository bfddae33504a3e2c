//! The simulation finds what is broken on purpose, each within a bounded number of seeds.
//!
//! A binary of its own, because the program is compiled with the faults in it:
//! `cargo test -p chalkboard-tests --features sabotage --test sabotaged`.

use chalkboard_shared::sabotage::{Fault, choose};
use chalkboard_tests::simulated::{Failure, simulate};

/// Seeds within which every fault must be found.
const SEEDS_MAX: u64 = 400;

/// The first seed that finds a fault.
fn found(fault: Fault) -> Option<Failure> {
    choose(Some(fault));
    let failure = (0..SEEDS_MAX).find_map(|seed| simulate(seed).err());
    choose(None);
    failure
}

/// Finds a fault by what must be said of it, so that it is not something else that was found.
fn finds(fault: Fault, says: &[&str]) {
    // What fails is told by the simulation; the panics on the way are of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    let failure = found(fault);
    drop(std::panic::take_hook());
    let Some(Failure { seed, what }) = failure else {
        panic!("{fault:?} was not found in {SEEDS_MAX} seeds");
    };
    let what: String = what.chars().take(300).collect();
    tell(&format!("{fault:?}: found by seed {seed}: {what}"));
    assert!(
        says.iter().any(|said| what.contains(said)),
        "{fault:?} was found as something else: {what}"
    );
}

#[expect(
    clippy::print_stdout,
    reason = "how many seeds each fault took is the result of these tests"
)]
fn tell(line: &str) {
    println!("{line}");
}

macro_rules! found {
    ($($name:ident: $fault:ident, $says:expr;)*) => {
        $(#[test]
        fn $name() {
            finds(Fault::$fault, &$says);
        })*
    };
}

found! {
    a_style_that_does_not_win: FirstStyleWins, ["is not what its log says"];
    a_point_that_is_lost: LostPoint, ["is not what its log says"];
    an_op_that_is_taken_again: TakenAgain, ["twice, or out of order", "is used twice"];
    a_restored_stroke_that_is_not_indexed: UnindexedRestore, ["disagrees with itself"];
    a_snapshot_that_lacks_a_stroke: ShortSnapshot, ["the snapshot of"];
    a_promise_before_the_commit: ToldTooEarly, ["was reported as durable"];
    a_sync_that_is_forgotten: ForgottenSync, ["was reported as durable", "shown as saved", "is opened, and"];
    a_torn_end_that_is_believed: BelievedTear, ["was reported as durable", "shown as saved", "is opened, and"];
    an_undo_of_what_others_wrote: GreedyUndo, ["wrote last"];
    an_undo_that_the_room_does_not_check: UncheckedUndo, ["is not what its log says", "have changed the board"];
    a_resume_that_skips_changes: ForgetfulResume, ["shows", "can't read"];
    ticks_that_begin_anew: TicksAnew, ["follows tick"];
    numbers_that_are_used_again: NumbersAgain, ["is used twice", "its number was used before"];
    kept_ops_that_are_forgotten: KeptForgotten, ["was kept by a browser"];
    an_answer_taken_for_a_promise: AnsweredIsSaved, ["was shown as saved"];
}
