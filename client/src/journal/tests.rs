//! Pieces of a journal survive being kept, and damage to them is found wherever it is.

use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{InkPoint, StrokeId, StrokeStyle};

use super::*;

const ME: ActorId = ActorId(77);

fn kept(counter: u32) -> KeptOp {
    let stroke = StrokeId(OpId {
        actor: ME,
        counter: 3,
    });
    let ink = InkRun::new(vec![InkPoint::new(counter as i32, -5, 9)]);
    KeptOp {
        op: Arc::new(Op::Extend { stroke, ink }),
        ink_end: 17,
        is_rejected: counter.is_multiple_of(2),
    }
}

fn stroke() -> Stroke {
    let style = StrokeStyle {
        nib: Nib::Pen,
        color: 5,
        width: 6,
    };
    let id = StrokeId(OpId {
        actor: ME,
        counter: 9,
    });
    let mut stroke = Stroke::new(id, Position(4), style);
    stroke.push(&[InkPoint::new(1, 2, 3), InkPoint::new(11, 12, 13)]);
    stroke
}

fn board() -> Vec<u8> {
    let view = BoardRect::from_corners(BoardPoint::new(-9, -9), BoardPoint::new(99, 99));
    let strokes = [stroke()];
    let board = KeptBoard {
        epoch: 3,
        position: Position(1 << 40),
        is_ahead: true,
        coverage: Coverage::of_view(view, None),
        held: view,
        strokes: strokes.iter(),
    };
    encode_board(&board).expect("it is small")
}

#[test]
fn pieces_survive() {
    assert_eq!(decode_head(&encode_head(ME, 12)), Ok((ME, 12)));
    for counter in [4, 5] {
        let kept = kept(counter);
        let piece = encode_op(ME, counter, &kept);
        assert_eq!(decode_op(ME, &piece), Ok((counter, kept)));
    }
    let board = decode_board(&board()).expect("as it was written");
    assert_eq!((board.epoch, board.position), (3, Position(1 << 40)));
    assert_eq!(board.strokes, [stroke()]);
}

#[test]
fn damage_is_found_wherever_it_is() {
    let pieces = [encode_head(ME, 12), encode_op(ME, 5, &kept(5)), board()];
    for piece in pieces {
        let is_refused = |bytes: &[u8]| {
            decode_head(bytes).is_err()
                && decode_op(ME, bytes).is_err()
                && decode_board(bytes).is_err()
        };
        for end in 0..piece.len() {
            assert!(is_refused(&piece[..end]));
        }
        for bit in 0..piece.len() * 8 {
            let mut damaged = piece.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(is_refused(&damaged), "bit {bit}");
        }
    }
}
