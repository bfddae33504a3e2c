//! Sabotage: faults that are put into the program on purpose, to prove that the tests find them.
//!
//! Compiled with the feature `sabotage` alone, which no ordinary build has. A fault is chosen for the thread, so that
//! tests beside each other choose their own; the places that have one ask [`is`].

use std::cell::Cell;

/// What can be made wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Of two styles the first wins, not the last.
    FirstStyleWins,
    /// An op that adds points loses the last of them.
    LostPoint,
    /// Who comes back is taken for new: ops that were answered come again, and are taken again.
    TakenAgain,
    /// Strokes that are shown again are not put into the index.
    UnindexedRestore,
    /// A snapshot lacks what its last stroke is.
    ShortSnapshot,
    /// Durable is told before the commit.
    ToldTooEarly,
    /// Commits are reported and never synced.
    ForgottenSync,
    /// A torn end of the store is not cut off, but taken for what it says.
    BelievedTear,
    /// An undo changes what others wrote last.
    GreedyUndo,
    /// The room lets an undo change what others wrote last, where its author did not see that.
    UncheckedUndo,
    /// Who comes back is not told what changed last.
    ForgetfulResume,
    /// A room that is loaded begins its ticks anew.
    TicksAnew,
    /// A client takes an answer for a promise: what is answered shows as saved.
    AnsweredIsSaved,
    /// A restored client uses numbers that it may have used before.
    NumbersAgain,
    /// A restored client forgets one of the ops that were kept for it.
    KeptForgotten,
}

thread_local! {
    static CHOSEN: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Makes this wrong on this thread from now on, and nothing else; `None`: nothing.
pub fn choose(fault: Option<Fault>) {
    CHOSEN.set(fault);
}

/// This is to go wrong.
pub fn is(fault: Fault) -> bool {
    CHOSEN.get() == Some(fault)
}
