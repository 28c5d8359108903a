//! The way of a form to the engine.

use super::{Form, Invalid};
use crate::app::App;
use crate::error::Failure;
use crate::gate::Visitor;
use crate::words::sentence;
use control::{Change, Outcome, Rejected};
use http::StatusCode;
use model::{Edit, Revision};

/// What came of it.
pub(crate) enum Submitted {
    /// The settings say so now.
    Done(Outcome),
    /// The form is shown again with its errors, under this status.
    Again(StatusCode),
}

/// Attempts to bring an edit onto newer settings that left its entry alone.
const ATTEMPTS: usize = 4;

/// Makes the edit a form stands for. Whatever was typed stays in the form.
pub(crate) async fn submit<F>(
    app: &App,
    visitor: &Visitor,
    form: &mut F,
) -> Result<Submitted, Failure>
where
    F: Form,
    for<'a> Edit: TryFrom<&'a mut F, Error = Invalid>,
{
    let control = &app.ports.control;
    let mut base = Revision(form.head().revision);
    for _ in 0..ATTEMPTS {
        let before = control.snapshot();
        form.start_from(form.part(&before.settings));
        let Ok(edit) = Edit::try_from(&mut *form) else {
            return Ok(Submitted::Again(StatusCode::UNPROCESSABLE_ENTITY));
        };
        let author = visitor.author();
        let change = Change { base: Some(base), author, edits: vec![edit] };
        let current = match control.submit(change).await {
            Ok(outcome) => return Ok(Submitted::Done(outcome)),
            Err(Rejected::Stale(current)) => current,
            Err(Rejected::Problems(problems)) => {
                for p in problems {
                    form.blame(&p.path, &p.problem, &before.settings);
                }
                return Ok(Submitted::Again(StatusCode::UNPROCESSABLE_ENTITY));
            }
            Err(Rejected::Cannot { subsystem, reason }) => {
                let text = format!("nothing was changed: the {subsystem} cannot do that: {reason}");
                form.head().top.push(sentence(&text));
                return Ok(Submitted::Again(StatusCode::CONFLICT));
            }
            Err(other) => return Err(other.into()),
        };
        // Somebody changed something. When it was not this entry, the edit means the same still.
        let old = control.revision(base).await?;
        let untouched = old.is_some_and(|old| form.part(&old) == form.part(&current.settings));
        form.head().revision = current.revision.0;
        if !untouched || current.revision == base {
            form.head().stale = true;
            form.compare(form.part(&current.settings).as_ref());
            return Ok(Submitted::Again(StatusCode::CONFLICT));
        }
        base = current.revision;
    }
    form.head().top.push("The settings keep changing; try again.".to_owned());
    Ok(Submitted::Again(StatusCode::CONFLICT))
}
