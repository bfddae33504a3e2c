//! Which client of a load one is.

use anyhow::Result;
use chalkboard_shared::board_point::UNITS_PER_PIXEL;
use chalkboard_shared::workload::{CANVAS_PX, Curve, canvas};
use chalkboard_shared::{BoardPoint, BoardRect};

use crate::address::BoardLink;
use crate::spec::{Part, Spec, View};

/// Half of a screen, in 1/16 px.
const HALF_SCREEN: (i32, i32) = (960 * UNITS_PER_PIXEL, 540 * UNITS_PER_PIXEL);

/// Which client it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Role {
    pub(crate) client: u32,
    pub(crate) board: BoardLink,
    pub(crate) part: Part,
    pub(crate) view: BoardRect,
}

/// The roles of some clients of a load. The first of `rooms` is that of client 0, and so on in turn.
pub(crate) fn roles(spec: &Spec, clients: &[u32], rooms: &[BoardLink]) -> Vec<Role> {
    let role = |&client: &u32| Role {
        client,
        board: rooms[client as usize % rooms.len()],
        part: spec.part(client),
        view: match spec.view {
            View::Canvas => canvas(),
            View::Screen => screen(client),
        },
    };
    clients.iter().map(role).collect()
}

/// What a client is called.
pub(crate) fn name(client: u32) -> String {
    format!("client {client}")
}

/// The key of somebody whom the server has never seen.
pub(crate) fn random_key() -> Result<[u8; 16]> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(key)
}

/// What a client sees on a screen that shows where its pointer begins.
fn screen(client: u32) -> BoardRect {
    screen_around(Curve::of(client).pointer(0.0))
}

/// A screen in the middle of the canvas.
pub(crate) fn middle_screen() -> BoardRect {
    let middle = CANVAS_PX / 2 * UNITS_PER_PIXEL;
    screen_around(BoardPoint::new(middle, middle))
}

/// A screen within the canvas, around a point as far as there is room.
fn screen_around(at: BoardPoint) -> BoardRect {
    let far = CANVAS_PX * UNITS_PER_PIXEL;
    let middle = |v: i32, half: i32| v.clamp(half, far - half);
    let (x, y) = (middle(at.x, HALF_SCREEN.0), middle(at.y, HALF_SCREEN.1));
    BoardRect::from_corners(
        BoardPoint::new(x - HALF_SCREEN.0, y - HALF_SCREEN.1),
        BoardPoint::new(x + HALF_SCREEN.0, y + HALF_SCREEN.1),
    )
}
