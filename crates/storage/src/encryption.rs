//! Encryption at rest with age: a copy of the disk is useless without a private key.
//!
//! Uploads need only public keys; reads need a private key. age encrypts chunks of 64 KiB, each
//! authenticated with its position. Any range can be read without the rest, and a changed, moved
//! or missing chunk is detected. Format: <https://age-encryption.org/v1>.

pub(crate) mod decrypt;
mod encrypt;
mod keys;

pub(crate) use self::decrypt::{DecryptedObject, DecryptingReader};
pub(crate) use self::encrypt::{ObjectEncryptor, encrypted_size_max};
pub use self::keys::{Encryption, KeysRefused};
