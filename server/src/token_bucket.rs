//! Token buckets: how often something may happen, with a burst. Time is the caller's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bucket that fills at a rate and is emptied one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full one: `burst` tokens at once, then `per_second`.
    pub(crate) fn new(burst: f64, per_second: f64, now: Instant) -> Self {
        Self {
            burst,
            per_second,
            tokens: burst,
            filled: now,
        }
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }

    /// How long until there is a token.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / self.per_second)
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        self.filled = self.filled.max(now);
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.burst
    }
}

/// Addresses that are remembered; at 80 B each 800 KB.
const ADDRESSES_MAX: usize = 10_000;

/// A bucket for each address. When too many are remembered those with a full bucket are forgotten, which changes
/// nothing for them; if that is not enough, newcomers share one bucket until it is.
#[derive(Debug)]
pub(crate) struct AddressBuckets {
    burst: f64,
    per_second: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    buckets: HashMap<IpAddr, TokenBucket>,
    crowd: TokenBucket,
}

impl AddressBuckets {
    /// Every address may do it `burst` times at once, then `per_second`.
    pub(crate) fn new(burst: f64, per_second: f64, now: Instant) -> Self {
        Self {
            burst,
            per_second,
            state: Mutex::new(State {
                buckets: HashMap::new(),
                crowd: TokenBucket::new(burst, per_second, now),
            }),
        }
    }

    /// Takes a token of an address.
    ///
    /// # Errors
    /// There is none: how long until there is.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = network(address);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { buckets, crowd } = &mut *state;
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&address) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&address) {
            crowd
        } else {
            buckets
                .entry(address)
                .or_insert_with(|| TokenBucket::new(self.burst, self.per_second, now))
        };
        if bucket.take(now) {
            Ok(())
        } else {
            Err(bucket.wait())
        }
    }
}

/// What one customer of a provider has: an IPv4 address, or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(3.0, 2.0, start);
        let takes = |bucket: &mut TokenBucket, ms: u64| {
            let now = start + Duration::from_millis(ms);
            (0..10).filter(|_| bucket.take(now)).count()
        };
        assert_eq!(takes(&mut bucket, 0), 3);
        assert_eq!(takes(&mut bucket, 400), 0);
        assert_eq!(bucket.wait(), Duration::from_millis(100));
        assert_eq!(takes(&mut bucket, 500), 1);
        assert_eq!(takes(&mut bucket, 1500), 2);
        assert_eq!(takes(&mut bucket, 60_000), 3);
        assert_eq!(
            takes(&mut bucket, 100),
            0,
            "a clock that steps back gives nothing"
        );
    }

    #[test]
    fn addresses_do_not_share_but_networks_do() {
        let now = Instant::now();
        let buckets = AddressBuckets::new(1.0, 1.0, now);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(buckets.take(address("10.0.0.1"), now).is_ok());
        assert!(buckets.take(address("10.0.0.1"), now).is_err());
        assert!(buckets.take(address("::ffff:10.0.0.1"), now).is_err());
        assert!(buckets.take(address("10.0.0.2"), now).is_ok());
        assert!(buckets.take(address("2001:db8::1"), now).is_ok());
        assert!(buckets.take(address("2001:db8::2"), now).is_err());
        assert!(buckets.take(address("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_forgetting_gives_nothing_away() {
        let now = Instant::now();
        let buckets = AddressBuckets::new(1.0, 1.0, now);
        for n in 0..ADDRESSES_MAX as u32 {
            assert!(buckets.take(IpAddr::from(n.to_be_bytes()), now).is_ok());
        }
        let late = |n: u8| IpAddr::from([200, 0, 0, n]);
        assert!(buckets.take(late(1), now).is_ok(), "the crowd's one token");
        assert!(buckets.take(late(2), now).is_err());
        let len = || {
            buckets
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .buckets
                .len()
        };
        assert_eq!(len(), ADDRESSES_MAX);
        assert!(
            buckets.take(late(2), now + Duration::from_secs(2)).is_ok(),
            "all others are full again and forgotten"
        );
        assert_eq!(len(), 1);
    }
}
