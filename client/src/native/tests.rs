//! Real sockets on loopback, with the small room of this crate's tests behind them.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chalkboard_shared::limits::CLIENT_FRAME_BYTES_MAX;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::wire::frame::{self, FrameDecoder};
use chalkboard_shared::wire::{ClientMessage, ServerMessage};
use chalkboard_shared::{InkPoint, SessionId, StrokeId, StrokeStyle};
use futures::{SinkExt, StreamExt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::Digest;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;
use crate::bridge::{SaveState, TransportKind};
use crate::client::fake_room::{FakeRoom, options};

const PATIENCE: Duration = Duration::from_secs(20);

/// A room behind sockets: every frame is a tick, and what waits for others is looked at every few milliseconds.
#[derive(Clone, Default)]
struct Host {
    room: Arc<Mutex<FakeRoom>>,
    /// Close every session with this, at its first frame.
    refuse: Option<DisconnectReason>,
}

impl Host {
    fn room<R>(&self, act: impl FnOnce(&mut FakeRoom) -> R) -> R {
        act(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_in(&self, session: &mut Option<SessionId>, frame: Bytes) {
        self.room(|room| {
            match (*session, ClientMessage::decode(frame.clone())) {
                (None, Ok(ClientMessage::Hello(hello))) => *session = Some(room.join(&hello)),
                (Some(session), _) => room.receive(session, frame),
                (None, _) => panic!("the first message is a hello"),
            }
            room.step(256);
            room.sync();
        });
    }

    fn give_out(&self, session: Option<SessionId>) -> Vec<Bytes> {
        session.map_or_else(Vec::new, |session| self.room(|room| room.take(session)))
    }

    fn leave(&self, session: Option<SessionId>) {
        if let Some(session) = session {
            self.room(|room| room.leave(session));
        }
    }

    async fn web_socket(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}/session", listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(self.clone().serve_web_socket(tcp));
            }
        });
        url
    }

    async fn serve_web_socket(self, tcp: tokio::net::TcpStream) {
        let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else {
            return;
        };
        let mut session = None;
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(_))) if self.refuse.is_some() => {
                        let code = self.refuse.map_or(0, DisconnectReason::code);
                        let reason = "refused".into();
                        let close = CloseFrame { code: (4000 + code as u16).into(), reason };
                        let _ = socket.close(Some(close)).await;
                    }
                    Some(Ok(Message::Binary(frame))) => self.take_in(&mut session, frame),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                },
                _ = ticks.tick() => {}
            }
            for frame in self.give_out(session) {
                if socket.send(Message::Binary(frame)).await.is_err() {
                    break;
                }
            }
        }
        self.leave(session);
    }

    async fn web_transport(self) -> (String, Trust) {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
        let certificate = CertificateDer::from(key.cert.der().to_vec());
        let hash = sha2::Sha256::digest(&certificate).into();
        let private = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private)
        .expect("a pair");
        tls.alpn_protocols = vec![web_transport_quinn::ALPN.as_bytes().to_vec()];
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("QUIC");
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let local = "127.0.0.1:0".parse().expect("an address");
        let endpoint = quinn::Endpoint::server(config, local).expect("a port");
        let url = format!("https://{}/session", endpoint.local_addr().expect("bound"));
        let mut server = web_transport_quinn::Server::new(endpoint);
        tokio::spawn(async move {
            while let Some(request) = server.accept().await {
                if let Ok(session) = request.ok().await {
                    tokio::spawn(self.clone().serve_web_transport(session));
                }
            }
        });
        (url, Trust::Hashes(vec![hash]))
    }

    async fn serve_web_transport(self, link: web_transport_quinn::Session) {
        let Ok((mut send, mut recv)) = link.accept_bi().await else {
            return;
        };
        let mut session = None;
        let mut decoder = FrameDecoder::new(CLIENT_FRAME_BYTES_MAX);
        let mut buffer = vec![0; 4096];
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        'link: loop {
            tokio::select! {
                read = recv.read(&mut buffer) => {
                    let Ok(Some(count)) = read else { break };
                    decoder.feed(&buffer[..count]);
                }
                datagram = link.read_datagram() => {
                    let Ok(datagram) = datagram else { break };
                    self.take_in(&mut session, datagram);
                }
                _ = ticks.tick() => {}
            }
            loop {
                match decoder.next_frame() {
                    Ok(Some(_)) if self.refuse.is_some() => {
                        link.close(self.refuse.map_or(0, DisconnectReason::code), b"refused");
                        link.closed().await;
                        break 'link;
                    }
                    Ok(Some(frame)) => self.take_in(&mut session, frame),
                    Ok(None) => break,
                    Err(_) => {
                        link.close(DisconnectReason::TooLarge.code(), b"too large");
                        link.closed().await;
                        break 'link;
                    }
                }
            }
            for frame in self.give_out(session) {
                let head = frame::head(&frame);
                if send.write_all(&head).await.is_err() || send.write_all(&frame).await.is_err() {
                    break 'link;
                }
            }
        }
        self.leave(session);
    }
}

fn client(n: u8) -> ClientOptions {
    options(n, chalkboard_shared::Secret([1; 16]))
}

async fn draw(client: &NativeClient, y: i32) -> StrokeId {
    let style = StrokeStyle {
        nib: Nib::Pen,
        color: 0,
        width: 32,
    };
    client
        .with(move |client, _| {
            let points: Vec<_> = (0..50).map(|n| InkPoint::new(n * 16, y, 128)).collect();
            let stroke = client.begin_stroke(style, &points);
            client.finish_stroke(stroke);
            stroke
        })
        .await
        .expect("runs")
}

async fn see(client: &NativeClient, stroke: StrokeId) {
    let is_there = move |c: &Client| {
        c.board()
            .get(stroke)
            .is_some_and(chalkboard_shared::Stroke::is_finished)
    };
    client.wait_for(PATIENCE, is_there).await.expect("seen");
}

async fn load(client: &NativeClient) {
    client
        .wait_for(PATIENCE, Client::is_loaded)
        .await
        .expect("loaded");
}

/// Two clients draw for each other; one goes offline meanwhile and comes back.
async fn draw_together(host: &Host, endpoints: Endpoints, trust: Trust) {
    let one = connect(client(1), endpoints.clone(), trust.clone());
    let two = connect(client(2), endpoints, trust);
    load(&one).await;
    load(&two).await;
    let stroke = draw(&one, 100).await;
    see(&two, stroke).await;

    one.set_online(false).await.expect("runs");
    let offline = draw(&one, 200).await;
    let meanwhile = draw(&two, 300).await;
    one.set_online(true).await.expect("runs");
    see(&two, offline).await;
    see(&one, meanwhile).await;

    for each in [&one, &two] {
        let is_saved = |c: &Client| c.save_state() == SaveState::Saved;
        each.wait_for(PATIENCE, is_saved).await.expect("saved");
    }
    let expect = host.room(|room| room.digest());
    for each in [one, two] {
        let events = each.take_events().await.expect("runs");
        assert!(events.iter().any(|e| matches!(e, Event::Opened { .. })));
        let client = each.stop().await.expect("no panic");
        assert_eq!(client.digest(), expect);
        assert!(!client.is_open());
    }
}

#[tokio::test]
async fn people_draw_together_over_a_web_socket() {
    let host = Host::default();
    let endpoints = Endpoints {
        web_socket: Some(host.clone().web_socket().await),
        ..Endpoints::default()
    };
    draw_together(&host, endpoints, Trust::System).await;
}

#[tokio::test]
async fn people_draw_together_over_web_transport() {
    let host = Host::default();
    let (url, trust) = host.clone().web_transport().await;
    let endpoints = Endpoints {
        web_transport: Some(url),
        ..Endpoints::default()
    };
    draw_together(&host, endpoints, trust).await;
}

#[tokio::test]
async fn the_web_socket_takes_over_where_web_transport_fails() {
    let host = Host::default();
    let (url, _) = host.clone().web_transport().await;
    let endpoints = Endpoints {
        web_transport: Some(url),
        web_socket: Some(host.clone().web_socket().await),
        origin: None,
    };
    // A hash that is nobody's: the certificate is not believed.
    let one = connect(client(1), endpoints, Trust::Hashes(vec![[7; 32]]));
    load(&one).await;
    let stroke = draw(&one, 10).await;
    see(&one, stroke).await;
}

#[tokio::test]
async fn a_close_for_good_is_told_and_ends_the_attempts() {
    let host = Host {
        refuse: Some(DisconnectReason::NoAccess),
        ..Host::default()
    };
    let (web_transport, trust) = host.clone().web_transport().await;
    let web_socket = host.clone().web_socket().await;
    let by_socket = Endpoints {
        web_socket: Some(web_socket),
        ..Endpoints::default()
    };
    let by_transport = Endpoints {
        web_transport: Some(web_transport),
        ..Endpoints::default()
    };
    for endpoints in [by_socket, by_transport] {
        let one = connect(client(1), endpoints, trust.clone());
        let never = one.wait_for(PATIENCE, |_| false).await;
        assert_eq!(never, Err(WaitError::Stopped));
        assert_eq!(one.closed().await, Ok(Some(DisconnectReason::NoAccess)));
        let events = one.take_events().await.expect("runs");
        assert_eq!(events, [Event::Closed(DisconnectReason::NoAccess)]);
    }
}

#[tokio::test]
async fn a_raw_link_sends_what_it_is_told_and_hears_why_it_was_closed() {
    let host = Host::default();
    let (url, trust) = host.clone().web_transport().await;
    let mut link = Link::web_transport(&url, Some("https://example.org"), &trust)
        .await
        .expect("connects");
    assert_eq!(link.kind(), TransportKind::WebTransport);
    let mut greeting = Client::new(client(1));
    greeting.connected(0.0);
    let hello = greeting.poll_transmit().expect("a hello").frame;
    link.send(hello).await.expect("sent");
    let welcome = link.recv().await.expect("an answer");
    assert!(matches!(
        ServerMessage::decode(welcome),
        Ok(ServerMessage::Welcome(_))
    ));
    let too_large = (CLIENT_FRAME_BYTES_MAX as u32 + 1).to_le_bytes();
    link.send_raw(Bytes::copy_from_slice(&too_large))
        .await
        .expect("sent");
    let error = loop {
        if let Err(error) = link.recv().await {
            break error;
        }
    };
    assert_eq!(error.reason(), Some(DisconnectReason::TooLarge), "{error}");
}

#[tokio::test]
async fn addresses_that_are_none_are_told_apart() {
    for url in ["", "nonsense", "https://"] {
        let failed = Link::web_transport(url, None, &Trust::Hashes(vec![])).await;
        assert!(matches!(failed, Err(LinkError::Address(_))), "{url}");
        let failed = Link::web_socket(url, None, &Trust::Hashes(vec![])).await;
        assert!(matches!(failed, Err(LinkError::Address(_))), "{url}");
    }
}

#[tokio::test]
async fn links_share_a_socket_and_each_counts_its_own() {
    let (url, trust) = Host::default().web_transport().await;
    let local = std::net::Ipv4Addr::LOCALHOST.into();
    let socket = SharedSocket::bind(local, &trust, 4096).expect("a socket");
    let mut links = Vec::new();
    for n in 1..=3 {
        let mut link = Link::web_transport_on(&socket, &url, None)
            .await
            .expect("it connects");
        let meter = link.meter().expect("WebTransport counts");
        let mut client = Client::new(options(n, chalkboard_shared::Secret([9; 16])));
        client.connected(0.0);
        let hello = client.poll_transmit().expect("a hello").frame;
        link.send(hello).await.expect("it is sent");
        links.push((link.split(), meter));
    }
    for ((_sender, receiver), meter) in &mut links {
        let came = tokio::time::timeout(PATIENCE, receiver.recv()).await;
        let came = came.expect("in time").expect("the welcome came");
        let bytes = came.len() as u64;
        assert!(bytes > 0);
        assert!(meter.received_bytes() > bytes, "and the handshake");
        assert!(meter.received_packets() > 1);
        assert!(!meter.is_closed());
    }
    let ((sender, _receiver), meter) = links.remove(0);
    sender.close(0, "").await;
    assert!(meter.is_closed());
    let others = links.iter().filter(|(_, meter)| !meter.is_closed());
    assert_eq!(others.count(), 2, "the others stay");
}
