use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prometheus::Registry;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example.com";

struct Issuer {
    pair: EcdsaKeyPair,
    id: &'static str,
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl Issuer {
    fn new(id: &'static str) -> Issuer {
        let random = SystemRandom::new();
        let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        Issuer { pair: EcdsaKeyPair::from_pkcs8(how, pair.as_ref(), &random).unwrap(), id }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": coordinate(&point[1..33]), "y": coordinate(&point[33..])})
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn oidc(keys: &[Value]) -> Oidc {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut oidc = Oidc::new(&OidcAccess {
        issuer: ISSUER.to_owned(),
        client_id: "cordwood".to_owned(),
        username_prefix: Some("-".to_owned()),
        signing_algorithms: names(&["ES256", "RS256"]),
        // Any certificate: nobody is asked.
        ca_file: None,
        ..OidcAccess::default()
    })
    .unwrap();
    oidc.keys = Arc::new(Keys::known(ISSUER, keys));
    oidc
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "cordwood", "sub": "anna", "exp": (now_s() as i64) + 60})
}

async fn name(oidc: &Oidc, token: &str) -> Result<Option<String>, Away> {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    Ok(oidc.named(token, &metrics).await?.map(|named| named.name))
}

#[tokio::test]
async fn only_what_the_issuer_signed_names_somebody() {
    let (issuer, other) = (Issuer::new("one"), Issuer::new("one"));
    let oidc = oidc(&[issuer.jwk()]);
    let good = json!({"alg": "ES256", "kid": "one"});
    let token = issuer.token(&good, &claims());
    assert_eq!(name(&oidc, &token).await, Ok(Some("anna".to_owned())));
    assert_eq!(
        name(&oidc, &issuer.token(&json!({"alg": "ES256"}), &claims())).await,
        Ok(Some("anna".to_owned()))
    );
    let [header, body, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other_claims = {
        let mut claims = claims();
        claims["sub"] = json!("bert");
        part(&claims)
    };
    let point = URL_SAFE_NO_PAD.decode(issuer.jwk()["x"].as_str().unwrap()).unwrap();
    let by_public_key = {
        let signed = format!("{}.{body}", part(&json!({"alg": "HS256", "kid": "one"})));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &point);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes())))
    };
    let mut over = claims();
    over["exp"] = json!(now_s() as i64 - 1);
    for (what, token) in [
        ("another's signature", other.token(&good, &claims())),
        ("other claims", format!("{header}.{other_claims}.{signature}")),
        ("no signature", format!("{header}.{body}.")),
        ("none", format!("{}.{body}.", part(&json!({"alg": "none", "kid": "one"})))),
        ("none with one", format!("{}.{body}.{signature}", part(&json!({"alg": "none"})))),
        ("None", format!("{}.{body}.", part(&json!({"alg": "None"})))),
        ("the public key as a secret", by_public_key),
        ("another family", issuer.token(&json!({"alg": "RS256", "kid": "one"}), &claims())),
        ("an algorithm that is not set", issuer.token(&json!({"alg": "ES384", "kid": "one"}), &claims())),
        ("a key in its header", other.token(&json!({"alg": "ES256", "jwk": other.jwk()}), &claims())),
        (
            "something critical",
            issuer.token(&json!({"alg": "ES256", "kid": "one", "crit": ["x"], "x": 1}), &claims()),
        ),
        ("over", issuer.token(&good, &over)),
        ("two parts", format!("{header}.{body}")),
        ("four parts", format!("{token}.x")),
        ("white space", format!("{token} ")),
        ("nothing", String::new()),
    ] {
        assert_eq!(name(&oidc, &token).await, Ok(None), "{what}");
    }
}

#[tokio::test]
async fn while_the_issuer_is_away_its_known_keys_hold_and_others_are_not_guessed() {
    let (issuer, later) = (Issuer::new("one"), Issuer::new("two"));
    let oidc = oidc(&[issuer.jwk()]);
    let token = |issuer: &Issuer| issuer.token(&json!({"alg": "ES256", "kid": issuer.id}), &claims());
    for _ in 0..2 {
        assert_eq!(name(&oidc, &token(&later)).await, Err(Away));
        assert_eq!(name(&oidc, &token(&issuer)).await, Ok(Some("anna".to_owned())));
    }
}

#[test]
fn a_token_says_whose_it_is() {
    let issuer = Issuer::new("one");
    let oidc = oidc(&[]);
    let token = |iss: Value| issuer.token(&json!({"alg": "ES256"}), &json!({"iss": iss, "exp": 7}));
    for (token, expected) in [
        (token(json!(ISSUER)), true),
        (token(json!("https://kubernetes.default.svc")), false),
        (token(json!([ISSUER])), false),
        ("opaque".to_owned(), false),
    ] {
        assert_eq!(oidc.is_of_issuer(&token), expected);
    }
    assert_eq!(said_end_s(&token(json!(ISSUER))), Some(7));
    assert_eq!(said_end_s("opaque"), None);
}
