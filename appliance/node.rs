//! One node, from start to stop.

use crate::aboard::{Aboard, With};
use crate::adapters::{
    BoardsAround, ConfirmedNetwork, FloatingAddresses, FrontendStatistics, MirrorTransport,
    PageApproval, PageAudit, PageFailover, PageJournal, PageLog, PageProbe, PageSessions,
    PageTrials, Will, bear_witness, serve_mirror,
};
use crate::adoption::{Household, PageAdoption, about, found};
use crate::cli::admin_everywhere;
use crate::device;
use crate::password::{self, PagePassword};
use crate::recovery;
use crate::services::{self, AuditCopies, Doer, PageTokens, SharedSessions, SharedVisits};
use anyhow::Context;
use control::{Control, Engine, Shutdown, StatusBoard, Storage};
use init::Guardian;
use journal::Journal;
use model::status::Subsystem;
use model::{DeviceId, Hostname, Node, NodeId, Settings};
use network::Kernel;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use store::{DataLock, Local, Store};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// How long running requests may take once this node stops.
const DRAIN: Duration = Duration::from_secs(3);
/// How long the successor may take to announce itself; VRRP keeps its own, shorter limits.
const FAREWELL: Duration = Duration::from_secs(10);

/// Memory from this size on is returned when it is freed, in bytes.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1024 * 1024;

/// Threads beside the page's own for what may block: each of them costs memory for as long as it
/// lives, and the database lets one in at a time anyway.
const BESIDE: usize = 8;

/// How to run a node.
#[derive(Debug)]
pub(crate) struct Options {
    /// Where everything is kept.
    pub(crate) data: PathBuf,
    /// Where the admin page listens; None: port 1936 of every address.
    pub(crate) admin: Option<SocketAddr>,
    /// The board's identity, where it has none yet or is to get another.
    pub(crate) node: Option<NodeId>,
    /// Where the load balancer's access log goes, besides the ring in memory.
    pub(crate) access_log: Option<PathBuf>,
    /// How long a change of this node's addresses may wait for a confirmation. For tests: no
    /// operator is told of `--confirm-within`.
    pub(crate) confirm_within: Duration,
}

/// Runs a node until SIGTERM or SIGINT.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let journal = Journal::new();
    log(&journal);
    allow_many_connections();
    give_memory_back();
    let aboard = Aboard::find(&journal, &options.data);
    let _lock = DataLock::take(&options.data)?;
    let store = Store::open(&options.data)?;
    let key = device::key(&options.data)?;
    let id = identity(&store, key.identity.device(), options.node.as_ref())?;
    let board = StatusBoard::new(id.clone(), env!("CARGO_PKG_VERSION"));
    if let Some(aside) = store.damaged() {
        board.notice(
            "database-damaged",
            format!(
                "The settings database was damaged and could not be read. It was set aside as {} and this node starts without settings and without a password: claim it again and restore its settings, or adopt it from another node.",
                aside.display()
            ),
        );
    }
    key.say(&board);
    let first = first_settings(&id, key.identity.device(), aboard.as_ref().and_then(Aboard::name));
    let (engine, control) = Engine::new(store.revisions(), &id, first)?;
    // Traffic must not be able to lock the operator out: the page has a runtime of its own.
    let admin = Builder::new_current_thread().max_blocking_threads(BESIDE).enable_all().build()?;
    let data = Builder::new_multi_thread().enable_all().thread_name("data").build()?;
    let at = options.admin.unwrap_or_else(admin_everywhere);
    let listener = admin.block_on(TcpListener::bind(at)).with_context(|| {
        format!("the admin page cannot listen on {at}; is another node running?")
    })?;
    let access_log = options.access_log.as_ref().map(open_log).transpose()?;

    let (trigger, shutdown) = Shutdown::new();
    let again = Arc::new(Notify::new());
    let household = Arc::new(Household {
        node: id.clone(),
        control: control.clone(),
        board: board.clone(),
        local: store.local(),
        aboard: aboard.clone(),
        again: again.clone(),
        replaced: Mutex::default(),
    });
    let network = network::Options {
        about: Some(about(key.identity.device().clone(), household.clone())),
        ..aboard.as_ref().map(Aboard::network).unwrap_or_default()
    };
    let channel = cluster::Options::new(
        key.identity,
        device::pins(control.clone()),
        household.clone(),
        household,
    );
    let house = data.block_on(async {
        let given = Given { channel, network, local: store.local(), access_log };
        House::build(&options, given, &control, &board, &shutdown)
    })?;
    let mut engine = engine;
    engine.add_preflight(house.proxy.preflight());
    engine.add_preflight(house.server.preflight());
    data.spawn(engine.run());
    data.spawn(note_running(control.clone(), board.clone()));
    let joined = With {
        id: &id,
        control: &control,
        board: &board,
        local: &store.local(),
        network: &house.network,
        vrrp: &house.vrrp,
        shutdown: &shutdown,
    };
    let started = match &aboard {
        Some(aboard) => Some(data.block_on(aboard.start(joined))?),
        None => None,
    };
    if let Some(started) = &started {
        admin.spawn(started.ticks.clone().run());
    }
    let radio = started.map(|started| started.radio);
    let system = aboard.clone().map(|aboard| -> Arc<dyn webui::System> { Arc::new(aboard) });
    let sessions = store.sessions()?;
    let clock = (board.clone(), aboard.is_some());
    // Elsewhere than on a board of its own the clock is somebody else's affair, and set.
    let audit =
        store.audit(&id, move || !clock.1 || clock.0.own().system.clock_unix_ms.is_some())?;
    if aboard.as_ref().is_some_and(Aboard::wants_new_password)
        && password::forget(&store.local(), &audit, &board)?
    {
        data.spawn(recovery::tell(control.clone(), id.clone()));
    }
    let doer = Arc::new(Doer {
        id: id.clone(),
        cluster: house.cluster.clone(),
        board: board.clone(),
        vrrp: house.vrrp.clone(),
        proxy: house.proxy.clone(),
        mirror: house.mirror.clone(),
        journal: journal.clone(),
        system: system.clone(),
        radio: radio.clone(),
        sessions: sessions.clone(),
        audit: audit.clone(),
        network: house.network.clone(),
    });
    data.block_on(async {
        let (cluster, watch) = (&house.cluster, || control.watch());
        let shared = Arc::new(SharedSessions(sessions.clone()));
        cluster::share_sessions(cluster, watch(), shutdown.clone(), shared);
        let copies = Arc::new(AuditCopies { node: id.clone(), log: audit.clone() });
        cluster::share_audit(cluster, watch(), shutdown.clone(), copies);
        let visits = Arc::new(SharedVisits(house.proxy.clone()));
        cluster::share_visits(cluster, watch(), shutdown.clone(), visits);
        cluster.on_actions(&id, doer.clone());
    });
    data.spawn(services::follow(
        control.clone(),
        audit.clone(),
        id.clone(),
        board.clone(),
        shutdown.clone(),
    ));
    let credentials =
        Arc::new(PagePassword { local: store.local(), control: control.clone(), node: id.clone() });
    data.spawn(password::agree(credentials.clone(), shutdown.clone()));
    let tokens = Arc::new(PageTokens(control.clone()));
    let ports = webui::Ports {
        control,
        board,
        sessions: Arc::new(PageSessions(sessions)),
        credentials,
        tokens,
        audit: Arc::new(PageAudit(audit)),
        remote: doer.clone(),
        failover: Arc::new(PageFailover(house.vrrp.clone())),
        access_log: Arc::new(PageLog(house.proxy.clone())),
        mirror: Arc::new(PageApproval(house.mirror.clone())),
        system,
        journal: Arc::new(PageJournal {
            last_words: aboard.as_ref().and_then(Aboard::last_words),
            journal,
        }),
        radio,
        adoption: Some(Arc::new(PageAdoption {
            cluster: house.cluster.clone(),
            network: house.network.clone(),
        })),
        probes: Some(doer),
        probe: Some(Arc::new(PageProbe(house.network.clone()))),
        trials: Some(Arc::new(PageTrials(house.network.clone()))),
    };
    let page = webui::AdminPage::new(ports, shutdown);
    let statistics =
        FrontendStatistics { page: page.statistics(), runtime: admin.handle().clone() };
    house.proxy.join_statistics(Arc::new(statistics));
    let page = serve_page(admin, listener, page)?;
    tracing::info!("node {id} runs; the admin page is on port {}", at.port());

    let again = data.block_on(async {
        let again = tokio::select! {
            stop = wanted_to_stop() => stop.map(|()| false)?,
            () = again.notified() => true,
        };
        tracing::info!("stopping");
        house.stop().await;
        anyhow::Ok(again)
    })?;
    trigger.trigger();
    data.shutdown_timeout(Duration::from_secs(1));
    page.join().map_err(|_| anyhow::anyhow!("the admin page's thread failed"))?;
    if again { start_again(aboard.as_ref()) } else { Ok(()) }
}

/// Starts this program anew in its own place, after it became another node. Comes back only with
/// what was in the way.
fn start_again(aboard: Option<&Aboard>) -> anyhow::Result<()> {
    if let Some(aboard) = aboard {
        aboard.outlast_exec()?;
    }
    let mut arguments = std::env::args_os();
    let mut program = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    let error = program.args(arguments).exec();
    Err(error).context("this program could not start again")
}

/// Lives as the guardian of a node.
pub(crate) fn guard() -> anyhow::Result<()> {
    init::guardian::guard(|interface, address| Kernel::open()?.remove(interface, address))?;
    Ok(())
}

/// The handles that are needed after the start.
struct House {
    network: network::Handle,
    cluster: cluster::Handle,
    vrrp: vrrp::Handle,
    proxy: proxy::Handle,
    server: server::Handle,
    mirror: mirror::Handle,
}

/// What the subsystems are given.
struct Given {
    channel: cluster::Options,
    network: network::Options,
    local: Local,
    access_log: Option<Box<dyn Write + Send>>,
}

impl House {
    /// Starts every subsystem and joins them. Inside the data runtime.
    fn build(
        options: &Options,
        given: Given,
        control: &Control,
        board: &StatusBoard,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let Given { channel, network, local, access_log } = given;
        let reporter = |subsystem| board.reporter(subsystem);
        let cluster = cluster::start(
            control.watch(),
            reporter(Subsystem::Cluster),
            shutdown.clone(),
            board.clone(),
            channel,
        )
        .context("the node channel")?;
        cluster::replicate(&cluster, control, shutdown);
        let around = BoardsAround { cluster: cluster.clone(), board: board.clone() };
        cluster.on(cluster::Service::Witness, bear_witness(board.clone()));
        let confirm = network::trial::Confirm {
            control: control.clone(),
            memory: Arc::new(ConfirmedNetwork(local)),
            witness: Arc::new(around),
            within: options.confirm_within,
        };
        let network = network::start(
            control.watch(),
            reporter(Subsystem::Network),
            shutdown.clone(),
            network::Options {
                confirm: Some(confirm),
                found: Some(found(cluster.clone())),
                ..network
            },
        );
        let server = server::start(
            control.watch(),
            reporter(Subsystem::Server),
            shutdown.clone(),
            server::Options { data_dir: options.data.clone() },
        );
        let mirror = mirror::start(
            control.watch(),
            reporter(Subsystem::Mirror),
            shutdown.clone(),
            Arc::new(MirrorTransport(cluster.clone())),
            mirror::Options { data_dir: options.data.clone() },
        );
        cluster.on(cluster::Service::Mirror, serve_mirror(mirror.clone()));
        let proxy = proxy::start(
            control.watch(),
            reporter(Subsystem::Proxy),
            shutdown.clone(),
            proxy::Options { threads: None, access_log },
        )?;
        let kernel = Kernel::open().context("netlink, through which addresses are set")?;
        let guardian = Guardian::start().context("the guardian process")?;
        let vrrp = vrrp::start(
            control.watch(),
            proxy.ready(),
            Box::new(FloatingAddresses(kernel)),
            Box::new(Will(guardian)),
            reporter(Subsystem::Vrrp),
            shutdown.clone(),
        );
        let seen = (network.clone(), mirror.clone(), proxy.clone(), vrrp.clone());
        board.provide(move |status| {
            status.links = seen.0.links();
            status.mirror = seen.1.status();
            status.proxy = seen.2.status();
            status.vrrp = seen.3.status();
        });
        Ok(Self { network, cluster, vrrp, proxy, server, mirror })
    }

    /// The floating IP first, so that visitors go elsewhere while everything here still works;
    /// then what they have begun here is finished.
    async fn stop(&self) {
        if tokio::time::timeout(FAREWELL, self.vrrp.stop()).await.is_err() {
            tracing::warn!("failover did not stop in time");
        }
        tokio::join!(self.proxy.drain(DRAIN), self.server.drain(DRAIN));
    }
}

/// Every visitor is two descriptors; the usual soft limit of 1,024 is for programs with few.
fn allow_many_connections() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("the limit on open connections could not be raised: {error}");
    }
}

/// Large pieces of memory are the kernel's again as soon as they are freed. glibc would begin to
/// keep them, one for each thread that ever had one (mallopt(3), M_MMAP_THRESHOLD, "dynamic"): ten
/// sign-ins, of 19 MiB each, cost 150 MiB for good.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator; documented as callable at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Into the ring that the page shows, and to standard error.
fn log(journal: &Journal) {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = tracing_subscriber::EnvFilter::try_from_env("BRAMBLE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::registry()
        .with(filter)
        .with(tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false))
        .with(journal.layer())
        .init();
    journal.catch_panics();
}

/// Which node this board is: what the settings say its key is, else as given, remembered, or made
/// up once.
fn identity(store: &Store, device: &DeviceId, given: Option<&NodeId>) -> anyhow::Result<NodeId> {
    let local = store.local();
    let known = local.node_id()?;
    // Where a board was taken in for another one, this is how it knows after a power cut.
    let newest = store.revisions().newest()?;
    let pinned = newest.and_then(|stored| {
        let mut nodes = stored.settings.nodes.into_iter();
        nodes.find(|node| node.device.as_ref() == Some(device)).map(|node| node.id)
    });
    let id = match (pinned, given, &known) {
        (Some(pinned), ..) => pinned,
        (None, Some(given), _) => given.clone(),
        (None, None, Some(known)) => known.clone(),
        (None, None, None) => {
            let mut random = [0_u8; 4];
            io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut random)?;
            format!("pi-{:08x}", u32::from_ne_bytes(random)).parse()?
        }
    };
    if known.as_ref() != Some(&id) {
        local.set_node_id(&id)?;
    }
    Ok(id)
}

/// What a board runs that was never told anything: itself, with no role.
fn first_settings(id: &NodeId, device: &DeviceId, own: Option<Hostname>) -> Settings {
    let found = || {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        host.as_deref().and_then(|h| h.split('.').next()?.parse().ok())
    };
    let name = own.or_else(found);
    let fallback = || "bramble".parse().unwrap_or_default();
    let node = Node {
        id: id.clone(),
        device: Some(device.clone()),
        name: name.unwrap_or_else(fallback),
        ..Node::default()
    };
    Settings { nodes: vec![node], ..Settings::default() }
}

fn open_log(path: &PathBuf) -> anyhow::Result<Box<dyn Write + Send>> {
    let file = File::options().append(true).create(true).open(path);
    let file = file.with_context(|| format!("the access log {}", path.display()))?;
    Ok(Box::new(io::BufWriter::new(file)))
}

/// Keeps the board's idea of the running settings, and of the document behind them, true.
async fn note_running(control: Control, board: StatusBoard) {
    let (mut snapshots, mut replication) = (control.watch(), control.replication());
    let heads = control.replication();
    board.provide(move |status| status.heads.clone_from(&heads.borrow().heads));
    loop {
        board.running(&snapshots.borrow_and_update().clone());
        let over = tokio::select! {
            changed = snapshots.changed() => changed.is_err(),
            changed = replication.changed() => {
                board.touch();
                changed.is_err()
            }
        };
        if over {
            return;
        }
    }
}

fn serve_page(
    runtime: Runtime,
    listener: TcpListener,
    page: webui::AdminPage,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("admin".into()).spawn(move || {
        runtime.block_on(page.serve(listener));
        runtime.shutdown_timeout(Duration::from_millis(500));
    })
}

async fn wanted_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::{Author, Book};

    #[test]
    fn the_settings_say_which_node_a_board_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (own, other): (DeviceId, DeviceId) =
            ("a".repeat(64).parse().unwrap(), "b".repeat(64).parse().unwrap());
        let made_up = identity(&store, &own, None).unwrap();
        assert!(made_up.as_str().starts_with("pi-"));
        assert_eq!(identity(&store, &own, None).unwrap(), made_up, "and kept");
        let given: NodeId = "web01".parse().unwrap();
        assert_eq!(identity(&store, &own, Some(&given)).unwrap(), given);
        // Taken in for another board, and the power fails before anything else is noted.
        let node = |id: &str, device: &DeviceId| Node {
            id: id.parse().unwrap(),
            name: id.parse().unwrap(),
            device: Some(device.clone()),
            ..Node::default()
        };
        let settings = Settings {
            nodes: vec![node("web02", &other), node("web03", &own)],
            ..Settings::default()
        };
        let mut book = Book::open(store.revisions(), &given, Settings::default()).unwrap();
        book.begin().unwrap();
        book.write_settings(settings, &Author::Local, "joined").unwrap();
        assert_eq!(identity(&store, &own, None).unwrap().as_str(), "web03");
        assert_eq!(store.local().node_id().unwrap().unwrap().as_str(), "web03");
        assert_eq!(identity(&store, &other, Some(&given)).unwrap().as_str(), "web02");
    }
}
