//! The chronicle of a board: what its log says about when it changed and by whom, without the changes themselves.
//!
//! It is filled record by record and goes on where it stopped, so that the next who looks back pays for what is new. It
//! folds nothing and knows no names; the board at a moment is a [`crate::Fold`], names are its caller's.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use chalkboard_shared::limits::{PAST_ACTORS_MAX, PAST_AUTHORS_MAX, PAST_BUCKETS_MAX};
use chalkboard_shared::past::{Author, Bucket, Moment, SegmentHead, Timeline, segment_of};
use chalkboard_shared::{ActorId, Position, Tick};

use crate::record::{RecordError, RecordOutline};

/// Shares that are kept: beyond it they are told half as exactly. 16 B each, 2 MB a board.
const SHARES_MAX: usize = 128 * 1024;

/// What somebody did in a part of the time line.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Place on the time line, in grains.
    grain: u64,
    actor: u32,
    ops: u32,
}

/// A part of the log, by ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The last moment before it.
    pub before: Moment,
    /// The last position before it.
    pub after: Position,
    /// Its last position; `None` while it grows.
    pub end: Option<Position>,
}

#[derive(Debug)]
struct Segment {
    stretch: Stretch,
    first: Moment,
    mark: u32,
}

/// When a board changed, and by whom.
#[derive(Debug, Default)]
pub struct Chronicle {
    last: Moment,
    position: Position,
    /// Stands for the whole log so far.
    mark: u32,
    segments: Vec<Segment>,
    places: HashMap<ActorId, u32>,
    actors: Vec<(ActorId, u64)>,
    shares: Vec<Share>,
    /// log2 of a grain in milliseconds.
    grain_log2: u32,
}

impl Chronicle {
    /// The last position that it knows of.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The last moment.
    pub const fn last(&self) -> Moment {
        self.last
    }

    /// Takes the next record of the log. One that holds nothing new changes nothing.
    ///
    /// # Errors
    /// The record can't be read.
    pub fn extend(&mut self, record: &Bytes) -> Result<(), RecordError> {
        let outline = RecordOutline::decode(record)?;
        let Some(last) = outline.last() else {
            return Ok(());
        };
        if outline.first <= self.position {
            return Ok(());
        }
        let moment = self.last.then(outline.tick, outline.unix_ms);
        let starts_one = self.segments.last().is_none_or(|segment| {
            segment_of(outline.first) > segment_of(segment.stretch.after.next())
        });
        if starts_one {
            if let Some(segment) = self.segments.last_mut() {
                segment.stretch.end = Some(self.position);
                segment.mark = self.mark.max(1);
            }
            self.segments.push(Segment {
                stretch: Stretch {
                    before: self.last,
                    after: self.position,
                    end: None,
                },
                first: moment,
                mark: 0,
            });
        }
        self.note_shares(moment, &outline);
        let mut hasher = crc32fast::Hasher::new_with_initial(self.mark);
        hasher.update(record);
        self.mark = hasher.finalize();
        self.last = moment;
        self.position = last;
        Ok(())
    }

    fn note_shares(&mut self, moment: Moment, outline: &RecordOutline) {
        let grain = moment.at_ms >> self.grain_log2;
        let since = self.shares.partition_point(|share| share.grain < grain);
        for actor in outline.actors() {
            let next = self.actors.len() as u32;
            let place = *self.places.entry(actor).or_insert(next);
            if place == next {
                self.actors.push((actor, 0));
            }
            self.actors[place as usize].1 += 1;
            match self.shares[since..]
                .iter_mut()
                .find(|share| share.actor == place)
            {
                Some(share) => share.ops = share.ops.saturating_add(1),
                None => self.shares.push(Share {
                    grain,
                    actor: place,
                    ops: 1,
                }),
            }
        }
        while self.shares.len() > SHARES_MAX {
            self.coarsen();
        }
    }

    /// Tells times half as exactly.
    fn coarsen(&mut self) {
        self.grain_log2 += 1;
        let mut merged: BTreeMap<(u64, u32), u32> = BTreeMap::new();
        for share in &self.shares {
            let ops = merged.entry((share.grain / 2, share.actor)).or_default();
            *ops = ops.saturating_add(share.ops);
        }
        self.shares = merged
            .into_iter()
            .map(|((grain, actor), ops)| Share { grain, actor, ops })
            .collect();
    }

    /// Where a segment lies; `None` where there is none.
    pub fn segment(&self, index: u32) -> Option<Stretch> {
        Some(self.segments.get(index as usize)?.stretch)
    }

    /// The segment that the board at a tick ends in; `None` for a tick before the first.
    pub fn segment_at(&self, tick: Tick) -> Option<u32> {
        let count = self
            .segments
            .partition_point(|segment| segment.first.tick <= tick);
        (count as u32).checked_sub(1)
    }

    /// The time line in at most `buckets` parts; `name` says who somebody is, as name and colour.
    pub fn timeline(
        &self,
        buckets: usize,
        name: impl Fn(ActorId) -> Option<(String, u32)>,
    ) -> Timeline {
        // People are an actor for every page that they open: to each other they are a name and a colour.
        let mut groups: HashMap<(String, u32), usize> = HashMap::new();
        let mut authors: Vec<(u64, Author, Vec<u32>)> = Vec::new();
        for (place, (actor, ops)) in (0u32..).zip(&self.actors) {
            let called = name(*actor).unwrap_or_default();
            let at = *groups.entry(called.clone()).or_insert(authors.len());
            if at == authors.len() {
                let (name, color) = called;
                let author = Author {
                    name,
                    color,
                    ops: 0,
                    actors: Vec::new(),
                };
                authors.push((0, author, Vec::new()));
            }
            authors[at].0 += ops;
            authors[at].2.push(place);
        }
        // The busiest first; those who are equally busy in the order in which they came.
        authors.sort_by_key(|(ops, ..)| std::cmp::Reverse(*ops));
        authors.truncate(PAST_AUTHORS_MAX);
        let mut author_of = vec![authors.len() as u8; self.actors.len()];
        let mut actors_left = PAST_ACTORS_MAX;
        for (number, (ops, author, places)) in (0u8..).zip(&mut authors) {
            author.ops = *ops;
            for place in places {
                author_of[*place as usize] = number;
                if actors_left > 0 {
                    actors_left -= 1;
                    author.actors.push(self.actors[*place as usize].0);
                }
            }
        }
        let head = |segment: &Segment| SegmentHead {
            tick: segment.first.tick,
            at_ms: segment.first.at_ms,
            mark: segment.mark,
        };
        Timeline {
            end: self.last,
            position: self.position,
            authors: authors.into_iter().map(|(_, author, _)| author).collect(),
            segments: self.segments.iter().map(head).collect(),
            buckets: self.buckets(buckets.min(PAST_BUCKETS_MAX), &author_of),
        }
    }

    fn buckets(&self, count: usize, author_of: &[u8]) -> Vec<Bucket> {
        let mut buckets = vec![BTreeMap::<u8, u32>::new(); count];
        let length = (self.last.at_ms >> self.grain_log2) + 1;
        for share in &self.shares {
            let at = (u128::from(share.grain) * count as u128 / u128::from(length)) as usize;
            if let Some(bucket) = buckets.get_mut(at) {
                let ops = bucket.entry(author_of[share.actor as usize]).or_default();
                *ops = ops.saturating_add(share.ops);
            }
        }
        buckets
            .into_iter()
            .map(|bucket| bucket.into_iter().collect())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::limits::SEGMENT_OPS;
    use chalkboard_shared::{Op, OpEntry, OpId, StrokeId};

    use super::*;
    use crate::LogRecord;

    /// A log of one op a tick, by turns of two actors.
    fn chronicle(ticks: u64) -> Chronicle {
        let mut chronicle = Chronicle::default();
        for n in 1..=ticks {
            chronicle
                .extend(&record(n, n, n * 100, 1))
                .expect("own form");
        }
        chronicle
    }

    fn record(first: u64, tick: u64, unix_ms: u64, count: u64) -> Bytes {
        let entries: Vec<OpEntry> = (first..first + count)
            .map(|position| {
                let id = OpId {
                    actor: ActorId(1 + position % 2),
                    counter: position as u32,
                };
                OpEntry {
                    position: Position(position),
                    id,
                    op: Op::Finish {
                        stroke: StrokeId(id),
                    },
                }
            })
            .collect();
        LogRecord::encode_entries(Tick(tick), unix_ms, &entries)
    }

    fn names(actor: ActorId) -> Option<(String, u32)> {
        (actor == ActorId(2)).then(|| ("Ada".to_owned(), 7))
    }

    #[test]
    fn every_op_is_in_a_bucket_of_its_author() {
        let timeline = chronicle(1000).timeline(10, names);
        assert_eq!(timeline.buckets.len(), 10);
        let ops = |author| {
            let all = timeline.buckets.iter().flatten();
            all.filter(|(of, _)| *of == author)
                .map(|(_, ops)| *ops)
                .sum::<u32>()
        };
        assert_eq!((ops(0), ops(1)), (500, 500));
        assert_eq!(timeline.authors[0].name, "Ada");
        assert_eq!(timeline.authors[1].actors, [ActorId(1)]);
        assert_eq!(
            timeline.end,
            Moment {
                tick: Tick(1000),
                unix_ms: 100_000,
                at_ms: 99_900
            }
        );
    }

    #[test]
    fn people_are_one_author_for_all_their_pages() {
        let timeline = chronicle(10).timeline(1, |_| Some(("Ada".to_owned(), 7)));
        assert_eq!(timeline.authors.len(), 1);
        assert_eq!(
            (timeline.authors[0].ops, timeline.authors[0].actors.len()),
            (10, 2)
        );
    }

    #[test]
    fn segments_begin_between_ticks_and_never_change() {
        let mut chronicle = chronicle(SEGMENT_OPS - 1);
        // A tick that reaches far into the second segment, and one that begins there.
        chronicle
            .extend(&record(SEGMENT_OPS, 9000, 1 << 30, 5000))
            .expect("own form");
        assert_eq!(chronicle.segment(1), None);
        chronicle
            .extend(&record(SEGMENT_OPS + 5000, 9001, 1 << 30, 1))
            .expect("own form");
        let first = chronicle.segment(0).expect("there is one");
        assert_eq!(first.end, Some(Position(SEGMENT_OPS + 4999)));
        let second = chronicle.segment(1).expect("there is one");
        assert_eq!(
            (second.after, second.end),
            (Position(SEGMENT_OPS + 4999), None)
        );
        assert_eq!(second.before.tick, Tick(9000));
        assert_eq!(chronicle.segment_at(Tick(0)), None);
        assert_eq!(chronicle.segment_at(Tick(9000)), Some(0));
        assert_eq!(chronicle.segment_at(Tick(1 << 40)), Some(1));
        let heads = chronicle.timeline(0, names).segments;
        assert!(heads[0].mark != 0 && heads[1].mark == 0);
    }

    #[test]
    fn what_was_read_before_is_not_counted_again() {
        let mut chronicle = chronicle(10);
        chronicle.extend(&record(5, 5, 500, 1)).expect("own form");
        assert_eq!(chronicle.timeline(1, names).buckets[0], [(0, 5), (1, 5)]);
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost_by_it() {
        let mut chronicle = Chronicle::default();
        let ticks = SHARES_MAX as u64 + 10;
        for n in 1..=ticks {
            chronicle
                .extend(&record(n, n, n * 1000, 1))
                .expect("own form");
        }
        assert!(chronicle.shares.len() <= SHARES_MAX);
        let timeline = chronicle.timeline(16, names);
        let ops: u64 = timeline
            .buckets
            .iter()
            .flatten()
            .map(|(_, ops)| u64::from(*ops))
            .sum();
        assert_eq!(ops, ticks);
    }
}
