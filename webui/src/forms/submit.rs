//! The way of a form to the engine.

use super::{Base, Form, Invalid, Place};
use crate::app::App;
use crate::error::Failure;
use crate::gate::Visitor;
use crate::words::sentence;
use control::{Change, Outcome, Rejected};
use http::StatusCode;
use model::Edit;

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
    for _ in 0..ATTEMPTS {
        let before = control.snapshot();
        form.start_from(form.part(&before.settings));
        let Ok(edit) = Edit::try_from(&mut *form) else {
            return Ok(Submitted::Again(StatusCode::UNPROCESSABLE_ENTITY));
        };
        // Somebody changed something. When it was not this entry, the edit means the same still.
        let untouched = match form.head().base.place(control, &before).await? {
            Place::Current => true,
            Place::Older(old) => form.part(&old) == form.part(&before.settings),
            Place::Unknown => false,
        };
        form.head().base = Base::of(&before);
        if !untouched {
            form.head().stale = true;
            form.compare(form.part(&before.settings).as_ref());
            return Ok(Submitted::Again(StatusCode::CONFLICT));
        }
        let author = visitor.author();
        let change = Change { base: Some(before.revision), author, edits: vec![edit] };
        match control.submit(change).await {
            Ok(outcome) => return Ok(Submitted::Done(outcome)),
            // Faster than this form: look at what it was.
            Err(Rejected::Stale(_)) => {}
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
        }
    }
    form.head().top.push("The settings keep changing; try again.".to_owned());
    Ok(Submitted::Again(StatusCode::CONFLICT))
}
