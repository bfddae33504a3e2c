//! Page, files and API over HTTP.

use chalkboard_shared::{BoardId, Secret};
use chalkboard_tests::server_process::ServerProcess;

#[tokio::test]
async fn the_page_and_its_files_are_served_compressed_and_cached() {
    let server = ServerProcess::start().await;
    let page = server.get("/", &[]).await.expect("an answer");
    assert_eq!(page.status, 200);
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.field("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src"), "{policy}");
    assert_eq!(
        page.field("referrer-policy"),
        Some("no-referrer"),
        "addresses stay here"
    );
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    let text = page.text();
    if !text.contains("/assets/") {
        // A server that was built without the web client says so, and how to build it.
        assert!(text.contains("cargo xtask"), "{text}");
        return;
    }
    // The page of a board is the same: the secret in its address is in the fragment, which is never sent.
    let board = server
        .get(&format!("/b/{}", BoardId([7; 16])), &[])
        .await
        .expect("an answer");
    assert_eq!(board.text(), text);
    let tag = page.field("etag").expect("a tag");
    let again = server
        .get("/", &[("If-None-Match", tag)])
        .await
        .expect("an answer");
    assert_eq!((again.status, again.body.len()), (304, 0));

    let mut files: Vec<&str> = text
        .split('"')
        .filter(|part| part.starts_with("/assets/") && !part.contains(' '))
        .collect();
    files.sort_unstable();
    files.dedup();
    assert!(files.len() >= 4, "style, page and engine: {files:?}");
    for file in files {
        let plain = server.get(file, &[]).await.expect("an answer");
        assert_eq!(plain.status, 200, "{file}");
        assert_eq!(plain.field("content-encoding"), None, "{file}");
        let cached = plain.field("cache-control").unwrap_or_default();
        assert!(cached.contains("immutable"), "{file}: {cached}");
        let kind = plain.field("content-type").unwrap_or_default();
        for (end, expected) in [
            (".wasm", "application/wasm"),
            (".js", "text/javascript"),
            (".css", "text/css"),
        ] {
            assert!(
                !file.ends_with(end) || kind.starts_with(expected),
                "{file}: {kind}"
            );
        }
        for coding in ["br", "gzip"] {
            let packed = server
                .get(file, &[("Accept-Encoding", coding)])
                .await
                .expect("an answer");
            assert_eq!(packed.field("vary"), Some("Accept-Encoding"), "{file}");
            if packed.field("content-encoding").is_some() {
                assert_eq!(packed.field("content-encoding"), Some(coding), "{file}");
                assert!(packed.body.len() < plain.body.len(), "{file} in {coding}");
            } else {
                assert!(
                    plain.body.len() < 2048,
                    "{file} is worth compressing as {coding}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_people_and_programs() {
    let server = ServerProcess::start().await;
    let page = server.get("/nothing-here", &[]).await.expect("an answer");
    assert_eq!(page.status, 404);
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    for (method, path, status, code) in [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/assets/nothing.js", 404, "not_found"),
        ("DELETE", "/api/v1/boards", 405, "method_not_allowed"),
        ("GET", "/api/v1/session", 426, "websocket_only"),
        ("GET", "/api/v1/boards/nonsense/connect", 404, "not_found"),
    ] {
        let answer = server
            .request(method, path, &[], "")
            .await
            .expect("an answer");
        assert_eq!(answer.status, status, "{method} {path}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{method} {path}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.len() > 20),
            "{error}"
        );
    }
    // Too long a head, and no HTTP at all, harm nobody.
    let long = "x".repeat(100 * 1024);
    let refused = server.get("/", &[("X-Long", &long)]).await;
    assert!(refused.map_or(true, |answer| answer.status >= 400));
    let health = server.get("/healthz", &[]).await.expect("an answer");
    assert_eq!(
        (health.status, health.json()["status"].as_str()),
        (200, Some("ok"))
    );
}

#[tokio::test]
async fn boards_are_made_and_opened_by_their_secrets_alone() {
    let server = ServerProcess::start().await;
    let made = server
        .request("POST", "/api/v1/boards", &[], "{}")
        .await
        .expect("an answer");
    assert_eq!(made.status, 201);
    assert_eq!(
        made.field("cache-control"),
        Some("no-store"),
        "secrets are kept by nobody"
    );
    let links = server.create_board().await;
    assert_ne!(links.edit, links.view);
    let board = server.inspect(&links).await.expect("an answer");
    assert_eq!((board.position, board.strokes, board.sessions), (0, 0, 0));

    let ask = async |id: BoardId, secret: Option<Secret>| {
        let bearer = secret.map(|secret| format!("Bearer {secret}"));
        let fields: Vec<_> = bearer
            .iter()
            .map(|bearer| ("Authorization", bearer.as_str()))
            .collect();
        let path = format!("/api/v1/boards/{id}");
        server.get(&path, &fields).await.expect("an answer")
    };
    assert_eq!(
        ask(links.id, Some(links.edit)).await.json()["rights"],
        "edit"
    );
    assert_eq!(
        ask(links.id, Some(links.view)).await.json()["rights"],
        "view"
    );
    assert_eq!(ask(links.id, None).await.status, 401);
    let mut wrong = links.edit;
    wrong.0[0] ^= 0x80;
    let wrong_secret = ask(links.id, Some(wrong)).await;
    let unknown_board = ask(BoardId([9; 16]), Some(links.edit)).await;
    assert_eq!((wrong_secret.status, unknown_board.status), (404, 404));
    assert_eq!(
        wrong_secret.body, unknown_board.body,
        "nobody learns which boards there are"
    );
    assert!(
        !server.log().contains(&links.edit.to_string()),
        "secrets are not logged"
    );
}

#[tokio::test]
async fn one_address_makes_boards_only_so_fast() {
    let server = ServerProcess::start().await;
    for _ in 0..200 {
        let answer = server
            .request("POST", "/api/v1/boards", &[], "{}")
            .await
            .expect("an answer");
        if answer.status == 429 {
            let wait = answer
                .field("retry-after")
                .and_then(|wait| wait.parse::<u32>().ok());
            assert!(wait.is_some_and(|wait| (1..60).contains(&wait)), "{wait:?}");
            assert_eq!(answer.json()["error"]["code"], "too_many_boards");
            return;
        }
        assert_eq!(answer.status, 201);
    }
    panic!("200 boards at once and no end");
}
