//! `hyper-peer LISTEN SERVER THREADS`: passes requests on, adds `X-Forwarded-For`, keeps
//! connections to the server. No checks, no log, no statistics.

use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpListener;

type Pool = Client<HttpConnector, Incoming>;
type Answer = Response<Either<Incoming, Empty<Bytes>>>;

async fn pass(
    pool: Pool,
    server: String,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let target = Uri::builder().scheme("http").authority(server).path_and_query(path).build();
    let client = HeaderValue::from_str(&peer.ip().to_string());
    if let (Ok(target), Ok(client)) = (target, client) {
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        headers.remove(CONNECTION);
        headers.append(HeaderName::from_static("x-forwarded-for"), client);
        if let Ok(answer) = pool.request(request).await {
            return Ok(answer.map(Either::Left));
        }
    }
    let mut answer = Response::new(Either::Right(Empty::new()));
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    Ok(answer)
}

async fn serve(listen: SocketAddr, server: String) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool: Pool = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (io, peer) = listener.accept().await?;
        io.set_nodelay(true)?;
        let (pool, server) = (pool.clone(), server.clone());
        tokio::spawn(async move {
            let service = service_fn(move |r| pass(pool.clone(), server.clone(), peer, r));
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(io), service).await;
        });
    }
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let listen = args.next().and_then(|a| a.parse().ok());
    let (Some(listen), Some(server), Some(threads)) = (listen, args.next(), args.next()) else {
        eprintln!("usage: hyper-peer LISTEN SERVER THREADS");
        std::process::exit(2);
    };
    let threads = threads.parse().unwrap_or(1);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(threads).enable_all().build()?.block_on(serve(listen, server))
}
