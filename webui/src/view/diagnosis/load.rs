//! The load balancer: how many visitors it takes at once.

use super::{Facts, Finding};
use crate::view::fewer_visitors;
use crate::words::number;

pub(super) fn visitors(facts: &Facts<'_>) -> Vec<Finding> {
    let Some(proxy) = &facts.status.proxy else { return Vec::new() };
    let subject = "Visitors at once";
    if let Some((most, wanted)) = fewer_visitors(facts.settings, facts.status) {
        let found = format!("{} at most, not {}", number(most), number(wanted));
        let advice = if facts.board {
            "Each visitor may take two open files, and a board allows no more of them. Give a \
             smaller number for \"Most visitors at once\" on the page Cluster; more wait until one \
             leaves, and nobody is turned away."
        } else {
            "Each visitor may take two open files, and this system allows fewer. Raise its limit \
             (LimitNOFILE of the service, or ulimit -n) and start Bramble again, or give a smaller \
             number for \"Most visitors at once\" on the page Cluster."
        };
        return vec![Finding::warn(subject, found).so(advice)];
    }
    let (now, most) = (number(proxy.curr_conns), number(proxy.maxconn));
    if proxy.curr_conns >= proxy.maxconn {
        let advice = "More wait until one leaves. If that goes on, raise \"Most visitors at once\" \
                      on the page Cluster, or find out who takes all the places: the page Balancing \
                      has an access log.";
        return vec![
            Finding::warn(subject, format!("{now} of {most}: all places are taken")).so(advice),
        ];
    }
    vec![Finding::good(subject, format!("{now} of {most}"))]
}
