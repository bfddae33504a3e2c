//! What must hold: of a board when it is loaded, of rooms now and then, of everything when it has come to rest.

use bytes::Bytes;
use chalkboard_client::client::Client;
use chalkboard_server::storage::StorageError;
use chalkboard_server::storage::repo::simulated::NO_FAULTS;
use chalkboard_shared::digest::Digest;
use chalkboard_shared::{BoardId, Position, Rights, Stroke, StrokeId};
use chalkboard_simulation::Fold;

use crate::simulated::evidence::BoardEvidence;
use crate::simulated::telling::sketch;
use crate::simulated::world::World;

/// Steps that a person takes back or brings back at the end, more than a client keeps.
const TURNS_MAX: usize = 400;

impl World {
    /// Digest, index and durable position of every live room.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn audit(&mut self) -> Result<(), String> {
        for board in self.boards.clone() {
            let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board)) else {
                continue;
            };
            let audited = hosted.room.audit();
            audited
                .map_err(|error| format!("room {} disagrees with itself: {error}", board.0[0]))?;
            let durable = hosted.room.durable();
            let told = self.evidence.get(&board).map(BoardEvidence::durable);
            // What a load found is durable too, though nobody may have been told.
            if told.is_some_and(|told| hosted.is_saved() && durable < told) {
                return Err(format!(
                    "room {} is durable to {durable:?}, and {told:?} was told",
                    board.0[0]
                ));
            }
        }
        Ok(())
    }

    /// A live room against its log, whole: the log against what was promised and sent, and the room against the log.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check_board(&mut self, board: BoardId) -> Result<(), String> {
        let records = self.records(board)?;
        let known = self.evidence.entry(board).or_default();
        let model = known.check_log(&records)?;
        let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board)) else {
            return Ok(());
        };
        model
            .check(hosted.room.strokes())
            .map_err(|error| format!("room {} is not what its log says: {error}", board.0[0]))?;
        let audited = hosted.room.audit();
        audited.map_err(|error| format!("room {} disagrees with itself: {error}", board.0[0]))
    }

    /// Everything, of a world at rest; shakes it once more while doing so.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check_end(&mut self) -> Result<(), String> {
        for board in self.boards.clone() {
            self.add_witness(board);
        }
        self.open_left()?;
        self.rest()?;
        self.check_all()?;
        for board in self.boards.clone() {
            let records = self.records(board)?;
            let known = self.evidence.entry(board).or_default();
            self.tally.kept += known.check_kept(&records)?;
            let here = self.people.iter().filter(|person| person.board == board);
            for store in here.filter_map(|person| person.store.as_ref()) {
                if let Some(testimony) = known.actors.get(&store.actor) {
                    testimony.check_made(store.actor, store.made())?;
                }
            }
        }
        self.check_turns()?;
        self.check_all()?;
        let before = self.digests();
        self.restart()?;
        self.rest()?;
        let after = self.digests();
        if after != before {
            return Err(format!(
                "an orderly restart has changed a board: {before:?}, then {after:?}"
            ));
        }
        self.check_all()?;
        for board in &self.boards {
            let position = self.host.as_mut().and_then(|host| host.room(*board));
            self.tally.ops += position.map_or(0, |hosted| hosted.room.position().0);
        }
        Ok(())
    }

    fn check_all(&mut self) -> Result<(), String> {
        for board in self.boards.clone() {
            self.check_board(board)?;
            self.check_replays(board)?;
            self.check_clients(board)?;
        }
        Ok(())
    }

    fn digests(&mut self) -> Vec<Option<Digest>> {
        let boards = self.boards.clone();
        let digest = |board| Some(self.host.as_mut()?.room(board)?.room.digest());
        boards.into_iter().map(digest).collect()
    }

    /// The whole log of a board, as it is on the disk.
    fn records(&mut self, board: BoardId) -> Result<Vec<Bytes>, String> {
        let stored = self.read(|world| match &world.host {
            Some(host) => host.log.load_before(board, Position(0)),
            None => Err(StorageError::Stopped),
        })?;
        Ok(stored.tail.into_iter().map(|batch| batch.record).collect())
    }

    /// Reads without the disk's faults.
    fn read<T>(
        &mut self,
        read: impl FnOnce(&Self) -> Result<T, StorageError>,
    ) -> Result<T, String> {
        let faults = self.disk.faults();
        self.disk.set_faults(NO_FAULTS);
        let outcome = read(self).map_err(|error| format!("a check can't read: {error}"));
        self.disk.set_faults(faults);
        outcome
    }

    /// The newest snapshot and its tail, and the whole log, come to the board that the room holds.
    fn check_replays(&mut self, board: BoardId) -> Result<(), String> {
        let whole = self.records(board)?;
        let newest = self.read(|world| match &world.host {
            Some(host) => host.log.load(board),
            None => Err(StorageError::Stopped),
        })?;
        let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board)) else {
            return Err(format!("room {} is not there", board.0[0]));
        };
        let expect = (hosted.room.position(), hosted.room.digest());
        let fold = Fold::new(None, whole).map_err(|error| format!("the log: {error}"))?;
        if (fold.position(), fold.digest()) != expect {
            return Err(format!("the log of {} comes to another board", board.0[0]));
        }
        let tail = newest.tail.into_iter().map(|batch| batch.record);
        match Fold::new(newest.snapshot, tail) {
            Ok(fold) if (fold.position(), fold.digest()) == expect => Ok(()),
            Ok(_) => Err(format!(
                "the snapshot of {} and its tail come to another board",
                board.0[0]
            )),
            // It rotted on the disk; loading falls back to another.
            Err(_) if self.disk.counts().rotten > 0 => Ok(()),
            Err(error) => Err(format!("the snapshot of {}: {error}", board.0[0])),
        }
    }

    /// Every client shows what the room holds, within what it covers.
    fn check_clients(&mut self, board: BoardId) -> Result<(), String> {
        let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board)) else {
            return Err(format!("room {} is not there", board.0[0]));
        };
        let digest = hosted.room.digest();
        let truth: Vec<Stroke> = hosted.room.strokes().into_iter().cloned().collect();
        for (n, person) in self.people.iter().enumerate() {
            if person.board != board {
                continue;
            }
            let client = &person.client;
            let Some(coverage) = client.coverage() else {
                return Err(format!("client {n} covers nothing"));
            };
            let area = coverage.rect();
            let expect = truth
                .iter()
                .filter(|stroke| !stroke.erased.value && stroke.extent().intersects(area));
            let expect: Vec<_> = expect.collect();
            let shown = client.board().strokes_in(area);
            if shown
                .iter()
                .map(|s| look(s))
                .ne(expect.iter().map(|s| look(s)))
            {
                let lacks = |others: &[&Stroke], stroke: &Stroke| {
                    others.iter().all(|other| look(other) != look(stroke))
                };
                let surplus = shown.iter().filter(|stroke| lacks(&expect, stroke));
                let missing = expect.iter().filter(|stroke| lacks(&shown, stroke));
                let held = |stroke: &Stroke| match client.board().look_up(stroke.id) {
                    Some(held) => format!("{}, held as {}", sketch(stroke), sketch(held)),
                    None => format!("{}, not held", sketch(stroke)),
                };
                let in_room = |stroke: &Stroke| match truth.iter().find(|s| s.id == stroke.id) {
                    Some(other) => format!("{}, in the room {}", sketch(stroke), sketch(other)),
                    None => format!("{}, not in the room", sketch(stroke)),
                };
                return Err(format!(
                    "client {n} shows {} strokes of {} within {area:?}: it shows {:?}, and lacks {:?}",
                    shown.len(),
                    expect.len(),
                    surplus.map(|s| in_room(s)).collect::<Vec<_>>(),
                    missing.map(|s| held(s)).collect::<Vec<_>>(),
                ));
            }
            let is_whole = truth.iter().all(|stroke| stroke.extent().intersects(area));
            if is_whole && client.digest() != digest {
                return Err(format!(
                    "client {n} has digest {}, its room {digest}",
                    client.digest()
                ));
            }
        }
        Ok(())
    }

    /// Somebody takes everything back and brings it back again: nothing may have changed by that.
    fn check_turns(&mut self) -> Result<(), String> {
        for board in self.boards.clone() {
            let can_draw = |n: &usize| {
                let person = &self.people[*n];
                person.board == board && person.rights == Rights::Edit
            };
            let editors: Vec<usize> = (0..self.people.len()).filter(can_draw).collect();
            let Some(&n) = self.dice.pick(&editors) else {
                continue;
            };
            // What was undone before is brought back first, so that as much is redone as is undone.
            self.turn(n, Client::redo)?;
            let before = self.looks(board);
            let undone = self.turn(n, Client::undo)?;
            let redone = self.turn(n, Client::redo)?;
            self.trace
                .note(|| format!("person {n} takes back {undone} and brings back {redone}"));
            self.tally.undos += (undone + redone) as u64;
            // Steps that the room has refused are forgotten.
            if redone > undone {
                return Err(format!("{undone} steps were undone, and {redone} redone"));
            }
            let after = self.looks(board);
            if before != after {
                let mut pairs = before.iter().zip(&after);
                let changed = pairs.find(|(before, after)| before != after);
                return Err(format!(
                    "{undone} undos and as many redos of person {n} have changed the board, first {changed:?}"
                ));
            }
        }
        Ok(())
    }

    fn turn(&mut self, n: usize, turn: impl Fn(&mut Client) -> bool) -> Result<usize, String> {
        let mut turns = 0;
        while turns < TURNS_MAX && turn(&mut self.people[n].client) {
            turns += 1;
        }
        self.rest()?;
        Ok(turns)
    }

    /// What a room's strokes look like, hidden ones included.
    fn looks(&mut self, board: BoardId) -> Vec<Look> {
        let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board)) else {
            return Vec::new();
        };
        let strokes = hosted.room.strokes().into_iter();
        strokes
            .map(|stroke| Look {
                stroke: stroke.id,
                is_erased: stroke.erased.value,
                digest: stroke.digest(),
            })
            .collect()
    }
}

/// What is seen of a stroke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    stroke: StrokeId,
    is_erased: bool,
    digest: u64,
}

fn look(stroke: &Stroke) -> (StrokeId, Position, u64) {
    (stroke.id, stroke.z, stroke.digest())
}
