//! The order of a chain: the site's own certificate, then the one that has signed it, and so on
//! (RFC 8446 4.4.2). Names say what leads to what; whether signatures hold is for browsers to see.

use super::der::{names, spoken};

/// A chain in its order, by the places its certificates had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The site's own certificate and those that lead from it to its issuer.
    pub chain: Vec<usize>,
    /// Certificates that do not lead there: their places, and whose they are.
    pub strangers: Vec<(usize, String)>,
    /// Who has signed the last of the chain, where that is not there and not the last itself.
    pub missing: Option<String>,
}

impl Order {
    /// Orders certificates in DER. `own` is the site's, where that is known by its key; otherwise
    /// it is the first that has signed no other. What is no certificate is a stranger.
    pub fn of(certificates: &[Vec<u8>], own: Option<usize>) -> Self {
        let all: Vec<_> = certificates.iter().map(|c| names(c)).collect();
        let signed_another = |at: usize| {
            let subject = all.get(at).copied().flatten().map(|(subject, _)| subject);
            let others = all.iter().enumerate().filter(|(other, _)| *other != at);
            // What has signed itself only is no other's issuer by that.
            others.filter_map(|(_, n)| *n).any(|(s, issuer)| Some(issuer) == subject && s != issuer)
        };
        let readable = |at: &usize| all.get(*at).is_some_and(Option::is_some);
        let first = (0..all.len()).filter(readable).find(|at| !signed_another(*at));
        let Some(own) = own.or(first).or_else(|| (0..all.len()).find(readable)) else {
            return Self::default();
        };
        let mut order = Self { chain: vec![own], ..Self::default() };
        let same = |one: usize, other: usize| certificates.get(one) == certificates.get(other);
        let mut at = 0;
        while let Some((subject, issuer)) =
            order.chain.get(at).and_then(|c| all.get(*c).copied()?)
        {
            at += 1;
            // What has signed itself leads nowhere else.
            if subject == issuer {
                continue;
            }
            let before = order.chain.len();
            for signer in 0..all.len() {
                let of = all.get(signer).copied().flatten();
                let fits = of.is_some_and(|(subject, _)| subject == issuer);
                if fits && !order.chain.iter().any(|known| same(*known, signer)) {
                    order.chain.push(signer);
                }
            }
            if at == before && before == order.chain.len() {
                order.missing = spoken(issuer);
            }
        }
        let strangers = (0..all.len()).filter(|i| !order.chain.iter().any(|c| same(*c, *i)));
        order.strangers = strangers
            .map(|i| {
                let whose = all.get(i).copied().flatten().and_then(|(subject, _)| spoken(subject));
                (i, whose.unwrap_or_else(|| "nobody who is named".to_owned()))
            })
            .collect();
        order
    }
}
