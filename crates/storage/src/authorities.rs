//! Authorities whose certificates are trusted beside those that the machine trusts: what a server of
//! one's own, behind TLS, is usually signed by.

use std::fmt;
use std::sync::Arc;

use reqwest::Certificate;

/// Certificates of authorities, read and known to be of use.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    pem: Arc<str>,
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
        // Nothing but a client that is to trust them reads them to their end.
        let trusting = reqwest::Client::builder().tls_certs_only(certificates);
        match trusting.build() {
            Ok(_) => Ok(Self { pem: pem.into() }),
            Err(_) => Err("holds a certificate that can't be read".to_owned()),
        }
    }

    /// The certificates, as the client of Google's buckets takes them.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        // They were read before.
        Certificate::from_pem_bundle(self.pem.as_bytes()).unwrap_or_default()
    }

    /// The certificates, as the client of S3 takes them.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }
}

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
