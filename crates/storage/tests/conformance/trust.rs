//! Servers behind TLS whose certificate an authority of one's own has signed.

use holdfast_storage::{Authorities, Disk, Error, GcsOptions, S3Options};

use crate::objects::{key, noise, put, read_all, told};
use crate::places::{self, PART_BYTES, name};
use crate::s3::S3Server;
use crate::tls::Tls;

fn assert_untrusted(error: &Error) {
    let told = told(error);
    let expected = "is set up wrongly: the certificate of its server is not trusted: set ca_file";
    assert!(told.contains(expected), "{told}");
    assert!(told.contains("UnknownIssuer"), "{told}");
    assert!(!error.may_pass());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_s3_server_is_trusted_by_the_authority_that_the_settings_name_and_not_without() {
    let server = S3Server::start().await;
    let tls = Tls::start(server.address).await;
    let stranger = Tls::start(server.address).await;
    let disk = |authority: Option<&str>| {
        let options = S3Options {
            authorities: authority.map(|pem| Authorities::parse(pem).unwrap()),
            ..places::options(&tls.endpoint())
        };
        Disk::s3(name("offsite"), options)
    };
    for unable in [disk(None), disk(Some(&stranger.authority))] {
        assert_untrusted(&unable.check().await.unwrap_err());
        assert_untrusted(&put(&unable, key(1), &noise(3)).await.unwrap_err());
    }
    // A file may hold several.
    let both = format!("{}\n# and\n{}", stranger.authority, tls.authority);
    let able = disk(Some(&both));
    able.check().await.unwrap();
    let large = usize::try_from(2 * PART_BYTES).unwrap() + 1;
    for (n, length) in [(1, 3), (2, large)] {
        let content = noise(length);
        put(&able, key(n), &content).await.unwrap();
        assert!(read_all(&able, key(n)).await == content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_google_is_trusted_alike() {
    let Some(options) = places::gcs_options("ENDPOINT") else {
        return;
    };
    let emulator = options.endpoint.as_deref().unwrap();
    let emulator = emulator.strip_prefix("http://").unwrap();
    let tls = Tls::start(emulator.parse().unwrap()).await;
    let disk = |authorities| {
        let options = GcsOptions {
            endpoint: Some(tls.endpoint()),
            authorities,
            ..options.clone()
        };
        Disk::gcs(name("google"), options).unwrap()
    };
    assert_untrusted(&disk(None).check().await.unwrap_err());
    assert_untrusted(&put(&disk(None), key(1), &noise(3)).await.unwrap_err());
    let able = disk(Some(Authorities::parse(&tls.authority).unwrap()));
    able.check().await.unwrap();
    let content = noise(3);
    put(&able, key(1), &content).await.unwrap();
    assert!(read_all(&able, key(1)).await == content);
}
