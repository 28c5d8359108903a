//! Whether every node has the same settings. Pure.

use super::{Tone, name_of};
use control::Snapshot;
use model::status::NodeReport;

/// In a few words, for every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyncView {
    pub(crate) tone: Tone,
    pub(crate) word: String,
}

/// "Web01, Web02 and LbSlave".
pub(crate) fn listed(names: &[String]) -> String {
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// None where there is nothing to be in sync with.
pub(crate) fn view(snapshot: &Snapshot, reports: &[NodeReport]) -> Option<SyncView> {
    let nodes = &snapshot.settings.nodes;
    let own = reports.first().map(|r| r.status.heads.as_str()).filter(|h| !h.is_empty())?;
    if nodes.len() < 2 {
        return None;
    }
    let (mut same, mut behind, mut away) = (0, Vec::new(), Vec::new());
    for node in nodes {
        match reports.iter().find(|r| r.status.id == node.id && r.reachable) {
            Some(r) if r.status.heads == own => same += 1,
            Some(_) => behind.push(name_of(snapshot, &node.id)),
            None => away.push(name_of(snapshot, &node.id)),
        }
    }
    let verb = |names: &[String]| if names.len() == 1 { "is" } else { "are" };
    let (tone, word) = if !behind.is_empty() {
        (Tone::Warn, format!("{} {} behind", listed(&behind), verb(&behind)))
    } else if !away.is_empty() {
        let all = nodes.len();
        (Tone::Warn, format!("In sync {same}/{all}, {} {} away", listed(&away), verb(&away)))
    } else {
        (Tone::Good, format!("In sync {same}/{same}"))
    };
    Some(SyncView { tone, word })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Revision;

    #[test]
    fn says_who_is_behind_and_who_is_away() {
        let own = "lbmaster".parse().unwrap();
        let snapshot = Snapshot::new(Revision(3), crate::demo::settings(), &own);
        let mut reports = crate::demo::reports(&snapshot);
        assert_eq!(view(&snapshot, &reports).map(|s| s.word).as_deref(), Some("In sync 4/4"));
        let other = |r: &&mut NodeReport| r.status.id.as_str().starts_with("web");
        reports.iter_mut().filter(other).for_each(|r| r.status.heads = "other".to_owned());
        let sync = view(&snapshot, &reports).unwrap();
        assert_eq!((sync.tone, &*sync.word), (Tone::Warn, "Web01 and Web02 are behind"));
        reports.iter_mut().filter(other).for_each(|r| r.reachable = false);
        let sync = view(&snapshot, &reports).unwrap();
        assert_eq!(sync.word, "In sync 2/4, Web01 and Web02 are away");
        reports[0].status.heads.clear();
        assert_eq!(view(&snapshot, &reports), None, "nothing is known");
    }
}
