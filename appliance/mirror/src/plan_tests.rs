use super::*;

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn entry(kind: Kind, secs: i64) -> Entry {
    let mtime = Stamp { secs, nanos: 0 };
    Entry { kind, mode: 0o644, uid: 0, gid: 0, mtime, ctime: Stamp::default() }
}

/// `a/` is a directory, `a>t` a link, `a|` a fifo, `a=5@7` a file of 5 bytes and time 7.
fn tree(words: &str) -> Tree {
    let mut tree = Tree::from([(RelPath::root(), entry(Kind::Dir, 0))]);
    for word in words.split_whitespace() {
        let (name, made) = if let Some(name) = word.strip_suffix('/') {
            (name, entry(Kind::Dir, 0))
        } else if let Some(name) = word.strip_suffix('|') {
            (name, entry(Kind::Special, 0))
        } else if let Some((name, target)) = word.split_once('>') {
            (name, entry(Kind::Symlink { target: target.as_bytes().into() }, 0))
        } else {
            let (name, rest) = word.split_once('=').unwrap_or((word, "1"));
            let (size, secs) = rest.split_once('@').unwrap_or((rest, "0"));
            (name, entry(Kind::File { size: size.parse().unwrap() }, secs.parse().unwrap()))
        };
        tree.insert(path(name), made);
    }
    tree
}

fn show(plan: &Plan) -> String {
    let steps = plan.steps.iter().map(|s| match s {
        Step::Directory(p) => format!("mkdir {p}"),
        Step::Symlink(p) => format!("link {p}"),
        Step::File { path, compare: false } => format!("get {path}"),
        Step::File { path, compare: true } => format!("compare {path}"),
        Step::Attributes(p) => format!("set {p}"),
    });
    let deletes = plan.deletes.iter().map(|p| format!("rm {p}"));
    let blocked = plan.blocked.iter().map(|(p, _)| format!("blocked {p}"));
    steps.chain(deletes).chain(blocked).collect::<Vec<_>>().join(", ")
}

fn planned(origin: &str, local: &str, kept: &str) -> Plan {
    let kept = kept.split_whitespace().map(path).collect();
    let (origin, local) = (tree(origin), tree(local));
    let sides = Sides {
        origin: &origin,
        local: &local,
        kept: &kept,
        seen: &BTreeMap::new(),
        owners: true,
        complete: true,
    };
    let all = plan(&sides, &Scope::All);
    // Looking at every path that differs comes to the same as looking at everything.
    let mut differing = Scope::none();
    for p in origin.keys().chain(local.keys()) {
        if origin.get(p) != local.get(p) {
            differing.add(p.clone());
        }
    }
    let mut narrow = plan(&sides, &differing);
    narrow.trusted.clone_from(&all.trusted);
    narrow.blocked.clone_from(&all.blocked);
    assert_eq!(narrow, all);
    all
}

#[test]
fn table() {
    for (origin, local, kept, wanted) in [
        ("", "", "", ""),
        ("a b/ b/c l>t", "", "", "get a, mkdir b, get b/c, link l"),
        ("", "a b/ b/c l>t", "", "rm l, rm b/c, rm b, rm a"),
        ("a=2", "a=1", "", "get a"),
        ("a=9@1", "a=9@2", "", "get a"),
        ("a=99999@1", "a=99999@2", "", "compare a"),
        ("a>t", "a>u", "", "link a"),
        ("a>t", "a", "", "link a"),
        // M1 and M2: a file becomes a directory and the other way round.
        ("x/ x/y", "x", "", "mkdir x, get x/y"),
        ("x", "x/ x/y x/z/ x/z/w", "", "get x"),
        ("x>t", "x/ x/y", "", "link x"),
        // M3: blocked by an excluded file, the rest goes on.
        ("x a", "x/ x/y", "x/stats", "get a, blocked x"),
        // 1.2: a directory that is gone stays for the excluded file in it.
        ("", "gone/ gone/stats/ gone/other", "gone/stats/local", "rm gone/other"),
        // Fifos are listed, and what has their name here is left.
        ("f| g", "f g/", "", "get g, blocked f"),
        ("f|", "f/ f/x", "", "blocked f"),
        // Names that sort between a directory and what is in it.
        ("a", "a/ a.b a/c a0", "", "get a, rm a0, rm a.b"),
    ] {
        assert_eq!(show(&planned(origin, local, kept)), wanted, "{origin} | {local} | {kept}");
    }
}

#[test]
fn the_doomed_are_counted() {
    assert_eq!(planned("x", "x/ x/y x/z/ x/z/w q", "").doomed.len(), 3);
    assert_eq!(planned("x/", "x", "").doomed.len(), 1);
    assert_eq!(planned("", "d/ e/ f", "").doomed.len(), 1);
}

#[test]
fn m34_what_moves_is_not_lost() {
    let (origin, local) = (tree("new/ new/a=5@7 new/b=5@7 x=1@1"), tree("a=5@7 b=5@7 c=5@7 d=1@1"));
    let sides = Sides {
        origin: &origin,
        local: &local,
        kept: &BTreeSet::new(),
        seen: &BTreeMap::new(),
        owners: true,
        complete: true,
    };
    let plan = plan(&sides, &Scope::All);
    assert_eq!(plan.doomed.len(), 4);
    assert_eq!(lost(&plan, &sides).len(), 1);
}

#[test]
fn an_incomplete_listing_deletes_nothing() {
    let (origin, local) = (tree("n x y/"), tree("a b/ b/c x/ x/1 y"));
    let sides = Sides {
        origin: &origin,
        local: &local,
        kept: &BTreeSet::new(),
        seen: &BTreeMap::new(),
        owners: true,
        complete: false,
    };
    let plan = plan(&sides, &Scope::All);
    assert_eq!(show(&plan), "get n, mkdir y");
}

#[test]
fn a_changed_stamp_is_looked_into() {
    let (mut origin, local) = (tree("a=5@5"), tree("a=5@5"));
    let mut seen = BTreeMap::new();
    let all = |origin: &Tree, seen: &BTreeMap<_, _>| {
        let kept = BTreeSet::new();
        let sides =
            Sides { origin, local: &local, kept: &kept, seen, owners: true, complete: true };
        plan(&sides, &Scope::All)
    };
    assert_eq!(all(&origin, &seen).trusted, [path("a")]);
    seen.insert(path("a"), Seen { origin: Stamp::default(), local: Stamp::default() });
    assert_eq!(all(&origin, &seen), Plan::default());
    origin.get_mut(&path("a")).unwrap().ctime.nanos = 1;
    assert_eq!(show(&all(&origin, &seen)), "compare a");
}

#[test]
fn owners_that_cannot_be_set_are_no_difference() {
    let (mut origin, local) = (tree("a"), tree("a"));
    origin.get_mut(&path("a")).unwrap().uid = 33;
    let kept = BTreeSet::new();
    let seen = BTreeMap::new();
    for (owners, wanted) in [(true, "set a"), (false, "")] {
        let sides = Sides {
            origin: &origin,
            local: &local,
            kept: &kept,
            seen: &seen,
            owners,
            complete: true,
        };
        assert_eq!(show(&plan(&sides, &Scope::All)), wanted);
    }
}
