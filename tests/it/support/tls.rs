//! TLS in front of a plain server: a certificate by an authority that only the test knows.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A certificate for one name, by a new authority.
pub(crate) struct Issued {
    /// The authority's certificate in PEM. Only clients that are configured with it trust it.
    pub(crate) authority: String,
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl Issued {
    /// Creates an authority, which issues a certificate for a name or an address.
    pub(crate) fn to(name: &str, authority: &str) -> Self {
        let mut of_authority = CertificateParams::new(Vec::new()).unwrap();
        of_authority
            .distinguished_name
            .push(DnType::CommonName, authority);
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(of_authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let own = own.signed_by(&key, &authority).unwrap();
        Self {
            authority: authority.pem(),
            certificate: own,
            key,
        }
    }
}

/// A TLS proxy for the server. It ends when dropped.
pub(crate) struct Tls {
    address: SocketAddr,
    /// The authority's certificate in PEM. Only clients that are configured with it trust it.
    pub(crate) authority: String,
    running: tokio::task::JoinHandle<()>,
}

impl Tls {
    /// Starts it in front of `to`, for the name 127.0.0.1.
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Each authority is a different one.
        let issued = Issued::to("127.0.0.1", &format!("the authority of {address}"));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![issued.certificate.der().clone()],
                PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self {
            address,
            authority: issued.authority,
            running: tokio::spawn(accept(listener, acceptor, to)),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            // A client that disconnects, or does not trust the certificate, does not matter here.
            let carried = async {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            };
            let _ended = carried.await;
        });
        while connections.try_join_next().is_some() {}
    }
}
