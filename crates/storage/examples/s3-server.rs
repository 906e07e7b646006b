//! An S3 server that stores objects in a folder, for scripts:
//! `s3-server FOLDER ACCESS_KEY SECRET_KEY`. Each folder inside FOLDER is a bucket.
//!
//! It listens on a free loopback port, prints its URL, and exits when its standard input is closed.
#![expect(
    clippy::print_stdout,
    reason = "the script that starts it reads the URL from stdout"
)]

use std::error::Error;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, access_key, secret_key] = arguments.as_slice() else {
        return Err("usage: s3-server FOLDER ACCESS_KEY SECRET_KEY".into());
    };
    let files = s3s_fs::FileSystem::new(folder).map_err(|error| format!("{folder}: {error:?}"))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(access_key, secret_key.as_str()));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    // A read of standard input can't be cancelled, so a thread waits for its end.
    std::thread::spawn(|| {
        let _ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            // Ignore clients that disconnect.
            let _ended = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
