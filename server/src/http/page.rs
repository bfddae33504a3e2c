//! The page and its files, as embedded in the binary.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use super::Site;
use super::problem::Problem;
use crate::assets::{self, Asset};

/// How long a file whose name carries its hash may be kept: a year, which is for good.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Everything else is asked for each time, and answered with 304 where it has not changed.
const REVALIDATE: &str = "no-cache";

/// The page of a server that was built without the web client.
const UNBUILT_PAGE: &str = include_str!("page/unbuilt.html");
const NOT_FOUND_PAGE: &str = include_str!("page/not_found.html");

/// `GET /` and `GET /b/{id}`: the page. It finds out by itself which board it shows.
pub(crate) async fn index(State(_): State<Arc<Site>>, headers: HeaderMap) -> Response {
    match assets::find("index.html") {
        Some(asset) => serve(asset, &headers),
        None => (
            [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CACHE_CONTROL, "no-store"),
            ],
            UNBUILT_PAGE,
        )
            .into_response(),
    }
}

/// `GET /assets/...`: files of the page.
pub(crate) async fn asset(request: Request) -> Response {
    match assets::find(request.uri().path()) {
        Some(asset) => serve(asset, request.headers()),
        None => {
            Problem::not_found("there is no such file; reload the page to get the current ones")
                .into_response()
        }
    }
}

/// Files beside the page, such as its icon; everything else is not there.
pub(crate) async fn other(request: Request) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_read && let Some(asset) = assets::find(request.uri().path()) {
        return serve(asset, request.headers());
    }
    (
        StatusCode::NOT_FOUND,
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        NOT_FOUND_PAGE,
    )
        .into_response()
}

fn serve(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let (bytes, coding) = asset.choose(Some(&accepted.join(",")));
    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(asset.content_type),
    );
    fields.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if asset.immutable {
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    } else {
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(REVALIDATE));
        // One for each coding, as a strong validator must be; the bytes sent are hashed, which for the page is quick.
        let etag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(bytes)[..12]));
        let is_known = headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|known| matches_etag(known, &etag));
        if let Ok(value) = HeaderValue::from_str(&etag) {
            fields.insert(header::ETAG, value);
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
    }
    if let Some(coding) = coding {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    *response.body_mut() = Body::from(Bytes::from_static(bytes));
    response
}

/// Whether an `If-None-Match` value names a tag, weakly compared (RFC 9110, 13.1.2).
fn matches_etag(known: &str, etag: &str) -> bool {
    known
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

/// The content security policy: everything from here, and exactly the inline scripts that the page was built with.
pub(crate) fn content_security_policy() -> HeaderValue {
    let page = assets::find("index.html")
        .and_then(|asset| std::str::from_utf8(asset.raw).ok())
        .unwrap_or("");
    let hashes: String = inline_scripts(page)
        .map(|script| format!(" 'sha256-{}'", BASE64.encode(&Sha256::digest(script))))
        .collect();
    let policy = format!(
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'{hashes}; style-src 'self' 'unsafe-inline'; \
         connect-src 'self' ws: wss: https:; worker-src 'self'; img-src 'self' data: blob:; object-src 'none'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    );
    // Base64 and ASCII alone.
    HeaderValue::from_str(&policy)
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'self'"))
}

/// Contents of the `script` elements without `src`, exactly as they are: browsers hash them so.
fn inline_scripts(page: &str) -> impl Iterator<Item = &str> {
    let mut rest = page;
    std::iter::from_fn(move || {
        loop {
            let begin = rest.find("<script")?;
            let tag = &rest[begin..];
            let end_of_tag = tag.find('>')?;
            let content = &tag[end_of_tag + 1..];
            let end = content.find("</script")?;
            rest = &content[end..];
            let has_source = tag[..end_of_tag].contains(" src=");
            if !has_source {
                return Some(&content[..end]);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_scripts_are_found_as_they_are() {
        let page = "<head><script type=\"module\">\n import a;\n</script><script src=\"/x.js\"></script>\
                    <script>b()</script></head>";
        let found: Vec<&str> = inline_scripts(page).collect();
        assert_eq!(found, ["\n import a;\n", "b()"]);
        assert_eq!(inline_scripts("<script>never closed").count(), 0);
        assert_eq!(inline_scripts("").count(), 0);
    }

    #[test]
    fn the_policy_allows_what_the_page_needs() {
        let policy = content_security_policy();
        let policy = policy.to_str().expect("text");
        for part in [
            "default-src 'self'",
            "'wasm-unsafe-eval'",
            "connect-src 'self' ws: wss: https:",
            "worker-src 'self'",
            "frame-ancestors 'self'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
    }

    #[test]
    fn etags_match_weakly() {
        assert!(matches_etag("\"a\"", "\"a\""));
        assert!(matches_etag("\"b\", W/\"a\"", "\"a\""));
        assert!(matches_etag("*", "\"a\""));
        assert!(!matches_etag("\"b\"", "\"a\""));
        assert!(!matches_etag("", "\"a\""));
    }
}
