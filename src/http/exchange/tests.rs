//! The client against a server that speaks TLS, with certificates made for the test.

use std::path::PathBuf;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

/// Serves one answer on every connection, under a certificate for `names` that `authority` vouches for. Returns its port.
async fn serve(authority: &Issuer<'static, KeyPair>, names: &[&str]) -> u16 {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate =
        CertificateParams::new(names).expect("names").signed_by(&key, authority).expect("signed");
    let settings = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let acceptor = TlsAcceptor::from(Arc::new(settings));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\nX-Y: z\r\ncontent-length: 2\r\n\r\nok").await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("signed");
    let text = base64::engine::general_purpose::STANDARD.encode(certificate.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    (Issuer::new(params, key), pem)
}

async fn post(url: &str, ca: Option<&Path>) -> Result<Answer, HttpError> {
    let (url, time) = (Url::parse(url).expect("an address"), Duration::from_secs(20));
    let fields = vec![("authorization", Zeroizing::new("Bearer sk-secret".to_owned()))];
    Client::default().post(Post { url: &url, ca, fields, body: b"{}".to_vec(), time, largest: 100 }).await
}

#[test]
fn a_server_must_be_vouched_for_under_the_name_that_was_asked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| -> PathBuf {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let ((ours, pem), (_, other)) = (authority(), authority());
        let (ours_pem, other_pem) = (put("ours.pem", &pem), put("other.pem", &other));
        let port = serve(&ours, &["127.0.0.1", "model.example.com"]).await;
        let url = format!("https://127.0.0.1:{port}/v1");
        let answer = post(&url, Some(&ours_pem)).await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_deref()), (200, Some(b"ok".as_slice())));
        assert_eq!(answer.fields[0], ("x-y".to_owned(), "z".to_owned()));
        for (ca, why) in [(Some(other_pem.as_path()), "another authority"), (None, "the host's store")] {
            let error = post(&url, ca).await.expect_err(why);
            let known = matches!(error, HttpError::Tls { .. } | HttpError::Trust(_));
            assert!(known && !format!("{error} {error:?}").contains("secret"), "{why}: {error}");
        }
        let misnamed = serve(&ours, &["elsewhere.example.com"]).await;
        let error =
            post(&format!("https://127.0.0.1:{misnamed}/"), Some(&ours_pem)).await.expect_err("misnamed");
        assert!(matches!(error, HttpError::Tls { .. }), "{error}");
        let empty = put("empty.pem", "nothing");
        assert!(matches!(post(&url, Some(&empty)).await, Err(HttpError::Trust(_))));
    });
}
