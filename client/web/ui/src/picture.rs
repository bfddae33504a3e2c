//! Saves a picture of the board as a file of the visitor's.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsCast;
use web_sys::{Blob, HtmlAnchorElement, Url};

use crate::listener::document;

/// Offers the bytes of a PNG file as a download.
pub(crate) fn save(png: &[u8]) {
    let parts = Array::of1(&Uint8Array::from(png));
    let Ok(blob) = Blob::new_with_u8_array_sequence(&parts) else {
        return;
    };
    let Ok(address) = Url::create_object_url_with_blob(&blob) else {
        return;
    };
    if let Ok(link) = document().create_element("a") {
        let link: HtmlAnchorElement = link.unchecked_into();
        link.set_href(&address);
        link.set_download("chalkboard.png");
        link.click();
    }
    // The download holds the blob by itself once it was clicked.
    let _ = Url::revoke_object_url(&address);
}
