//! Gestures against a surface that writes down what happens to it.

use chalkboard_shared::{ActorId, OpId};

use super::*;
use crate::bridge::PointerDevice;

#[derive(Default)]
struct Paper {
    view_only: bool,
    under_eraser: bool,
    log: Vec<String>,
    strokes: u32,
    cursor: Option<CursorState>,
}

fn stroke_id(number: u32) -> StrokeId {
    StrokeId(OpId {
        actor: ActorId(1),
        counter: number,
    })
}

impl Surface for Paper {
    fn can_edit(&self) -> bool {
        !self.view_only
    }

    fn begin_stroke(&mut self, style: StrokeStyle, points: &[InkPoint]) -> StrokeId {
        self.strokes += 1;
        self.log.push(format!(
            "begin {:?} {} at {},{}",
            style.nib,
            style.width / 16,
            points[0].at.x / 16,
            points[0].at.y / 16
        ));
        stroke_id(self.strokes)
    }

    fn extend_stroke(&mut self, stroke: StrokeId, points: &[InkPoint]) {
        self.log
            .push(format!("extend {} by {}", stroke.0.counter, points.len()));
    }

    fn finish_stroke(&mut self, stroke: StrokeId) {
        self.log.push(format!("finish {}", stroke.0.counter));
    }

    fn abandon_stroke(&mut self, stroke: StrokeId) {
        self.log.push(format!("abandon {}", stroke.0.counter));
    }

    fn begin_gesture(&mut self) {
        self.log.push("gesture".into());
    }

    fn end_gesture(&mut self) {
        self.log.push("end".into());
    }

    fn erase_along(&mut self, from: BoardPoint, to: BoardPoint, radius: i32) -> bool {
        self.log.push(format!(
            "erase {} to {} radius {}",
            from.x / 16,
            to.x / 16,
            radius / 16
        ));
        self.under_eraser
    }

    fn undo(&mut self) -> bool {
        self.log.push("undo".into());
        true
    }

    fn set_cursor(&mut self, _now_ms: f64, cursor: CursorState) {
        self.cursor = Some(cursor);
    }

    fn set_view(&mut self, _view: BoardRect) {}
}

/// An editor whose screen and board positions are the same.
fn editor(paper: &mut Paper) -> Editor {
    let mut editor = Editor::default();
    editor.resize(paper, 1000.0, 800.0, 1.0);
    editor.pan_by(paper, 500.0, 400.0);
    editor
}

fn sample(phase: PointerPhase, x: f32, y: f32) -> PointerSample {
    PointerSample {
        id: 1,
        phase,
        device: PointerDevice::Mouse,
        x,
        y,
        pressure: 0.5,
        button: 0,
        time_ms: 0.0,
    }
}

/// Draws, one event a list of places; the first begins and the last ends the gesture.
fn stroke(editor: &mut Editor, paper: &mut Paper, places: &[(f32, f32)]) {
    let (first, last) = (places[0], places[places.len() - 1]);
    editor.pointer(paper, 0.0, &[sample(PointerPhase::Down, first.0, first.1)]);
    let moves: Vec<_> = places[1..]
        .iter()
        .map(|p| sample(PointerPhase::Move, p.0, p.1))
        .collect();
    editor.pointer(paper, 0.0, &moves);
    editor.pointer(paper, 0.0, &[sample(PointerPhase::Up, last.0, last.1)]);
}

#[test]
fn coalesced_samples_arrive_in_one_piece_without_duplicates() {
    let mut paper = Paper::default();
    let mut editor = editor(&mut paper);
    stroke(
        &mut editor,
        &mut paper,
        &[
            (10.0, 20.0),
            (11.0, 20.0),
            (11.0, 20.0),
            (12.5, 20.0),
            (14.0, 20.0),
        ],
    );
    assert_eq!(
        paper.log,
        ["begin Pen 4 at 10,20", "extend 1 by 3", "finish 1"]
    );
    assert_eq!(
        paper.cursor.map(|c| (c.at, c.tool, c.pressed)),
        Some((BoardPoint::new(224, 320), CursorTool::Pen, false))
    );
}

#[test]
fn tool_colour_and_width_apply_to_the_next_stroke() {
    let mut paper = Paper::default();
    let mut editor = editor(&mut paper);
    editor.select_tool(&mut paper, ToolKind::Highlighter);
    editor.set_width(24.0);
    stroke(&mut editor, &mut paper, &[(0.0, 0.0), (5.0, 0.0)]);
    assert_eq!(paper.log[0], "begin Highlighter 24 at 0,0");
}

#[test]
fn the_eraser_keeps_its_size_on_the_screen_and_makes_one_step() {
    let mut paper = Paper::default();
    let mut editor = editor(&mut paper);
    editor.select_tool(&mut paper, ToolKind::Eraser);
    editor.wheel(&mut paper, (0.0, 0.0), (0.0, 0.0), false);
    editor.zoom_to(&mut paper, 0.5);
    editor.viewport.pan(-1000.0, 0.0);
    paper.log.clear();
    stroke(&mut editor, &mut paper, &[(10.0, 0.0), (20.0, 0.0)]);
    assert_eq!(paper.log.len(), 4, "{:?}", paper.log);
    assert_eq!(
        (paper.log[0].as_str(), paper.log[3].as_str()),
        ("gesture", "end")
    );
    assert!(paper.log[2].ends_with("radius 20"), "{:?}", paper.log);
}

#[test]
fn escape_takes_back_what_the_gesture_did() {
    let mut paper = Paper {
        under_eraser: true,
        ..Paper::default()
    };
    let mut editor = editor(&mut paper);
    editor.pointer(&mut paper, 0.0, &[sample(PointerPhase::Down, 0.0, 0.0)]);
    editor.cancel(&mut paper);
    assert_eq!(paper.log, ["begin Pen 4 at 0,0", "abandon 1"]);
    paper.log.clear();
    editor.select_tool(&mut paper, ToolKind::Eraser);
    editor.pointer(&mut paper, 0.0, &[sample(PointerPhase::Down, 0.0, 0.0)]);
    editor.cancel(&mut paper);
    assert_eq!(paper.log[2..], ["end", "undo"]);
}

#[test]
fn a_view_link_draws_nothing_and_still_pans() {
    let mut paper = Paper {
        view_only: true,
        ..Paper::default()
    };
    let mut editor = editor(&mut paper);
    let before = editor.viewport().visible();
    stroke(&mut editor, &mut paper, &[(0.0, 0.0), (50.0, 0.0)]);
    editor.select_tool(&mut paper, ToolKind::Eraser);
    stroke(&mut editor, &mut paper, &[(0.0, 0.0), (50.0, 0.0)]);
    assert!(paper.log.is_empty(), "{:?}", paper.log);
    assert_eq!(editor.viewport().visible(), before);
    assert_eq!(editor.shape(false), PointerShape::Default);
    editor.select_tool(&mut paper, ToolKind::Hand);
    stroke(&mut editor, &mut paper, &[(0.0, 0.0), (50.0, 0.0)]);
    assert_eq!(editor.viewport().visible().min.x, before.min.x - 50 * 16);
    assert!(editor.take_view_moved());
    assert!(!editor.take_view_moved());
}

#[test]
fn the_held_space_bar_pans_and_the_tool_comes_back() {
    let mut paper = Paper::default();
    let mut editor = editor(&mut paper);
    editor.hold_hand(true);
    assert_eq!(editor.shape(true), PointerShape::Grab);
    stroke(&mut editor, &mut paper, &[(0.0, 0.0), (50.0, 0.0)]);
    editor.hold_hand(false);
    assert!(paper.log.is_empty());
    assert_eq!(editor.shape(true), PointerShape::Crosshair);
}

#[test]
fn changing_the_tool_keeps_the_stroke_in_progress() {
    let mut paper = Paper::default();
    let mut editor = editor(&mut paper);
    editor.pointer(
        &mut paper,
        0.0,
        &[
            sample(PointerPhase::Down, 0.0, 0.0),
            sample(PointerPhase::Move, 9.0, 0.0),
        ],
    );
    editor.select_tool(&mut paper, ToolKind::Eraser);
    editor.pointer(
        &mut paper,
        0.0,
        &[
            sample(PointerPhase::Move, 30.0, 0.0),
            sample(PointerPhase::Up, 30.0, 0.0),
        ],
    );
    assert_eq!(
        paper.log,
        ["begin Pen 4 at 0,0", "extend 1 by 1", "finish 1"]
    );
}

#[test]
fn a_pinch_keeps_what_is_between_the_fingers_there() {
    let mut paper = Paper::default();
    let mut editor = editor(&mut paper);
    let finger = |id: i32, phase: PointerPhase, x: f32, y: f32| PointerSample {
        id,
        device: PointerDevice::Touch,
        ..sample(phase, x, y)
    };
    let under = editor.viewport().to_board(150.0, 100.0);
    let samples = [
        finger(1, PointerPhase::Down, 100.0, 100.0),
        finger(2, PointerPhase::Down, 200.0, 100.0),
        finger(1, PointerPhase::Move, 50.0, 100.0),
        finger(2, PointerPhase::Move, 250.0, 100.0),
    ];
    editor.pointer(&mut paper, 0.0, &samples);
    assert!((editor.viewport().zoom() - 2.0).abs() < 1e-9);
    let after = editor.viewport().to_board(150.0, 100.0);
    assert!((under.0 - after.0).abs() < 1e-6 && (under.1 - after.1).abs() < 1e-6);
    assert_eq!(paper.log, ["begin Pen 4 at 100,100", "abandon 1"]);
}

#[test]
fn the_wheel_zooms_about_the_pointer_in_small_steps() {
    let mut paper = Paper::default();
    let mut editor = editor(&mut paper);
    let under = editor.viewport().to_board(300.0, 200.0);
    editor.wheel(&mut paper, (300.0, 200.0), (0.0, -120.0), true);
    let zoom = editor.viewport().zoom();
    assert!(zoom > 1.1 && zoom < 1.4, "{zoom}");
    let after = editor.viewport().to_board(300.0, 200.0);
    assert!((under.0 - after.0).abs() < 1e-9);
}
