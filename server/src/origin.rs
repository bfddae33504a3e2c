//! Origins: which pages may talk to this server.
//!
//! Browsers name the page's origin on every POST, WebSocket and WebTransport request, and let any page open the latter
//! two anywhere; so the server checks. A request without one comes from no browser page and is let through: it has no
//! cookies or other ambient authority to abuse, since rights come from secrets alone.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

/// Scheme, host and port in the form that browsers send: lower case, the scheme's own port left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of an `http` or `https` URL; whatever follows the host is left out. `None` for anything else.
    pub fn parse_url(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        if authority.contains('@') {
            return None;
        }
        let (host, port) = split_authority(authority)?;
        let host = host.to_ascii_lowercase();
        Some(match port {
            Some(port) if port != default_port => Self(format!("{scheme}://{host}:{port}")),
            _ => Self(format!("{scheme}://{host}")),
        })
    }

    /// Its text, such as `https://board.example`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host (IPv6 in its brackets) and port of an authority such as `localhost:8080` or `[::1]`.
pub(crate) fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(end_of_host);
    let is_v6 = host.starts_with('[');
    let is_host = if is_v6 {
        host[1..host.len() - 1]
            .parse::<std::net::Ipv6Addr>()
            .is_ok()
    } else {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    if !is_host {
        return None;
    }
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((host, None)),
        None => None,
        Some(port) => Some((host, Some(port.parse().ok()?))),
    }
}

/// Which origins are allowed.
#[derive(Debug)]
pub(crate) struct OriginPolicy {
    allowed: HashSet<Origin>,
    /// Port of the page where the request's own host counts as allowed: with TLS, whoever reaches this server by a
    /// name holds a certificate for it.
    own_host: Option<u16>,
}

impl OriginPolicy {
    /// The server's own origins at `port`, and those that the operator named.
    pub(crate) fn new(
        listen: IpAddr,
        port: u16,
        is_tls: bool,
        named: impl IntoIterator<Item = Origin>,
    ) -> Self {
        let scheme = if is_tls { "https" } else { "http" };
        let mut hosts = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "[::1]".to_owned(),
        ];
        if !listen.is_unspecified() {
            hosts.push(match listen {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            });
        }
        let own = hosts
            .iter()
            .filter_map(|host| Origin::parse_url(&format!("{scheme}://{host}:{port}")));
        Self {
            allowed: own.chain(named).collect(),
            own_host: is_tls.then_some(port),
        }
    }

    /// Whether a request may go on: `origin` is the value of its `Origin` field, `authority` its own host and port.
    pub(crate) fn allows(&self, origin: Option<&str>, authority: Option<&str>) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        let Some(origin) = Origin::parse_url(origin) else {
            return false;
        };
        if self.allowed.contains(&origin) {
            return true;
        }
        let (Some(port), Some(authority)) = (self.own_host, authority) else {
            return false;
        };
        let at = |authority: &str| Origin::parse_url(&format!("https://{authority}"));
        // WebTransport is asked for at its own port, the page is at the HTTP port of the same host.
        let page = split_authority(authority).and_then(|(host, _)| at(&format!("{host}:{port}")));
        at(authority).as_ref() == Some(&origin) || page.as_ref() == Some(&origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_origins() {
        for (url, origin) in [
            ("https://Board.Example", Some("https://board.example")),
            (
                "https://board.example:443/b/1?x#y",
                Some("https://board.example"),
            ),
            ("http://10.0.0.5:8080/", Some("http://10.0.0.5:8080")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("https://[::1]:8443", Some("https://[::1]:8443")),
            ("null", None),
            ("board.example", None),
            ("file:///etc/passwd", None),
            ("https://", None),
            ("https://user@board.example", None),
            ("https://board.example:port", None),
            ("https://board.example:99999", None),
            ("https://[::1", None),
            ("https://[nonsense]", None),
        ] {
            assert_eq!(
                Origin::parse_url(url).as_ref().map(Origin::as_str),
                origin,
                "{url}"
            );
        }
    }

    fn policy(is_tls: bool) -> OriginPolicy {
        let named = ["https://wiki.example", "https://board.example"]
            .into_iter()
            .filter_map(Origin::parse_url);
        OriginPolicy::new(IpAddr::from([192, 168, 1, 5]), 8080, is_tls, named)
    }

    #[test]
    fn own_and_named_origins_are_allowed() {
        let policy = policy(false);
        for (origin, expected) in [
            (None, true),
            (Some("http://localhost:8080"), true),
            (Some("http://127.0.0.1:8080"), true),
            (Some("http://[::1]:8080"), true),
            (Some("http://192.168.1.5:8080"), true),
            (Some("https://wiki.example"), true),
            (Some("https://board.example"), true),
            (Some("http://localhost:8081"), false),
            (Some("http://localhost"), false),
            (Some("https://localhost:8080"), false),
            (Some("http://wiki.example"), false),
            (Some("https://wiki.example.evil.example"), false),
            (Some("https://evil.example"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            assert_eq!(
                policy.allows(origin, Some("evil.example")),
                expected,
                "{origin:?}"
            );
        }
        assert!(!policy.allows(
            Some("http://rebound.example:8080"),
            Some("rebound.example:8080")
        ));
    }

    #[test]
    fn with_tls_the_requests_own_host_is_allowed() {
        let policy = policy(true);
        for (origin, authority, expected) in [
            ("https://lan.example:8080", "lan.example:8080", true),
            ("https://lan.example:8080", "lan.example:9443", true),
            ("https://lan.example", "lan.example", true),
            ("https://lan.example:8080", "other.example:8080", false),
            ("http://lan.example:8080", "lan.example:8080", false),
            ("https://localhost:8080", "whatever", true),
            ("http://localhost:8080", "localhost:8080", false),
        ] {
            assert_eq!(
                policy.allows(Some(origin), Some(authority)),
                expected,
                "{origin} at {authority}"
            );
        }
        assert!(!policy.allows(Some("https://lan.example:8080"), None));
    }
}
