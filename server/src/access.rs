//! Access: secrets of capability links, what they allow, and who a session is.
//!
//! Whoever holds an edit secret can compute the view secret, so an editor can share a view link; never the other way.
//! The server keeps hashes only: a stolen database opens no board.

use chalkboard_shared::id::{ActorId, BoardId};
use chalkboard_shared::rights::{Rights, Secret};
use sha2::{Digest, Sha256};

/// SHA-256 of a secret, as storage keeps it. The secret is 128 random bits, so nothing slower is called for.
pub(crate) type SecretHash = [u8; 32];

/// A random source that does not answer; the operating system is broken.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers: {0}")]
pub(crate) struct NoRandomness(getrandom::Error);

fn random_16() -> Result<[u8; 16], NoRandomness> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// A fresh board's name.
pub(crate) fn random_board() -> Result<BoardId, NoRandomness> {
    random_16().map(BoardId)
}

/// A fresh edit secret.
pub(crate) fn random_secret() -> Result<Secret, NoRandomness> {
    random_16().map(Secret)
}

/// The view secret of an edit secret.
pub(crate) fn view_secret(edit: Secret) -> Secret {
    let hash = Sha256::new()
        .chain_update(b"chalkboard view")
        .chain_update(edit.0)
        .finalize();
    let mut secret = [0; 16];
    secret.copy_from_slice(&hash[..16]);
    Secret(secret)
}

/// What is kept of a secret.
pub(crate) fn hash(secret: Secret) -> SecretHash {
    Sha256::digest(secret.0).into()
}

/// What the holder of `secret` may do on a board with these hashes, if anything.
pub(crate) fn rights(secret: Secret, edit: &SecretHash, view: &SecretHash) -> Option<Rights> {
    let hash = hash(secret);
    // Both are compared, whole: the time taken tells nothing.
    let (is_edit, is_view) = (is_equal(&hash, edit), is_equal(&hash, view));
    if is_edit {
        Some(Rights::Edit)
    } else if is_view {
        Some(Rights::View)
    } else {
        None
    }
}

/// Compares in the same time wherever the difference is.
fn is_equal(a: &SecretHash, b: &SecretHash) -> bool {
    let difference = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// Who somebody is on a board: follows from the key that only their client knows. Never 0, which stands for "myself" in
/// messages of clients.
pub(crate) fn actor(board: BoardId, key: [u8; 16]) -> ActorId {
    let hash = Sha256::new()
        .chain_update(b"chalkboard actor")
        .chain_update(board.0)
        .chain_update(key)
        .finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    ActorId(u64::from_be_bytes(head).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivations_are_fixed() {
        // sha256("chalkboard view" || 00..0f), sha256("chalkboard actor" || 01 x 16 || 02 x 16): links and identities
        // that were handed out must hold for good.
        let edit = Secret(std::array::from_fn(|i| i as u8));
        assert_eq!(view_secret(edit).to_string(), "E6IBpdxIMLQli05JGDj4hg");
        assert_eq!(actor(BoardId([1; 16]), [2; 16]).0, 0x3aa6_f45f_380a_4c67);
    }

    #[test]
    fn secrets_open_what_they_should() {
        let (edit, other) = (Secret([1; 16]), Secret([2; 16]));
        let view = view_secret(edit);
        let (edit_hash, view_hash) = (hash(edit), hash(view));
        let rights = |secret| rights(secret, &edit_hash, &view_hash);
        assert_eq!(rights(edit), Some(Rights::Edit));
        assert_eq!(rights(view), Some(Rights::View));
        assert_eq!(rights(other), None);
        assert_eq!(rights(view_secret(view)), None);
    }

    #[test]
    fn actors_differ_by_board_and_key() {
        let a = actor(BoardId([1; 16]), [1; 16]);
        assert_eq!(a, actor(BoardId([1; 16]), [1; 16]));
        assert_ne!(a, actor(BoardId([2; 16]), [1; 16]));
        assert_ne!(a, actor(BoardId([1; 16]), [2; 16]));
    }

    #[test]
    fn random_names_differ() {
        assert_ne!(random_board().ok(), random_board().ok());
        assert_ne!(random_secret().ok(), random_secret().ok());
    }
}
