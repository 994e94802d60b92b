use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The one crypto provider of the mesh: aws-lc-rs, never installed as the process's default.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
        .clone()
}

/// SHA-256, by the provider's own code: what join tokens and content hashes use.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let mut digest = [0; 32];
    if let rustls::SupportedCipherSuite::Tls13(suite) = suite {
        let hash = suite.common.hash_provider.hash(data);
        digest.copy_from_slice(hash.as_ref());
    }
    digest
}
