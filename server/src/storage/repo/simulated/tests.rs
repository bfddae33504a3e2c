//! What the simulated disk forgets, and what the store on it does not.

use super::*;

const BOARD: BoardId = BoardId([1; 16]);

fn batch(position: u64) -> LogBatch {
    LogBatch {
        board: BOARD,
        first: Position(position),
        last: Position(position),
        record: Bytes::from(vec![position as u8; 300]),
    }
}

fn fresh(seed: u64) -> (SimulatedDisk, Simulated) {
    let disk = SimulatedDisk::new(seed);
    let mut store = Simulated::open(&disk).expect("an empty disk");
    let record = BoardRecord {
        id: BOARD,
        edit_hash: [1; 32],
        view_hash: [2; 32],
        created_ms: 3,
    };
    store.create_board(&record).expect("it is new");
    (disk, store)
}

fn end(disk: &SimulatedDisk) -> u64 {
    let mut store = Simulated::open(disk).expect("it opens");
    store.load(BOARD).expect("it is there").end().0
}

#[test]
fn a_crash_keeps_what_was_synced_and_may_lose_the_rest_whole() {
    let (mut kept, mut torn) = (0, 0);
    for seed in 0..200 {
        let (disk, mut store) = fresh(seed);
        disk.set_faults(DiskFaults {
            sync_moments_min: 10,
            sync_moments_max: 10,
            ..NO_FAULTS
        });
        for (position, moment) in [(1, 0), (2, 20), (3, 40)] {
            disk.set_now(moment);
            store.append(&[batch(position)]).expect("it continues");
            assert_eq!(disk.busy_until(), moment + 10);
        }
        disk.set_now(49);
        disk.crash();
        let end = end(&disk);
        assert!(end == 2 || end == 3, "{end}");
        kept += u64::from(end == 3);
        torn += disk.counts().torn;
    }
    assert!(kept > 10 && torn > 10, "kept {kept}, torn {torn}");
}

#[test]
fn a_sync_that_has_taken_effect_can_not_be_lost() {
    for seed in 0..50 {
        let (disk, mut store) = fresh(seed);
        for position in 1..=5 {
            store.append(&[batch(position)]).expect("it continues");
        }
        disk.crash();
        assert_eq!(end(&disk), 5);
    }
}

#[test]
fn failures_leave_everything_as_it_was_and_the_log_goes_on() {
    for seed in 0..50 {
        let (disk, mut store) = fresh(seed);
        disk.set_faults(DiskFaults {
            write_fails_permille: 300,
            sync_fails_permille: 300,
            ..NO_FAULTS
        });
        let mut position = 1;
        for _ in 0..30 {
            let before = store.load(BOARD).expect("it loads");
            match store.append(&[batch(position)]) {
                Ok(()) => position += 1,
                Err(error) => {
                    assert!(matches!(error, StorageError::Database(_)), "{error}");
                    assert_eq!(store.load(BOARD).expect("it loads"), before);
                }
            }
        }
        assert!(position > 5 && disk.counts().failed > 5);
        disk.set_faults(NO_FAULTS);
        store.append(&[batch(position)]).expect("all is well again");
        disk.crash();
        assert_eq!(end(&disk), position);
    }
}

#[test]
fn a_full_disk_is_full_until_there_is_space() {
    let (disk, mut store) = fresh(1);
    store.append(&[batch(1)]).expect("it begins");
    disk.set_faults(DiskFaults {
        bytes_max: disk.size() + 100,
        ..NO_FAULTS
    });
    let refused = store.append(&[batch(2)]).expect_err("no space");
    assert!(matches!(refused, StorageError::Full(_)), "{refused:?}");
    disk.set_faults(NO_FAULTS);
    store.append(&[batch(2)]).expect("there is space");
    disk.crash();
    assert_eq!(end(&disk), 2);
}

#[test]
fn reads_fail_and_snapshots_rot_where_they_are_said_to() {
    let (disk, mut store) = fresh(1);
    store.append(&[batch(1)]).expect("it begins");
    disk.set_faults(DiskFaults {
        read_fails_permille: 1000,
        snapshot_rots_permille: 1000,
        ..NO_FAULTS
    });
    let mut reader = store.reader().expect("it opens");
    assert!(reader.load(BOARD).is_err());
    let snapshot = Bytes::from_static(b"everything");
    store
        .put_snapshot(BOARD, Position(1), snapshot.clone())
        .expect("it is placed");
    disk.set_faults(NO_FAULTS);
    let stored = reader.load(BOARD).expect("it reads").snapshot;
    let (position, bytes) = stored.expect("there is one");
    assert_eq!(position, Position(1));
    assert_ne!(bytes, snapshot);
}
