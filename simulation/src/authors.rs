//! Authors: whom this load of the board has told its caller of, so that history can name them later.

use std::collections::BTreeSet;

use bevy_ecs::prelude::*;
use chalkboard_shared::ActorId;
use chalkboard_shared::wire::Participant;

use crate::output::Output;
use crate::people::User;

/// Actors whose ops were accepted in this load; no more than the ledger holds.
#[derive(Resource, Debug, Default)]
pub(crate) struct Authors(BTreeSet<ActorId>);

/// An op of this session was accepted: whoever made it is told of once.
pub(crate) fn note_author(world: &mut World, session: Entity, actor: ActorId) {
    if world.resource::<Authors>().0.contains(&actor) {
        return;
    }
    if let Some(user) = world.get::<User>(session) {
        let person = user.0.clone();
        world.resource_mut::<Authors>().0.insert(actor);
        tell(world, person);
    }
}

/// Somebody has another name or colour: told again if they have changed the board.
pub(crate) fn note_profile(world: &mut World, person: &Participant) {
    if world.resource::<Authors>().0.contains(&person.actor) {
        tell(world, person.clone());
    }
}

fn tell(world: &mut World, person: Participant) {
    let mut output = world.resource_mut::<Output>();
    output.authors.push((person.actor, person.profile));
}
