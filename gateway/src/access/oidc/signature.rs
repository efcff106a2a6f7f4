//! Checks the signatures of tokens by ring, which is also the provider of TLS here: there is no second library of cryptography.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature as keys;

static RING: CryptoProvider = CryptoProvider {
    // Nobody signs here.
    signer_factory: |_, _| Err(Error::from(ErrorKind::InvalidAlgorithm)),
    verifier_factory: |algorithm, key| {
        let check = Check::of(*algorithm).ok_or(ErrorKind::InvalidAlgorithm)?;
        if key.family() != algorithm.family() {
            return Err(Error::from(ErrorKind::InvalidKeyFormat));
        }
        Ok(Box::new(Signed { algorithm: *algorithm, check, key: key.clone() }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Once is enough, and often harms nothing.
pub fn install() {
    let _installed_before = RING.install_default();
}

/// Only where the key that checks is public: anyone who knows a shared key could sign with it.
#[derive(Clone, Copy)]
enum Check {
    Rsa(&'static keys::RsaParameters),
    Curve(&'static keys::EcdsaVerificationAlgorithm),
}

impl Check {
    fn of(algorithm: Algorithm) -> Option<Check> {
        Some(match algorithm {
            Algorithm::RS256 => Check::Rsa(&keys::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Check::Rsa(&keys::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Check::Rsa(&keys::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Check::Rsa(&keys::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Check::Rsa(&keys::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Check::Rsa(&keys::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Check::Curve(&keys::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Check::Curve(&keys::ECDSA_P384_SHA384_FIXED),
            _ => return None,
        })
    }
}

struct Signed {
    algorithm: Algorithm,
    check: Check,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Signed {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let checked = match (self.check, self.key.kind()) {
            (Check::Rsa(how), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                keys::RsaPublicKeyComponents { n, e }.verify(how, message, signature)
            }
            (Check::Curve(how), DecodingKeyKind::SecretOrDer(point)) => {
                keys::UnparsedPublicKey::new(how, point).verify(message, signature)
            }
            _ => return Err(signature::Error::new()),
        };
        checked.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Signed {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
