//! A visitor that speaks HTTP/2: each request is a stream of its one connection.

use super::visitor::Target;
use super::{Order, Record};
use crate::process::Done;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use std::rc::Rc;
use tokio::sync::mpsc::UnboundedReceiver;

/// Room for whatever is on its way; what is measured is not the visitor's thrift.
const WINDOW: u32 = 1 << 24;

pub(super) async fn connect(target: &Target) -> Done<SendRequest<Bytes>> {
    let io = target.connect().await?;
    let (sender, connection) = Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(io)
        .await?;
    // Why it ended is heard by whoever waits for an answer.
    tokio::task::spawn_local(async { drop(connection.await) });
    Ok(sender)
}

/// All requests, each as soon as it is due.
pub(super) async fn serve(
    sender: SendRequest<Bytes>,
    target: Rc<Target>,
    mut orders: UnboundedReceiver<Order>,
    record: Rc<Record>,
) {
    while let Some(order) = orders.recv().await {
        let (sender, target, record) = (sender.clone(), Rc::clone(&target), Rc::clone(&record));
        tokio::task::spawn_local(async move {
            let result = ask(sender, &target).await;
            record.end(order, result);
        });
    }
}

async fn ask(sender: SendRequest<Bytes>, target: &Target) -> Done<()> {
    let request = http::Request::get(target.uri.clone()).body(())?;
    let (answer, _) = sender.ready().await?.send_request(request, true)?;
    let answer = answer.await?;
    if answer.status() != http::StatusCode::OK {
        return Err(answer.status().to_string().into());
    }
    let mut content = answer.into_body();
    let mut read = 0;
    while let Some(data) = content.data().await {
        let n = data?.len();
        read += n;
        content.flow_control().release_capacity(n)?;
    }
    if read == target.size { Ok(()) } else { Err("the answer has another size".into()) }
}
