//! What all who have the same in view get in a tick: put together once, for the first of them who is sent it.

use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};
use chalkboard_shared::wire::frame;
use web_transport_proto::VarInt;

use super::mailbox::Parcel;

/// What several connections get.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    /// Frames that must arrive, each with its head.
    pub(super) piece: Bytes,
    /// Frames that may be lost.
    pub(super) fragments: Vec<Bytes>,
    /// Those in datagrams of the form that was asked for first.
    packed: OnceLock<(Form, Vec<Bytes>)>,
}

/// What datagrams of a connection look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// What stands before their content: which of the connection's WebTransport sessions they are of.
    pub(super) session: VarInt,
    /// Bytes that fit one, its head included.
    pub(super) size_max: usize,
}

impl Bundle {
    /// Of a shard's parcels for the same connections.
    pub(super) fn of<'a>(parcels: impl Iterator<Item = &'a Parcel>) -> Self {
        let mut piece = BytesMut::new();
        let mut fragments = Vec::new();
        for parcel in parcels {
            if parcel.reliable {
                piece.reserve(frame::HEAD_BYTES + parcel.frame.len());
                piece.put_slice(&frame::head(&parcel.frame));
                piece.put_slice(&parcel.frame);
            } else {
                fragments.push(parcel.frame.clone());
            }
        }
        Self {
            piece: piece.freeze(),
            fragments,
            packed: OnceLock::new(),
        }
    }

    /// The frames that may be lost in datagrams of this form; `None` if they were packed in another one, which few
    /// connections have: all but the first one's are then packed for each anew.
    pub(super) fn datagrams(&self, form: Form) -> Option<&[Bytes]> {
        let (packed_form, datagrams) = self.packed.get_or_init(|| (form, self.pack(form)));
        (*packed_form == form).then_some(datagrams)
    }

    fn pack(&self, form: Form) -> Vec<Bytes> {
        let mut full = Vec::new();
        let mut datagram = BytesMut::new();
        for fragment in &self.fragments {
            full.extend(form.add(fragment, &mut datagram));
        }
        if !datagram.is_empty() {
            full.push(datagram.freeze());
        }
        full
    }
}

impl Form {
    /// Adds a frame to a datagram that is being put together. Where it does not fit, that one comes back, and the frame is
    /// the first of the next.
    pub(super) fn add(self, fragment: &[u8], datagram: &mut BytesMut) -> Option<Bytes> {
        let is_full = datagram.len() + frame::packed_bytes(fragment) > self.size_max;
        let full = (is_full && !datagram.is_empty()).then(|| std::mem::take(datagram).freeze());
        if datagram.is_empty() {
            datagram.reserve(self.size_max);
            self.session.encode(datagram);
        }
        frame::pack(fragment, datagram);
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(session: u32, size_max: usize) -> Form {
        Form {
            session: VarInt::from_u32(session),
            size_max,
        }
    }

    fn bundle(sizes: &[usize]) -> Bundle {
        let fragment = |(n, size): (usize, &usize)| Bytes::from(vec![n as u8; *size]);
        Bundle {
            fragments: sizes.iter().enumerate().map(fragment).collect(),
            ..Bundle::default()
        }
    }

    #[test]
    fn all_with_the_same_form_share_what_is_packed_once() {
        let bundle = bundle(&[30, 40, 50]);
        let first = bundle.datagrams(form(0, 100)).expect("the first one's");
        assert_eq!(first.len(), 2, "73 and 52 bytes");
        assert_eq!(first[0].len(), 1 + 31 + 41);
        assert_eq!(first[1].len(), 1 + 51);
        let again = bundle.datagrams(form(0, 100)).expect("the same");
        assert_eq!(again[0].as_ptr(), first[0].as_ptr(), "not a copy");
        assert_eq!(bundle.datagrams(form(1, 100)), None, "another session");
        assert_eq!(bundle.datagrams(form(0, 101)), None, "another size");
    }

    #[test]
    fn a_frame_that_fits_no_datagram_has_one_of_its_own() {
        let bundle = bundle(&[10, 200, 10]);
        let datagrams = bundle.datagrams(form(0, 100)).expect("the first one's");
        let sizes: Vec<_> = datagrams.iter().map(Bytes::len).collect();
        assert_eq!(
            sizes,
            [12, 203, 12],
            "QUIC refuses that one and takes the others"
        );
    }
}
