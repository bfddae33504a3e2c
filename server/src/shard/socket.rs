//! The UDP socket of a shard: takes packets in by the batch, and sends those of one peer together.
//!
//! It never blocks. A packet that the system has no room for is kept, and nothing else is sent before it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use bytes::BytesMut;
use mio::net::UdpSocket;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};

/// Bytes that a batch's place has: the largest that the system hands over in one piece.
const PLACE_BYTES: usize = 64 * 1024;
/// Bytes that the system is asked to keep for us each way: a tick of a full room. It gives what it allows.
const SYSTEM_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Packets of one peer that are sent in one call.
const SEGMENTS_MAX: usize = 10;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    places: Vec<u8>,
    kept: Option<(Transmit, Vec<u8>)>,
    /// Where packets come from need be said only on a socket that listens at several addresses.
    is_one_address: bool,
}

/// A packet that came in.
pub(super) struct Packet {
    pub(super) from: SocketAddr,
    pub(super) to: Option<std::net::IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: BytesMut,
}

impl Socket {
    /// Takes over a bound socket.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        // Smaller ones work as well.
        let _ = state.set_recv_buffer_size((&socket).into(), SYSTEM_BUFFER_BYTES);
        let _ = state.set_send_buffer_size((&socket).into(), SYSTEM_BUFFER_BYTES);
        Ok(Self {
            is_one_address: !socket.local_addr()?.ip().is_unspecified(),
            io: UdpSocket::from_std(socket),
            state,
            places: vec![0; PLACE_BYTES * BATCH_SIZE],
            kept: None,
        })
    }

    /// For the poll.
    pub(super) fn source(&mut self) -> &mut UdpSocket {
        &mut self.io
    }

    /// Packets may be fragmented on their way, so nothing can be found out about the path's size.
    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// How many packets may be sent to a peer in one call.
    pub(super) fn segments_max(&self) -> usize {
        self.state.max_gso_segments().min(SEGMENTS_MAX)
    }

    /// Takes a batch in; `false` when nothing more has come. What comes later is told by the poll.
    pub(super) fn receive(&mut self, mut take: impl FnMut(Packet)) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut places = self.places.chunks_mut(PLACE_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(places.next().unwrap_or_default()));
        let (io, state) = (&self.io, &self.state);
        let received = io.try_io(|| state.recv(io.into(), &mut slices, &mut metas));
        let count = match received {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // Somebody on the way says that a port is closed; anybody can, so it means nothing.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
            Err(error) => return Err(error),
        };
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            // Several packets of one peer may have come in one piece.
            for bytes in slice[..meta.len].chunks(meta.stride.max(1)) {
                take(Packet {
                    from: meta.addr,
                    to: meta.dst_ip,
                    ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                    bytes: bytes.into(),
                });
            }
        }
        // The system hands over fewer than asked for only when there are no more.
        Ok(count == BATCH_SIZE)
    }

    /// Sends what was kept, if anything was; `false` when there still is no room for it.
    pub(super) fn send_kept(&mut self) -> bool {
        let Some((transmit, bytes)) = self.kept.take() else {
            return true;
        };
        self.send(&transmit, &bytes)
    }

    /// Sends; `false` when there is no room, and nothing more is to be sent until there is.
    pub(super) fn send(&mut self, transmit: &Transmit, bytes: &[u8]) -> bool {
        if self.kept.is_some() {
            // An answer to a stranger while nothing goes out is lost.
            return false;
        }
        let packet = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &bytes[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip.filter(|_| !self.is_one_address),
        };
        let (io, state) = (&self.io, &self.state);
        // Other errors than "no room" are as good as a loss, and logged by the library.
        match io.try_io(|| state.send(io.into(), &packet)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.kept = Some((copy_of(transmit), bytes[..transmit.size].to_vec()));
                false
            }
            Ok(()) | Err(_) => true,
        }
    }
}

fn copy_of(transmit: &Transmit) -> Transmit {
    Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn,
        size: transmit.size,
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}
