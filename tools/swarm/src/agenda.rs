//! What the clients of a thread have to do next, and having it done.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::counts::Counts;
use crate::schedule::{Schedule, phase};
use crate::spec::Part;

/// Somebody who sends when told to.
pub(crate) trait Hand {
    /// The best moment, not before this one, to send something.
    fn best_ns(&self, at_ns: i64) -> i64;

    /// Moves the cursor to where it is at this moment of the schedule. `false` where that is not worth sending at the
    /// room's pace.
    fn point(&mut self, due_ns: i64) -> bool;

    /// Draws the batches of these moments, in seconds. `false` if they could not be sent.
    fn draw(&mut self, times: impl Iterator<Item = f64>, now_ns: i64) -> bool;
}

/// When each client moves and draws.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    schedule: Schedule,
    lines: Vec<Line>,
    /// Tasks that are due and wait for a better moment: that, whose, and when they were due.
    waiting: BinaryHeap<Reverse<(i64, usize, i64)>>,
}

/// What one sender of the schedule is.
#[derive(Debug, Clone, Copy)]
struct Line {
    place: usize,
    is_cursor: bool,
    hz: f64,
}

/// Something to do now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    /// Whose: the place that [`Agenda::new`] was given.
    pub(crate) place: usize,
    is_cursor: bool,
    hz: f64,
    /// When the first of them was to be done.
    at_ns: i64,
    /// When it was due.
    due_ns: i64,
    /// Updates to be sent.
    count: u32,
}

impl Agenda {
    /// Of clients at some places, with their numbers and parts, who begin at `start_ns`.
    pub(crate) fn new(
        clients: impl IntoIterator<Item = (usize, u32, Part)>,
        start_ns: i64,
    ) -> Self {
        let mut agenda = Self::default();
        for (place, client, part) in clients {
            for (is_cursor, hz, salt) in [(true, part.cursor_hz, 0.0), (false, part.ink_hz, 0.37)] {
                if hz > 0.0 {
                    agenda.schedule.add(start_ns, hz, phase(client, salt));
                    agenda.lines.push(Line {
                        place,
                        is_cursor,
                        hz,
                    });
                }
            }
        }
        agenda
    }

    /// When something is due next; `None` where nobody sends.
    pub(crate) fn next_ns(&self) -> Option<i64> {
        let waiting = self.waiting.peek().map(|Reverse((at_ns, ..))| *at_ns);
        [self.schedule.next_ns(), waiting]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next task for which it is the moment: when it is due, or at the best one after that, which `best_ns` knows of those
    /// at a place.
    pub(crate) fn pop(&mut self, now_ns: i64, best_ns: impl Fn(usize, i64) -> i64) -> Option<Task> {
        if let Some(&Reverse((at_ns, line, due_ns))) = self.waiting.peek()
            && at_ns <= now_ns
        {
            self.waiting.pop();
            return Some(self.task(line, at_ns, due_ns, 1));
        }
        while let Some(due) = self.schedule.pop(now_ns) {
            let line = due.sender;
            let at_ns = best_ns(self.lines[line].place, due.at_ns);
            // Whoever is behind waits for nothing.
            if at_ns <= now_ns || due.count > 1 {
                return Some(self.task(line, at_ns.min(now_ns), due.at_ns, due.count));
            }
            self.waiting.push(Reverse((at_ns, line, due.at_ns)));
        }
        None
    }

    fn task(&self, line: usize, at_ns: i64, due_ns: i64, count: u32) -> Task {
        let Line {
            place,
            is_cursor,
            hz,
        } = self.lines[line];
        Task {
            place,
            is_cursor,
            hz,
            at_ns,
            due_ns,
            count,
        }
    }
}

impl Task {
    /// Has it done, and counts what was sent and how late. `false` if there was nothing to send.
    pub(crate) fn perform(self, hand: &mut impl Hand, now_ns: i64, counts: &mut Counts) -> bool {
        let Self {
            at_ns,
            due_ns,
            count,
            hz,
            ..
        } = self;
        // A pen goes on while its samples wait to be sent; a cursor is where it is then.
        let at_s = |k: u32| due_ns as f64 / 1e9 + f64::from(k) / hz;
        let sent = if self.is_cursor {
            // Of several that are due only the newest place is worth telling.
            let newest_ns = at_ns + (f64::from(count - 1) / hz * 1e9) as i64;
            u32::from(hand.point(newest_ns))
        } else if hand.draw((0..count).map(at_s), now_ns) {
            count
        } else {
            0
        };
        if sent > 0 {
            let lag_us = ((now_ns - at_ns).max(0) / 1000) as u64;
            counts.sent(self.is_cursor, sent, lag_us);
        }
        sent > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Noted {
        points: Vec<i64>,
        times: Vec<f64>,
        refuses: bool,
    }

    impl Hand for Noted {
        fn best_ns(&self, at_ns: i64) -> i64 {
            at_ns
        }

        fn point(&mut self, due_ns: i64) -> bool {
            self.points.push(due_ns);
            !self.refuses
        }

        fn draw(&mut self, times: impl Iterator<Item = f64>, _now_ns: i64) -> bool {
            self.times.extend(times);
            !self.refuses
        }
    }

    fn part(cursor_hz: f64, ink_hz: f64) -> Part {
        Part {
            cursor_hz,
            ink_hz,
            samples: 3,
        }
    }

    fn perform_all(agenda: &mut Agenda, now_ns: i64, hand: &mut Noted) -> (Counts, Vec<usize>) {
        let (mut counts, mut places) = (Counts::new(0), Vec::new());
        while let Some(task) = agenda.pop(now_ns, |_, at_ns| at_ns) {
            places.push(task.place);
            assert_eq!(task.perform(hand, now_ns, &mut counts), !hand.refuses);
        }
        (counts, places)
    }

    #[test]
    fn cursors_skip_to_the_newest_and_ink_makes_up_for_all() {
        let mut agenda = Agenda::new([(7, 0, part(20.0, 20.0)), (8, 1, part(0.0, 0.0))], 0);
        let mut hand = Noted::default();
        let (counts, places) = perform_all(&mut agenda, 100_000_000, &mut hand);
        assert_eq!(places, [7, 7], "who does nothing has no tasks");
        assert_eq!(hand.points, [100_000_000], "of 0, 50 and 100 ms the last");
        assert_eq!(hand.times.len(), 2, "18.5 and 68.5 ms");
        assert!((hand.times[1] - hand.times[0] - 0.05).abs() < 1e-9);
        assert_eq!((counts.sent_cursor, counts.sent_stroke), (1, 2));
    }

    #[test]
    fn what_is_due_waits_for_its_moment_unless_it_is_late() {
        let mut agenda = Agenda::new([(3, 0, part(20.0, 0.0)), (4, 1, part(0.0, 0.0))], 0);
        let best_ns = |place, at_ns: i64| {
            assert_eq!(place, 3);
            (at_ns + 6_999_999) / 7_000_000 * 7_000_000
        };
        let mut hand = Noted::default();
        let mut counts = Counts::new(0);
        let mut now_ns = 0;
        while now_ns < 200_000_000 {
            while let Some(task) = agenda.pop(now_ns, best_ns) {
                task.perform(&mut hand, now_ns, &mut counts);
            }
            now_ns = agenda.next_ns().expect("it goes on");
        }
        assert_eq!(hand.points, [0, 56_000_000, 105_000_000, 154_000_000]);
        let task = agenda.pop(412_000_000, best_ns).expect("some are due");
        assert_eq!(task.count, 5, "of 200 to 400 ms");
        assert!(task.perform(&mut hand, 412_000_000, &mut counts));
        assert_eq!(hand.points.last(), Some(&403_000_000));
    }

    #[test]
    fn a_pen_goes_on_while_its_samples_wait() {
        let mut agenda = Agenda::new([(0, 0, part(0.0, 20.0))], 0);
        let best_ns = |_, at_ns: i64| (at_ns + 99_999_999) / 100_000_000 * 100_000_000;
        let mut hand = Noted::default();
        let mut now_ns = 0;
        while now_ns <= 200_000_000 {
            while let Some(task) = agenda.pop(now_ns, best_ns) {
                task.perform(&mut hand, now_ns, &mut Counts::new(0));
            }
            now_ns = agenda.next_ns().expect("it goes on");
        }
        let apart: Vec<_> = hand.times.windows(2).map(|t| t[1] - t[0]).collect();
        assert_eq!(apart.len(), 3, "two at each moment");
        assert!(apart.iter().all(|s| (s - 0.05).abs() < 1e-9), "{apart:?}");
    }

    #[test]
    fn what_was_not_sent_is_not_counted() {
        let mut agenda = Agenda::new([(0, 0, part(20.0, 20.0))], 0);
        let mut hand = Noted {
            refuses: true,
            ..Noted::default()
        };
        let (counts, places) = perform_all(&mut agenda, 100_000_000, &mut hand);
        assert_eq!(places.len(), 2);
        assert_eq!((counts.sent_cursor, counts.sent_stroke), (0, 0));
        assert!(agenda.next_ns() > Some(100_000_000));
    }
}
