//! Serves `DIR/site/` on an address, with nothing else around: for measuring and for trying out.
//!
//! `cargo run --release -p server --example serve -- DIR 127.0.0.1 8080`

use control::{Shutdown, Snapshot, StatusBoard};
use model::status::Subsystem;
use model::{Cidr, DEFAULT_SITE, Link, Node, NodeId, Port, Revision, Role, Settings, Site};
use std::error::Error;
use std::net::Ipv4Addr;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: serve DIR ADDRESS PORT";
    let dir = PathBuf::from(args.next().ok_or(usage)?);
    let address: Ipv4Addr = args.next().ok_or(usage)?.parse()?;
    let port = Port::new(args.next().ok_or(usage)?.parse()?)?;
    let id: NodeId = "web01".parse()?;
    let node = Node {
        id: id.clone(),
        name: "Web01".parse()?,
        roles: [Role::Web].into(),
        eth0: Link { address: Some(Cidr::new(address, 32)?), ..Link::default() },
        ..Node::default()
    };
    let site = Site { name: DEFAULT_SITE.parse()?, port, ..Site::default() };
    let settings = Settings { nodes: vec![node], sites: vec![site], ..Settings::default() };
    let (_publish, snapshots) = Snapshot::new(Revision(1), settings, &id).channel();
    let board = StatusBoard::new(id, "example");
    let (_stop, shutdown) = Shutdown::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let options = server::Options { data_dir: dir };
        server::start(snapshots, board.reporter(Subsystem::Server), shutdown, options);
        std::future::pending::<()>().await;
    });
    Ok(())
}
