//! A real S3 server in this process: s3s-fs, which checks signatures, over a separate folder. It
//! can be killed, with every connection, and restarted at the same address.

use std::net::SocketAddr;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The key pair that the server knows.
pub(crate) const ACCESS_KEY: &str = "AKTESTHOLDFAST";
pub(crate) const SECRET_KEY: &str = "a-secret-that-shows-nowhere";
/// The bucket that it has.
pub(crate) const BUCKET: &str = "backups";

/// Makes the service of a server that stores its files in a folder.
type MakeService = fn(&Path) -> S3Service;

/// The server. It ends when dropped.
pub(crate) struct S3Server {
    pub(crate) address: SocketAddr,
    make: MakeService,
    folder: tempfile::TempDir,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl S3Server {
    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        Self::start_with(service).await
    }

    /// Starts a server with another service.
    pub(crate) async fn start_with(make: MakeService) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join(BUCKET)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = Some(tokio::spawn(serve(listener, make(folder.path()))));
        Self {
            address,
            make,
            folder,
            running,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The files that it stores, parts of unfinished uploads included.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Kills it at once.
    pub(crate) async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ended = running.await;
        }
    }

    /// Restarts it after [`S3Server::kill`], with its stored files.
    pub(crate) async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let service = (self.make)(self.folder.path());
        self.running = Some(tokio::spawn(serve(listener, service)));
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

fn service(folder: &Path) -> S3Service {
    service_of(s3s_fs::FileSystem::new(folder).unwrap())
}

/// Returns a service that knows the key pair.
pub(crate) fn service_of(files: impl s3s::S3) -> S3Service {
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    builder.build()
}

async fn serve(listener: TcpListener, service: S3Service) {
    // Dropped with this future, so that a killed server leaves no open connection.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let service = service.clone();
        connections.spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            // A client that disconnects does not matter to the server.
            let _ended = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}
