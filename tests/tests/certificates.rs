//! An operator's own certificate: everything speaks TLS 1.3 with it, and a new one is taken up without a restart.

use std::path::Path;
use std::sync::Arc;

use chalkboard_client::native::{Link, Trust};
use chalkboard_shared::BoardRect;
use chalkboard_shared::wire::{ClientMessage, Hello, Profile, ServerMessage};
use chalkboard_tests::server_process::http::{self, Answer, Request};
use chalkboard_tests::server_process::{ServerOptions, ServerProcess, session_addresses};
use chalkboard_tests::waiting::{wait_until, within};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An authority, and a certificate of it for this machine, in files as operators have them.
struct Certified {
    root: CertificateDer<'static>,
    chain: String,
    key: String,
}

fn certify() -> Certified {
    let root_key = KeyPair::generate().expect("a key");
    let mut root = CertificateParams::new(Vec::new()).expect("parameters");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).expect("a certificate");
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).expect("parameters");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    Certified {
        root: root_certificate.der().clone(),
        chain: leaf.pem(),
        key: key.serialize_pem(),
    }
}

/// Asks for something over HTTPS; `None` where the certificate is not of this authority.
async fn get(port: u16, path: &str, root: &CertificateDer<'static>) -> Option<Answer> {
    request("GET", port, path, root).await
}

async fn request(
    method: &str,
    port: u16,
    path: &str,
    root: &CertificateDer<'static>,
) -> Option<Answer> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = within("a handshake", connector.connect(name, stream))
        .await
        .ok()?;
    let host = format!("localhost:{port}");
    let request = Request {
        method,
        path,
        host: &host,
        fields: &[],
        body: "",
    };
    Some(
        within("an answer", http::exchange(stream, &request))
            .await
            .expect("an answer"),
    )
}

/// A first message of TLS that knows nothing newer than version 1.2: no `supported_versions`.
fn old_client_hello() -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // groups: P-256
        0, 11, 0, 2, 1, 0, // point formats: uncompressed
        0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4,
        1, // signatures: ECDSA, RSA-PSS and RSA with SHA-256
    ];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM
    body.extend([1, 0]);
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);
    let mut message = vec![
        22,
        3,
        1,
        0,
        (body.len() + 4) as u8,
        1,
        0,
        0,
        body.len() as u8,
    ];
    message.extend(body);
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_everything_is_tls_and_a_new_one_is_taken_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (chain, key) = (
        folder.path().join("chain.pem"),
        folder.path().join("key.pem"),
    );
    let write = |certified: &Certified| {
        std::fs::write(&key, &certified.key).expect("a file");
        std::fs::write(&chain, &certified.chain).expect("a file");
    };
    let first = certify();
    write(&first);
    let arguments: [&Path; 4] = ["--tls-cert".as_ref(), &chain, "--tls-key".as_ref(), &key];
    let server = ServerProcess::start_with(ServerOptions {
        arguments: arguments.map(Into::into).to_vec(),
        ..ServerOptions::default()
    })
    .await;
    let port = server.port();
    assert_eq!(server.url(), format!("https://localhost:{port}"));
    let page = get(port, "/", &first.root)
        .await
        .expect("the page over TLS");
    assert_eq!(page.status, 200);

    let path = "/api/v1/boards/AAAAAAAAAAAAAAAAAAAAAA/connect";
    let addresses = get(port, path, &first.root).await.expect("an answer");
    let (web_transport, hashes) = session_addresses(&addresses.json()).expect("addresses");
    assert_eq!(
        hashes,
        Vec::<String>::new(),
        "browsers look at the certificate itself"
    );
    assert!(
        web_transport.starts_with("https://localhost:"),
        "{web_transport}"
    );
    let web_socket = format!("wss://localhost:{port}/api/v1/session");
    let trust = |root: &CertificateDer<'static>| Trust::Roots(vec![root.clone()]);
    let made = request("POST", port, "/api/v1/boards", &first.root)
        .await
        .expect("an answer")
        .json();
    let hello = |number| Hello {
        board: made["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("a board"),
        secret: made["view_secret"]
            .as_str()
            .and_then(|secret| secret.parse().ok())
            .expect("a secret"),
        key: [number; 16],
        profile: Profile::default(),
        view: BoardRect::EVERYTHING,
        resume: None,
    };
    let mut links = [
        Link::web_transport(&web_transport, None, &trust(&first.root))
            .await
            .expect("WebTransport"),
        Link::web_socket(&web_socket, None, &trust(&first.root))
            .await
            .expect("a WebSocket"),
    ];
    for (number, link) in (1..).zip(&mut links) {
        let hello = ClientMessage::Hello(Box::new(hello(number)));
        link.send(hello.encode()).await.expect("it goes out");
        let frame = within("an answer", link.recv()).await.expect("an answer");
        assert!(matches!(
            ServerMessage::decode(frame),
            Ok(ServerMessage::Welcome(_))
        ));
    }

    let mut plain = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("it goes out");
    let mut answer = Vec::new();
    let _ = within("the end of plain HTTP", plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "no page without TLS");

    let mut old = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    old.write_all(&old_client_hello())
        .await
        .expect("it goes out");
    let mut answer = Vec::new();
    let _ = within("the end of old TLS", old.read_to_end(&mut answer)).await;
    // A fatal alert (2) of protocol_version (70).
    assert_eq!(answer.get(5..7), Some(&[2, 70][..]), "{answer:?}");
    assert_eq!(answer.first(), Some(&21), "{answer:?}");

    let second = certify();
    write(&second);
    wait_until("the new certificate", async || {
        get(port, "/healthz", &second.root).await
    })
    .await;
    assert!(
        get(port, "/healthz", &first.root).await.is_none(),
        "the old one is gone"
    );
    assert!(
        Link::web_transport(&web_transport, None, &trust(&second.root))
            .await
            .is_ok()
    );
    assert!(
        Link::web_transport(&web_transport, None, &trust(&first.root))
            .await
            .is_err()
    );
    for link in &mut links {
        // Those who were there have noticed nothing.
        link.send(ClientMessage::Ping(5).encode())
            .await
            .expect("the link is there");
        loop {
            let frame = within("an answer", link.recv()).await.expect("an answer");
            if ServerMessage::decode(frame) == Ok(ServerMessage::Pong(5)) {
                break;
            }
        }
    }
}
