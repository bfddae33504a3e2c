//! When each client sends: absolute times without drift, evenly spread over clients.
//!
//! Every sender has a period and a phase; its k-th update is due at start + phase + k periods, however late the one
//! before was. What falls behind is sent at once and its lag is counted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Updates that one sender makes up for in one go: beyond that it is behind for good, and its lag says so.
const AT_ONCE_MAX: u32 = 64;

const NS_PER_S: f64 = 1e9;

/// A sender's place in the schedule.
#[derive(Debug, Clone, Copy)]
struct Line {
    start_ns: i64,
    period_ns: f64,
    sent: u64,
}

impl Line {
    fn due_ns(&self) -> i64 {
        self.start_ns + (self.sent as f64 * self.period_ns) as i64
    }
}

/// Updates that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Whose: the number that [`Schedule::add`] gave.
    pub(crate) sender: usize,
    /// The number of the first of them, from 0.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u32,
    /// When the first of them was due.
    pub(crate) at_ns: i64,
}

/// All senders of a thread.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    lines: Vec<Line>,
    next: BinaryHeap<Reverse<(i64, usize)>>,
}

impl Schedule {
    /// Adds a sender of `hz` updates a second (more than 0), the first of them a `phase` (0 to 1) of a period after
    /// `start_ns`.
    pub(crate) fn add(&mut self, start_ns: i64, hz: f64, phase: f64) -> usize {
        let period_ns = NS_PER_S / hz;
        let sender = self.lines.len();
        let line = Line {
            start_ns: start_ns + (phase * period_ns) as i64,
            period_ns,
            sent: 0,
        };
        self.lines.push(line);
        self.next.push(Reverse((line.due_ns(), sender)));
        sender
    }

    /// When the next update is due; `None` where nobody sends.
    pub(crate) fn next_ns(&self) -> Option<i64> {
        self.next.peek().map(|Reverse((at_ns, _))| *at_ns)
    }

    /// The next sender with something due at `now_ns`, and everything of it that is.
    pub(crate) fn pop(&mut self, now_ns: i64) -> Option<Due> {
        let Reverse((at_ns, sender)) = *self.next.peek()?;
        if at_ns > now_ns {
            return None;
        }
        self.next.pop();
        let line = &mut self.lines[sender];
        let first = line.sent;
        let mut count = 0;
        while count < AT_ONCE_MAX && line.due_ns() <= now_ns {
            line.sent += 1;
            count += 1;
        }
        self.next.push(Reverse((line.due_ns(), sender)));
        Some(Due {
            sender,
            first,
            count,
            at_ns,
        })
    }
}

/// A phase for each client, 0 to 1, such that any run of clients is spread evenly: multiples of the golden ratio.
pub(crate) fn phase(client: u32, salt: f64) -> f64 {
    (f64::from(client) * 0.618_033_988_749_895 + salt).fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_do_not_drift() {
        let mut schedule = Schedule::default();
        let sender = schedule.add(1000, 3.0, 0.0);
        let mut last = None;
        for k in 0..30_000u64 {
            let at_ns = schedule.next_ns().expect("it goes on");
            let late = at_ns + 5;
            last = schedule.pop(late);
            assert_eq!(
                last,
                Some(Due {
                    sender,
                    first: k,
                    count: 1,
                    at_ns
                })
            );
        }
        let at_ns = last.expect("the last").at_ns;
        let exact = 1000.0 + 29_999.0 / 3.0 * 1e9;
        assert!((at_ns as f64 - exact).abs() < 2.0, "{at_ns} {exact}");
    }

    #[test]
    fn a_late_sender_catches_up_at_once() {
        let mut schedule = Schedule::default();
        schedule.add(0, 1000.0, 0.5);
        assert_eq!(schedule.pop(499_999), None);
        let due = schedule.pop(3_600_000).expect("some are due");
        assert_eq!((due.first, due.count, due.at_ns), (0, 4, 500_000));
        assert_eq!(schedule.next_ns(), Some(4_500_000));
        let due = schedule.pop(1_000_000_000).expect("many are due");
        assert_eq!(due.count, AT_ONCE_MAX);
    }

    #[test]
    fn senders_come_in_order_of_time() {
        let mut schedule = Schedule::default();
        for client in 0..100 {
            schedule.add(0, 20.0, phase(client, 0.0));
        }
        let mut last = 0;
        for _ in 0..1000 {
            let at_ns = schedule.next_ns().expect("it goes on");
            assert!(at_ns >= last);
            last = at_ns;
            schedule.pop(at_ns);
        }
        assert!((last - 500_000_000).abs() < 10_000_000, "{last}");
    }

    #[test]
    fn phases_are_spread() {
        let mut phases: Vec<f64> = (40..140).map(|client| phase(client, 0.3)).collect();
        phases.sort_by(f64::total_cmp);
        let gap = phases.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max);
        assert!(gap < 0.03, "{gap}");
    }
}
