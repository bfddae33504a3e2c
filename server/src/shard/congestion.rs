//! Congestion control of a shard's connections: Cubic, until a connection is closed.
//!
//! It also tells how full the way is. The library puts datagrams before stream data, and where a way takes less than there
//! is, cursors would go before what is drawn: so they are left out while half of what may be on its way is.
//!
//! A packet that closes a connection is not subject to congestion control (RFC 9002, section 7), but while stream data
//! waits the library holds it back like any other. So a peer that acknowledges nothing would never learn why it was let
//! go; here the way is opened for that one packet. Nothing here knows when connections are closed.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::{Connection, RttEstimator};

/// Makes a controller for each connection.
pub(super) struct Congestion(Arc<CubicConfig>);

impl Congestion {
    /// With so many bytes on their way at first.
    pub(super) fn with_initial_window(bytes: u64) -> Self {
        let mut cubic = CubicConfig::default();
        cubic.initial_window(bytes);
        Self(Arc::new(cubic))
    }
}

impl ControllerFactory for Congestion {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(UntilClosed {
            cubic: self.0.clone().build(now, current_mtu),
            in_flight: 0,
            way: Arc::default(),
        })
    }
}

/// The way to a connection's peer, shared with its controller and all copies of that: the library lends its own only for reading.
#[derive(Debug, Default)]
pub(super) struct Way {
    is_closed: AtomicBool,
    is_half_full: AtomicBool,
}

impl Way {
    /// That of a connection. Another one's when its peer comes by another address.
    pub(super) fn of(quic: &Connection) -> Arc<Self> {
        let copy = quic.congestion_state().clone_box().into_any();
        copy.downcast::<UntilClosed>()
            .map(|own| own.way)
            .unwrap_or_default()
    }

    /// The packet that closes this connection is to go out whatever is on its way. To be called when the connection has been
    /// closed, after which the library sends nothing else.
    pub(super) fn let_close_pass(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Half of what may be on its way is, or more: what waits next is to be what must arrive.
    pub(super) fn is_half_full(&self) -> bool {
        self.is_half_full.load(Ordering::Relaxed)
    }
}

struct UntilClosed {
    cubic: Box<dyn Controller>,
    /// Bytes on their way: what the library said last, and what was sent since, with acknowledgements, which it does not count.
    in_flight: u64,
    way: Arc<Way>,
}

impl UntilClosed {
    fn note(&mut self, in_flight: u64) {
        self.in_flight = in_flight;
        let is_half_full = in_flight * 2 >= self.cubic.window();
        self.way.is_half_full.store(is_half_full, Ordering::Relaxed);
    }
}

impl Controller for UntilClosed {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
        self.note(self.in_flight + bytes);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.cubic
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        self.note(in_flight);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.cubic
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        self.note(self.in_flight.saturating_sub(lost_bytes));
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.way.is_closed.load(Ordering::Relaxed) {
            // So large that nothing is spread out either.
            u64::MAX
        } else {
            self.cubic.window()
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.cubic.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            cubic: self.cubic.clone_box(),
            in_flight: self.in_flight,
            way: self.way.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET_BYTES: u64 = 1200;

    /// A controller that lets ten packets on their way, and what it tells of that.
    fn made(now: Instant) -> (Box<dyn Controller>, Arc<Way>) {
        let factory = Arc::new(Congestion::with_initial_window(10 * PACKET_BYTES));
        let controller = factory.build(now, PACKET_BYTES as u16);
        let own = controller.clone_box().into_any().downcast::<UntilClosed>();
        let way = own.expect("it makes no others").way;
        (controller, way)
    }

    #[test]
    fn a_way_is_half_full_until_what_is_on_it_has_arrived_or_is_lost() {
        let now = Instant::now();
        let (mut controller, way) = made(now);
        let send = |controller: &mut Box<dyn Controller>, packets: u64| {
            for _ in 0..packets {
                controller.on_sent(now, PACKET_BYTES, 0);
            }
        };
        send(&mut controller, 4);
        assert!(!way.is_half_full());
        send(&mut controller, 1);
        assert!(way.is_half_full(), "5 of 10");
        controller.on_end_acks(now, 4 * PACKET_BYTES, false, None);
        assert!(!way.is_half_full(), "one has arrived");
        send(&mut controller, 4);
        assert!(way.is_half_full(), "8 of 10");
        controller.on_congestion_event(now, now, false, 4 * PACKET_BYTES);
        assert!(way.is_half_full(), "4 of the 7 that a loss leaves");
        controller.on_end_acks(now, 2 * PACKET_BYTES, false, None);
        assert!(!way.is_half_full());
    }

    #[test]
    fn once_closed_a_way_takes_anything() {
        let (controller, way) = made(Instant::now());
        assert_eq!(controller.window(), 10 * PACKET_BYTES);
        way.let_close_pass();
        assert_eq!(controller.window(), u64::MAX);
    }
}
