//! The web client's files, embedded in the binary, and the choice of their compressed form.
//!
//! `build.rs` lists the files that `cargo xtask web` made, compressed ahead. This module finds one by its path
//! and picks what the browser may be sent; it knows nothing of HTTP beyond the value of `Accept-Encoding`. Status
//! codes and header fields are the router's.

/// A file of the web client.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Path below the page's origin without the leading `/`, for example `index.html`.
    pub(crate) path: &'static str,
    /// Value of `Content-Type`.
    pub(crate) content_type: &'static str,
    /// The name carries the content's hash: what is sent under it never changes and may be cached for good. Anything
    /// else must be asked for again each time (`no-cache`), or an updated server meets a page of the old one.
    pub(crate) immutable: bool,
    /// The file as it is.
    pub(crate) raw: &'static [u8],
    /// Compressed with brotli, where that is smaller.
    pub(crate) brotli: Option<&'static [u8]>,
    /// Compressed with gzip, where that is smaller.
    pub(crate) gzip: Option<&'static [u8]>,
}

/// Every file, sorted by path. Empty in a server that was built without the web client.
static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/web_assets.rs"));

/// The file at a path of the page's origin, with or without the leading `/`.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let index = ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    ASSETS.get(index)
}

/// Whether the web client is in this binary; otherwise the page says how to build it.
pub(crate) fn is_built() -> bool {
    find("index.html").is_some()
}

impl Asset {
    /// The bytes to send, and the value of `Content-Encoding` where they are compressed.
    ///
    /// `accept_encoding` is the request's header value (join repeated ones with a comma). The smallest acceptable form
    /// wins: brotli, then gzip, then the file as it is. The latter is sent even to those who refuse it
    /// (`identity;q=0`), since an answer helps more than a 406. The response needs `Vary: Accept-Encoding`.
    pub(crate) fn choose(
        &self,
        accept_encoding: Option<&str>,
    ) -> (&'static [u8], Option<&'static str>) {
        let accepted = accept_encoding.unwrap_or("");
        let forms = [(self.brotli, "br"), (self.gzip, "gzip")];
        for (bytes, coding) in forms {
            if let Some(bytes) = bytes
                && accepts(accepted, coding)
            {
                return (bytes, Some(coding));
            }
        }
        (self.raw, None)
    }
}

/// Whether an `Accept-Encoding` value (RFC 9110, 12.5.3) allows a coding: named with a weight above zero, or else
/// covered by `*`. A weight that cannot be read counts as zero.
fn accepts(accept_encoding: &str, coding: &str) -> bool {
    let mut any = false;
    for item in accept_encoding.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        let weight =
            parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let allowed =
            weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        if name.eq_ignore_ascii_case(coding) {
            return allowed;
        }
        if name == "*" {
            any = allowed;
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Asset = Asset {
        path: "assets/file-00000000.js",
        content_type: "text/javascript; charset=utf-8",
        immutable: true,
        raw: b"raw",
        brotli: Some(b"br"),
        gzip: Some(b"gz"),
    };

    #[track_caller]
    fn check(accept_encoding: Option<&str>, expected: Option<&str>) {
        assert_eq!(
            FILE.choose(accept_encoding).1,
            expected,
            "Accept-Encoding: {accept_encoding:?}"
        );
    }

    #[test]
    fn the_smallest_acceptable_form_wins() {
        check(Some("gzip, deflate, br, zstd"), Some("br"));
        check(Some("br;q=0.1, gzip;q=1.0"), Some("br"));
        check(Some("gzip, deflate"), Some("gzip"));
        check(Some("GZIP"), Some("gzip"));
        check(Some("*"), Some("br"));
        check(Some("deflate"), None);
        check(Some(""), None);
        check(None, None);
    }

    #[test]
    fn a_weight_of_zero_refuses() {
        check(Some("br;q=0, gzip"), Some("gzip"));
        check(Some("br; q=0.000 , gzip ; Q=0"), None);
        check(Some("br;q=0, *"), Some("gzip"));
        check(Some("*;q=0, gzip"), Some("gzip"));
        check(Some("identity;q=0"), None);
    }

    #[test]
    fn nonsense_is_not_acceptance() {
        check(Some("br;q=high, gzip;q=NaN"), None);
        check(Some(";;;,,,=;q"), None);
        check(Some("brotli, xgzip"), None);
    }

    #[test]
    fn what_has_no_compressed_form_is_sent_as_it_is() {
        let font = Asset {
            brotli: None,
            gzip: None,
            ..FILE
        };
        assert_eq!(font.choose(Some("br, gzip")), (&b"raw"[..], None));
        let only_gzip = Asset {
            brotli: None,
            ..FILE
        };
        assert_eq!(
            only_gzip.choose(Some("br, gzip")),
            (&b"gz"[..], Some("gzip"))
        );
    }

    #[test]
    fn every_embedded_file_is_found_by_its_path() {
        assert!(ASSETS.is_sorted_by_key(|asset| asset.path));
        for asset in ASSETS {
            for path in [asset.path.to_owned(), format!("/{}", asset.path)] {
                assert_eq!(find(&path).map(|found| found.path), Some(asset.path));
            }
            assert_eq!(
                asset.immutable,
                asset.path.starts_with("assets/"),
                "{}",
                asset.path
            );
        }
        assert!(find("").is_none() && find("/").is_none() && find("../Cargo.toml").is_none());
        assert_eq!(is_built(), !ASSETS.is_empty());
    }
}
