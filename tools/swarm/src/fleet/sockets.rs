//! The UDP sockets of a fleet: each for some clients, never waited for.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use bytes::BytesMut;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};

/// Bytes that the system is asked to keep for a socket; it gives what it allows.
const SYSTEM_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that a batch's place has: the largest that the system hands over in one piece.
const PLACE_BYTES: usize = 64 * 1024;

/// A socket that is asked now and then.
#[derive(Debug)]
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
}

/// Where what comes in is put, for all sockets of a thread; by default there is no place.
#[derive(Debug, Default)]
pub(super) struct Places {
    batch: Vec<u8>,
    /// Packets are cut off a piece of memory that they share, rather than asking for some for each.
    packets: BytesMut,
}

/// A packet that came in.
pub(super) struct Packet {
    pub(super) from: SocketAddr,
    pub(super) to: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: BytesMut,
}

impl Places {
    /// For a batch.
    pub(super) fn for_batch() -> Self {
        Self {
            batch: vec![0; PLACE_BYTES * BATCH_SIZE],
            packets: BytesMut::new(),
        }
    }
}

impl Socket {
    /// On any port, for a server at this address.
    pub(super) fn bind(server: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = if server.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let io = UdpSocket::bind((any, 0))?;
        let state = UdpSocketState::new((&io).into())?;
        // Smaller ones work as well.
        let _ = state.set_recv_buffer_size((&io).into(), SYSTEM_BUFFER_BYTES);
        let _ = state.set_send_buffer_size((&io).into(), SYSTEM_BUFFER_BYTES);
        Ok(Self { io, state })
    }

    /// Takes a batch in; `false` when nothing more has come.
    pub(super) fn receive(
        &self,
        places: &mut Places,
        mut take: impl FnMut(Packet),
    ) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let Places { batch, packets } = places;
        let mut batch = batch.chunks_mut(PLACE_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(batch.next().unwrap_or_default()));
        let count = match self.state.recv((&self.io).into(), &mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // A server that is gone shows by its silence.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
            Err(error) => return Err(error),
        };
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            for bytes in slice[..meta.len].chunks(meta.stride.max(1)) {
                if packets.capacity() < bytes.len() {
                    *packets = BytesMut::with_capacity(PLACE_BYTES);
                }
                packets.extend_from_slice(bytes);
                take(Packet {
                    from: meta.addr,
                    to: meta.dst_ip,
                    ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                    bytes: packets.split(),
                });
            }
        }
        Ok(count == BATCH_SIZE)
    }

    /// Sends. What there is no room for is lost, as on any network.
    pub(super) fn send(&self, transmit: &Transmit, bytes: &[u8]) {
        let packet = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &bytes[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        let _ = self.state.send((&self.io).into(), &packet);
    }
}
