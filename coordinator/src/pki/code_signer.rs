//! The key that vouches for compiled code: one of its own, certified by the authority for nothing else.

use std::{fs, io, path::Path};

use dunlin_link::compiled::{CompiledRecord, SignedCompiled};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SigningKey as _, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{FIRST_YEAR, FOLDER, KEY_START, LAST_YEAR, Pki, PkiError, create_file, name};

/// Signs records of compiled code.
pub(crate) struct CodeSigner {
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

impl CodeSigner {
    /// The signer in `data_folder`. One that is missing, damaged or of another authority is made anew: nodes learn its certificate with
    /// each record.
    ///
    /// # Errors
    /// When its file cannot be read or written.
    pub(crate) fn open(data_folder: &Path, pki: &Pki) -> Result<Self, PkiError> {
        let folder = data_folder.join(FOLDER);
        let path = folder.join("code.pem");
        let failed = |source| PkiError::File { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) => {
                if let Some(signer) = Self::parse(&text, pki) {
                    return Ok(signer);
                }
                tracing::warn!("the key for compiled code is damaged or of another cluster; it is made anew");
                fs::remove_file(&path).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("dunlin-code:{}", pki.cluster_id()), &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = date_time_ymd(FIRST_YEAR, 1, 1);
        params.not_after = date_time_ymd(LAST_YEAR, 1, 1);
        let certificate = params.signed_by(&key, &pki.inner.issuer)?;
        let text = format!("{}{}", certificate.pem(), key.serialize_pem());
        create_file(&folder, &path, &text).map_err(failed)?;
        Ok(Self { key, certificate: certificate.der().clone() })
    }

    /// Vouches for a record.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub(crate) fn sign(&self, record: CompiledRecord) -> Result<SignedCompiled, PkiError> {
        let signature = self.key.sign(&record.statement())?;
        Ok(SignedCompiled { record, certificate: self.certificate.to_vec(), signature })
    }

    /// Whether a record is vouched for by this very key.
    pub(crate) fn has_certified(&self, signed: &SignedCompiled) -> bool {
        signed.certificate == self.certificate.as_ref()
    }

    fn parse(text: &str, pki: &Pki) -> Option<Self> {
        let (certificate, key) = text.split_at(text.find(KEY_START)?);
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let key = KeyPair::from_pem(key).ok()?;
        let (_, authority) = x509_parser::parse_x509_certificate(pki.certificate()).ok()?;
        {
            let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
            parsed.verify_signature(Some(authority.public_key())).ok()?;
        }
        Some(Self { key, certificate: certificate.into_owned() })
    }
}

impl std::fmt::Debug for CodeSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeSigner").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use dunlin_link::Digest;

    use super::*;

    #[test]
    fn the_signer_lasts_and_belongs_to_its_authority() {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pki = Pki::create(ours.path()).unwrap();
        let record = || {
            let digest = Digest::of(b"x");
            CompiledRecord { module: digest, target: "t".to_owned(), code: digest, bytes: 1 }
        };
        let signed = CodeSigner::open(ours.path(), &pki).unwrap().sign(record()).unwrap();
        let again = CodeSigner::open(ours.path(), &pki).unwrap();
        assert!(again.has_certified(&signed), "it is the same key");
        assert_eq!(again.sign(record()).unwrap(), signed);
        let (_, certificate) = x509_parser::parse_x509_certificate(&signed.certificate).unwrap();
        assert!(certificate.extended_key_usage().unwrap().unwrap().value.code_signing);
        // Another cluster's authority in the same folder.
        let foreign = Pki::create(other.path()).unwrap();
        let anew = CodeSigner::open(ours.path(), &foreign).unwrap();
        assert!(!anew.has_certified(&signed));
        fs::write(ours.path().join("pki/code.pem"), "junk").unwrap();
        assert!(
            !CodeSigner::open(ours.path(), &foreign).unwrap().has_certified(&anew.sign(record()).unwrap())
        );
    }
}
