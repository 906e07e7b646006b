//! Authorities whose certificates are trusted beside those that the machine trusts: what a server of
//! one's own, behind TLS, is usually signed by.

use std::fmt;

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use reqwest::Certificate;

/// Certificates of authorities, read and known to be of use.
#[derive(Clone)]
pub struct Authorities {
    pem: String,
    /// As the client of Google's buckets takes them.
    certificates: Vec<Certificate>,
    /// As the client of S3 takes them, beside those that the machine trusts.
    context: TlsContext,
}

impl Authorities {
    /// Reads one or more certificates in PEM.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(pem: &str) -> Result<Self, String> {
        let certificates = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|_| "holds a certificate that is no PEM".to_owned())?;
        if certificates.is_empty() {
            return Err("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned());
        }
        let unreadable = || "holds a certificate that can't be read".to_owned();
        // Nothing but a client that is to trust them reads them to their end.
        let trusting = reqwest::Client::builder().tls_certs_only(certificates.clone());
        trusting.build().map_err(|_| unreadable())?;
        let trusted = TrustStore::default().with_pem_certificate(pem);
        let context = TlsContext::builder().with_trust_store(trusted).build();
        Ok(Self {
            pem: pem.to_owned(),
            certificates,
            context: context.map_err(|_| unreadable())?,
        })
    }

    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        self.certificates.clone()
    }

    pub(crate) fn context(&self) -> TlsContext {
        self.context.clone()
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl Eq for Authorities {}

impl fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.pem.matches("-----BEGIN CERTIFICATE-----").count();
        write!(formatter, "Authorities({count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_told() {
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, expected) in [
            ("", "holds no certificate in PEM"),
            ("hello", "holds no certificate in PEM"),
            (cut, "holds a certificate that can't be read"),
        ] {
            let told = Authorities::parse(text).expect_err(expected);
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
