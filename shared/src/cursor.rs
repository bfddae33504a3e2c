//! Cursors: where somebody points, with what. How they travel is told in [`crate::presence`].

use crate::board_point::BoardPoint;

/// What a cursor is in the hand of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CursorTool {
    /// Pressure ink.
    Pen,
    /// Translucent ink.
    Highlighter,
    /// Removes strokes.
    Eraser,
    /// Moves the view, or only looks.
    Hand,
}

/// Where somebody points, with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CursorState {
    /// Where.
    pub at: BoardPoint,
    /// With what.
    pub tool: CursorTool,
    /// A button is down or the pen touches.
    pub pressed: bool,
}

impl CursorState {
    /// Tool and button in 3 bits.
    pub const fn state_bits(self) -> u8 {
        let tool = match self.tool {
            CursorTool::Pen => 0,
            CursorTool::Highlighter => 1,
            CursorTool::Eraser => 2,
            CursorTool::Hand => 3,
        };
        tool | (self.pressed as u8) << 2
    }

    /// A cursor from its place and 3 bits.
    pub const fn from_state_bits(at: BoardPoint, bits: u8) -> Self {
        let tool = match bits & 3 {
            0 => CursorTool::Pen,
            1 => CursorTool::Highlighter,
            2 => CursorTool::Eraser,
            _ => CursorTool::Hand,
        };
        Self {
            at,
            tool,
            pressed: bits & 4 != 0,
        }
    }
}
