//! A room in virtual time in which people come, crowd, are followed and present, and what each is told of the pace.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::presence::{Pace, PresenceStage};
use chalkboard_shared::wire::{Profile, ServerMessage};
use chalkboard_shared::{ActorId, BoardPoint, BoardRect, Rights, SessionId};

use crate::input::{Input, Join, Now};
use crate::room::{Room, RoomConfig};

const TICK_MS: u32 = 100;
/// More than a cell tells one by one, and so few more that some who leave make a difference.
const CROWD: u32 = 4200;
const FULL: Pace = Pace {
    tick_us: TICK_MS * 1000,
    presence: PresenceStage::Full,
};
const CROWDED: Pace = Pace {
    presence: PresenceStage::Crowd,
    ..FULL
};

/// A room, and the pace that everybody in it goes by.
struct Scene {
    room: Room,
    tick: u32,
    paces: BTreeMap<u32, Pace>,
    /// Whom any later word of the pace was for, with that word, since this was last asked.
    told: Vec<(u32, Pace)>,
}

fn px(x: u32, y: u32) -> BoardPoint {
    BoardPoint::new(x as i32 * 16, y as i32 * 16)
}

impl Scene {
    /// Sessions 1 to `people`, who all see each other.
    fn of(people: u32) -> Self {
        let room = Room::new(RoomConfig {
            epoch: 1,
            epoch_starts: Vec::new(),
            tick_us: FULL.tick_us,
        });
        let mut scene = Self {
            room,
            tick: 0,
            paces: BTreeMap::new(),
            told: Vec::new(),
        };
        scene.step((1..=people).map(join));
        scene
    }

    /// One of which it is known that it is a crowd.
    fn of_a_crowd() -> Self {
        let mut scene = Self::of(CROWD);
        scene.move_about(1..=CROWD, 20);
        assert!(scene.paces.values().all(|pace| *pace == CROWDED));
        scene.told.clear();
        scene
    }

    fn step(&mut self, inputs: impl IntoIterator<Item = Input>) {
        self.tick += 1;
        let now = Now {
            unix_ms: u64::from(self.tick * TICK_MS),
            uptime_ms: self.tick * TICK_MS,
        };
        for send in self.room.step(now, inputs).sends {
            let message = ServerMessage::decode(send.frame).expect("the room's own frame");
            for SessionId(session) in send.to.as_slice() {
                match &message {
                    ServerMessage::Welcome(welcome) => {
                        self.paces.insert(*session, welcome.pace);
                    }
                    ServerMessage::Pace(pace) => {
                        self.paces.insert(*session, *pace);
                        self.told.push((*session, *pace));
                    }
                    _ => {}
                }
            }
        }
    }

    /// All of these move in each of so many ticks.
    fn move_about(&mut self, sessions: RangeInclusive<u32>, ticks: u32) {
        for _ in 0..ticks {
            let tick = self.tick;
            self.step(sessions.clone().map(|n| pointing(n, tick)));
        }
    }

    fn take_told(&mut self) -> Vec<(u32, Pace)> {
        core::mem::take(&mut self.told)
    }
}

fn join(n: u32) -> Input {
    Input::Join(Box::new(Join {
        session: SessionId(n),
        actor: ActorId(n.into()),
        rights: Rights::Edit,
        profile: Profile::default(),
        view: BoardRect::from_corners(px(0, 0), px(1000, 800)),
        view_secret: None,
        resume: None,
    }))
}

/// Somewhere in the middle of what everybody sees.
fn pointing(n: u32, tick: u32) -> Input {
    Input::Cursor {
        session: SessionId(n),
        sequence: tick,
        stamp: Some(tick * TICK_MS * 100),
        cursor: CursorState {
            at: px(100 + (n * 7 + tick * 3) % 100, 100 + n % 100),
            tool: CursorTool::Pen,
            pressed: false,
        },
    }
}

fn follow(session: u32, followed: Option<u32>) -> Input {
    Input::Follow {
        session: SessionId(session),
        followed: followed.map(SessionId),
    }
}

fn present(session: u32, is_presenting: bool) -> Input {
    Input::Present {
        session: SessionId(session),
        is_presenting,
    }
}

#[test]
fn a_crowd_becomes_slow_after_a_second_and_a_smaller_room_is_full_at_once() {
    let mut scene = Scene::of(CROWD);
    scene.move_about(1..=CROWD, 10);
    assert_eq!(scene.take_told(), [], "not for long enough");
    scene.move_about(1..=CROWD, 1);
    assert_eq!(scene.take_told().len(), CROWD as usize, "each once");
    assert!(scene.paces.values().all(|pace| *pace == CROWDED));
    // Whoever comes late goes by the same.
    scene.step([join(CROWD + 1)]);
    assert_eq!(scene.paces[&(CROWD + 1)], CROWDED);
    scene.move_about(1..=CROWD, 20);
    assert_eq!(scene.take_told(), [], "it is told once");
    let left = CROWD / 2;
    scene.step((left + 1..=CROWD + 1).map(|n| Input::Leave(SessionId(n))));
    let told = scene.take_told();
    assert_eq!(told.len(), left as usize);
    assert!(told.iter().all(|(n, pace)| *n <= left && *pace == FULL));
}

#[test]
fn a_crowd_for_a_moment_is_no_news() {
    let mut scene = Scene::of(CROWD);
    for _ in 0..4 {
        scene.move_about(1..=CROWD, 8);
        // Somebody who looks elsewhere sees one cursor there, which is told as one.
        let elsewhere = BoardRect::from_corners(px(90_000, 0), px(91_000, 800));
        scene.step([Input::View {
            session: SessionId(1),
            view: elsewhere,
        }]);
        let Input::Cursor { cursor, .. } = pointing(2, 0) else {
            unreachable!("it is a cursor");
        };
        scene.step([Input::Cursor {
            session: SessionId(2),
            sequence: scene.tick,
            stamp: None,
            cursor: CursorState {
                at: px(90_500, 400),
                ..cursor
            },
        }]);
    }
    assert_eq!(scene.take_told(), []);
}

#[test]
fn who_is_followed_in_a_crowd_is_asked_for_everything_until_they_no_longer_are() {
    let mut scene = Scene::of_a_crowd();
    scene.step([follow(7, Some(9))]);
    assert_eq!(scene.take_told(), [(9, FULL)]);
    scene.step([follow(8, Some(9))]);
    scene.move_about(1..=CROWD, 20);
    scene.step([follow(7, None)]);
    assert_eq!(scene.take_told(), [], "somebody follows still");
    scene.step([follow(8, None)]);
    assert_eq!(scene.take_told(), [(9, CROWDED)]);
    // Whoever leaves is told nothing, and whoever is followed by them no more.
    scene.step([follow(7, Some(9))]);
    scene.step([Input::Leave(SessionId(7))]);
    assert_eq!(scene.take_told(), [(9, FULL), (9, CROWDED)]);
    scene.step([follow(8, Some(9))]);
    scene.take_told();
    scene.step([Input::Leave(SessionId(9))]);
    assert_eq!(scene.take_told(), []);
}

#[test]
fn who_presents_goes_by_the_rooms_tick_whatever_the_stage() {
    let mut scene = Scene::of(20);
    scene.move_about(1..=20, 3);
    scene.step([present(5, true)]);
    scene.move_about(1..=20, 3);
    assert_eq!(scene.take_told(), [], "everybody is told exactly");
    let pace = |tick_us, presence| Pace { tick_us, presence };
    let slow = pace(66_667, PresenceStage::Slow);
    scene.step([Input::Pace(slow)]);
    assert_eq!(scene.take_told().len(), 20);
    for (n, told) in &scene.paces {
        let presence = if *n == 5 {
            PresenceStage::Full
        } else {
            PresenceStage::Slow
        };
        assert_eq!(*told, pace(66_667, presence), "{n}");
    }
    scene.step([present(5, false)]);
    scene.move_about(1..=20, 3);
    assert_eq!(scene.take_told(), [(5, slow)]);
    scene.step([Input::Pace(FULL)]);
    assert_eq!(scene.take_told().len(), 20);
    assert!(scene.paces.values().all(|pace| *pace == FULL));
}
