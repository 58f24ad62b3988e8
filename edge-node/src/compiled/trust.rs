//! Whether compiled code is the cluster's: signed for this module and machine by a key that the pinned authority certified for code.

use std::path::Path;

use dunlin_link::{
    Digest,
    compiled::{CompiledRecord, SignedCompiled},
};
use ring::signature::{ED25519, UnparsedPublicKey};
use x509_parser::{oid_registry::OID_SIG_ED25519, parse_x509_certificate};

use crate::session::authority_file;

/// The authority that the node pinned when it joined.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    /// Its certificate, DER.
    authority: Vec<u8>,
}

/// Why code is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untrusted {
    #[error("it is of another module")]
    OtherModule,
    #[error("it is for another kind of machine")]
    OtherTarget,
    #[error("the certificate of its signature is malformed")]
    Malformed,
    #[error("the certificate of its signature is not of this cluster's authority")]
    Foreign,
    #[error("the certificate of its signature is not for compiled code")]
    OtherUse,
    #[error("its signature does not fit")]
    Signature,
    #[error("this machine is no node of a cluster whose code it could trust")]
    NoAuthority,
    #[error("its content is not what was signed")]
    Content,
}

impl Trust {
    /// The authority of a certificate.
    pub(crate) fn of(authority: Vec<u8>) -> Self {
        Self { authority }
    }

    /// The authority of the node whose modules lie in the folder of this one.
    ///
    /// # Errors
    /// When the node has not joined a cluster.
    pub(crate) fn beside(module: &Path) -> Result<Self, Untrusted> {
        let state_dir = module.parent().and_then(Path::parent).ok_or(Untrusted::NoAuthority)?;
        let authority = std::fs::read(authority_file(state_dir)).map_err(|_| Untrusted::NoAuthority)?;
        Ok(Self::of(authority))
    }

    /// Checks the whole word but the content itself.
    pub(crate) fn check(
        &self,
        signed: &SignedCompiled,
        module: Digest,
        target: &str,
    ) -> Result<(), Untrusted> {
        let SignedCompiled { record, certificate, signature } = signed;
        let key = self.key(certificate)?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(&record.statement(), signature)
            .map_err(|_| Untrusted::Signature)?;
        let CompiledRecord { module: of, target: meant, .. } = record;
        if *of != module {
            return Err(Untrusted::OtherModule);
        }
        if meant != target {
            return Err(Untrusted::OtherTarget);
        }
        Ok(())
    }

    /// The key that the authority certified for code. A node's own certificate is of the same authority, for another use.
    fn key(&self, certificate: &[u8]) -> Result<Vec<u8>, Untrusted> {
        let (_, authority) = parse_x509_certificate(&self.authority).map_err(|_| Untrusted::NoAuthority)?;
        let (_, certificate) = parse_x509_certificate(certificate).map_err(|_| Untrusted::Malformed)?;
        certificate.verify_signature(Some(authority.public_key())).map_err(|_| Untrusted::Foreign)?;
        let usage = certificate.extended_key_usage().map_err(|_| Untrusted::Malformed)?;
        if !usage.is_some_and(|usage| usage.value.code_signing) {
            return Err(Untrusted::OtherUse);
        }
        let key = certificate.public_key();
        if key.algorithm.algorithm != OID_SIG_ED25519 {
            return Err(Untrusted::OtherUse);
        }
        Ok(key.subject_public_key.data.to_vec())
    }
}

#[cfg(test)]
pub(crate) mod test {
    //! A cluster's authority and its signer, for tests.

    use dunlin_link::compiled::{CompiledRecord, SignedCompiled};
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519,
        SigningKey as _,
    };

    /// An authority and a key that it certified.
    pub(crate) struct Signer {
        /// The authority's certificate.
        pub(crate) authority: Vec<u8>,
        key: KeyPair,
        certificate: Vec<u8>,
    }

    impl Signer {
        pub(crate) fn new(usage: ExtendedKeyUsagePurpose) -> Self {
            let authority_key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = params.self_signed(&authority_key).unwrap();
            let issuer = Issuer::from_ca_cert_der(authority.der(), authority_key).unwrap();
            let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            let mut params = CertificateParams::default();
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &issuer).unwrap();
            Self { authority: authority.der().to_vec(), key, certificate: certificate.der().to_vec() }
        }

        pub(crate) fn sign(&self, record: CompiledRecord) -> SignedCompiled {
            let signature = self.key.sign(&record.statement()).unwrap();
            SignedCompiled { record, certificate: self.certificate.clone(), signature }
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning};

    use super::{CompiledRecord, Digest, SignedCompiled, Trust, Untrusted, test::Signer};

    #[test]
    fn only_the_cluster_s_word_for_this_module_and_machine_counts() {
        let (ours, foreign, node) =
            (Signer::new(CodeSigning), Signer::new(CodeSigning), Signer::new(ClientAuth));
        let (module, code) = (Digest::of(b"module"), Digest::of(b"code"));
        let record = CompiledRecord { module, target: "t".to_owned(), code, bytes: 4 };
        let trust = Trust::of(ours.authority.clone());
        let signed = ours.sign(record.clone());
        assert_eq!(trust.check(&signed, module, "t"), Ok(()));
        assert_eq!(trust.check(&signed, code, "t"), Err(Untrusted::OtherModule));
        assert_eq!(trust.check(&signed, module, "u"), Err(Untrusted::OtherTarget));
        assert_eq!(trust.check(&foreign.sign(record.clone()), module, "t"), Err(Untrusted::Foreign));
        let by_a_node = Trust::of(node.authority.clone());
        assert_eq!(by_a_node.check(&node.sign(record.clone()), module, "t"), Err(Untrusted::OtherUse));
        let other = CompiledRecord { bytes: 5, ..record.clone() };
        assert_eq!(
            trust.check(&SignedCompiled { record: other, ..signed.clone() }, module, "t"),
            Err(Untrusted::Signature)
        );
        assert_eq!(
            trust.check(&SignedCompiled { signature: Vec::new(), ..signed.clone() }, module, "t"),
            Err(Untrusted::Signature)
        );
        assert_eq!(
            trust.check(&SignedCompiled { certificate: vec![1, 2], ..signed.clone() }, module, "t"),
            Err(Untrusted::Malformed)
        );
        // The authority's own certificate is none for code.
        let by_authority = SignedCompiled { certificate: ours.authority.clone(), ..signed.clone() };
        assert_eq!(trust.check(&by_authority, module, "t"), Err(Untrusted::OtherUse));
        assert_eq!(Trust::of(Vec::new()).check(&signed, module, "t"), Err(Untrusted::NoAuthority));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Trust::beside(&folder.path().join("modules/x.wasm")).unwrap_err(), Untrusted::NoAuthority);
    }
}
