//! Takes over what `bramble.toml` on the boot partition says, and takes its secrets out of it.

use crate::aboard::ask;
use control::{Author, Change, Control, StatusBoard};
use init::Client;
use init::channel::Request;
use model::provision::{self, Provision, Wipe};
use model::{Edit, NodeId, Secret, Ssid};
use store::Local;

/// What the file says about the setup access point.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) ssid: Option<Ssid>,
    pub(crate) passphrase: Option<Secret>,
}

/// Applies what is new in the file. Nothing in it is fatal: what is wrong is said on top of the
/// file, on the screen and on the page.
pub(crate) async fn apply(
    text: &str,
    id: &NodeId,
    control: &Control,
    local: &Local,
    board: &StatusBoard,
    client: &Client,
    network: &network::Handle,
) -> Setup {
    let (whole, mut mistakes) = provision::read(text);
    let setup =
        Setup { ssid: whole.setup_ssid().cloned(), passphrase: whole.setup_passphrase().cloned() };
    let known = local.boot_file_digest().ok().flatten().unwrap_or_default();
    let fresh = whole.fresh(&known);
    let merged = fresh.edits(&control.snapshot().settings, id);
    mistakes.extend(merged.mistakes.iter().cloned());
    let taken = take(&fresh, merged.settings, control, local).await;
    if !fresh.is_empty() {
        // Whoever wrote the file had the card in his hands.
        network.vouch();
    }
    if let Err(error) = &taken {
        board.notice(
            "boot-file-not-kept",
            format!("The settings in bramble.toml could not be taken over: {error:#}. They are tried again at the next start."),
        );
        return setup;
    }
    let digest = whole.digest(&merged.refused);
    if digest != known {
        if let Err(error) = local.set_boot_file_digest(&digest) {
            tracing::warn!("bramble.toml will be taken over again at the next start: {error}");
        }
    }
    for mistake in &mistakes {
        tracing::warn!("{mistake}");
    }
    if !mistakes.is_empty() {
        let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        board.notice("boot-file", all.join("\n"));
    }
    let token = whole.join_token().map(Secret::reveal);
    let kept = local.join_token().ok().flatten();
    let hash = local.password_hash().ok().flatten();
    let settings = control.snapshot();
    let rewritten = provision::wiped(
        text,
        &Wipe {
            settings: &settings.settings,
            password_hash: hash.as_deref(),
            token_kept: token.is_some() && token == kept.as_deref(),
            mistakes: &mistakes,
        },
    );
    if rewritten != text {
        if let Err(why) = ask(client, Request::RewriteBootFile { text: rewritten }).await {
            board.notice(
                "boot-file-secrets",
                format!("Passwords could not be taken out of bramble.toml on the card: {why}"),
            );
        }
    }
    setup
}

async fn take(
    fresh: &Provision,
    settings: model::Settings,
    control: &Control,
    local: &Local,
) -> anyhow::Result<()> {
    if fresh.is_empty() {
        return Ok(());
    }
    if let Some(token) = fresh.join_token() {
        local.set_join_token(token.reveal())?;
    }
    if let Some(password) = fresh.password() {
        let hash = webui::hash_password(password.reveal())
            .map_err(|why| anyhow::anyhow!("the password: {why}"))?;
        local.set_password_hash(&hash)?;
    } else if let Some(hash) = fresh.password_hash() {
        local.set_password_hash(hash)?;
    }
    if settings != control.snapshot().settings {
        let edits = vec![Edit::Replace(Box::new(settings))];
        control.submit(Change { base: None, author: Author::Local, edits }).await?;
    }
    Ok(())
}
