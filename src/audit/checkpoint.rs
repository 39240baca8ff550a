//! Checkpoints: the size and the root of the log, signed, as a text of a few lines.
//!
//! The form is C2SP's `tlog-checkpoint` in a `signed-note`, which logs of software and certificates
//! use, so that their tools and witnesses read ours. Lines between the root and the signatures, and
//! signatures of others, are allowed and kept.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{
    Signature, Signer as _, SigningKey, VerifyingKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding},
};
use sha2::{Digest, Sha256};

use super::{Hash, Tree};

/// What says that a signature is Ed25519.
const ED25519: u8 = 1;
/// No log has more entries, and its tree's arithmetic stays far from the end of 64 bits.
const MOST_ENTRIES: u64 = 1 << 48;
/// A checkpoint that is longer is none.
const LONGEST: usize = 64 << 10;

/// Why a text is no checkpoint, or not one of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not in the form.
    #[error("this is not a checkpoint: {0}")]
    Form(&'static str),
    /// The key is none.
    #[error("{0:?} is not a key: it has to be NAME+HASH+KEY, as `sillon audit key` prints it")]
    Key(String),
    /// The private key can't be read.
    #[error("the signing key can't be read: {0}")]
    Private(String),
    /// It is of another log.
    #[error("the checkpoint is of the log {found:?}, and {expected:?} is asked for")]
    Origin {
        /// Which it is of.
        found: String,
        /// Which it should be of.
        expected: String,
    },
    /// The log's key has not signed it.
    #[error(
        "the checkpoint is not signed by the key of {0}: it was changed, or somebody else has \
         made it"
    )]
    Unsigned(String),
}

/// A checkpoint whose signature was found right, or that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    size: u64,
    root: Hash,
    text: String,
}

/// What signs checkpoints.
pub struct Signer {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for Signer {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What checks them: the log's name, and its public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

impl Signer {
    /// A new key for a log of this name.
    ///
    /// # Errors
    /// The name is none, or the system gives no random numbers.
    pub fn generate(name: &str) -> Result<Self, NoteError> {
        let mut seed = [0; 32];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random
            .fill(&mut seed)
            .map_err(|_| NoteError::Private("the system gives no random numbers".to_owned()))?;
        Self::new(name, SigningKey::from_bytes(&seed))
    }

    /// From PKCS #8 in PEM.
    ///
    /// # Errors
    /// The name is none, or the text is no such key.
    pub fn from_pem(name: &str, pem: &str) -> Result<Self, NoteError> {
        let key = SigningKey::from_pkcs8_pem(pem)
            .map_err(|error| NoteError::Private(error.to_string()))?;
        Self::new(name, key)
    }

    fn new(name: &str, key: SigningKey) -> Result<Self, NoteError> {
        if name.is_empty()
            || name.contains(|sign: char| sign.is_whitespace() || sign.is_control() || sign == '+')
        {
            return Err(NoteError::Key(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// As PKCS #8 in PEM.
    ///
    /// # Errors
    /// It can't be written so. It can.
    pub fn to_pem(&self) -> Result<String, NoteError> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF);
        Ok(pem.map_err(|error| NoteError::Private(error.to_string()))?.to_string())
    }

    /// What checks its signatures.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The checkpoint of a tree.
    pub fn sign(&self, tree: &Tree) -> Checkpoint {
        let (size, root) = (tree.size(), tree.root());
        let body = format!("{}\n{size}\n{root}\n", self.name);
        let mut signature = self.verifier().id().to_vec();
        signature.extend(self.key.sign(body.as_bytes()).to_bytes());
        let text = format!("{body}\n\u{2014} {} {}\n", self.name, STANDARD.encode(signature));
        Checkpoint { size, root, text }
    }
}

impl VerifierKey {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// By which a signature says whose it is.
    fn id(&self) -> [u8; 4] {
        let digest = Sha256::new()
            .chain_update(self.name.as_bytes())
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes())
            .finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// Reads a checkpoint of this log that this key has signed.
    ///
    /// # Errors
    /// It is none.
    pub fn open(&self, text: &str) -> Result<Checkpoint, NoteError> {
        let body = self.open_note(text)?;
        let read = Checkpoint::own(text)?;
        let origin = body.lines().next().unwrap_or_default();
        if origin != self.name {
            return Err(NoteError::Origin {
                found: origin.to_owned(),
                expected: self.name.clone(),
            });
        }
        Ok(read)
    }

    /// The text of a note that this key has signed, up to the empty line before the signatures.
    fn open_note<'t>(&self, text: &'t str) -> Result<&'t str, NoteError> {
        if text.len() > LONGEST {
            return Err(NoteError::Form("it is too long"));
        }
        if text.contains(|sign: char| sign.is_control() && sign != '\n') {
            return Err(NoteError::Form("it has control characters in it"));
        }
        let end = text
            .rfind("\n\n")
            .ok_or(NoteError::Form("an empty line has to be before the signatures"))?;
        let (body, signatures) = (&text[..=end], &text[end + 2..]);
        if !signatures.ends_with('\n') {
            return Err(NoteError::Form("it ends in the middle of a line"));
        }
        let mut is_signed = false;
        for line in signatures.lines() {
            let Some((name, signature)) =
                line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '))
            else {
                return Err(NoteError::Form("a signature is a line of a dash, a name and base64"));
            };
            let signature = STANDARD
                .decode(signature)
                .map_err(|_| NoteError::Form("a signature has to be base64"))?;
            if name != self.name || !signature.starts_with(&self.id()) {
                continue;
            }
            let signature = Signature::from_slice(&signature[4..])
                .map_err(|_| NoteError::Form("a signature of Ed25519 has 64 bytes"))?;
            if self.key.verify_strict(body.as_bytes(), &signature).is_err() {
                return Err(NoteError::Unsigned(self.name.clone()));
            }
            is_signed = true;
        }
        if is_signed { Ok(body) } else { Err(NoteError::Unsigned(self.name.clone())) }
    }
}

impl Checkpoint {
    /// Reads one that is known to be right, as from the store that the controller writes: whose
    /// signature it has is not looked at.
    ///
    /// # Errors
    /// It is not in the form.
    pub fn own(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.lines().skip(1);
        let (Some(size), Some(root)) = (lines.next(), lines.next()) else {
            return Err(NoteError::Form(
                "it needs the log's name, its size and its root, a line each",
            ));
        };
        let number: u64 =
            size.parse().map_err(|_| NoteError::Form("the second line is the size"))?;
        if number.to_string() != size || number > MOST_ENTRIES {
            return Err(NoteError::Form("the second line is the size"));
        }
        let root =
            Hash::parse(root).ok_or(NoteError::Form("the third line is the root, in base64"))?;
        Ok(Self { size: number, root, text: text.to_owned() })
    }

    /// How many entries the log had.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of its tree.
    pub fn root(&self) -> Hash {
        self.root
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}+", self.name, u32::from_be_bytes(self.id()))?;
        let key: Vec<u8> = [ED25519].into_iter().chain(*self.key.as_bytes()).collect();
        f.write_str(&STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let wrong = || NoteError::Key(text.to_owned());
        let mut parts = text.trim_end().splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let key = STANDARD.decode(key).map_err(|_| wrong())?;
        let Some((&ED25519, key)) = key.split_first() else { return Err(wrong()) };
        let key = key.try_into().map_err(|_| wrong())?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| wrong())?;
        let read = Self { name: name.to_owned(), key };
        if name.is_empty() || format!("{:08x}", u32::from_be_bytes(read.id())) != hash {
            return Err(wrong());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the documentation of Go's `golang.org/x/mod/sumdb/note`, which the format
    /// comes from.
    #[test]
    fn a_note_of_others_is_read() {
        let key: VerifierKey =
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let note = "If you think cryptography is the answer to your problem,\n\
            then you don't know what your problem is.\n\n\
            \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert!(key.open_note(note).unwrap().starts_with("If you think"));
        assert_eq!(
            key.open_note(&note.replace("your problem", "my problem")),
            Err(NoteError::Unsigned(key.name.clone()))
        );
        assert!(matches!(key.open(note), Err(NoteError::Form(_))), "it is no checkpoint");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn a_key_survives_its_texts() {
        let signer = Signer::generate("north.example/audit").unwrap();
        let again = Signer::from_pem("north.example/audit", &signer.to_pem().unwrap()).unwrap();
        assert_eq!(again.verifier(), signer.verifier());
        let checkpoint = signer.sign(&Tree::default());
        assert_eq!(signer.verifier().open(&checkpoint.to_string()), Ok(checkpoint));
        for name in ["", "a b", "a+b", "a\nb"] {
            assert!(Signer::generate(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn another_logs_checkpoint_and_another_keys_are_refused() {
        let (signer, other) =
            (Signer::generate("north").unwrap(), Signer::generate("north").unwrap());
        let text = signer.sign(&Tree::default()).to_string();
        assert_eq!(other.verifier().open(&text), Err(NoteError::Unsigned("north".to_owned())));
        // The same key, but the name is another one.
        let renamed = Signer::from_pem("south", &signer.to_pem().unwrap()).unwrap();
        assert_eq!(renamed.verifier().open(&text), Err(NoteError::Unsigned("south".to_owned())));
        // Others may sign, too.
        let both = format!("{text}\u{2014} witness {}\n", STANDARD.encode([0; 68]));
        assert!(signer.verifier().open(&both).is_ok());
    }
}
