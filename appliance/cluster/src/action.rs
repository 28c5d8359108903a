//! What one node asks another to do, and the answer: one short stream for each request.

use crate::exchange::{receive, send};
use crate::{Handle, Handler, Service};
use model::NodeId;
use model::action::{
    Action, Answered, LONGEST_REPLY, LONGEST_REQUEST, Reply, Request, VERSION, read,
};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Requests of other nodes that are worked on at once.
const AT_ONCE: usize = 8;
/// A node that was called says so soon what it wants.
const REQUEST: Duration = Duration::from_secs(5);
/// Besides what the action may take: for the way there and back.
const WAY: Duration = Duration::from_secs(5);
/// Longest author that is passed on, in characters.
const AUTHOR: usize = 200;

/// Does what another node asks.
pub trait Actions: Send + Sync + 'static {
    /// `from` asks on behalf of `author`. The error is a sentence for the operator there.
    fn perform<'a>(
        &'a self,
        from: &'a NodeId,
        author: &'a str,
        action: Action,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, String>> + Send + 'a>>;
}

impl Handle {
    /// Asks a node to do something on behalf of `author` and waits for what comes of it.
    ///
    /// # Errors
    /// A sentence for the operator: it cannot be reached, it refused, or it did not answer in
    /// time, after which nobody knows whether it was done.
    pub async fn ask(&self, node: &NodeId, author: &str, action: Action) -> Result<Reply, String> {
        let limit = action.limit() + WAY;
        let asked = async {
            let opened = self.open(node, Service::Action).await;
            let stream = opened.map_err(|e| format!("node {node} cannot be reached: {e}"))?;
            ask_on(stream, node, author, &action).await
        };
        timeout(limit, asked).await.unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(format!(
                "node {node} did not answer within {seconds} s; it may have been done nevertheless"
            ))
        })
    }

    /// Has what other nodes ask done by `actions`.
    pub fn on_actions(&self, own: &NodeId, actions: Arc<dyn Actions>) {
        self.on(Service::Action, serve(own.clone(), actions));
    }
}

async fn ask_on(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    node: &NodeId,
    author: &str,
    action: &Action,
) -> Result<Reply, String> {
    let lost = |e: io::Error| format!("the connection to node {node} broke: {e}");
    let request = Request {
        version: VERSION,
        author: author.chars().take(AUTHOR).collect(),
        action: serde_json::to_value(action).map_err(|e| e.to_string())?,
    };
    send(&mut stream, &request, LONGEST_REQUEST).await.map_err(lost)?;
    let answered: Answered = receive(&mut stream, LONGEST_REPLY).await.map_err(lost)?;
    answered.result.map_err(|why| why.chars().filter(|c| !c.is_control()).take(500).collect())
}

fn serve(own: NodeId, actions: Arc<dyn Actions>) -> Handler {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    Arc::new(move |peer, stream| {
        let (own, actions, places) = (own.clone(), actions.clone(), places.clone());
        Box::pin(async move {
            let place = places.try_acquire();
            if let Err(error) = answer(stream, &own, &peer, &*actions, place.is_err()).await {
                tracing::debug!("what node {peer} asked was not answered: {error}");
            }
        })
    })
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    own: &NodeId,
    peer: &NodeId,
    actions: &dyn Actions,
    busy: bool,
) -> io::Result<()> {
    let request = timeout(REQUEST, receive::<_, Request>(&mut stream, LONGEST_REQUEST));
    let request = request.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let mut result = match read(&request, own) {
        Err(why) => Err(why),
        Ok(_) if busy => Err(format!("node {own} has too much to do; try again in a moment")),
        Ok(action) => {
            let author: String = request.author.chars().take(AUTHOR).collect();
            let limit = action.limit();
            let done = timeout(limit, actions.perform(peer, &author, action)).await;
            done.unwrap_or_else(|_| Err(format!("it took longer than {} s", limit.as_secs())))
        }
    };
    if let Ok(reply) = &mut result {
        reply.shorten();
    }
    let answered = Answered { result };
    if let Err(error) = send(&mut stream, &answered, LONGEST_REPLY).await {
        if error.kind() != io::ErrorKind::InvalidInput {
            return Err(error);
        }
        let result = Err(format!("what node {own} has to say is too long"));
        send(&mut stream, &Answered { result }, LONGEST_REPLY).await?;
    }
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Doer(Mutex<Vec<String>>);

    impl Actions for Doer {
        fn perform<'a>(
            &'a self,
            from: &'a NodeId,
            author: &'a str,
            action: Action,
        ) -> Pin<Box<dyn Future<Output = Result<Reply, String>> + Send + 'a>> {
            self.0.lock().unwrap().push(format!("{from} {author} {action:?}"));
            Box::pin(async move {
                match action {
                    Action::Logs { .. } => Ok(Reply::Lines(vec!["x".repeat(1000); 1000])),
                    Action::Reboot => Ok(Reply::Document("y".repeat(LONGEST_REPLY).into())),
                    _ => Err("no light".to_owned()),
                }
            })
        }
    }

    async fn asked(action: Action, busy: bool) -> (Result<Reply, String>, Vec<String>) {
        let (near, far) = tokio::io::duplex(4096);
        let (own, peer): (NodeId, NodeId) = ("web01".parse().unwrap(), "lbmaster".parse().unwrap());
        let doer = Doer::default();
        let (reply, served) = tokio::join!(
            ask_on(near, &own, "10.0.0.9", &action),
            answer(far, &own, &peer, &doer, busy)
        );
        served.unwrap();
        (reply, doer.0.into_inner().unwrap())
    }

    #[tokio::test]
    async fn requests_are_done_and_refusals_are_told() {
        let (reply, done) = asked(Action::Blink { seconds: 3 }, false).await;
        assert_eq!(reply, Err("no light".to_owned()));
        assert_eq!(done, ["lbmaster 10.0.0.9 Blink { seconds: 3 }"]);
        let (reply, done) = asked(Action::Blink { seconds: 3 }, true).await;
        assert!(reply.unwrap_err().contains("too much to do") && done.is_empty());
    }

    #[tokio::test]
    async fn long_answers_are_cut_or_refused() {
        let (reply, _) = asked(Action::Logs { lines: 9 }, false).await;
        let Ok(Reply::Lines(lines)) = reply else { panic!("{reply:?}") };
        assert!((200..300).contains(&lines.len()), "{}", lines.len());
        let (reply, _) = asked(Action::Reboot, false).await;
        assert_eq!(reply, Err("what node web01 has to say is too long".to_owned()));
    }

    #[tokio::test]
    async fn what_is_no_request_ends_the_stream() {
        let (mut near, far) = tokio::io::duplex(4096);
        near.write_all(&[0, 0, 0, 2, b'{', b'}']).await.unwrap();
        let id = "web01".parse().unwrap();
        assert!(answer(far, &id, &id, &Doer::default(), false).await.is_err());
    }
}
