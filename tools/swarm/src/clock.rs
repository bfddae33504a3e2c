//! The clock that all timestamps are taken from, and an alarm that rings on it to a fraction of a millisecond.
//!
//! `CLOCK_MONOTONIC` counted from a zero that the harness gives, so that several processes of one machine share it. The
//! runtime's own timers ring on whole milliseconds, which is too coarse to keep a schedule of thousands of senders.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

const NS_PER_S: i64 = 1_000_000_000;
/// Units of a stamp on the wire.
const NS_PER_STAMP: i64 = 10_000;

/// A clock with a zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    zero_ns: i64,
}

fn monotonic_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * NS_PER_S + time.tv_nsec
}

impl Clock {
    /// With its zero at this moment of `CLOCK_MONOTONIC`.
    pub(crate) const fn from_zero(zero_ns: i64) -> Self {
        Self { zero_ns }
    }

    /// With its zero now.
    pub(crate) fn start() -> Self {
        Self::from_zero(monotonic_ns())
    }

    /// The zero, as a moment of `CLOCK_MONOTONIC`.
    pub(crate) const fn zero_ns(self) -> i64 {
        self.zero_ns
    }

    /// Nanoseconds since its zero.
    pub(crate) fn now_ns(self) -> i64 {
        monotonic_ns() - self.zero_ns
    }

    /// Milliseconds since its zero.
    pub(crate) fn now_ms(self) -> f64 {
        self.now_ns() as f64 / 1e6
    }
}

/// A moment as it travels: units of 10 us, wrapping.
pub(crate) const fn stamp(now_ns: i64) -> u32 {
    (now_ns / NS_PER_STAMP) as u32
}

/// How long ago a stamp was, in microseconds; 0 where the two clocks' rounding puts it ahead.
pub(crate) fn age_us(stamp: u32, now_ns: i64) -> u64 {
    let units = self::stamp(now_ns).wrapping_sub(stamp).cast_signed();
    let rest_us = now_ns % NS_PER_STAMP / 1000;
    u64::try_from(i64::from(units) * 10 + rest_us).unwrap_or(0)
}

/// Rings once at a time.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    clock: Clock,
}

impl Alarm {
    /// On a runtime with I/O.
    pub(crate) fn new(clock: Clock) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe because a descriptor may be closed beneath it; this one is owned and \
                      never taken out"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { timer, clock })
    }

    /// Waits until the clock shows this.
    pub(crate) async fn wait_until(&mut self, at_ns: i64) -> io::Result<()> {
        // A time of 0 would disarm it.
        let at_ns = (at_ns + self.clock.zero_ns).max(1);
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: at_ns / NS_PER_S,
                tv_nsec: at_ns % NS_PER_S,
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut rings = [0; 8];
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut rings)?));
            match read {
                Ok(read) => return read.map(drop),
                Err(_not_yet) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_survive_the_wrap_of_stamps() {
        let wrap_ns = (i64::from(u32::MAX) + 1) * NS_PER_STAMP;
        assert_eq!(age_us(stamp(wrap_ns - 30_000), wrap_ns + 20_000), 50);
        assert_eq!(age_us(stamp(5_000_000), 5_000_000), 0);
        assert_eq!(age_us(stamp(5_010_000), 5_000_000), 0, "ahead");
    }

    #[tokio::test]
    async fn an_alarm_rings_not_too_early() {
        let clock = Clock::start();
        let mut alarm = Alarm::new(clock).expect("a timer");
        for step in 1..4 {
            let at = step * 300_000;
            alarm.wait_until(at).await.expect("it rings");
            assert!(clock.now_ns() >= at);
        }
        alarm
            .wait_until(0)
            .await
            .expect("what is past rings at once");
    }
}
