//! The network of a world, and what both its ends do: clients that receive and send, the server that takes it in.

use chalkboard_client::client::Event;
use chalkboard_shared::DisconnectReason;
use chalkboard_shared::wire::{ClientMessage, ServerMessage};
use chalkboard_simulation::{Input, Join};

use super::World;
use crate::simulated::link::Link;
use crate::simulated::person::Presence;
use crate::simulated::telling::glance;

impl World {
    /// The server's end of a link is gone; the client learns of it then.
    pub(super) fn server_closes(&mut self, n: usize, client_learns: u64) {
        let link = &mut self.links[n];
        link.is_server_open = false;
        link.session = None;
        link.hello = None;
        link.client_learns = Some(client_learns);
    }

    /// The client's end of a link is gone; the server learns of it later, if it is there.
    pub(super) fn client_closes(&mut self, n: usize, server_learns: u64) {
        let now = self.now_ms();
        let link = &mut self.links[n];
        link.is_client_open = false;
        link.server_learns = Some(server_learns);
        link.down.lose();
        let person = &mut self.people[link.person];
        if person.link == Some(n) {
            person.link = None;
            person.client.disconnected(now);
        }
    }

    /// A link breaks: each end learns of it at some time, and what is on the way may arrive or not.
    pub(super) fn cut(&mut self, n: usize) {
        let (a, b) = (self.dice.below(40), self.dice.below(40));
        let link = &mut self.links[n];
        for pipe in [&mut link.up, &mut link.down] {
            pipe.end();
            if self.dice.chance(60) {
                pipe.lose();
            }
        }
        link.client_learns.get_or_insert(self.tick + a);
        link.server_learns.get_or_insert(self.tick + b);
    }

    /// A person goes away from their link.
    pub(super) fn leave(&mut self, n: usize) {
        if let Some(link) = self.people[n].link {
            let learns = self.tick + self.dice.below(60);
            if self.dice.chance(50) {
                self.links[link].up.lose();
            }
            self.client_closes(link, learns);
        }
    }

    /// Ends learn that their links are gone.
    pub(super) fn links_end(&mut self) {
        for n in 0..self.links.len() {
            let link = &self.links[n];
            let is_due = |at: Option<u64>| at.is_some_and(|at| at <= self.tick);
            let client_learns = link.is_client_open && is_due(link.client_learns);
            let server_learns = link.is_server_open && is_due(link.server_learns);
            if client_learns {
                let learns = self.tick + self.dice.below(40);
                self.client_closes(n, learns);
            }
            if server_learns {
                self.server_loses(n);
            }
        }
    }

    /// The server finds that a client is gone.
    pub(super) fn server_loses(&mut self, n: usize) {
        let tick = self.tick;
        let link = &mut self.links[n];
        link.is_server_open = false;
        link.up.lose();
        link.hello = None;
        let board = self.people[link.person].board;
        if let Some(session) = link.session.take()
            && let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board))
        {
            hosted.dismiss(session, tick);
            hosted.inputs.push(Input::Leave(session));
        }
    }

    pub(super) fn clients_receive(&mut self) -> Result<(), String> {
        let now = self.now_ms();
        for n in 0..self.people.len() {
            let person = &mut self.people[n];
            if let Some(at) = person.link {
                let link = &mut self.links[at];
                let (frames, bytes) = link.down.arrived(self.tick);
                if bytes > 0
                    && let Some(session) = link.session
                    && let Some(hosted) =
                        self.host.as_mut().and_then(|host| host.room(person.board))
                {
                    hosted.inputs.push(Input::Written { session, bytes });
                }
                for frame in frames {
                    self.trace
                        .note(|| format!("client {n} gets {}", glance(frame.clone())));
                    person.client.receive(now, frame.clone()).map_err(|error| {
                        let message = ServerMessage::decode(frame);
                        format!("client {n} can't read {message:?}: {error}")
                    })?;
                }
            }
            person.client.tick(now);
            let mut is_over = false;
            while let Some(event) = person.client.poll_event() {
                match event {
                    Event::Closed(reason) if reason.is_retryable() => is_over = true,
                    Event::Closed(reason) => {
                        return Err(format!("client {n} was sent away: {reason:?}"));
                    }
                    Event::LinkDead => {
                        self.tally.dead_links += 1;
                        is_over = true;
                    }
                    Event::History { can_undo, .. } => person.can_undo = can_undo,
                    Event::OutboxFull => return Err(format!("the outbox of client {n} is full")),
                    _ => {}
                }
            }
            let saved = person.client.saved_through();
            if let Some(actor) = person.client.actor()
                && let Some(known) = self.evidence.get_mut(&person.board)
            {
                self.tally.saved += known.actors.entry(actor).or_default().saved(saved);
            }
            if is_over && let Some(at) = person.link {
                self.trace.note(|| format!("client {n} gives link {at} up"));
                let learns = self.tick + self.dice.below(60);
                self.client_closes(at, learns);
                self.people[n].presence = Presence::Here(self.tick + self.dice.below(20));
            }
        }
        Ok(())
    }

    pub(super) fn people_act(&mut self) -> Result<(), String> {
        let now = self.now_ms();
        for n in 0..self.people.len() {
            let person = &mut self.people[n];
            match person.presence {
                Presence::Here(from) if self.tick >= from && person.link.is_none() => {
                    self.trace
                        .note(|| format!("client {n} connects by link {}", self.links.len()));
                    person.link = Some(self.links.len());
                    person.client.connected(now);
                    self.tally.resumes += u64::from(person.has_been_here);
                    person.has_been_here = true;
                    self.links.push(Link::new(n, person.actor));
                }
                Presence::Offline(until) | Presence::Asleep(until) if self.tick >= until => {
                    person.presence = Presence::Here(self.tick);
                }
                Presence::Asleep(_) => continue,
                Presence::Here(_) | Presence::Offline(_) => {}
            }
            if self.is_healed || !self.dice.chance(self.scenario.busy_percent) {
                continue;
            }
            let known = &self.known[&person.board];
            let (what, is_turn) = person.act(now, known, &mut self.dice)?;
            self.tally.undos += u64::from(is_turn);
            self.trace.note(|| format!("person {n} {what}"));
        }
        Ok(())
    }

    pub(super) fn clients_send(&mut self) -> Result<(), String> {
        for n in 0..self.people.len() {
            self.take_over(n)?;
            let person = &mut self.people[n];
            if let Some(store) = &mut person.store {
                store.keep(self.tick, &mut person.client, &mut self.store_dice);
            }
            let Some(at) = person.link else { continue };
            while let Some(transmit) = person.client.poll_transmit() {
                if transmit.reliable
                    && let Ok(ClientMessage::Ops { first, ops, .. }) =
                        ClientMessage::decode(transmit.frame.clone())
                {
                    self.trace
                        .note(|| format!("client {n} sends ops {first} and on, {}", ops.len()));
                    let actor = person.actor;
                    let ops: Vec<_> = ops.into_iter().map(|op| op.signed_by(actor)).collect();
                    if let Some(known) = self.evidence.get_mut(&person.board) {
                        let testimony = known.actors.entry(actor).or_default();
                        testimony.sends(actor, first, &ops)?;
                    }
                }
                self.links[at].up.send(
                    self.tick,
                    transmit.reliable,
                    transmit.frame,
                    self.scenario.quality,
                    &mut self.dice,
                );
            }
        }
        Ok(())
    }

    pub(super) fn server_receives(&mut self) -> Result<(), String> {
        let tick = self.tick;
        for n in 0..self.links.len() {
            if !self.links[n].is_server_open {
                continue;
            }
            let frames = self.links[n].up.arrived(tick).0;
            if self.host.is_none() {
                // Nobody listens.
                if !frames.is_empty() {
                    let learns = tick + self.dice.below(10);
                    self.server_closes(n, learns);
                }
                continue;
            }
            for frame in frames {
                let message = ClientMessage::decode(frame)
                    .map_err(|error| format!("the server can't read a client: {error}"))?;
                self.server_takes(n, message);
            }
        }
        self.host_loads()?;
        for n in 0..self.links.len() {
            self.let_in(n);
        }
        Ok(())
    }

    pub(super) fn server_takes(&mut self, n: usize, message: ClientMessage) {
        let link = &mut self.links[n];
        let person = &self.people[link.person];
        let (board, actor) = (person.board, link.actor);
        if let ClientMessage::Hello(hello) = message {
            self.trace.note(|| {
                format!(
                    "client {} says hello, sees {:?}, holds {:?}",
                    link.person, hello.view, hello.resume
                )
            });
            link.hello = Some(hello);
            return;
        }
        let Some(session) = link.session else { return };
        if let ClientMessage::Ping(nonce) = message {
            let pong = ServerMessage::Pong(nonce).encode();
            let quality = self.scenario.quality;
            link.down
                .send(self.tick, true, pong, quality, &mut self.dice);
            return;
        }
        if let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board)) {
            hosted.inputs.extend(Input::of(message, session, actor));
        }
    }

    pub(super) fn let_in(&mut self, n: usize) {
        let link = &mut self.links[n];
        let Some(hello) = link.hello.take_if(|_| link.is_server_open) else {
            return;
        };
        let person = &self.people[link.person];
        let (board, actor, rights) = (person.board, link.actor, person.rights);
        let (Some(host), links) = (&mut self.host, &self.links) else {
            return;
        };
        if let Some(hosted) = host.room(board) {
            // Links are numbered as they come.
            let mut present = hosted.sessions.values();
            if present.any(|&other| other > n && links[other].actor == actor) {
                self.trace
                    .note(|| format!("link {n} says hello too late, a newer one is there"));
                self.send_away(n, DisconnectReason::Replaced);
                return;
            }
            let session = hosted.admit(n);
            let join = Join::of(*hello, session, actor, rights);
            hosted.inputs.push(Input::Join(Box::new(join)));
            self.links[n].session = Some(session);
            return;
        }
        match host.open(board) {
            Ok(()) => self.links[n].hello = Some(hello),
            Err(error) => {
                self.trace
                    .note(|| format!("link {n} is turned away: {error}"));
                self.send_away(n, DisconnectReason::Storage);
            }
        }
    }

    /// Says goodbye on a link and closes it.
    pub(super) fn send_away(&mut self, n: usize, reason: DisconnectReason) {
        let bye = ServerMessage::Bye(reason).encode();
        let quality = self.scenario.quality;
        self.links[n]
            .down
            .send(self.tick, true, bye, quality, &mut self.dice);
        let learns = self.tick + quality.delay_ticks_max + 1 + self.dice.below(10);
        self.server_closes(n, learns);
    }
}
