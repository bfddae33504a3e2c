//! Ink ahead of the stream: points that came in datagrams and show until the room's own word for them arrives.
//!
//! They lie in the stroke's layer, behind its confirmed points. The mirror, its digest and what a resume says of it know
//! nothing of datagrams. A datagram whose stroke is not held, is this person's own, finished or erased, or which would
//! leave a gap, is passed over; the stream has all of it in time.

use chalkboard_shared::wire::InkTail;

use super::Board;
use super::layer::{Layer, Look};

/// Layers of a board, beyond which nothing more comes ahead: several times what a datagram tells of.
const LAYERS_MAX: usize = 256;
/// Points ahead of a stroke's confirmed ones, at the most: four seconds of the fastest pens.
const POINTS_MAX: usize = 1024;

impl Board {
    /// Points that showed before the stream told them, so far.
    pub const fn points_ahead(&self) -> usize {
        self.points_ahead
    }

    /// Shows what a stroke has gained before the stream tells it, if this client holds all that is before.
    pub(crate) fn show_ahead(&mut self, tail: &InkTail) {
        let confirmed = self.mirror.wet(tail.growth.begin);
        let Some(stroke) = confirmed.filter(|stroke| stroke.author() != self.actor) else {
            return;
        };
        let id = stroke.id;
        let Some(shown) = self.get(id) else {
            return;
        };
        // Bytes that are no stroke's make no difference either.
        let before = shown
            .wet_points()
            .and_then(|all| all.get(..tail.first as usize));
        let Some(Ok(points)) = before.map(|before| tail.growth.points_behind(before)) else {
            return;
        };
        // The first is no further than behind the last, or there would have been a gap.
        let known = (shown.point_count - tail.first) as usize;
        let news = points.get(known..).unwrap_or_default();
        if news.is_empty() || self.layers.len() >= LAYERS_MAX {
            return;
        }
        let ahead = shown.point_count.saturating_sub(stroke.point_count) as usize + news.len();
        let old = Look::of(Some(shown));
        let layer = self
            .layers
            .entry(id)
            .or_insert_with(|| Layer::over(Some(stroke)));
        if let Some(view) = &mut layer.view
            && ahead <= POINTS_MAX
        {
            view.push(news);
            self.points_ahead += news.len();
        }
        self.settle(id, old);
    }
}

impl Layer {
    /// Takes over what `before`, a layer of the same stroke, shows behind its points; `false` where that is nothing. Only
    /// its author adds points to a stroke, so that they are what came ahead.
    pub(super) fn keep_ahead(&mut self, before: &Self) -> bool {
        let (Some(view), Some(shown)) = (&mut self.view, &before.view) else {
            return false;
        };
        let shown = shown.wet_points().unwrap_or_default();
        match shown.get(view.point_count as usize..) {
            Some(ahead) if !ahead.is_empty() && !view.is_finished() => view.push(ahead),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::growth::Growth;
    use chalkboard_shared::op::InkRun;
    use chalkboard_shared::stroke::Nib;
    use chalkboard_shared::wire::ServerMessage;
    use chalkboard_shared::{
        ActorId, BoardRect, InkPoint, Op, OpEntry, OpId, Position, Stroke, StrokeId, StrokeStyle,
    };

    use proptest::prelude::*;

    use super::*;

    const AUTHOR: ActorId = ActorId(8);
    const BEGIN: Position = Position(5);
    const ID: StrokeId = StrokeId(OpId {
        actor: AUTHOR,
        counter: 1,
    });
    const STYLE: StrokeStyle = StrokeStyle {
        nib: Nib::Pen,
        color: 0,
        width: 32,
    };

    /// Points `range` of the one stroke that there is.
    fn points(range: core::ops::Range<i32>) -> Vec<InkPoint> {
        let point = |n: i32| InkPoint::new(n * 160, n * n / 4, (n % 100) as u8);
        range.map(point).collect()
    }

    fn accept(board: &mut Board, position: u64, counter: u32, op: Op) {
        let (position, actor) = (Position(position), AUTHOR);
        let id = OpId { actor, counter };
        board.accept(&OpEntry { position, id, op });
    }

    fn extend(board: &mut Board, position: u64, range: core::ops::Range<i32>) {
        let ink = InkRun::new(points(range));
        accept(board, position, 2, Op::Extend { stroke: ID, ink });
    }

    /// A datagram that tells points `range`.
    fn hear(board: &mut Board, range: core::ops::Range<i32>) {
        let before = points(0..range.start);
        let tail = InkTail {
            first: range.start as u32,
            growth: Growth::behind(BEGIN, &before, &points(range)),
        };
        board.show_ahead(&tail);
    }

    /// A board on which three points of the stroke are confirmed.
    fn board() -> Board {
        let mut board = Board::new();
        let ink = InkRun::new(points(0..3));
        accept(&mut board, BEGIN.0, 1, Op::Begin { style: STYLE, ink });
        board.take_changes();
        board
    }

    fn shown(board: &Board) -> Vec<InkPoint> {
        let stroke = board.get(ID);
        stroke.map_or(Vec::new(), |stroke| stroke.points().to_vec())
    }

    #[test]
    fn what_comes_ahead_shows_and_gives_way() {
        let mut board = board();
        let digest = board.digest();
        hear(&mut board, 3..5);
        assert_eq!(shown(&board), points(0..5));
        // It repeats what is known, in part and in whole.
        hear(&mut board, 2..7);
        hear(&mut board, 1..4);
        assert_eq!((shown(&board), board.points_ahead()), (points(0..7), 4));
        let changes = board.take_changes();
        assert_eq!(changes.len(), 1);
        assert!(changes[0].grown_only);
        assert_eq!(board.digest(), digest);
        assert_eq!(
            board.confirmed_wet(BEGIN).map(|stroke| stroke.point_count),
            Some(3)
        );
        // The stream comes up to it: nothing is seen of that.
        extend(&mut board, 6, 3..5);
        assert_eq!((shown(&board), board.layers.len()), (points(0..7), 1));
        extend(&mut board, 7, 5..7);
        assert_eq!((shown(&board), board.layers.len()), (points(0..7), 0));
        assert_eq!(board.take_changes(), []);
        let mut alone = self::board();
        extend(&mut alone, 6, 3..7);
        assert_eq!(board.digest(), alone.digest());
    }

    #[test]
    fn what_would_leave_a_gap_or_belongs_to_nothing_that_grows_is_passed_over() {
        let mut board = board();
        hear(&mut board, 4..6);
        assert_eq!(shown(&board), points(0..3));
        board.actor = AUTHOR;
        hear(&mut board, 3..6);
        assert_eq!(shown(&board), points(0..3), "its author knows best");
        board.actor = ActorId(1);
        let strokes = vec![ID];
        accept(&mut board, 6, 2, Op::Erase { strokes });
        hear(&mut board, 3..6);
        let strokes = vec![ID];
        accept(&mut board, 7, 3, Op::Restore { strokes });
        assert_eq!(shown(&board), points(0..3));
        accept(&mut board, 8, 4, Op::Finish { stroke: ID });
        hear(&mut board, 3..6);
        assert_eq!(shown(&board), points(0..3));
        let mut empty = Board::new();
        hear(&mut empty, 3..6);
        assert!(empty.is_empty() && empty.layers.is_empty());
    }

    #[test]
    fn what_others_do_to_the_stroke_shows_with_what_came_ahead() {
        let mut board = board();
        hear(&mut board, 3..6);
        let (strokes, style) = (vec![ID], StrokeStyle { color: 7, ..STYLE });
        accept(&mut board, 6, 2, Op::Restyle { strokes, style });
        let stroke = board.get(ID).expect("it shows");
        assert_eq!((stroke.style.value, stroke.point_count), (style, 6));
        let strokes = vec![ID];
        accept(&mut board, 7, 3, Op::Erase { strokes });
        assert!(board.is_empty());
    }

    #[test]
    fn a_new_connection_and_a_stroke_that_comes_whole_know_better() {
        let mut board = board();
        hear(&mut board, 3..6);
        let mut whole = Stroke::new(ID, BEGIN, STYLE);
        whole.push(&points(0..4));
        board.put(whole.clone()).expect("fits");
        assert_eq!(shown(&board), points(0..6));
        board.take_changes();
        board.predict_anew(ActorId(1), Vec::new());
        assert_eq!(shown(&board), points(0..4));
        assert_eq!(board.take_changes().len(), 1);
        hear(&mut board, 4..6);
        whole.push(&points(4..9));
        board.put(whole).expect("fits");
        assert_eq!((shown(&board), board.layers.len()), (points(0..9), 0));
        hear(&mut board, 9..11);
        board.take_changes();
        assert_eq!(board.evict_outside(BoardRect::EMPTY).len(), 1);
        assert!(board.is_empty() && board.layers.is_empty());
        assert_eq!(board.take_changes().len(), 1);
    }

    #[test]
    fn no_more_is_kept_than_the_bounds_allow() {
        let mut board = board();
        let mut count = 3;
        for _ in 0..100 {
            hear(&mut board, count..count + 50);
            count = shown(&board).len() as i32;
        }
        assert!((900..=3 + POINTS_MAX).contains(&shown(&board).len()));
        let points = |counter: u32| InkTail {
            first: 1,
            growth: Growth::behind(
                Position(counter.into()),
                &[InkPoint::default()],
                &[InkPoint::new(16, 16, 1)],
            ),
        };
        for counter in 10..1000 {
            let ink = InkRun::new(vec![InkPoint::default()]);
            accept(
                &mut board,
                counter.into(),
                counter,
                Op::Begin { style: STYLE, ink },
            );
            board.show_ahead(&points(counter));
        }
        assert_eq!(board.layers.len(), LAYERS_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_change_nothing_that_lasts(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut board = board();
            let digest = board.digest();
            // The beginning is that of the one stroke, so that many of them reach it.
            let frame = [&[42, BEGIN.0 as u8][..], &bytes].concat();
            if let Ok(ServerMessage::LiveInk(tails)) = ServerMessage::decode(frame.into()) {
                tails.iter().for_each(|tail| board.show_ahead(tail));
            }
            prop_assert_eq!(board.digest(), digest);
            prop_assert_eq!(board.confirmed_wet(BEGIN).map(|stroke| stroke.point_count), Some(3));
            prop_assert_eq!(&shown(&board)[..3], points(0..3));
            board.predict_anew(ActorId(1), Vec::new());
            prop_assert_eq!(shown(&board), points(0..3));
        }
    }
}
