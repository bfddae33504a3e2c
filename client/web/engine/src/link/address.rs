//! Where a board is served: asked anew for each attempt, because certificates and ports change.

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestCache, RequestInit, Response};

use super::LinkEnd;
use crate::browser::{decode_base64, get, get_text, scope};

/// Certificates that a server may announce: the one in use and the next, and room to spare.
const HASHES_MAX: u32 = 8;

/// Where to connect.
pub(super) struct Address {
    pub(super) webtransport: Option<WebTransportAddress>,
    pub(super) websocket: String,
}

/// Where WebTransport listens.
#[derive(Clone)]
pub(super) struct WebTransportAddress {
    pub(super) url: String,
    /// SHA-256 of the certificates it may show; none where a public authority has signed it.
    pub(super) certificate_hashes: Vec<Vec<u8>>,
}

pub(super) async fn fetch(board: &str) -> Result<Address, LinkEnd> {
    let location = scope().location();
    let path = ["/api/v1/boards/", board, "/connect"].concat();
    let init = RequestInit::new();
    init.set_cache(RequestCache::NoStore);
    let url = [&location.origin(), path.as_str()].concat();
    let broken = |_: JsValue| LinkEnd::Broken;
    let response = JsFuture::from(scope().fetch_with_str_and_init(&url, &init))
        .await
        .map_err(broken)?;
    let response: Response = response.unchecked_into();
    if response.status() == 404 {
        return Err(LinkEnd::UnknownBoard);
    }
    if !response.ok() {
        return Err(LinkEnd::Broken);
    }
    let json = JsFuture::from(response.json().map_err(broken)?)
        .await
        .map_err(broken)?;
    let websocket = get_text(&json, "websocket").ok_or(LinkEnd::Broken)?;
    let scheme = if location.protocol() == "https:" {
        "wss://"
    } else {
        "ws://"
    };
    let websocket = if websocket.starts_with('/') {
        [scheme, &location.host(), &websocket].concat()
    } else {
        websocket
    };
    Ok(Address {
        webtransport: webtransport(&get(&json, "webtransport")),
        websocket,
    })
}

fn webtransport(json: &JsValue) -> Option<WebTransportAddress> {
    let url = get_text(json, "url")?;
    let hashes = get(json, "certificate_hashes")
        .dyn_into::<Array>()
        .unwrap_or_default();
    let hashes = (0..hashes.length().min(HASHES_MAX)).map(|i| hashes.get(i).as_string());
    // One that can't be read makes the whole address useless: connecting would only fail later.
    let certificate_hashes = hashes
        .map(|hash| decode_base64(&hash?))
        .collect::<Option<_>>()?;
    Some(WebTransportAddress {
        url,
        certificate_hashes,
    })
}
