//! State and weight of one server.

use super::{outcome, problems, refused};
use crate::gate::WholeBody;
use crate::pages::Ctx;
use axum::Extension;
use axum::extract::Path;
use axum::response::Response;
use control::Change;
use http::StatusCode;
use model::{Edit, Name, Problem, ServerAgent, ServerHealth, ServerState, Weight};
use serde_json::Value;

#[derive(Debug, Default, PartialEq, Eq)]
struct Patch {
    state: Option<ServerState>,
    weight: Option<Weight>,
    health: Option<ServerHealth>,
    agent: Option<ServerAgent>,
}

impl Patch {
    fn read(body: &[u8]) -> Result<Self, Vec<Problem>> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|e| vec![Problem::new("", format!("this is no JSON document: {e}"))])?;
        let Value::Object(map) = value else {
            return Err(vec![Problem::new(
                "",
                "an object with state, weight, health or agent is expected",
            )]);
        };
        let (mut patch, mut problems) = (Self::default(), Vec::new());
        for (key, value) in &map {
            let read =
                match (key.as_str(), value) {
                    ("state", Value::String(text)) => {
                        text.parse().map(|s| patch.state = Some(s)).map_err(|e| e.to_string())
                    }
                    ("state", _) => Err("a state is a text: ready, drain or maint".to_owned()),
                    ("weight", Value::Number(n)) => match n.as_u64() {
                        Some(n) => Weight::new(n)
                            .map(|w| patch.weight = Some(w))
                            .map_err(|e| e.to_string()),
                        None => Err("a weight is a whole number from 0 to 256".to_owned()),
                    },
                    ("health", Value::String(text)) => {
                        text.parse().map(|h| patch.health = Some(h)).map_err(|e| e.to_string())
                    }
                    ("health", _) => {
                        Err("a health is a text: checked, up, stopping or down".to_owned())
                    }
                    ("agent", Value::String(text)) => {
                        text.parse().map(|a| patch.agent = Some(a)).map_err(|e| e.to_string())
                    }
                    ("agent", _) => {
                        Err("a way with an agent is a text: asked, off, up or down".to_owned())
                    }
                    ("weight", _) => Err("a weight is a whole number from 0 to 256".to_owned()),
                    _ => Err("there is no such setting; known here: state, weight, health, agent"
                        .to_owned()),
                };
            if let Err(problem) = read {
                problems.push(Problem::new(key.clone(), problem));
            }
        }
        if map.is_empty() {
            problems.push(Problem::new("", "give state, weight, health or agent"));
        }
        if problems.is_empty() { Ok(patch) } else { Err(problems) }
    }
}

pub(crate) async fn patch(
    ctx: Ctx,
    Path((backend, server)): Path<(String, String)>,
    Extension(WholeBody(body)): Extension<WholeBody>,
) -> Response {
    let names = backend.parse::<Name>().ok().zip(server.parse::<Name>().ok());
    let Some((backend, server)) = names else {
        return refused(StatusCode::NOT_FOUND, "there is no server of that name");
    };
    let patch = match Patch::read(&body) {
        Ok(patch) => patch,
        Err(list) => return problems(&list),
    };
    let Patch { state, weight, health, agent } = patch;
    let edit = Edit::SetServer { backend, server, weight, state, health, agent };
    let change = Change { base: None, author: ctx.visitor.author(), edits: vec![edit] };
    outcome(ctx.app.ports.control.submit(change).await)
}
