//! Certificates of additional authorities, for servers whose certificate a private authority
//! signed.

use std::fmt;

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use reqwest::Certificate;

/// Certificates of authorities that are trusted in addition to those of the machine.
#[derive(Clone)]
pub struct CaBundle {
    pem: String,
    /// For the Google Cloud Storage client.
    certificates: Vec<Certificate>,
    /// For the S3 client. Includes the machine's authorities.
    tls_context: TlsContext,
}

impl CaBundle {
    /// Parses one or more certificates in PEM.
    ///
    /// # Errors
    /// A message that says what is wrong with them.
    pub fn parse(pem: &str) -> Result<Self, String> {
        let certificates = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|_| "contains a certificate that is not valid PEM".to_owned())?;
        if certificates.is_empty() {
            return Err("contains no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned());
        }
        let unreadable = || "contains a certificate that can't be read".to_owned();
        // Only building a client parses the certificates completely.
        let client = reqwest::Client::builder().tls_certs_only(certificates.clone());
        client.build().map_err(|_| unreadable())?;
        let trust_store = TrustStore::default().with_pem_certificate(pem);
        let tls_context = TlsContext::builder().with_trust_store(trust_store).build();
        Ok(Self {
            pem: pem.to_owned(),
            certificates,
            tls_context: tls_context.map_err(|_| unreadable())?,
        })
    }

    /// Returns the certificates, for other HTTP clients.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.certificates.clone()
    }

    pub(crate) fn tls_context(&self) -> TlsContext {
        self.tls_context.clone()
    }
}

impl PartialEq for CaBundle {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl Eq for CaBundle {}

impl fmt::Debug for CaBundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.pem.matches("-----BEGIN CERTIFICATE-----").count();
        write!(formatter, "CaBundle({count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_certificates_are_refused_with_a_reason() {
        let truncated = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, expected) in [
            ("", "contains no certificate in PEM"),
            ("hello", "contains no certificate in PEM"),
            (truncated, "contains a certificate that can't be read"),
        ] {
            let message = CaBundle::parse(text).expect_err(expected);
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
