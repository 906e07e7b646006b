//! Verifies download tokens: arbitrary text, and arbitrary headers and claims that are signed with
//! the key.
//!
//! The first line of the input is a token or a header, the second one the claims. Only a token with
//! the right signature, the right algorithm and a later expiry time is valid, and no change of a
//! valid one is.
#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use holdfast_api::TokenSigner;
use holdfast_api::fuzzing::verified_token;
use holdfast_fuzz::{Bounds, first_line};

const KEY: &[u8] = &[7; 32];
const PREVIOUS_KEY: &[u8] = &[8; 32];
const NOW: i64 = 1_800_000_000;

thread_local! {
    static SIGNER: TokenSigner = TokenSigner::new(KEY, &[PREVIOUS_KEY]);
    static OTHER_SIGNER: TokenSigner = TokenSigner::new(&[9; 32], &[]);
}

fn sign(message: &str, key: &[u8], algorithm: Algorithm) -> String {
    let key = EncodingKey::from_secret(key);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn verify(token: &str) -> Option<(i64, String)> {
    Bounds::TEXT.check(token.len(), || {
        SIGNER.with(|signer| verified_token(signer, token, NOW))
    })
}

/// A token is valid only if one of the keys has signed it.
fn check_text(token: &str) {
    if verify(token).is_some() {
        let (message, _) = token.rsplit_once('.').expect("a signature");
        let signed = [KEY, PREVIOUS_KEY].map(|key| sign(message, key, Algorithm::HS256));
        assert!(signed.iter().any(|signed| signed == token), "{token}");
    }
}

fuzz_target!(|input: &[u8]| {
    let (header, claims) = first_line(input);
    check_text(&String::from_utf8_lossy(header));

    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    for key in [KEY, PREVIOUS_KEY] {
        let token = sign(&message, key, Algorithm::HS256);
        let Some((expires, again)) = verify(&token) else {
            continue;
        };
        assert!(expires > NOW);
        let json = |bytes| serde_json::from_str::<Value>(&String::from_utf8_lossy(bytes));
        let header = json(header).expect("a header in JSON");
        assert_eq!(header["alg"], "HS256");
        let claims = json(claims).expect("claims in JSON");
        assert_eq!(claims["exp"].as_f64(), Some(expires as f64));
        assert!(verify(&again).is_some());
        assert!(
            OTHER_SIGNER
                .with(|other| verified_token(other, &token, NOW))
                .is_none()
        );
        let expired = SIGNER.with(|signer| verified_token(signer, &token, expires));
        assert!(expired.is_none());
        // One changed character, chosen by the input.
        let at = input.len() % token.len();
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(
            verify(&String::from_utf8(changed).unwrap()).is_none(),
            "{at}"
        );
        assert!(verify(&format!("{message}.")).is_none());
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert!(verify(&sign(&message, KEY, algorithm)).is_none());
    }
});
