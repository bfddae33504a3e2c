//! Congestion control of a shard's connections: Cubic, until a connection is closed.
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
            is_closed: Arc::default(),
        })
    }
}

/// The packet that closes this connection is to go out whatever is on its way. To be called when the connection has been
/// closed, after which the library sends nothing else.
pub(super) fn let_close_pass(quic: &Connection) {
    let copy = quic.congestion_state().clone_box().into_any();
    if let Ok(own) = copy.downcast::<UntilClosed>() {
        own.is_closed.store(true, Ordering::Relaxed);
    }
}

struct UntilClosed {
    cubic: Box<dyn Controller>,
    /// Shared with all copies: the library lends its own only for reading.
    is_closed: Arc<AtomicBool>,
}

impl Controller for UntilClosed {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
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
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.is_closed.load(Ordering::Relaxed) {
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
            is_closed: self.is_closed.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
