use super::*;
use std::cell::RefCell;

const IDLE: fn(usize) -> Load = |_| Load { running: 0, touched: 0, room: true };

fn plain(balance: Balance) -> Algorithm {
    Algorithm { balance, ..Algorithm::default() }
}

fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let whole = |(index, w): (usize, &u32)| Candidate { index, weight: *w, effective: SCALE * *w };
    weights.iter().enumerate().map(whole).collect()
}

fn balancer(algorithm: &Algorithm, weights: &[u32]) -> Balancer {
    let mut b = Balancer::default();
    b.set(algorithm, candidates(weights));
    b
}

fn sequence(algorithm: Balance, weights: &[u32], n: usize) -> String {
    let mut b = balancer(&plain(algorithm), weights);
    (0..n)
        .map(|_| char::from(b'a' + u8::try_from(b.pick(None, None, IDLE).unwrap()).unwrap()))
        .collect()
}

#[test]
fn equal_weights_take_turns() {
    for algorithm in [Balance::Roundrobin, Balance::StaticRr] {
        assert_eq!(sequence(algorithm.clone(), &[1, 1, 1, 1], 12), "abcdabcdabcd");
        assert_eq!(sequence(algorithm.clone(), &[7, 7], 6), "ababab");
        assert_eq!(sequence(algorithm.clone(), &[3], 3), "aaa");
    }
}

/// What HAProxy 2.6.12 does with one request after the other, from the second on.
#[test]
fn sequences_are_haproxys() {
    for (algorithm, weights, want) in [
        (Balance::Roundrobin, &[3, 1, 2][..], "cabacacabacacabacaca"),
        (Balance::Roundrobin, &[5, 1, 1], "aabaacaaabaacaaabaac"),
        (Balance::Roundrobin, &[1, 2], "babbabbabbabbabbabba"),
        (Balance::Roundrobin, &[10, 20, 30, 40], "cdbcdadcbdcdbcdadcbd"),
        (Balance::Roundrobin, &[7, 3], "aabaabaabaaabaabaaba"),
        (Balance::StaticRr, &[3, 1, 2], "acabcaacabcaacabcaac"),
        (Balance::StaticRr, &[5, 1, 1], "aabaacaaabaacaaabaac"),
        (Balance::StaticRr, &[10, 20, 30, 40], "bdcdbcdcdabdcdbcdcda"),
    ] {
        let seen = sequence(algorithm.clone(), weights, want.len() + 1);
        assert_eq!(&seen[1..], want, "{algorithm} {weights:?}");
    }
}

#[test]
fn shares_follow_weights() {
    for algorithm in [Balance::Roundrobin, Balance::StaticRr] {
        for weights in [&[3, 1, 2][..], &[1, 256], &[10, 20, 30, 40], &[5, 1, 1], &[2, 3]] {
            let total: u32 = weights.iter().sum();
            let rounds = 5;
            let n = usize::try_from(total * rounds).unwrap();
            let mut b = balancer(&plain(algorithm.clone()), weights);
            let mut seen = vec![0; weights.len()];
            for _ in 0..n {
                seen[b.pick(None, None, IDLE).unwrap()] += 1;
            }
            for (count, weight) in seen.iter().zip(weights) {
                let want = i64::from(weight * rounds);
                let off = (i64::from(*count) - want).abs();
                assert!(off <= 1, "{algorithm} {weights:?}: {seen:?}");
            }
        }
    }
}

#[test]
fn one_server_is_avoided_while_there_is_another() {
    for algorithm in everything() {
        let mut b = balancer(&algorithm, &[256, 1, 1]);
        for hash in 0..600 {
            assert_ne!(b.pick(None, Some(0), IDLE), Some(0), "{algorithm:?}");
            assert_ne!(b.pick(Some(hash), Some(0), IDLE), Some(0), "{algorithm:?}");
        }
        let mut alone = balancer(&algorithm, &[1]);
        assert_eq!(alone.pick(None, Some(0), IDLE), Some(0));
        assert_eq!(balancer(&algorithm, &[]).pick(None, None, IDLE), None);
    }
}

#[test]
fn the_turn_goes_on_when_nothing_changed() {
    let mut b = balancer(&plain(Balance::Roundrobin), &[1, 1]);
    assert_eq!(b.pick(None, None, IDLE), Some(0));
    let same = b.candidates.clone();
    b.set(&plain(Balance::Roundrobin), same);
    assert_eq!(b.pick(None, None, IDLE), Some(1));
}

#[test]
fn the_least_loaded_relative_to_weight() {
    let loads = RefCell::new(vec![Load { running: 0, touched: 0, room: true }; 3]);
    let mut b = balancer(&plain(Balance::Leastconn), &[1, 1, 2]);
    let mut taken = Vec::new();
    for clock in 1..=8 {
        let chosen = b.pick(None, None, |i| loads.borrow()[i]).unwrap();
        let mut all = loads.borrow_mut();
        all[chosen] = Load { running: all[chosen].running + 1, touched: clock, room: true };
        taken.push(chosen);
    }
    let counts: Vec<u64> = loads.borrow().iter().map(|l| l.running).collect();
    assert_eq!(counts, [2, 2, 4], "{taken:?}");
    // The one that has just become free is taken next.
    loads.borrow_mut()[1].running = 0;
    assert_eq!(b.pick(None, None, |i| loads.borrow()[i]), Some(1));
}

/// Every algorithm, and the hashing ones on the ring as well.
fn everything() -> Vec<Algorithm> {
    let map = Balance::examples().into_iter().map(plain);
    let consistent = "consistent".parse().unwrap();
    let ring = Balance::examples().into_iter().map(|balance| Algorithm {
        balance,
        hash_type: consistent,
        factor: 0,
    });
    map.chain(ring).collect()
}

fn hashing(hash_type: &str) -> Algorithm {
    Algorithm { balance: Balance::Source, hash_type: hash_type.parse().unwrap(), factor: 0 }
}

/// A number that is different for each `n` and looks like chance.
fn spread(n: u32) -> u32 {
    hash::full_hash(n)
}

#[test]
fn a_hash_always_leads_to_the_same_server_in_proportion_to_the_weights() {
    for kind in ["map-based", "consistent"] {
        let mut b = balancer(&hashing(kind), &[1, 2, 3]);
        let mut seen = [0_u32; 3];
        for n in 0..6000 {
            let chosen = b.pick(Some(spread(n)), None, IDLE).unwrap();
            seen[chosen] += 1;
            assert_eq!(b.pick(Some(spread(n)), None, IDLE), Some(chosen));
        }
        // The ring's shares are uneven by nature: sixteen places for each unit of weight.
        for (count, share) in seen.iter().zip([1000, 2000, 3000]) {
            assert!(count.abs_diff(share) < share / 2, "{kind}: {seen:?}");
        }
    }
}

#[test]
fn only_the_lost_servers_visitors_move_on_the_ring() {
    let whole = candidates(&[1, 1, 1, 1]);
    let mut b = balancer(&hashing("consistent"), &[1, 1, 1, 1]);
    let before: Vec<_> = (0..2000).map(|n| b.pick(Some(spread(n)), None, IDLE).unwrap()).collect();
    let three: Vec<_> = whole.iter().copied().filter(|c| c.index != 1).collect();
    b.set(&hashing("consistent"), three);
    for (n, was) in (0..2000).zip(&before) {
        let now = b.pick(Some(spread(n)), None, IDLE).unwrap();
        assert!(if *was == 1 { now != 1 } else { now == *was }, "{n}: {was} {now}");
    }
    // And come back when it comes back.
    b.set(&hashing("consistent"), whole);
    let after: Vec<_> = (0..2000).map(|n| b.pick(Some(spread(n)), None, IDLE).unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_balance_factor_bounds_the_load_of_every_server() {
    let algorithm = Algorithm { factor: 150, ..hashing("consistent") };
    let mut b = balancer(&algorithm, &[1, 1, 1, 1]);
    let running = RefCell::new([0_u64; 4]);
    for n in 0..400 {
        // All ask for the same.
        let load = |i: usize| Load { running: running.borrow()[i], touched: 0, room: true };
        let chosen = b.pick(Some(spread(7)), None, load).unwrap();
        running.borrow_mut()[chosen] += 1;
        let most = running.borrow().iter().max().copied().unwrap();
        let bound = ((n + 1) * 150_u64).div_ceil(100).div_ceil(4).max(1);
        assert!(most <= bound, "{n}: {running:?}");
    }
    assert!(running.borrow().iter().filter(|r| **r > 0).count() >= 3, "{running:?}");
}

#[test]
fn the_first_with_room() {
    let mut b = balancer(&plain(Balance::First), &[1, 256, 1]);
    let full = RefCell::new(vec![false; 3]);
    let load = |i: usize| Load { running: 0, touched: 0, room: !full.borrow()[i] };
    assert_eq!(b.pick(None, None, load), Some(0));
    full.borrow_mut()[0] = true;
    assert_eq!(b.pick(None, None, load), Some(1));
    *full.borrow_mut() = vec![true; 3];
    assert_eq!(b.pick(None, None, load), Some(0));
    assert_eq!(b.pick(None, Some(0), load), Some(1));
}

#[test]
fn random_prefers_the_less_busy() {
    let mut b = balancer(&plain("random(2)".parse().unwrap()), &[1, 1, 1, 1]);
    let busy = |i: usize| Load { running: if i == 2 { 50 } else { 0 }, touched: 0, room: true };
    let mut seen = [0; 4];
    for _ in 0..4000 {
        seen[b.pick(None, None, busy).unwrap()] += 1;
    }
    // Only when both draws hit it, once in sixteen.
    assert!(seen[2] < 600, "{seen:?}");
    assert!([0, 1, 3].iter().all(|i| seen[*i] > 500), "{seen:?}");
    // A single draw follows the shares.
    let mut one = balancer(&plain("random(1)".parse().unwrap()), &[1, 3]);
    let heavy = (0..4000).filter(|_| one.pick(None, None, busy) == Some(1)).count();
    assert!((2000..3800).contains(&heavy), "{heavy}");
}

#[test]
fn a_server_that_starts_slowly_gets_less() {
    let mut warming = candidates(&[4, 4]);
    warming[1].effective = 4;
    for algorithm in [plain(Balance::Roundrobin), hashing("consistent")] {
        let mut b = Balancer::default();
        b.set(&algorithm, warming.clone());
        let mut seen = [0; 2];
        for n in 0..1700 {
            seen[b.pick(Some(spread(n)), None, IDLE).unwrap()] += 1;
        }
        assert!(seen[1] > 10 && seen[1] < 350, "{algorithm:?} {seen:?}");
    }
}
