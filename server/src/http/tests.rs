//! The router, asked without a socket.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode};
use chalkboard_shared::{BoardId, Secret};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::boards::{Boards, RoomIndex};
use crate::origin::{Origin, OriginPolicy};
use crate::session::Gauge;
use crate::storage::LogWriter;
use crate::storage::repo::Memory;

mod past_answers;

/// A server's inside without its listeners.
struct Inside {
    router: Router,
    boards: Arc<Boards>,
    log: Option<LogWriter>,
}

impl Inside {
    fn new() -> Self {
        let counters = Arc::new(Counters::default());
        let index = Arc::new(RoomIndex::default());
        let durable = index.clone();
        let log = LogWriter::start(
            Memory::new(),
            move |board, position| durable.durable(board, position),
            |_| {},
        )
        .expect("the log starts");
        let boards = Boards::start(index, log.handle(), counters.clone(), 1, 16_667)
            .map(Arc::new)
            .expect("the room thread starts");
        let reception = Arc::new(Reception {
            boards: boards.clone(),
            origins: OriginPolicy::new(
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                8080,
                false,
                Origin::parse_url("https://wiki.example"),
            ),
            counters: counters.clone(),
            connected: Gauge::default(),
        });
        let site = Site {
            reception,
            counters,
            certificates: Arc::new(Certificates::of_own_making(None).expect("a certificate")),
            shards: vec![ShardAddress::at(4433)],
            creations: AddressBuckets::new(2.0, 0.001, std::time::Instant::now()),
            pasts: Pasts::new(log.handle()),
            looks_back: past::looks_back(std::time::Instant::now()),
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            policy: page::content_security_policy(),
        };
        Self {
            router: router(Arc::new(site)),
            boards,
            log: Some(log),
        }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).expect("a request");
        request
            .extensions_mut()
            .insert(Peer(SocketAddr::from(([127, 0, 0, 1], 40_000))));
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("routers never fail");
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        Answer {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_slice(&body).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&body).into_owned(),
            bytes: body,
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.boards.stop();
        drop(self.log.take());
    }
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    json: Value,
    text: String,
    bytes: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    fn field(&self, pointer: &str) -> &str {
        self.json
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
    }
}

#[tokio::test]
async fn a_board_is_made_and_opened_by_its_secrets_alone() {
    let inside = Inside::new();
    let made = inside.ask(Method::POST, "/api/v1/boards", &[]).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    let id: BoardId = made.field("/id").parse().expect("an id");
    let edit: Secret = made.field("/edit_secret").parse().expect("a secret");
    let view: Secret = made.field("/view_secret").parse().expect("a secret");
    assert_eq!(view, crate::access::view_secret(edit));

    let path = format!("/api/v1/boards/{id}");
    for (secret, rights) in [(edit, "edit"), (view, "view")] {
        let bearer = format!("Bearer {secret}");
        let board = inside
            .ask(Method::GET, &path, &[("authorization", &bearer)])
            .await;
        assert_eq!(board.status, StatusCode::OK, "{}", board.text);
        assert_eq!(board.field("/rights"), rights);
        assert_eq!(board.field("/id"), id.to_string());
        for (number, expected) in [
            ("/position", 0),
            ("/durable", 0),
            ("/strokes", 0),
            ("/sessions", 0),
        ] {
            assert_eq!(
                board.json.pointer(number),
                Some(&Value::from(expected)),
                "{number}"
            );
        }
        assert_eq!(board.field("/digest").len(), 16);
    }

    let wrong = format!("Bearer {}", Secret([9; 16]));
    let unknown = format!("/api/v1/boards/{}", BoardId([9; 16]));
    let right = format!("Bearer {edit}");
    let wrong_secret = inside
        .ask(Method::GET, &path, &[("authorization", &wrong)])
        .await;
    let unknown_board = inside
        .ask(Method::GET, &unknown, &[("authorization", &right)])
        .await;
    let no_board = inside
        .ask(
            Method::GET,
            "/api/v1/boards/short",
            &[("authorization", &right)],
        )
        .await;
    for answer in [&wrong_secret, &unknown_board, &no_board] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.text, wrong_secret.text, "they can't be told apart");
    }
    let none = inside.ask(Method::GET, &path, &[]).await;
    assert_eq!(none.status, StatusCode::UNAUTHORIZED);
    assert!(none.field("/error/message").contains("Bearer"));
}

#[tokio::test]
async fn new_boards_are_limited_by_address() {
    let inside = Inside::new();
    for _ in 0..2 {
        let made = inside.ask(Method::POST, "/api/v1/boards", &[]).await;
        assert_eq!(made.status, StatusCode::CREATED);
    }
    let refused = inside.ask(Method::POST, "/api/v1/boards", &[]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.field("/error/code"), "too_many_boards");
    assert!(!refused.header("retry-after").is_empty());
}

#[tokio::test]
async fn pages_of_other_origins_make_no_boards() {
    let inside = Inside::new();
    let from = async |origin: &str| {
        inside
            .ask(Method::POST, "/api/v1/boards", &[("origin", origin)])
            .await
    };
    let refused = from("https://evil.example").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.field("/error/message").contains("--allow-origin"));
    assert_eq!(
        from("http://localhost:8080").await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        from("https://wiki.example").await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn connect_names_address_and_certificate() {
    let inside = Inside::new();
    let path = format!("/api/v1/boards/{}/connect", BoardId([3; 16]));
    let answer = inside.ask(Method::GET, &path, &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.field("/webtransport/url"),
        "https://127.0.0.1:4433/session"
    );
    assert_eq!(answer.field("/websocket"), "/api/v1/session");
    assert_eq!(answer.field("/webtransport/certificate_hashes/0").len(), 44);
    let bad = inside
        .ask(Method::GET, "/api/v1/boards/x/connect", &[])
        .await;
    assert_eq!(bad.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_page_is_served_for_every_board() {
    let inside = Inside::new();
    for path in ["/", "/b/AAAAAAAAAAAAAAAAAAAAAA"] {
        let page = inside.ask(Method::GET, path, &[]).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.header("content-type").starts_with("text/html"));
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert!(
            page.header("content-security-policy")
                .contains("default-src 'self'")
        );
        if crate::assets::is_built() {
            let etag = page.header("etag").to_owned();
            let again = inside
                .ask(Method::GET, path, &[("if-none-match", &etag)])
                .await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED);
            assert_eq!(again.text, "");
        } else {
            assert!(page.text.contains("cargo xtask run"));
        }
    }
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let inside = Inside::new();
    for (path, json) in [
        ("/nothing", false),
        ("/assets/nothing.js", true),
        ("/api/v2/boards", true),
    ] {
        let answer = inside.ask(Method::GET, path, &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            answer.json.pointer("/error/message").is_some(),
            json,
            "{path}"
        );
        assert!(!answer.header("content-security-policy").is_empty());
    }
    let wrong = inside.ask(Method::DELETE, "/api/v1/boards", &[]).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.field("/error/code"), "method_not_allowed");
    let plain = inside.ask(Method::GET, "/api/v1/session", &[]).await;
    assert_eq!(plain.status, StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test]
async fn health_follows_the_server() {
    let inside = Inside::new();
    let well = inside.ask(Method::GET, "/healthz", &[]).await;
    assert_eq!(well.status, StatusCode::OK);
    assert_eq!(well.field("/status"), "ok");
    inside.boards.stop();
    let stopping = inside.ask(Method::GET, "/healthz", &[]).await;
    assert_eq!(stopping.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(stopping.field("/reason").contains("stopping"));
    let refused = inside.ask(Method::POST, "/api/v1/boards", &[]).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
}
