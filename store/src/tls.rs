//! Makes TLS connections to PostgreSQL by rustls. `require` encrypts and does not check the certificate (as in libpq). `verify-full` checks
//! the certificate's chain and host name against `ca_file`, or against the system's bundle.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::StoreError;

const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

pub fn client_config(verify: bool, ca_file: Option<&Path>) -> Result<ClientConfig, StoreError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Settings { key: "sslmode", message: error.to_string() })?;
    if !verify && ca_file.is_none() {
        let verifier = Arc::new(AnyServer(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let roots = match ca_file {
        Some(file) => roots(file)?,
        None => {
            let bundle =
                SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists()).ok_or_else(|| {
                    let message =
                        "sslmode verify-full needs ca_file: this system has no bundle of CAs".to_owned();
                    StoreError::Settings { key: "ca_file", message }
                })?;
            roots(bundle)?
        }
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots(file: &Path) -> Result<RootCertStore, StoreError> {
    let fail = |message: String| StoreError::Settings { key: "ca_file", message };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|e| fail(format!("read {}: {e}", file.display())))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| fail(format!("read {}: {e}", file.display())))?;
        roots.add(certificate).map_err(|e| fail(format!("{}: {e}", file.display())))?;
    }
    if roots.is_empty() {
        return Err(fail(format!("{} holds no certificate", file.display())));
    }
    Ok(roots)
}

/// `sslmode=require` without a CA: the signature is checked, the identity is not.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl AnyServer {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.0.signature_verification_algorithms
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}
