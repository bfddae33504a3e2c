//! The past over HTTP: who may look, what is refused, and what never changes.

use chalkboard_shared::limits::SEGMENT_OPS;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::past::{Difference, Segment, Timeline, decode_board};
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{
    ActorId, InkPoint, Op, OpEntry, OpId, Position, Stroke, StrokeId, StrokeStyle, Tick,
};
use chalkboard_simulation::{Fold, LogRecord};

use super::*;
use crate::storage::{Author, LogBatch};

const ADA: ActorId = ActorId(77);

/// A board with its secrets, and what was appended to its log.
struct Drawn {
    inside: Inside,
    id: BoardId,
    edit: Secret,
    records: Vec<Bytes>,
}

/// Every third op erases what the one before has drawn.
fn op(position: u64) -> OpEntry {
    let id = |counter: u64| OpId {
        actor: ADA,
        counter: counter as u32,
    };
    let style = StrokeStyle {
        nib: Nib::Pen,
        color: 1,
        width: 32,
    };
    let op = if position.is_multiple_of(3) {
        Op::Erase {
            strokes: vec![StrokeId(id(position - 1))],
        }
    } else {
        let point = InkPoint::new(position as i32 * 16, 5, 128);
        Op::Begin {
            style,
            ink: InkRun::new(vec![point]),
        }
    };
    OpEntry {
        position: Position(position),
        id: id(position),
        op,
    }
}

impl Drawn {
    async fn new(ops: u64) -> Self {
        let inside = Inside::new();
        let made = inside.ask(Method::POST, "/api/v1/boards", &[]).await;
        let mut drawn = Self {
            id: made.field("/id").parse().expect("an id"),
            edit: made.field("/edit_secret").parse().expect("a secret"),
            inside,
            records: Vec::new(),
        };
        drawn.draw(ops);
        drawn
    }

    /// Appends ops, one a tick.
    fn draw(&mut self, ops: u64) {
        let log = self.inside.log.as_ref().expect("runs").handle();
        let ada = Author {
            actor: ADA,
            name: "Ada".to_owned(),
            color: 0x12_34_56,
            seen_ms: 1,
        };
        log.authors(self.id, vec![ada]).expect("has room");
        let before = self.records.len() as u64;
        for position in before + 1..=before + ops {
            let record =
                LogRecord::encode_entries(Tick(position * 2), position * 20, &[op(position)]);
            self.records.push(record.clone());
            let batch = LogBatch {
                board: self.id,
                first: Position(position),
                last: Position(position),
                record,
            };
            let mut refused = log.try_append(batch);
            while let Err(refusal) = refused {
                log.flush().expect("commits");
                refused = log.try_append(refusal.into_inner());
            }
        }
        log.flush().expect("commits");
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_by(path, self.edit).await
    }

    async fn get_by(&self, path: &str, secret: Secret) -> Answer {
        let path = format!("/api/v1/boards/{}/{path}", self.id);
        let bearer = format!("Bearer {secret}");
        let authorization = [("authorization", bearer.as_str())];
        self.inside.ask(Method::GET, &path, &authorization).await
    }

    fn folded(&self, ops: usize) -> Vec<Stroke> {
        let fold = Fold::new(None, self.records[..ops].iter().cloned()).expect("fits");
        let mut strokes: Vec<Stroke> = fold.strokes().cloned().collect();
        strokes.sort_by_key(|stroke| stroke.z);
        strokes
    }
}

#[tokio::test]
async fn a_time_line_names_its_authors_and_follows_the_log() {
    let mut drawn = Drawn::new(100).await;
    let ask = async |drawn: &Drawn| {
        let answer = drawn.get("timeline?buckets=10").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.header("cache-control"), "no-store");
        Timeline::decode(answer.bytes).expect("own form")
    };
    let timeline = ask(&drawn).await;
    assert_eq!(timeline.position, Position(100));
    assert_eq!(timeline.end.tick, Tick(200));
    assert_eq!(timeline.authors[0].name, "Ada");
    assert_eq!(timeline.authors[0].ops, 100);
    assert_eq!(timeline.buckets.len(), 10);
    drawn.draw(5);
    assert_eq!(ask(&drawn).await.position, Position(105));
}

#[tokio::test]
async fn any_moment_is_a_segments_start_and_ops_after_it() {
    let drawn = Drawn::new(SEGMENT_OPS + 500).await;
    for index in [0, 1] {
        let start = index * SEGMENT_OPS as usize;
        let board = drawn.get(&format!("history/{index}/board")).await;
        let mut strokes = Vec::new();
        decode_board(board.bytes, |stroke| strokes.push(stroke)).expect("own form");
        assert_eq!(strokes, drawn.folded(start));
        let segment = drawn.get(&format!("history/{index}")).await;
        let segment = Segment::decode(segment.bytes).expect("own form");
        assert_eq!(segment.is_complete, index == 0);
        let length = if index == 0 { SEGMENT_OPS } else { 500 };
        assert_eq!(segment.ticks.len() as u64, length);
        assert_eq!(segment.ticks[0].entries, [op(start as u64 + 1)]);
        assert_eq!(segment.ticks[0].moment.tick, Tick((start as u64 + 1) * 2));
    }
    assert_eq!(drawn.get("history/2").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_what_never_changes_may_be_kept() {
    let mut drawn = Drawn::new(SEGMENT_OPS + 1).await;
    let kept = "private, max-age=31536000, immutable";
    let first = drawn.get("history/0?mark=7").await;
    assert_eq!(first.header("cache-control"), kept);
    let unnamed = drawn.get("history/0").await;
    assert_eq!(unnamed.header("cache-control"), "no-store");
    let growing = drawn.get("history/1?mark=7").await;
    assert_eq!(growing.header("cache-control"), "no-store");
    let board = drawn.get("history/1/board?mark=7").await;
    assert_eq!(board.header("cache-control"), kept);
    drawn.draw(700);
    assert_eq!(drawn.get("history/0?mark=7").await.bytes, first.bytes);
    assert_eq!(drawn.get("history/1/board?mark=7").await.bytes, board.bytes);
    assert_ne!(drawn.get("history/1?mark=7").await.bytes, growing.bytes);
}

#[tokio::test]
async fn differences_are_for_those_who_may_edit() {
    let drawn = Drawn::new(10).await;
    let view = crate::access::view_secret(drawn.edit);
    for path in ["timeline", "history/0", "history/0/board"] {
        assert_eq!(drawn.get_by(path, view).await.status, StatusCode::OK);
    }
    let refused = drawn.get_by("difference?tick=4", view).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.field("/error/code"), "view_only");
    for path in [
        "timeline",
        "history/0",
        "history/0/board",
        "difference?tick=4",
    ] {
        let wrong = drawn.get_by(path, Secret([9; 16])).await;
        assert_eq!(wrong.status, StatusCode::NOT_FOUND, "{path}");
        let full = format!("/api/v1/boards/{}/{path}", drawn.id);
        let none = drawn.inside.ask(Method::GET, &full, &[]).await;
        assert_eq!(none.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn the_difference_to_a_tick_is_what_people_see_otherwise() {
    let drawn = Drawn::new(10).await;
    let stroke = |counter| {
        StrokeId(OpId {
            actor: ADA,
            counter,
        })
    };
    let ask = async |tick: u64| {
        let answer = drawn.get(&format!("difference?tick={tick}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        Difference::decode(answer.bytes).expect("own form")
    };
    // After the second op both strokes were there; the third erased one of them.
    for tick in [4, 5] {
        let difference = ask(tick).await;
        assert_eq!(difference.restore, [stroke(2)]);
        assert_eq!(difference.erase, [stroke(4), stroke(7), stroke(10)]);
        assert_eq!(difference.position, Position(10));
    }
    assert!(ask(20).await.is_empty());
    assert!(ask(u64::MAX).await.is_empty());
    assert_eq!(ask(0).await.erase.len(), 4);
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused_with_a_reason() {
    let drawn = Drawn::new(3).await;
    for path in [
        "difference",
        "difference?tick=soon",
        "difference?tick=-1",
        "history/first",
        "history/-1",
        "history/4294967296",
        "timeline?buckets=513",
        "timeline?buckets=many",
    ] {
        let answer = drawn.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(!answer.field("/error/message").is_empty(), "{path}");
    }
    let empty = Drawn::new(0).await;
    assert_eq!(empty.get("history/0").await.status, StatusCode::NOT_FOUND);
    let timeline = Timeline::decode(empty.get("timeline").await.bytes).expect("own form");
    assert_eq!(timeline.position, Position(0));
}

#[tokio::test]
async fn whoever_asks_without_end_has_to_wait() {
    let drawn = Drawn::new(1).await;
    let mut answer = drawn.get("timeline?buckets=0").await;
    for _ in 0..2000 {
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        answer = drawn.get("timeline?buckets=0").await;
    }
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.field("/error/code"), "too_many_looks");
    assert!(!answer.header("retry-after").is_empty());
}
