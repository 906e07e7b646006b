//! Encrypted disks: what a copy of the disk reveals, and reads with other keys or none.

use bytes::Bytes;

use holdfast_storage::{Disk, Encryption, Error, StorageKey};

use crate::objects::{collect, key, put};
use crate::places::{identity, name};

/// Returns the bytes of all files in a folder.
fn all_bytes(folder: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => all.extend(all_bytes(&entry.path())),
            false => all.extend(fs_err::read(entry.path()).unwrap()),
        }
    }
    all
}

async fn store(disk: &Disk, key: StorageKey, plain: &[u8]) {
    put(disk, key, &Bytes::copy_from_slice(plain))
        .await
        .unwrap();
}

async fn read_all(disk: &Disk, key: StorageKey) -> Result<Vec<u8>, Error> {
    let found = collect(disk.read(key, 0..u64::MAX).await?).await?;
    Ok(found.to_vec())
}

fn opened(folder: &std::path::Path, keys: Option<Encryption>) -> Disk {
    let disk = Disk::local(name("local"), folder).unwrap();
    match keys {
        Some(keys) => disk.with_encryption(keys),
        None => disk,
    }
}

fn public(identity: &str) -> String {
    let identity: age::x25519::Identity = identity.parse().unwrap();
    identity.to_public().to_string()
}

#[tokio::test]
async fn a_copy_of_the_disk_reveals_nothing_and_age_decrypts_it_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let own = identity();
    let keys = Encryption::new(true, &[], Some(&own)).unwrap();
    let disk = opened(folder.path(), Some(keys));
    let plain = b"secret content here ".repeat(10_000);
    store(&disk, key(1), &plain).await;
    let seen = all_bytes(folder.path());
    assert!(!seen.windows(6).any(|part| part == b"secret"));
    assert!(seen.len() < plain.len() + 2000);
    assert_eq!(read_all(&disk, key(1)).await.unwrap(), plain);

    let path = folder.path().join(key(1).path());
    let file = fs_err::read(path).unwrap();
    let own: age::x25519::Identity = own.parse().unwrap();
    assert_eq!(age::decrypt(&own, &file).unwrap(), plain);
}

#[tokio::test]
async fn the_public_key_is_enough_to_write_and_the_private_key_is_needed_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second, stranger) = (identity(), identity(), identity());
    let recipients = [public(&first), public(&second)];
    let writer = Encryption::new(true, &recipients, None).unwrap();
    let writer = opened(folder.path(), Some(writer));
    store(&writer, key(1), b"sealed").await;
    for unable in [None, Some(stranger.as_str())] {
        let keys = Encryption::new(true, &recipients, unable).unwrap();
        let error = read_all(&opened(folder.path(), Some(keys)), key(1)).await;
        let error = error.unwrap_err();
        assert!(
            matches!(&error, Error::Denied { advice, .. } if advice.contains("age_identity")),
            "{error:?}"
        );
        assert!(!error.is_temporary());
        assert!(!format!("{error:?}").contains("AGE-SECRET"));
    }
    for able in [&first, &second] {
        let keys = Encryption::new(true, &[], Some(able)).unwrap();
        let found = read_all(&opened(folder.path(), Some(keys)), key(1)).await;
        assert_eq!(found.unwrap(), b"sealed");
    }
    // A key file may contain several keys. Reads work after encryption is turned off.
    let both = format!("# kept\n{stranger}\n{second}\n");
    let keys = Encryption::new(false, &[], Some(&both)).unwrap();
    let disk = opened(folder.path(), Some(keys));
    assert_eq!(read_all(&disk, key(1)).await.unwrap(), b"sealed");
    store(&disk, key(2), b"open").await;
    assert_eq!(
        read_all(&opened(folder.path(), None), key(2))
            .await
            .unwrap(),
        b"open"
    );
}

#[tokio::test]
async fn objects_stored_before_encryption_are_still_readable() {
    let folder = tempfile::tempdir().unwrap();
    store(&opened(folder.path(), None), key(1), b"from before").await;
    store(&opened(folder.path(), None), key(2), b"").await;
    let keys = Encryption::new(true, &[], Some(&identity())).unwrap();
    let disk = opened(folder.path(), Some(keys));
    assert_eq!(read_all(&disk, key(1)).await.unwrap(), b"from before");
    assert_eq!(read_all(&disk, key(2)).await.unwrap(), b"");
    assert_eq!(disk.size(key(1)).await.unwrap(), 11);
}

#[tokio::test]
async fn changed_bytes_and_truncation_are_detected() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Encryption::new(true, &[], Some(&identity())).unwrap();
    let disk = opened(folder.path(), Some(keys));
    let plain = vec![7; 200_000];
    store(&disk, key(1), &plain).await;
    let path = folder.path().join(key(1).path());
    let whole = fs_err::read(&path).unwrap();
    let noticed = async |bytes: &[u8]| {
        fs_err::write(&path, bytes).unwrap();
        let error = read_all(&disk, key(1)).await.unwrap_err();
        assert!(!error.is_temporary(), "{error:?}");
    };
    for at in [30, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        noticed(&changed).await;
    }
    for length in [whole.len() - 1, whole.len() - 70_000, 100, 30] {
        noticed(&whole[..length]).await;
    }
    fs_err::write(&path, &whole).unwrap();
    assert_eq!(read_all(&disk, key(1)).await.unwrap(), plain);
}
