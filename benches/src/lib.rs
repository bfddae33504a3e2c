//! Rooms that the benchmarks share, for the standard load of `chalkboard_shared::workload`: every run measures the same.

use chalkboard_shared::{ActorId, Rights, SessionId, workload};
use chalkboard_simulation::{Input, Join, Now, Room, RoomConfig};

/// Session `n` comes in and sees the whole canvas.
pub fn join(n: u32) -> Input {
    Input::Join(Box::new(Join {
        session: SessionId(n),
        actor: ActorId(u64::from(n) + 1),
        rights: Rights::Edit,
        profile: chalkboard_shared::wire::Profile {
            name: format!("person {n}"),
            color: n,
        },
        view: workload::canvas(),
        view_secret: None,
        resume: None,
    }))
}

/// A room with so many sessions, all welcomed.
pub fn room(sessions: u32) -> Room {
    let mut room = Room::new(RoomConfig {
        epoch: 1,
        tick_us: 16_667,
    });
    room.step(Now::default(), (0..sessions).map(join));
    while room.has_work() {
        room.step(Now::default(), []);
    }
    room
}
