//! Those who vouch for users and servers: an operator with an account, and a certificate authority.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair as TlsKeyPair};
use serde_json::{Value, json};

/// An operator of NATS servers, and an account with one user.
pub(super) struct Authority {
    operator: KeyPair,
    account: KeyPair,
    user: KeyPair,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            user: KeyPair::new_user(),
        }
    }

    pub(super) fn server_configuration(&self) -> String {
        let operator = sign(&self.operator, &self.operator, json!({ "type": "operator" }));
        let limits = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1 });
        let claims = json!({ "type": "account", "limits": limits });
        let account = sign(&self.operator, &self.account, claims);
        let name = self.account.public_key();
        let accounts = format!("resolver_preload: {{ {name}: {account} }}");
        format!("operator: {operator}\nresolver: MEMORY\n{accounts}")
    }

    /// The user's credentials file.
    pub(super) fn credentials(&self) -> String {
        let claims = json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 });
        let jwt = sign(&self.account, &self.user, claims);
        let seed = self.user.seed().unwrap();
        let jwt = format!("-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n");
        let seed =
            format!("-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n");
        jwt + "\n" + &seed
    }
}

/// A JWT in which `issuer` says these things of `subject`.
fn sign(issuer: &KeyPair, subject: &KeyPair, mut claims: Value) -> String {
    claims["version"] = json!(2);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let (iss, sub) = (issuer.public_key(), subject.public_key());
    let body =
        json!({ "jti": "test", "iat": 0, "iss": iss, "sub": sub, "name": "test", "nats": claims });
    let signed = format!("{header}.{}", encode(&body));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// A certificate authority, which nobody trusts who isn't told to.
pub(super) struct Certificates {
    authority: Issuer<'static, TlsKeyPair>,
    certificate: String,
}

impl Certificates {
    pub(super) fn new() -> Self {
        let key = TlsKeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap().pem();
        Self { authority: Issuer::new(parameters, key), certificate }
    }

    /// A server's configuration with TLS and these further `settings` of it. Writes the
    /// certificates of the server and of a client named `me` into the directory.
    pub(super) fn server_configuration(&self, directory: &Path, settings: &str) -> String {
        fs::write(directory.join("ca.pem"), &self.certificate).unwrap();
        self.certify(directory, "server", "127.0.0.1");
        self.certify(directory, "me", "me");
        let settings = settings.replace("ca.pem", &format!("\"{}/ca.pem\"", directory.display()));
        let file = |name: &str| format!("\"{}/{name}\"", directory.display());
        format!(
            "tls {{ cert_file: {}, key_file: {}, {settings} }}",
            file("server.pem"),
            file("server.key")
        )
    }

    pub(super) fn write_another_authority(&self, path: &Path) {
        fs::write(path, Self::new().certificate).unwrap();
    }

    fn certify(&self, directory: &Path, file: &str, name: &str) {
        let key = TlsKeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.authority).unwrap();
        fs::write(directory.join(format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(directory.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}
