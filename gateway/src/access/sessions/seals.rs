//! Encrypts and authenticates what others keep for the gateway: they can neither read nor change it, and every replica with the key can open it.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

/// A shorter one can be guessed.
const KEY_BYTES_MIN: usize = 32;

/// What was sealed for one is no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// For a browser that is on its way to the identity provider.
    Login,
    Session,
    Ticket,
}

impl Use {
    fn name(self) -> &'static [u8] {
        match self {
            Use::Login => b"login",
            Use::Session => b"session",
            Use::Ticket => b"ticket",
        }
    }
}

/// The first key seals; each of them opens.
pub struct Seals(Vec<Keys>);

struct Keys {
    login: LessSafeKey,
    session: LessSafeKey,
    ticket: LessSafeKey,
}

impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seals({})", self.0.len())
    }
}

impl Keys {
    fn of(secret: &[u8]) -> Result<Keys> {
        let secret = Salt::new(HKDF_SHA256, b"cordwood gateway").extract(secret);
        let key = |what: Use| {
            let info = [what.name()];
            let key = secret.expand(&info, &AES_256_GCM).map_err(|_| anyhow!("derive a key"))?;
            Ok::<_, anyhow::Error>(LessSafeKey::new(UnboundKey::from(key)))
        };
        Ok(Keys { login: key(Use::Login)?, session: key(Use::Session)?, ticket: key(Use::Ticket)? })
    }

    fn get(&self, what: Use) -> &LessSafeKey {
        match what {
            Use::Login => &self.login,
            Use::Session => &self.session,
            Use::Ticket => &self.ticket,
        }
    }
}

/// Bytes that nobody guesses.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok(bytes)
}

impl Seals {
    /// Of this process alone.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn random() -> Result<Seals> {
        Ok(Seals(vec![Keys::of(&random::<KEY_BYTES_MIN>()?)?]))
    }

    /// Of a file with a key a line.
    ///
    /// # Errors
    /// When it cannot be read, or a key is too short. No key is in the message.
    pub fn read(path: &Path) -> Result<Seals> {
        let what = || format!("access.session_key_file: {}", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        ensure!(!lines.is_empty(), "{}: no key in it; `openssl rand -hex 32` makes one", what());
        for (place, line) in lines.iter().enumerate() {
            let place = place + 1;
            ensure!(
                line.len() >= KEY_BYTES_MIN,
                "{}: key {place} has less than {KEY_BYTES_MIN} characters",
                what()
            );
        }
        Ok(Seals(lines.into_iter().map(|line| Keys::of(line.as_bytes())).collect::<Result<_>>()?))
    }

    /// As text that may stand in a cookie and in a subprotocol's name.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn seal(&self, what: Use, open: &[u8]) -> Result<String> {
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = open.to_vec();
        let key = self.0.first().context("no key")?.get(what);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .map_err(|_| anyhow!("seal"))?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// What was sealed for this use, and is whole.
    pub fn open(&self, what: Use, sealed: &str) -> Option<Vec<u8>> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        self.0.iter().find_map(|keys| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut sealed = sealed.to_vec();
            let open = keys.get(what).open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
            Some(open.to_vec())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seals(text: &str) -> Result<Seals> {
        let name = format!("cordwood-seals-{}-{}", std::process::id(), u64::from_le_bytes(random()?));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text)?;
        let seals = Seals::read(&path);
        std::fs::remove_file(&path)?;
        seals
    }

    #[test]
    fn who_has_the_key_opens_and_nobody_else() {
        let (old, new) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
        let (before, turned, after) =
            (seals(old).unwrap(), seals(&format!("{new}\n{old}\n")).unwrap(), seals(new).unwrap());
        let sealed = before.seal(Use::Session, b"text").unwrap();
        assert_eq!(before.open(Use::Session, &sealed).as_deref(), Some(&b"text"[..]));
        assert_eq!(turned.open(Use::Session, &sealed).as_deref(), Some(&b"text"[..]));
        assert_eq!(after.open(Use::Session, &sealed), None);
        let sealed = turned.seal(Use::Session, b"text").unwrap();
        assert_eq!(after.open(Use::Session, &sealed).as_deref(), Some(&b"text"[..]));
        assert_eq!(before.open(Use::Session, &sealed), None);
        for what in [Use::Login, Use::Ticket] {
            assert_eq!(after.open(what, &sealed), None, "{what:?}");
        }
        assert_ne!(after.seal(Use::Session, b"text").unwrap(), after.seal(Use::Session, b"text").unwrap());
        assert!(Seals::random().unwrap().open(Use::Session, &sealed).is_none());
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let seals = Seals::random().unwrap();
        let sealed = seals.seal(Use::Ticket, b"text").unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_eq!(seals.open(Use::Ticket, &URL_SAFE_NO_PAD.encode(&changed)), None, "{place}");
            assert_eq!(seals.open(Use::Ticket, &URL_SAFE_NO_PAD.encode(&bytes[..place])), None, "{place}");
        }
        for odd in ["", "*", "AAAA", "AAAAAAAAAAAAAAAA"] {
            assert_eq!(seals.open(Use::Ticket, odd), None, "{odd}");
        }
    }

    #[test]
    fn a_key_that_could_be_guessed_is_refused_and_not_told() {
        for (text, expected) in [
            ("", "no key"),
            ("\n \n", "no key"),
            ("short-one", "key 1"),
            ("0123456789abcdef0123456789abcdef\nshort-one", "key 2"),
        ] {
            let told = format!("{:#}", seals(text).unwrap_err());
            assert!(told.contains(expected) && !told.contains("short-one"), "{text:?}: {told}");
        }
    }
}
