//! Who may connect: how many handshakes are under way, how many connections stand, and how many of one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Handshakes under way at once, and those that wait for that: 256 x 64 KiB of their streams' windows is 16 MiB.
const HANDSHAKES_MAX: usize = 256;
/// Handshakes under way from which on newcomers must prove their address first (QUIC Retry).
const HANDSHAKES_UNPROVEN_MAX: usize = HANDSHAKES_MAX / 4;
/// Connections of one shard: a room's limit and a quarter more.
const CONNECTIONS_MAX: usize = 16 * 1024;
/// Connections of one address, of one /64 in IPv6: a whole conference behind one router. This machine itself has no such
/// limit, since that is where proxies are.
const CONNECTIONS_PER_ADDRESS_MAX: u32 = 4096;

/// What is to become of a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Begin the handshake.
    Accept,
    /// Ask for a proof of the address.
    Prove,
    /// Turn away.
    Refuse,
}

/// The counts of one shard.
#[derive(Debug, Default)]
pub(super) struct Admission {
    handshakes: usize,
    addresses: HashMap<IpAddr, u32>,
    /// Connections, for handing out the shard with the fewest.
    load: Arc<AtomicUsize>,
}

impl Admission {
    /// Nobody yet; `load` is to show the connections.
    pub(super) fn new(load: Arc<AtomicUsize>) -> Self {
        Self {
            load,
            ..Self::default()
        }
    }

    /// Decides about a newcomer, when so many wait already.
    pub(super) fn judge(&self, address: IpAddr, is_proven: bool, waiting: usize) -> Verdict {
        let handshakes = self.handshakes + waiting;
        let of_address = self.addresses.get(&neighbourhood(address));
        let is_crowded = !address.is_loopback()
            && of_address.is_some_and(|&count| count >= CONNECTIONS_PER_ADDRESS_MAX);
        if handshakes >= HANDSHAKES_UNPROVEN_MAX && !is_proven {
            Verdict::Prove
        } else if is_crowded || handshakes >= HANDSHAKES_MAX || self.load() >= CONNECTIONS_MAX {
            Verdict::Refuse
        } else {
            Verdict::Accept
        }
    }

    /// A handshake begins.
    pub(super) fn enter(&mut self, address: IpAddr) {
        self.handshakes += 1;
        self.load.fetch_add(1, Ordering::AcqRel);
        *self.addresses.entry(neighbourhood(address)).or_default() += 1;
    }

    /// A handshake has come to an end, good or bad.
    pub(super) fn settle(&mut self) {
        self.handshakes -= 1;
    }

    /// A connection is over.
    pub(super) fn leave(&mut self, address: IpAddr) {
        self.load.fetch_sub(1, Ordering::AcqRel);
        let neighbourhood = neighbourhood(address);
        if let Some(count) = self.addresses.get_mut(&neighbourhood) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&neighbourhood);
            }
        }
    }

    /// Connections at the moment.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Acquire)
    }
}

/// What one household has of addresses.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::from(u64::MAX) << 64);
            Ipv6Addr::from(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn under_load_addresses_are_proven_and_then_refused() {
        let mut admission = Admission::default();
        for _ in 0..HANDSHAKES_UNPROVEN_MAX {
            assert_eq!(admission.judge(STRANGER, false, 0), Verdict::Accept);
            admission.enter(STRANGER);
        }
        assert_eq!(admission.judge(STRANGER, false, 0), Verdict::Prove);
        while admission.judge(STRANGER, true, 0) == Verdict::Accept {
            admission.enter(STRANGER);
        }
        assert_eq!(admission.handshakes, HANDSHAKES_MAX);
        admission.settle();
        assert_eq!(admission.judge(STRANGER, true, 0), Verdict::Accept);
        assert_eq!(admission.judge(STRANGER, true, 1), Verdict::Refuse);
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let mut admission = Admission::default();
        let near = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, last));
        for n in 0..CONNECTIONS_PER_ADDRESS_MAX {
            admission.enter(near(n as u16));
            admission.settle();
        }
        assert_eq!(admission.judge(near(9), true, 0), Verdict::Refuse);
        assert_eq!(admission.judge(STRANGER, true, 0), Verdict::Accept);
        admission.leave(near(3));
        assert_eq!(admission.judge(near(9), true, 0), Verdict::Accept);
        while admission.load() > 0 {
            admission.leave(near(0));
        }
        assert!(
            admission.addresses.is_empty(),
            "nothing is kept of those who left"
        );
    }
}
