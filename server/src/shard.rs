//! A shard: a UDP port and a thread of its own, and the WebTransport sessions that arrive there.
//!
//! One loop ([`driver`]) drives all of its connections: the QUIC state machines, WebTransport on them, and what rooms have
//! for their sessions. Sessions of different shards share nothing but the queues to the rooms. Whoever connects is a
//! stranger until the handshake is done: how many may be under way, how long one may take, how much it may send and
//! how much of the shard's time all of them take are bounded ([`admission`], [`newcomers`], [`quic`]).

mod admission;
mod beats;
mod bundle;
mod congestion;
mod connection;
mod deadlines;
mod driver;
mod foresight;
mod losses;
mod mailbox;
mod newcomers;
mod outgoing;
mod put_off;
mod quic;
mod rhythm;
mod socket;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use admission::Admission;
pub(crate) use beats::NextStep;
use connection::Context;
pub(crate) use connection::SESSION_PATH;
use driver::Driver;
pub(crate) use mailbox::{Addressees, ConnectionKey, Delivery, Parcel, ShardHandle};
use socket::Socket;

use crate::reset_key::ResetKey;
use crate::session::Reception;
use crate::tls::{Certificates, TlsError};

/// A running shard.
#[derive(Debug)]
pub(crate) struct Shard {
    address: SocketAddr,
    load: Arc<AtomicUsize>,
    handle: ShardHandle,
    thread: Option<JoinHandle<()>>,
}

/// Where a shard is and how many sessions it has, for handing it out.
#[derive(Debug, Clone)]
pub(crate) struct ShardAddress {
    pub(crate) port: u16,
    load: Arc<AtomicUsize>,
}

impl ShardAddress {
    /// Connections at the moment.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// One that nobody listens at.
    #[cfg(test)]
    pub(crate) fn at(port: u16) -> Self {
        Self {
            port,
            load: Arc::default(),
        }
    }
}

/// A shard could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShardError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the certificate's cipher suites do not suit QUIC")]
    NoSuite,
}

impl Shard {
    /// Starts a shard on a bound socket; joins are waited for on `runtime`.
    pub(crate) fn start(
        number: u16,
        socket: UdpSocket,
        certificates: &Certificates,
        reset_key: &ResetKey,
        reception: Arc<Reception>,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, ShardError> {
        let address = socket.local_addr()?;
        let config = quic::server_config(certificates)?;
        let load = Arc::new(AtomicUsize::new(0));
        let poll = mio::Poll::new()?;
        let bell = mio::Waker::new(poll.registry(), driver::BELL)?;
        let (handle, mailbox) = ShardHandle::new(bell);
        let socket = Socket::new(socket)?;
        let endpoint = driver::endpoint(&socket, reset_key.endpoint_config(), config);
        let context = Context {
            reception,
            shard: handle.clone(),
            runtime,
        };
        let admission = Admission::new(load.clone());
        let driver = Driver::new(poll, socket, endpoint, mailbox, context, admission)?;
        let thread = std::thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(move || driver.run())?;
        Ok(Self {
            address,
            load,
            handle,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// For handing it out.
    pub(crate) fn share(&self) -> ShardAddress {
        ShardAddress {
            port: self.address.port(),
            load: self.load.clone(),
        }
    }

    /// Asks it to take no more, and to end when its sessions have.
    pub(crate) fn ask_to_stop(&mut self) {
        self.handle.stop();
    }

    /// Waits until it has ended.
    pub(crate) fn join(mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a shard's thread died");
        }
    }
}
