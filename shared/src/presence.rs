//! Presence on the wire: where people point, per cell of the plane and level of detail.
//!
//! The plane is cut into [`PresenceCell`]s, larger ones for those who see more of it, and positions have the raster of
//! their cell's level: about half a pixel on the screen. The cursors of a cell are told in groups of at most
//! [`GROUP_CURSORS_MAX`], each encoded once for all sessions that receive the cell. A [`CursorGroup`] is the state that
//! both sides share: a keyframe, with the two before it, from which positions are extrapolated. Datagrams tell either
//! what has changed since the keyframe, or the next keyframe as its difference to the one before; both are small,
//! because cursors move smoothly, and any of the first kind may be lost. A client that has missed a keyframe asks for
//! the whole group, and gets it on the stream.
//!
//! Where too many people crowd, or the server has too much to do ([`PresenceStage`]), a [`CrowdMap`] tells how many there
//! are where, in place of cursors.
//!
//! What moves evenly is not told between keyframes: a keyframe says that a cursor goes on, and both sides have it on its
//! [`Course`] until a delta tells otherwise, or the next keyframe comes. All other extrapolation serves the encoding
//! alone.
//!
//! People who present, or who are followed, are told in groups of their own, on a raster that goes over the whole plane
//! ([`PresenceCell::EVERYWHERE`]).

mod beat;
mod cell;
mod crowd;
mod group;
mod pace;

pub use beat::Beat;
pub use cell::PresenceCell;
pub use crowd::{CROWD_SIDE, CrowdMap};
pub use group::{
    COURSE_MS_MAX, Course, CursorGroup, CursorSample, DeltaHead, GroupCursor, GroupDelta,
};
pub use pace::{Pace, PresenceStage};

/// Cursors in a group at the most: 256 x some 3 bytes are less than a datagram's frame.
pub const GROUP_CURSORS_MAX: usize = 256;
