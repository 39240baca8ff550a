//! Tags, cursors and pages that give nothing away. Revisions count everybody's transactions, so an
//! operator that saw two of them would know how many were made in between.

use axum::http::HeaderValue;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use crate::{
    fabric::{Key, Kind, Object, Revision},
    identity::Identity,
};

/// Makes tags and tokens from a secret. Controllers that shall understand each other's have the
/// same.
pub struct Tokens {
    tags: hmac::Key,
    cursors: LessSafeKey,
    random: SystemRandom,
}

/// The kernel gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the kernel gives no random bytes")]
pub struct NoRandom;

impl Tokens {
    /// Draws a secret of its own: its tags and cursors mean nothing to another controller, nor
    /// after a restart. Whoever comes with one is told that the object has changed, or that what
    /// happened since is not known.
    ///
    /// # Errors
    /// Fails if there are no random bytes.
    pub fn random() -> Result<Self, NoRandom> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| NoRandom)?;
        Self::new(&secret)
    }

    /// Derives the keys from this secret.
    ///
    /// # Errors
    /// Fails if the cryptography refuses a key of its own length, which it does not.
    pub fn new(secret: &[u8; 32]) -> Result<Self, NoRandom> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |label: &str| hmac::sign(&root, label.as_bytes());
        let tags = hmac::Key::new(hmac::HMAC_SHA256, derived("tags").as_ref());
        let key = UnboundKey::new(&CHACHA20_POLY1305, derived("tokens").as_ref())
            .map_err(|_| NoRandom)?;
        Ok(Self { tags, cursors: LessSafeKey::new(key), random: SystemRandom::new() })
    }

    /// Makes the tag of an object for whoever sees it. The tag changes whenever the spec does. For
    /// a port or server, which is not the operator's own, it depends on what the operator sees of
    /// it, since other changes are not theirs to notice.
    pub fn tag(&self, who: &Identity, key: &Key, seen: &Object) -> String {
        let mut text = format!("{who}\n{key}\n");
        if let (Identity::Operator(_), Kind::Port | Kind::Server) = (who, key.kind()) {
            // A spec can always be said in JSON; if not, the tag is one that never matches another
            // revision's.
            match serde_json::to_string(&seen.body) {
                Ok(json) => text.push_str(&json),
                Err(_) => text.push_str(&seen.revision.to_string()),
            }
        } else {
            text.push_str(&seen.revision.to_string());
        }
        let tag = hmac::sign(&self.tags, text.as_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..15).unwrap_or_default())
    }

    /// Makes the cursor of a revision in the stream of events, for this identity alone.
    ///
    /// # Errors
    /// Fails if there are no random bytes.
    pub fn cursor(&self, who: &Identity, revision: Revision) -> Result<String, NoRandom> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| NoRandom)?;
        let mut sealed = revision.0.to_be_bytes().to_vec();
        let aad = Aad::from(who.to_string());
        self.cursors
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| NoRandom)?;
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// Reads the revision of a cursor, if it was given to this identity.
    pub fn read_cursor(&self, who: &Identity, token: &str) -> Option<Revision> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, aad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(who.to_string()));
        let mut sealed = sealed.to_vec();
        let plain = self.cursors.open_in_place(nonce, aad, &mut sealed).ok()?;
        Some(Revision(u64::from_be_bytes(<[u8; 8]>::try_from(&*plain).ok()?)))
    }
}

/// A tag as it stands in a header.
pub fn etag(tag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{tag}\"")).ok()
}

/// Makes the page of a list that begins after this key. It stays right while objects come and go.
pub fn page(last: &Key) -> String {
    URL_SAFE_NO_PAD.encode(last.to_string())
}

/// Reads the key after which a page begins.
pub fn read_page(text: &str) -> Option<Key> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_by_whom_it_was_given_to_alone() {
        let tokens = Tokens::random().unwrap();
        let (alder, birch) = ("operator/alder".parse().unwrap(), "operator/birch".parse().unwrap());
        let token = tokens.cursor(&alder, Revision(7)).unwrap();
        assert_eq!(tokens.read_cursor(&alder, &token), Some(Revision(7)));
        assert_eq!(tokens.read_cursor(&birch, &token), None);
        assert_eq!(Tokens::random().unwrap().read_cursor(&alder, &token), None);
        assert_ne!(tokens.cursor(&alder, Revision(7)).unwrap(), token);
        for index in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[index] = if other[index] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                tokens.read_cursor(&alder, &String::from_utf8(other).unwrap()),
                None,
                "{index}"
            );
        }
    }

    #[test]
    fn a_page_is_where_it_was() {
        let key: Key = "port/edge1/p0".parse().unwrap();
        assert_eq!(read_page(&page(&key)), Some(key));
        assert_eq!(read_page("***"), None);
        assert_eq!(read_page(&URL_SAFE_NO_PAD.encode("owner")), None);
    }
}
