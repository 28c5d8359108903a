//! `pingora-peer LISTEN SERVER THREADS`: passes requests on, adds `X-Forwarded-For`, keeps
//! connections to the server. No checks, no log, no statistics.

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session};

struct One(String);

#[async_trait]
impl ProxyHttp for One {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0.as_str(), false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        if let Some(client) = session.client_addr().and_then(|a| a.as_inet()) {
            request.append_header("X-Forwarded-For", client.ip().to_string())?;
        }
        Ok(())
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(server), Some(threads)) = (args.next(), args.next(), args.next())
    else {
        eprintln!("usage: pingora-peer LISTEN SERVER THREADS");
        std::process::exit(2);
    };
    let conf = ServerConf { threads: threads.parse().unwrap_or(1), ..ServerConf::default() };
    let mut process = Server::new_with_opt_and_conf(None, conf);
    process.bootstrap();
    let mut service = pingora_proxy::http_proxy_service(&process.configuration, One(server));
    service.add_tcp(&listen);
    process.add_service(service);
    process.run_forever();
}
