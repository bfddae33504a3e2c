//! Boards and rooms that the benchmarks share: seeded, so that every run measures the same.

use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::{Nib, StrokeStyle};
use chalkboard_shared::{ActorId, BoardRect, InkPoint, Op, Rights, SessionId};
use chalkboard_simulation::{Input, Join, Now, Room, RoomConfig};

/// A number from 0 to 1 that depends on `n` alone.
fn chance(n: f64) -> f64 {
    let wild = (n * 12.9898).sin() * 43_758.547;
    wild - wild.floor()
}

/// Where the pointer of person `i` is at `t` seconds, in board pixels: a Lissajous curve over 8192 x 8192 with noise.
pub fn pointer(i: u32, t: f64) -> (f64, f64) {
    let h = |n: u32| chance(f64::from(7 * i + n));
    let turn =
        |frequency: f64, phase: f64| (core::f64::consts::TAU * (frequency * t + phase)).sin();
    let noise = |sign: f64| 8.0 * chance((1000.0 * t).floor() + sign * f64::from(i));
    let x = 4096.0 + 3900.0 * turn(0.11 + 0.13 * h(1), h(3)) + noise(1.0);
    let y = 4096.0 + 3900.0 * turn(0.09 + 0.17 * h(2), h(4)) + noise(-1.0);
    (x.round(), y.round())
}

/// The pen of person `i` at `t` seconds, whole pixels, 8-bit pressure.
pub fn pen(i: u32, t: f64) -> InkPoint {
    let (x, y) = pointer(i, t);
    let pressure = (400.0 + 300.0 * (9.0 * t + f64::from(i)).sin()) / 1023.0 * 255.0;
    InkPoint::new(x as i32 * 16, y as i32 * 16, pressure.round() as u8)
}

/// Stroke `i` of a bench board: 30 samples at 60 Hz.
pub fn stroke_points(i: u32) -> Vec<InkPoint> {
    let end = 0.37 * f64::from(i);
    (0..30)
        .map(|sample| pen(i, end - f64::from(29 - sample) / 60.0))
        .collect()
}

/// A style for every stroke.
pub const STYLE: StrokeStyle = StrokeStyle {
    nib: Nib::Pen,
    color: 0x1d_1d_1f,
    width: 64,
};

/// An op that begins stroke `i` with all of its points.
pub fn begin(i: u32) -> Op {
    Op::Begin {
        style: STYLE,
        ink: InkRun::new(stroke_points(i)),
    }
}

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
        view: BoardRect::from_corners(
            chalkboard_shared::BoardPoint::new(0, 0),
            chalkboard_shared::BoardPoint::new(8192 * 16, 8192 * 16),
        ),
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
