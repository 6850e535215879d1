//! One request and its answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::Url;
use super::trust::Trust;
use crate::network::Host;
use crate::resolve::{Resolver as _, System};

/// Addresses of a name that are tried, and how long each may take to answer.
const TRIED: usize = 4;
const CONNECT: Duration = Duration::from_secs(5);

/// Largest head of an answer, and most fields in it.
const MAX_HEAD: usize = 32 << 10;
const MAX_FIELDS: usize = 100;

/// A client. Clones share what they have read of the host.
#[derive(Debug, Clone, Default)]
pub struct Client {
    resolver: Arc<System>,
    trust: Arc<Trust>,
}

/// Something to send.
pub struct Post<'a> {
    /// Where to.
    pub url: &'a Url,
    /// Certificates (PEM) to hold the server's against, in place of the host's.
    pub ca: Option<&'a Path>,
    /// Fields beside those that each request has. Their values are shown nowhere.
    pub fields: Vec<(&'static str, Zeroizing<String>)>,
    /// What is sent.
    pub body: Vec<u8>,
    /// All of it may take so long: names, connection, TLS, and the whole answer.
    pub time: Duration,
    /// Largest body of an answer, in bytes.
    pub largest: usize,
}

impl std::fmt::Debug for Post<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("url", self.url).field("time", &self.time).finish_non_exhaustive()
    }
}

/// What a server said. All of it is a stranger's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status: 100 to 599 from a sane server.
    pub status: u16,
    /// Fields: the name in lower case, and the value where it is text.
    pub fields: Vec<(String, String)>,
    /// The body; `None` where it was too large or broke off.
    pub body: Option<Vec<u8>>,
}

/// Why there is no answer. Nothing of what was sent stands in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Its time has passed.
    #[error("{host} did not answer within {} s", time.as_secs_f64())]
    Time {
        /// Who.
        host: String,
        /// How long it had.
        time: Duration,
    },
    /// The name has no address.
    #[error("{0}")]
    Name(String),
    /// No connection.
    #[error("cannot connect to {host}: {error}")]
    Connect {
        /// To whom.
        host: String,
        /// The system's words.
        error: io::Error,
    },
    /// There is nothing to hold its certificate against.
    #[error("certificates: {0}")]
    Trust(String),
    /// It is not whom it should be, or speaks no TLS.
    #[error("no secure connection to {host}: {error}")]
    Tls {
        /// Whom.
        host: String,
        /// The library's words.
        error: io::Error,
    },
    /// The connection broke off, or what came is no HTTP.
    #[error("{host} broke off, or did not speak HTTP: {error}")]
    Http {
        /// Who.
        host: String,
        /// The library's words.
        error: hyper::Error,
    },
    /// A field that no request can have.
    #[error("a field of the request has characters that no field has")]
    Field,
}

impl Client {
    /// Sends, and waits for the whole answer.
    ///
    /// # Errors
    /// When there is none in time; see [`HttpError`]. A status that is an error is an answer.
    pub async fn post(&self, post: Post<'_>) -> Result<Answer, HttpError> {
        let (host, time) = (post.url.authority(), post.time);
        tokio::time::timeout(time, self.exchange(post)).await.unwrap_or(Err(HttpError::Time { host, time }))
    }

    async fn exchange(&self, post: Post<'_>) -> Result<Answer, HttpError> {
        let Post { url, ca, .. } = post;
        let stream = self.connect(url).await?;
        if !url.secure {
            return converse(stream, post).await;
        }
        let (trust, file) = (Arc::clone(&self.trust), ca.map(Path::to_owned));
        let settings = tokio::task::spawn_blocking(move || trust.settings(file.as_deref())).await;
        let settings =
            settings.map_err(|error| HttpError::Trust(error.to_string()))?.map_err(HttpError::Trust)?;
        let failed = |error| HttpError::Tls { host: url.authority(), error };
        let name = match &url.host {
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|error| failed(io::Error::other(error)))?
            }
            Host::Address(address) => ServerName::from(*address),
        };
        let stream = TlsConnector::from(settings).connect(name, stream).await.map_err(failed)?;
        converse(stream, post).await
    }

    async fn connect(&self, url: &Url) -> Result<TcpStream, HttpError> {
        let addresses: Vec<IpAddr> = match &url.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                self.resolver.resolve(name).await.map_err(|error| HttpError::Name(error.to_string()))?
            }
        };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses.into_iter().take(TRIED) {
            let connecting = TcpStream::connect(SocketAddr::new(address, url.port));
            match tokio::time::timeout(CONNECT, connecting).await {
                Ok(Ok(stream)) => {
                    // It only makes it faster.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(HttpError::Connect { host: url.authority(), error: last })
    }
}

/// Speaks HTTP/1.1 on a connection that is used for nothing else.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    post: Post<'_>,
) -> Result<Answer, HttpError> {
    let Post { url, fields, body, largest, .. } = post;
    let host = url.authority();
    let failed = |error| HttpError::Http { host: url.authority(), error };
    let path = if url.path.is_empty() { "/" } else { &url.path };
    let agent = HeaderValue::from_static(concat!("execward/", env!("CARGO_PKG_VERSION")));
    let field = |text: &str| HeaderValue::from_str(text).map_err(|_| HttpError::Field);
    let mut request = hyper::Request::post(path)
        .header(HOST, field(&host)?)
        .header(USER_AGENT, agent)
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| HttpError::Field)?;
    for (name, value) in fields {
        let mut value = field(&value)?;
        value.set_sensitive(true);
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let fields = head.headers.iter().filter_map(text).collect();
        let body = Limited::new(body, largest).collect().await.ok();
        let body = body.map(|body| body.to_bytes().to_vec());
        Ok(Answer { status: head.status.as_u16(), fields, body })
    };
    // No task of its own, so that nothing goes on when this future is dropped. A connection that ends first has handed over
    // what it read.
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        _ = &mut connection => {}
    }
    exchange.await
}

#[cfg(test)]
mod tests;
