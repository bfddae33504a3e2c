//! Rooms that the benchmarks share, for the standard load of `chalkboard_shared::workload`: every run measures the same.

use bytes::Bytes;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{
    ActorId, BoardPoint, BoardRect, Op, OpEntry, OpId, Position, Rights, SessionId, StrokeId,
    workload,
};
use chalkboard_simulation::{Input, Join, Now, Output, Room, RoomConfig};

/// Session `n` comes in and sees the whole canvas.
pub fn join(n: u32) -> Input {
    join_at(n, workload::canvas())
}

/// Session `n` comes in and sees a part of the plane.
pub fn join_at(n: u32, view: BoardRect) -> Input {
    Input::Join(Box::new(Join {
        session: SessionId(n),
        actor: ActorId(u64::from(n) + 1),
        rights: Rights::Edit,
        profile: chalkboard_shared::wire::Profile {
            name: format!("person {n}"),
            color: n,
        },
        view,
        view_secret: None,
        resume: None,
    }))
}

/// Strokes to a canvas of a room that [`drawn_room`] makes.
const STROKES_PER_CANVAS: u32 = 50_000;

/// A room with so many finished strokes and nobody in it: as many to a canvas as a bench board has, and as many
/// canvases beside each other as that takes.
pub fn drawn_room(strokes: u32) -> Room {
    let mut room = room(0);
    room.step(Now::default(), [join_at(0, BoardRect::EMPTY)]);
    let mut ops = Vec::new();
    let mut first = 1;
    for i in 0..strokes {
        let canvas = i / STROKES_PER_CANVAS;
        let corner = [canvas % 5, canvas / 5].map(|n| n as i32 * workload::canvas().max.x);
        let mut points = workload::stroke_points(i % STROKES_PER_CANVAS);
        for point in &mut points {
            point.at = BoardPoint::new(point.at.x + corner[0], point.at.y + corner[1]);
        }
        let stroke = StrokeId(OpId {
            actor: ActorId(1),
            counter: first + ops.len() as u32,
        });
        let ink = InkRun::new(points);
        ops.push(Op::Begin {
            style: workload::STYLE,
            ink,
        });
        ops.push(Op::Finish { stroke });
        if ops.len() == 256 || i + 1 == strokes {
            let count = ops.len() as u32;
            let ops = Input::Ops {
                session: SessionId(0),
                first,
                stamp: None,
                ops: core::mem::take(&mut ops),
            };
            room.step(Now::default(), [ops]);
            first += count;
        }
    }
    rest(&mut room);
    assert_eq!(room.stroke_count(), strokes as usize, "ops were refused");
    room.step(Now::default(), [Input::Leave(SessionId(0))]);
    room
}

/// Session `n` comes in, takes all that it covers as fast as it is sent, and leaves. The frames that it got, by tick.
pub fn come_in(room: &mut Room, n: u32, view: BoardRect) -> Vec<Vec<Bytes>> {
    let ticks = settle_in(room, n, view);
    room.step(Now::default(), [Input::Leave(SessionId(n))]);
    ticks
}

/// Session `n` comes in, takes all that it covers as fast as it is sent, and stays. The frames that it got, by tick.
pub fn settle_in(room: &mut Room, n: u32, view: BoardRect) -> Vec<Vec<Bytes>> {
    let covered = ServerMessage::Covered.encode();
    let mut ticks = Vec::new();
    let mut inputs = vec![join_at(n, view)];
    loop {
        let output = room.step(Now::default(), inputs);
        let own = output
            .sends
            .into_iter()
            .filter(|send| send.to.as_slice().contains(&SessionId(n)));
        let frames: Vec<Bytes> = own.map(|send| send.frame).collect();
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        let is_covered = frames.contains(&covered);
        ticks.push(frames);
        if is_covered {
            return ticks;
        }
        inputs = vec![Input::Written {
            session: SessionId(n),
            bytes: bytes as u32,
        }];
    }
}

/// The full size where benches are measured; where they are only checked, a small one.
pub fn extent(full: u32, small: u32) -> u32 {
    if std::env::args().any(|argument| argument == "--bench") {
        full
    } else {
        small
    }
}

/// A room with so many sessions, all welcomed.
pub fn room(sessions: u32) -> Room {
    room_of((0..sessions).map(join))
}

/// A room with those who come in, all welcomed.
pub fn room_of(joins: impl IntoIterator<Item = Input>) -> Room {
    let mut room = Room::new(RoomConfig {
        epoch: 1,
        epoch_starts: Vec::new(),
        tick_us: 16_667,
    });
    room.step(Now::default(), joins);
    rest(&mut room);
    room
}

/// Steps until the room has nothing to do by itself; its clock goes on meanwhile, because some things wait for a time.
pub fn rest(room: &mut Room) {
    for n in 1.. {
        if !room.has_work() {
            return;
        }
        room.step(moment(n, 60), []);
    }
}

/// The moment of the `n`-th tick at so many a second.
pub fn moment(n: u32, hz: u32) -> Now {
    let ms = u64::from(n) * 1000 / u64::from(hz);
    Now {
        unix_ms: ms,
        uptime_ms: ms as u32,
    }
}

/// What steps have put out: once, as it was encoded, and as it goes to everybody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// Frames encoded.
    pub frames: usize,
    /// Bytes encoded.
    pub bytes: usize,
    /// Bytes of frames, each as often as somebody gets it.
    pub delivered_bytes: usize,
    /// Bytes for the log.
    pub log_bytes: usize,
}

impl Traffic {
    /// Adds what a step has put out.
    pub fn add(&mut self, output: &Output) {
        for send in &output.sends {
            self.frames += 1;
            self.bytes += send.frame.len();
            self.delivered_bytes += send.frame.len() * send.to.as_slice().len();
        }
        let record = output.record.as_ref();
        self.log_bytes += record.map_or(0, |record| record.bytes.len());
    }
}

/// The op at a position of a log, from 1: strokes of 30 points that are begun and finished, by ten people in turn.
pub fn log_entry(position: u64) -> OpEntry {
    let stroke = (position - 1) / 2;
    let actor = ActorId(1 + stroke % 10);
    let counter = |first: bool| (stroke / 10 * 2 + if first { 1 } else { 2 }) as u32;
    let is_begin = position % 2 == 1;
    let id = OpId {
        actor,
        counter: counter(is_begin),
    };
    let op = if is_begin {
        Op::Begin {
            style: workload::STYLE,
            ink: InkRun::new(workload::stroke_points((stroke % 50_000) as u32)),
        }
    } else {
        Op::Finish {
            stroke: StrokeId(OpId {
                actor,
                counter: counter(true),
            }),
        }
    };
    OpEntry {
        position: Position(position),
        id,
        op,
    }
}
