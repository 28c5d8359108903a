use super::*;
use crate::error::SlotFault;
use crate::slot;
use noise::Noise;
use std::cell::{Cell, RefCell};
use std::io::{self, Cursor};
use std::rc::Rc;

const PRIVATE: [u8; KEY] = [7; KEY];
/// Where the slots begin on the simulated card, and their size.
const SLOTS: [u64; 2] = [128 * 512, 128 * 512 + SLOT];
const SLOT: u64 = 96 * 1024;

/// A card with a cache of its own: what is not synced may be lost, sector by sector and in any
/// order, when the power goes.
struct Card {
    bytes: Vec<u8>,
    cached: Vec<(usize, Vec<u8>)>,
    /// Writes and syncs until the power goes.
    left: Option<usize>,
    operations: usize,
    random: Noise,
    /// Writes within this range are not kept, though the card says they are.
    forgets: Option<std::ops::Range<usize>>,
    /// Everything written, for counting.
    written: usize,
}

impl Card {
    fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        match &mut self.left {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    self.power_off();
                    return Err(io::Error::other("the power is off"));
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn power_off(&mut self) {
        for (at, bytes) in std::mem::take(&mut self.cached) {
            for (n, sector) in bytes.chunks(SECTOR).enumerate() {
                if self.random.one_in(2) {
                    let at = at + n * SECTOR;
                    self.bytes[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.step()?;
        for (at, bytes) in std::mem::take(&mut self.cached) {
            let forgotten = self.forgets.as_ref().is_some_and(|range| range.contains(&at));
            if !forgotten {
                self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
        Ok(())
    }
}

/// A partition of the card, or all of it.
#[derive(Clone)]
struct View {
    card: Rc<RefCell<Card>>,
    start: u64,
    size: u64,
}

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

impl Device for View {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(at % 512 == 0 && buffer.len() % 512 == 0);
        let card = self.card.borrow();
        if card.left == Some(0) {
            return Err(io::Error::other("the power is off"));
        }
        let at = index(self.start + at);
        buffer.copy_from_slice(&card.bytes[at..at + buffer.len()]);
        for (start, bytes) in &card.cached {
            let from = at.max(*start);
            let to = (at + buffer.len()).min(start + bytes.len());
            if from < to {
                buffer[from - at..to - at].copy_from_slice(&bytes[from - start..to - start]);
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(at % 512 == 0 && bytes.len() % 512 == 0);
        assert!(at + u64::try_from(bytes.len()).unwrap() <= self.size, "outside the partition");
        let at = index(self.start + at);
        let mut card = self.card.borrow_mut();
        card.written += bytes.len();
        card.cached.push((at, bytes.to_vec()));
        card.step()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.card.borrow_mut().sync()
    }
}

fn image(version: &str, built: u64, fill: u8) -> Vec<u8> {
    slot::compose(&vec![fill; 20_000], &vec![!fill; 50_001], version, built).unwrap()
}

fn bundle_of(slot: &[u8]) -> Vec<u8> {
    let mut bundle = bundle::sign(slot, &["pi2".to_owned()], &PRIVATE).unwrap();
    bundle.extend_from_slice(slot);
    bundle
}

fn card(state: State, slots: [&[u8]; 2], seed: u64) -> Rc<RefCell<Card>> {
    let mut bytes = vec![0; index(SLOTS[1] + SLOT)];
    for (start, image) in SLOTS.into_iter().zip(slots) {
        bytes[index(start)..index(start) + image.len()].copy_from_slice(image);
    }
    for (lba, sequence) in LBA.into_iter().zip([250, 251]) {
        bytes[index(lba * 512)..][..SECTOR].copy_from_slice(&state.encode(sequence));
    }
    let random = Noise::new(seed);
    Rc::new(RefCell::new(Card {
        bytes,
        cached: Vec::new(),
        left: None,
        operations: 0,
        random,
        forgets: None,
        written: 0,
    }))
}

fn view(card: &Rc<RefCell<Card>>, slot: Option<Slot>) -> View {
    let (start, size) = match slot {
        None => (0, SLOTS[1] + SLOT),
        Some(Slot::A) => (SLOTS[0], SLOT),
        Some(Slot::B) => (SLOTS[1], SLOT),
    };
    View { card: Rc::clone(card), start, size }
}

fn running() -> Running {
    Running { version: "0.1.0".to_owned(), built_unix: 1, board: None }
}

fn update(
    card: &Rc<RefCell<Card>>,
    target: Slot,
    on_trial: bool,
    bundle: &[u8],
) -> Result<Vec<FirmwareProgress>, Error> {
    let mut steps = Vec::new();
    let job = Job { key: &bundle::public_key(&PRIVATE), running: &running(), on_trial, target };
    install(
        &job,
        &mut Cursor::new(bundle),
        &mut view(card, Some(target)),
        &mut view(card, None),
        &mut |step| steps.push(step),
    )
    .map(|_| steps)
}

fn state_of(card: &Rc<RefCell<Card>>) -> State {
    let card = card.borrow();
    let sector = |lba: u64| card.bytes[index(lba * 512)..][..SECTOR].try_into().unwrap();
    Copies::read(&LBA.map(sector)).state
}

fn partition(card: &Rc<RefCell<Card>>, slot: Slot) -> Vec<u8> {
    let start = index(if slot == Slot::A { SLOTS[0] } else { SLOTS[1] });
    card.borrow().bytes[start..start + index(SLOT)].to_vec()
}

/// What U-Boot does: the slot that starts, whether on trial, and its image.
fn boot(card: &Rc<RefCell<Card>>) -> Option<(Slot, bool, String)> {
    let state = state_of(card);
    let first = state.next_start();
    [(first, state.left > 0), (first.other(), false)].into_iter().find_map(|(slot, trial)| {
        let image = partition(card, slot);
        slot::check(&mut Cursor::new(image)).ok().map(|header| (slot, trial, header.version))
    })
}

#[test]
fn an_update_is_written_and_tried() {
    let (old, new) = (image("0.1.0", 1, 0x10), image("0.2.0", 2, 0x20));
    let card = card(State::default(), [&old, &old], 1);
    let steps = update(&card, Slot::B, false, &bundle_of(&new)).unwrap();
    assert_eq!(boot(&card), Some((Slot::B, true, "0.2.0".to_owned())));
    assert_eq!(state_of(&card), State { trial: Slot::B, left: 3, ..State::default() });
    assert!(card.borrow().bytes[index(SLOTS[1])..].starts_with(&new));
    assert_eq!(steps[0], FirmwareProgress::Verifying);
    let total = u64::try_from(new.len()).unwrap();
    let writing: Vec<_> = steps
        .iter()
        .filter_map(|s| match s {
            FirmwareProgress::Writing { done, total } => Some((*done, *total)),
            _ => None,
        })
        .collect();
    assert_eq!(writing, [(512, total), (32 << 10, total), (64 << 10, total), (total, total)]);
    assert_eq!(steps.last(), Some(&FirmwareProgress::Checking));
    // Once, and besides the header and the state nothing twice.
    assert_eq!(card.borrow().written, new.len() + 2 * SECTOR);
}

#[test]
fn whenever_the_power_goes_one_firmware_starts() {
    let (old, new) = (image("0.1.0", 1, 0x10), image("0.2.0", 2, 0x20));
    let bundle = bundle_of(&new);
    // A card as usual; one whose active slot is damaged, so that the other one runs; and one with
    // an update announced that is now replaced by another.
    let damaged = vec![0_u8; 1024];
    let announced = State::default().trying(Slot::B);
    let cases: [(State, [&[u8]; 2], Slot); 4] = [
        (State::default(), [&old, &old], Slot::B),
        (State::default().confirmed(Slot::B), [&old, &old], Slot::A),
        (State::default(), [&damaged, &old], Slot::A),
        (announced, [&old, &old], Slot::B),
    ];
    let mut cuts = 0;
    for (state, slots, target) in cases {
        let all = card(state, slots, 0);
        update(&all, target, false, &bundle).unwrap();
        let operations = all.borrow().operations;
        assert!(operations >= 9, "{operations}");
        for cut in 1..=operations {
            for seed in 0..8 {
                let card = card(state, slots, seed);
                card.borrow_mut().left = Some(cut);
                let result = update(&card, target, false, &bundle);
                assert!(result.is_err(), "cut {cut} of {operations}");
                let (slot, trial, version) = boot(&card).expect("nothing starts");
                // The new one only when it is whole and on trial; else the one that ran.
                if slot == target && version == "0.2.0" {
                    assert!(trial && state_of(&card).active == target.other());
                } else {
                    assert_eq!(version, "0.1.0");
                }
                // A slot with a header is whole, and only a whole one is tried.
                let written = partition(&card, target);
                let whole = slot::check(&mut Cursor::new(&written));
                assert_eq!(slot::header(&mut Cursor::new(&written)).is_ok(), whole.is_ok());
                assert!(state_of(&card).left == 0 || whole.is_ok(), "cut {cut}");
                let kept = if target == Slot::B { SLOTS[0] } else { SLOTS[1] };
                let running = card.borrow().bytes[index(kept)..].starts_with(&old);
                assert!(running, "the running slot was touched");
                cuts += 1;
                // With power again the same update goes through.
                if slot != target && seed == 0 {
                    card.borrow_mut().left = None;
                    update(&card, target, false, &bundle).unwrap();
                    assert_eq!(boot(&card), Some((target, true, "0.2.0".to_owned())));
                }
            }
        }
    }
    assert!(cuts > 100);
}

/// U-Boot counts a try before it starts the slot.
fn count_try(card: &Rc<RefCell<Card>>) -> io::Result<()> {
    let mut disk = view(card, None);
    let mut sectors = [[0; SECTOR]; 2];
    for (sector, lba) in sectors.iter_mut().zip(LBA) {
        disk.read(lba * SECTOR_BYTES, sector)?;
    }
    let copies = Copies::read(&sectors);
    let state = State { left: copies.state.left - 1, ..copies.state };
    let (index, sector) = copies.next(&state);
    disk.write(LBA[index] * SECTOR_BYTES, &sector)?;
    disk.sync()
}

#[test]
fn a_firmware_that_never_gets_anywhere_is_tried_three_times() {
    let (old, new) = (image("0.1.0", 1, 0x10), image("0.2.0", 2, 0x20));
    for cut in [None, Some(1), Some(2)] {
        for seed in 0..8 {
            let card = card(State::default(), [&old, &old], seed);
            update(&card, Slot::B, false, &bundle_of(&new)).unwrap();
            let mut tries = 0;
            while let Some((Slot::B, true, _)) = boot(&card) {
                assert!(tries < 4, "tried for ever");
                // Power may go while the first try is counted, which then counts or does not.
                card.borrow_mut().left = if tries == 0 { cut } else { None };
                assert_eq!(count_try(&card).is_err(), tries == 0 && cut.is_some());
                card.borrow_mut().left = None;
                tries += 1;
            }
            assert_eq!(boot(&card), Some((Slot::A, false, "0.1.0".to_owned())));
            assert!(tries == 3 || (tries == 4 && cut.is_some()), "{tries}");
        }
    }
}

#[test]
fn what_is_refused_writes_nothing() {
    let (old, new) = (image("0.1.0", 1, 0x10), image("0.2.0", 2, 0x20));
    let good = bundle_of(&new);
    let mut altered = good.clone();
    *altered.last_mut().unwrap() ^= 1;
    let mut foreign = bundle::sign(&new, &[], &[8; KEY]).unwrap();
    foreign.extend_from_slice(&new);
    let older = bundle_of(&image("0.0.9", 0, 0x30));
    let large = slot::compose(&[1; 10], &vec![2; 96 << 10], "0.2.0", 2).unwrap();
    for (bundle, word) in [
        (&good[..good.len() - 1], "incomplete"),
        (&altered[..], "altered"),
        (&foreign[..], "not signed"),
        (&older[..], "older"),
        (&bundle_of(&large)[..], "too large"),
        (&[][..], "not a Bramble update"),
    ] {
        let card = card(State::default(), [&old, &old], 1);
        let before = card.borrow().bytes.clone();
        let error = update(&card, Slot::B, false, bundle).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
        let card = card.borrow();
        assert!(card.operations == 0 && card.bytes == before, "{word}");
    }
}

#[test]
fn on_trial_nothing_is_installed() {
    let (old, new) = (image("0.1.0", 1, 0x10), image("0.2.0", 2, 0x20));
    let state = State { left: 2, ..State::default().trying(Slot::B) };
    let card = card(state, [&old, &old], 1);
    let error = update(&card, Slot::A, true, &bundle_of(&new)).unwrap_err();
    assert!(matches!(error, Error::OnTrial));
    assert_eq!(card.borrow().operations, 0);
    // Confirmed, with the word still on the kernel's command line.
    write_state(&mut view(&card, None), state.confirmed(Slot::B)).unwrap();
    update(&card, Slot::A, true, &bundle_of(&new)).unwrap();
    assert_eq!(boot(&card), Some((Slot::A, true, "0.2.0".to_owned())));
}

#[test]
fn a_card_that_forgets_is_found_out() {
    let (old, new) = (image("0.1.0", 1, 0x10), image("0.2.0", 2, 0x20));
    let slot_b = index(SLOTS[1]);
    let ranges = [
        // The slot's second piece, the header, and the boot state.
        (slot_b + (32 << 10)..slot_b + (32 << 10) + 1),
        (slot_b..slot_b + 1),
        (0..66 * 512),
    ];
    for forgets in ranges {
        let card = card(State::default(), [&old, &old], 1);
        card.borrow_mut().forgets = Some(forgets.clone());
        let error = update(&card, Slot::B, false, &bundle_of(&new)).unwrap_err();
        assert!(matches!(error, Error::ReadBack), "{forgets:?}: {error}");
        assert_eq!(boot(&card), Some((Slot::A, false, "0.1.0".to_owned())), "{forgets:?}");
    }
}

/// A file that is another once the flag is set.
struct Changing {
    file: Cursor<Vec<u8>>,
    changed: Rc<Cell<bool>>,
}

impl Read for Changing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if self.changed.get() {
            buffer[..read].iter_mut().for_each(|b| *b ^= 0xff);
        }
        Ok(read)
    }
}

impl Seek for Changing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_file_changed_after_the_check_does_not_start() {
    let (old, new) = (image("0.1.0", 1, 0x10), image("0.2.0", 2, 0x20));
    let card = card(State::default(), [&old, &old], 1);
    let changed = Rc::new(Cell::new(false));
    let file = Cursor::new(bundle_of(&new));
    let mut file = Changing { file, changed: Rc::clone(&changed) };
    let key = bundle::public_key(&PRIVATE);
    let job = Job { key: &key, running: &running(), on_trial: false, target: Slot::B };
    let (mut slot, mut disk) = (view(&card, Some(Slot::B)), view(&card, None));
    let mut report = |step| {
        if matches!(step, FirmwareProgress::Writing { .. }) {
            changed.set(true);
        }
    };
    let error = install(&job, &mut file, &mut slot, &mut disk, &mut report).unwrap_err();
    assert!(matches!(error, Error::ReadBack), "{error}");
    assert_eq!(boot(&card), Some((Slot::A, false, "0.1.0".to_owned())));
    let found = slot::header(&mut Cursor::new(partition(&card, Slot::B)));
    assert_eq!(found, Err(SlotFault::Empty));
}
