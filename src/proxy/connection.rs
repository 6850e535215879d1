//! One connection of a command: one request, one decision, one answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::dial::{self, Blocked};
use super::tunnel::{Counted, Traffic, relay};
use super::{Decision, Ended, Proxy, Witness};
use crate::network::{Target, TargetError};
use crate::resolve::Resolver;

/// The longest head that is read.
const HEAD: usize = 32 << 10;

/// The most fields of a head.
const FIELDS: usize = 128;

/// Longest path that goes into a record.
const PATH: usize = 2048;

type Body = Either<Incoming, Full<Bytes>>;

/// What the service leaves for when the answer has been written.
#[derive(Debug)]
struct Left<'a, W: Witness> {
    /// One request, one decision: a second one on a connection gets none.
    asked: bool,
    open: Option<Open<'a, W>>,
    tunnel: Option<(OnUpgrade, TcpStream)>,
    /// The connection to the server of a plain request.
    upstream: JoinSet<()>,
}

/// Serves one connection to its end.
pub(super) async fn serve<R: Resolver, W: Witness>(proxy: &Proxy<R, W>, stream: TcpStream, number: u64) {
    let traffic = Arc::new(Traffic::default());
    let _ = stream.set_nodelay(true);
    let inside = TokioIo::new(Counted { stream, traffic: Arc::clone(&traffic) });
    let left = Mutex::new(Left { asked: false, open: None, tunnel: None, upstream: JoinSet::new() });
    let service = service_fn(|request| {
        let (left, traffic) = (&left, &traffic);
        async move { Ok::<_, Infallible>(answer(proxy, request, number, traffic, left).await) }
    });
    let http = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(proxy.patience.head)
        .max_buf_size(HEAD)
        .max_headers(FIELDS)
        .auto_date_header(false)
        .serve_connection(inside, service);
    let work = async {
        http.with_upgrades().await.map_err(|error| error.to_string())?;
        let tunnel = lock(&left).tunnel.take();
        let Some((upgrade, mut outside)) = tunnel else { return Ok(()) };
        let upgraded = upgrade.await.map_err(|error| error.to_string())?;
        match upgraded.downcast::<TokioIo<Counted>>() {
            Ok(parts) => {
                // What the command sent together with its request.
                outside.write_all(&parts.read_buf).await.map_err(|error| error.to_string())?;
                relay(parts.io.into_inner(), outside).await.map_err(|error| error.to_string())
            }
            Err(upgraded) => relay(TokioIo::new(upgraded), outside).await.map_err(|error| error.to_string()),
        }
    };
    let ended: Result<(), String> = tokio::select! {
        ended = work => ended,
        () = traffic.idle(proxy.patience.idle) => Err("nothing went either way for too long".to_owned()),
    };
    if let (Err(error), Some(open)) = (ended, &mut lock(&left).open) {
        open.error.get_or_insert(error);
    }
}

/// An allowed connection. Its end is told when it is dropped, whatever ended it.
#[derive(Debug)]
struct Open<'a, W: Witness> {
    witness: &'a W,
    connection: u64,
    address: Option<SocketAddr>,
    traffic: Arc<Traffic>,
    since: Instant,
    error: Option<String>,
}

impl<W: Witness> Drop for Open<'_, W> {
    fn drop(&mut self) {
        let (sent, received) = self.traffic.both();
        self.witness.ended(Ended {
            connection: self.connection,
            address: self.address,
            sent,
            received,
            time: self.since.elapsed(),
            error: self.error.take(),
        });
    }
}

async fn answer<'a, R: Resolver, W: Witness>(
    proxy: &'a Proxy<R, W>,
    request: Request<Incoming>,
    connection: u64,
    traffic: &Arc<Traffic>,
    left: &Mutex<Left<'a, W>>,
) -> Response<Body> {
    if std::mem::replace(&mut lock(left).asked, true) {
        return refusal(StatusCode::BAD_REQUEST, "-", "one connection carries one request");
    }
    let mut decision = Decision {
        connection,
        method: request.method().to_string(),
        target: said(request.uri()),
        path: None,
        addresses: Vec::new(),
        refused: None,
    };
    // One list for the whole of it: judged and dialled by the same.
    let allow = proxy.witness.permitted();
    let judged = match target(&request) {
        Ok(target) => {
            decision.target = target.to_string();
            if request.method() != Method::CONNECT {
                decision.path = request.uri().path_and_query().map(|path| cut(path.as_str()));
            }
            let found = dial::addresses(&allow, &target, &*proxy.resolver, proxy.patience.dial).await;
            found.map(|addresses| (target, addresses)).map_err(|blocked| match blocked {
                Blocked::Refused(_) => (StatusCode::FORBIDDEN, blocked.to_string()),
                Blocked::Unresolved(_) => (StatusCode::BAD_GATEWAY, blocked.to_string()),
            })
        }
        Err(error) => Err((StatusCode::BAD_REQUEST, error)),
    };
    let (target, addresses) = match judged {
        Ok(judged) => judged,
        Err((status, why)) => {
            let answer = refusal(status, &decision.target, &why);
            proxy.witness.decided(Decision { refused: Some(why), ..decision }).await;
            return answer;
        }
    };
    decision.addresses.clone_from(&addresses);
    if !proxy.witness.decided(decision).await {
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            &target.to_string(),
            "no record could be kept of it",
        );
    }
    let mut open = Open {
        witness: &proxy.witness,
        connection,
        address: None,
        traffic: Arc::clone(traffic),
        since: Instant::now(),
        error: None,
    };
    let answer = match dial::connect(&allow, &addresses, proxy.patience.dial).await {
        Err(error) => Err(error.to_string()),
        Ok((outside, address)) => {
            open.address = Some(address);
            if request.method() == Method::CONNECT {
                lock(left).tunnel = Some((hyper::upgrade::on(request), outside));
                Ok(Response::new(Either::Right(Full::default())))
            } else {
                pass_on(request, &target, outside, left).await
            }
        }
    };
    let answer = answer.unwrap_or_else(|error| {
        let answer = refusal(StatusCode::BAD_GATEWAY, &target.to_string(), &error);
        open.error = Some(error);
        answer
    });
    lock(left).open = Some(open);
    answer
}

/// Where a request wants to go.
fn target(request: &Request<Incoming>) -> Result<Target, String> {
    let (uri, headers) = (request.uri(), request.headers());
    let hosts = headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let framing =
        [header::TRANSFER_ENCODING, header::CONTENT_LENGTH].map(|name| headers.get_all(name).iter().count());
    let target = if request.method() == Method::CONNECT {
        if framing != [0, 0] {
            return Err("CONNECT has no content".to_owned());
        }
        Target::of_tunnel(uri.authority().map_or("", |it| it.as_str()), hosts)
    } else {
        // RFC 9112, 6.1: two framings of one request are two requests to somebody.
        if framing.iter().sum::<usize>() > 1 {
            return Err("Content-Length stands twice or together with Transfer-Encoding".to_owned());
        }
        Target::of_request(uri.scheme_str(), uri.authority().map(|it| it.as_str()), hosts)
    };
    target.map_err(|error: TargetError| error.to_string())
}

/// A plain request, made anew for its server.
async fn pass_on<W: Witness>(
    mut request: Request<Incoming>,
    target: &Target,
    outside: TcpStream,
    left: &Mutex<Left<'_, W>>,
) -> Result<Response<Body>, String> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| error.to_string())?;
    *request.version_mut() = Version::HTTP_11;
    strip(request.headers_mut());
    let host = HeaderValue::try_from(target.host_field()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD * 4)
        .handshake(TokioIo::new(outside))
        .await
        .map_err(|error| error.to_string())?;
    lock(left).upstream.spawn(async move { drop(connection.await) });
    let mut response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("the server switched to another protocol, which was not asked for".to_owned());
    }
    *response.version_mut() = Version::HTTP_11;
    strip(response.headers_mut());
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(response.map(Either::Left))
}

/// Removes what is for the next hop only: RFC 9110, 7.6.1. The framing is made anew from what was read.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        // The length is of the whole request, whoever says otherwise.
        .filter(|name| *name != header::CONTENT_LENGTH)
        .collect();
    let always = ["keep-alive", "proxy-connection"].map(HeaderName::from_static);
    let known = [
        header::CONNECTION,
        header::EXPECT,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    for name in named.into_iter().chain(always).chain(known) {
        headers.remove(name);
    }
}

/// What a request line said, where it cannot be understood: without the user in front of the host.
fn said(uri: &Uri) -> String {
    let authority = uri.authority().map_or("-", |it| it.as_str());
    cut(authority.rsplit('@').next().unwrap_or_default())
}

fn cut(text: &str) -> String {
    text.chars().take(PATH).collect()
}

/// An answer of the proxy's own. It closes the connection, as each but that to CONNECT does.
fn refusal(status: StatusCode, target: &str, why: &str) -> Response<Body> {
    let text = format!("execward: {target}: {why}\n");
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn lock<'m, 'a, W: Witness>(left: &'m Mutex<Left<'a, W>>) -> std::sync::MutexGuard<'m, Left<'a, W>> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}
