//! Bramble's balancer alone, as `bench serve PORT THREADS CERTIFICATE [no-log]`, until its input ends.

use crate::peers::{ORIGIN_PORT, TCP, TLS};
use crate::process::Done;
use model::{
    Backend, Bind, Certificate, Check, Endpoint, Frontend, Millis, Mode, Node, NodeId, Pem,
    Revision, Role, Server, Settings,
};
use std::fs::OpenOptions;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};

pub(crate) fn run(args: &[&str]) -> Done<()> {
    let [port, threads, pem, rest @ ..] = args else {
        return Err("usage: bench serve PORT THREADS CERTIFICATE [no-log]".into());
    };
    let (port, threads): (u16, usize) = (port.parse()?, threads.parse()?);
    let id: NodeId = "lb".parse()?;
    let pem = Pem::read(&std::fs::read_to_string(pem)?);
    let settings = settings(&id, port, pem, rest != ["no-log"])?;
    let board = control::StatusBoard::new(id.clone(), "bench");
    let (_keep, receiver) = control::Snapshot::new(Revision(1), settings, &id).channel();
    let (_trigger, shutdown) = control::Shutdown::new();
    // Written line by line like any file, and nothing fills up.
    let log = OpenOptions::new().write(true).open("/dev/null")?;
    let options = proxy::Options { threads: Some(threads), access_log: Some(Box::new(log)) };
    let reporter = board.reporter(model::status::Subsystem::Proxy);
    let _running = proxy::start(receiver, reporter, shutdown, options)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn settings(id: &NodeId, port: u16, pem: Pem, log: bool) -> Done<Settings> {
    let mut all = Settings {
        nodes: vec![Node {
            id: id.clone(),
            name: "Lb".parse()?,
            roles: [Role::Balancer].into(),
            ..Node::default()
        }],
        frontends: Vec::new(),
        backends: Vec::new(),
        ..Settings::default()
    };
    let certificate = Certificate { name: "bench".parse()?, chain: pem.chain, key: pem.key };
    for (mode, offset) in [(Mode::Http, 0), (Mode::Tcp, TCP)] {
        let bind: Bind = format!("127.0.0.1:{}", port + offset).parse()?;
        let secure: Bind = format!("127.0.0.1:{} ssl", port + TLS).parse()?;
        let http = mode == Mode::Http;
        let server = Server {
            name: "s1".parse()?,
            address: Some(Endpoint(SocketAddrV4::new(Ipv4Addr::LOCALHOST, ORIGIN_PORT))),
            ..Server::default()
        };
        let backend = Backend {
            name: format!("back-{mode}").parse()?,
            mode,
            servers: vec![server],
            check: Check { inter: Millis::seconds(2), ..Check::default() },
            ..Backend::default()
        };
        all.frontends.push(Frontend {
            name: format!("front-{mode}").parse()?,
            mode,
            bind: if http { vec![bind, secure] } else { vec![bind] },
            certificates: if http { vec![certificate.name.clone()] } else { Vec::new() },
            default_backend: backend.name.clone(),
            maxconn: 20_000,
            httplog: log,
            timeout_client: Millis::seconds(50),
            timeout_http_keep_alive: Millis::seconds(50),
            ..Frontend::default()
        });
        all.backends.push(backend);
    }
    all.certificates.push(certificate);
    Ok(all)
}
