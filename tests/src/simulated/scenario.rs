//! Scenarios: what a seed makes of the network, the disk, the server and the people.

use chalkboard_server::storage::repo::simulated::{DiskFaults, NO_FAULTS};

use crate::dice::Dice;
use crate::simulated::link::LinkQuality;

/// What a run is about; each seed is of one kind, in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing goes wrong.
    Calm,
    /// Datagrams are lost and overtake each other, everything is late.
    Lossy,
    /// Links are cut and parted, one way and both.
    Parted,
    /// The server dies, by a kill or with the power, at any step.
    Crashing,
    /// The disk is full, slow and fails; snapshots rot.
    Failing,
    /// Clients crash, go offline for long and come back.
    Absent,
    /// Several boards share the writer and the disk, and rooms come and go.
    Crowded,
    /// All of it.
    Storm,
}

/// All kinds, in the order in which seeds take turns.
pub const KINDS: [Kind; 8] = [
    Kind::Calm,
    Kind::Lossy,
    Kind::Parted,
    Kind::Crashing,
    Kind::Failing,
    Kind::Absent,
    Kind::Crowded,
    Kind::Storm,
];

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is about.
    pub kind: Kind,
    /// Boards on the server.
    pub boards: usize,
    /// People, each on one of the boards.
    pub people: usize,
    /// One of so many only looks on; 0 for nobody.
    pub viewer_of: u64,
    /// Ticks in which things happen; then everything heals and comes to rest.
    pub ticks: u64,
    /// Milliseconds a tick.
    pub tick_ms: f64,
    /// What the network does to frames.
    pub quality: LinkQuality,
    /// Chance that somebody does something in a tick, of 100.
    pub busy_percent: u64,
    /// Chance of a cut, for each link and tick, of 1,000.
    pub cut_permille: u64,
    /// Chance that a link is parted for a while, of 1,000.
    pub part_permille: u64,
    /// Chance that somebody goes offline for long, of 1,000.
    pub leave_permille: u64,
    /// Chance that a client crashes, of 1,000.
    pub client_crash_permille: u64,
    /// Chance that the server ends, of 1,000 ticks.
    pub server_crash_permille: u64,
    /// What is wrong with the disk all the time.
    pub disk: DiskFaults,
    /// Chance that the disk is full for a while, of 1,000 ticks.
    pub full_permille: u64,
    /// Ticks for which a room stays loaded with nobody in it.
    pub unload_ticks: u64,
    /// Ops between two snapshots.
    pub snapshot_ops: u64,
    /// Places in the writer's queue.
    pub queue_requests: usize,
    /// Batches in one commit at most.
    pub group_batches: usize,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(seed: u64, dice: &mut Dice) -> Self {
        let kind = KINDS[(seed % KINDS.len() as u64) as usize];
        let is = |kinds: &[Kind]| kind == Kind::Storm || kinds.contains(&kind);
        let mut scenario = Self {
            kind,
            boards: 1,
            people: 2 + dice.below(3) as usize,
            viewer_of: 5,
            ticks: 150 + dice.below(250),
            tick_ms: [16.667, 50.0, 100.0][dice.below(3) as usize],
            quality: LinkQuality {
                delay_ticks_min: 0,
                delay_ticks_max: dice.below(3),
                loss_percent: 0,
            },
            busy_percent: 30 + dice.below(50),
            cut_permille: 0,
            part_permille: 0,
            leave_permille: 0,
            client_crash_permille: 0,
            server_crash_permille: 0,
            disk: DiskFaults {
                sync_moments_max: dice.below(4),
                ..NO_FAULTS
            },
            full_permille: 0,
            unload_ticks: 20 + dice.below(100),
            snapshot_ops: [10, 40, 150, 100_000][dice.below(4) as usize],
            queue_requests: 4096,
            group_batches: 256,
        };
        if is(&[Kind::Lossy, Kind::Parted]) {
            scenario.quality = LinkQuality {
                delay_ticks_min: dice.below(3),
                delay_ticks_max: 3 + dice.below(25),
                loss_percent: dice.below(40),
            };
        }
        if is(&[Kind::Parted]) {
            scenario.cut_permille = 1 + dice.below(20);
            scenario.part_permille = dice.below(15);
        }
        if is(&[Kind::Crashing]) {
            scenario.server_crash_permille = 2 + dice.below(25);
            scenario.disk.sync_moments_max = dice.below(12);
            scenario.disk.snapshot_rots_permille = dice.below(300);
        }
        if is(&[Kind::Failing]) {
            scenario.disk = DiskFaults {
                bytes_max: usize::MAX,
                write_fails_permille: dice.below(150),
                sync_fails_permille: dice.below(100),
                read_fails_permille: dice.below(200),
                snapshot_rots_permille: dice.below(500),
                sync_moments_min: dice.below(3),
                sync_moments_max: 3 + dice.below(30),
            };
            scenario.full_permille = dice.below(15);
            scenario.server_crash_permille += dice.below(8);
            scenario.queue_requests = [2, 8, 4096][dice.below(3) as usize];
            scenario.group_batches = 1 + dice.below(8) as usize;
        }
        if is(&[Kind::Absent]) {
            scenario.leave_permille = 2 + dice.below(10);
            scenario.client_crash_permille = 1 + dice.below(8);
            scenario.unload_ticks = 5 + dice.below(30);
        }
        if is(&[Kind::Crowded]) {
            scenario.boards = 2 + dice.below(2) as usize;
            scenario.people += scenario.boards;
            scenario.leave_permille += 2 + dice.below(10);
            scenario.cut_permille += dice.below(6);
            scenario.server_crash_permille += dice.below(6);
            scenario.unload_ticks = 3 + dice.below(20);
        }
        scenario
    }
}
