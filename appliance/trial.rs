//! A firmware on trial: kept once the board has shown that it works, given up otherwise.

use crate::aboard::ask;
use control::{Control, StatusBoard};
use firmware::health::{self, Health, Verdict};
use init::Client;
use init::channel::Request;
use model::status::{DataStatus, SubsystemState};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const LOOK: Duration = Duration::from_secs(1);

/// Looks each second until there is a verdict, and carries it out.
pub(crate) async fn judge(control: Control, board: StatusBoard, client: Client, page: u16) {
    let began = Instant::now();
    loop {
        let health = look(&control, &board, page).await;
        match health::judge(&health, began.elapsed()) {
            Verdict::Wait => {}
            Verdict::Confirm => {
                if done(&client, Request::ConfirmFirmware).await {
                    tracing::info!("this firmware works and is kept");
                    return;
                }
            }
            Verdict::Reboot { why } => {
                tracing::error!("this firmware is given up: {why}");
                done(&client, Request::GiveUpFirmware).await;
            }
        }
        sleep(LOOK).await;
    }
}

async fn done(client: &Client, request: Request) -> bool {
    let asked = ask(client, request).await;
    if let Err(why) = &asked {
        tracing::error!("process 1 refused: {why}");
    }
    asked.is_ok()
}

async fn look(control: &Control, board: &StatusBoard, page: u16) -> Health {
    let own = board.own();
    let failed = own.subsystems.iter().filter_map(|(name, status)| match status.state {
        SubsystemState::Failed { .. } => Some(name.to_string()),
        _ => None,
    });
    let snapshot = control.snapshot();
    Health {
        page_answers: answers(page).await,
        data_mounted: matches!(own.system.data, Some(DataStatus::Kept { .. })),
        settings_loaded: !own.notices.iter().any(|n| n.key == "database-damaged"),
        failed: failed.collect(),
        peers_expected: !snapshot.effective.peers.is_empty(),
        peer_seen: board.nodes().iter().skip(1).any(|peer| peer.reachable),
    }
}

/// Whether the page answers at all; what it says of the services is for others to judge.
async fn answers(port: u16) -> bool {
    let question = async {
        let mut page = TcpStream::connect(("127.0.0.1", port)).await?;
        page.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            .await?;
        let mut start = [0; 9];
        page.read_exact(&mut start).await?;
        std::io::Result::Ok(start.starts_with(b"HTTP/1."))
    };
    matches!(timeout(Duration::from_secs(5), question).await, Ok(Ok(true)))
}
