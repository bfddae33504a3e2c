//! The key of QUIC's stateless resets: how a restarted server tells connections of its former life that they are over.
//!
//! A crash closes nothing: clients would go on talking to the new process, which knows none of their connections, until
//! they give up after many seconds. With the same key before and after, the new process can prove that it may end them
//! (RFC 9000, 10.3), and they connect again at once. So the key is kept in the data folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::HmacKey;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use ring::hmac;

use crate::secret_file;

const FILE: &str = "quic-reset.key";
const KEY_BYTES: usize = 32;
/// Bytes of a connection id.
const ID_BYTES: usize = 8;
/// Between two resets at the least: a full house of 12,000 is told within 12 s, most of it at once.
const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// The key, the same for all shards and all starts on one data folder.
#[derive(Clone)]
pub(crate) struct ResetKey(Arc<[u8; KEY_BYTES]>);

impl ResetKey {
    /// The folder's key, made if it is not there; a fresh one where there is no folder. One that can't be kept only
    /// costs time after a crash.
    pub(crate) fn load(folder: Option<&Path>) -> Result<Self, getrandom::Error> {
        let path = folder.map(|folder| folder.join(FILE));
        let kept = path.as_ref().and_then(|path| std::fs::read(path).ok());
        if let Some(Ok(key)) = kept.map(<[u8; KEY_BYTES]>::try_from) {
            return Ok(Self(Arc::new(key)));
        }
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key)?;
        if let Some(path) = path
            && let Err(error) = secret_file::write(&path, &key)
        {
            tracing::warn!(path = %path.display(), %error, "a key could not be kept; after a crash clients take longer to connect again");
        }
        Ok(Self(Arc::new(key)))
    }

    /// An endpoint's configuration with this key.
    pub(crate) fn endpoint_config(&self) -> EndpointConfig {
        let key: Arc<dyn HmacKey> = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]));
        let mut config = EndpointConfig::new(key);
        config
            .cid_generator(|| Box::new(RandomIds))
            .min_reset_interval(RESET_INTERVAL);
        config
    }
}

/// Connection ids without a mark of this process: those of a former one must look like ours, or no reset is sent.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).expect("the system gave random numbers when the server started");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_outlives_the_process() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let load = |folder: Option<&Path>| ResetKey::load(folder).expect("random numbers").0;
        let first = load(Some(folder.path()));
        assert_eq!(load(Some(folder.path())), first);
        assert_ne!(load(None), first);
        std::fs::write(folder.path().join(FILE), "damaged").expect("a file");
        let other = load(Some(folder.path()));
        assert_ne!(other, first);
        assert_eq!(load(Some(folder.path())), other);
    }
}
