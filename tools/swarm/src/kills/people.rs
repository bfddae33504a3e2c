//! Who draws while the server is killed: clients of the real library that connect again by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use chalkboard_client::bridge::SaveState;
use chalkboard_client::client::SavedOp;
use chalkboard_client::native::{self, Endpoints, NativeClient, Trust};
use chalkboard_client::{Client, ClientOptions};
use chalkboard_shared::workload::{STYLE, stroke_points};
use chalkboard_shared::{ActorId, BoardRect, Position, Stroke, StrokeId};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::address::BoardLink;
use crate::sample::Dice;

/// How often somebody draws: a screen's frames.
const FRAME: Duration = Duration::from_millis(16);
/// Strokes of a person that may still be changed by them.
const RECENT_MAX: usize = 64;
/// Ops that wait to be saved at which a person stops to draw.
const PENDING_MAX: u32 = 4000;
/// Strokes that are shown where boards differ.
const DIFFERENCES_SHOWN_MAX: usize = 3;
/// How long somebody may need to be back with all they had.
const BACK_WAIT: Duration = Duration::from_secs(60);

/// Ways in.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    pub(crate) web_transport: String,
    pub(crate) web_socket: String,
    pub(crate) trust: Trust,
}

/// Somebody who connects by WebTransport (or else by WebSocket), and again by themselves, and keeps account of what was
/// saved.
pub(crate) fn person(
    number: u32,
    ways: &Ways,
    link: BoardLink,
    view: BoardRect,
    is_quic: bool,
) -> Result<NativeClient> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).context("no random numbers")?;
    let mut client = Client::new(ClientOptions {
        board: link.board,
        secret: link.secret,
        key,
        name: format!("person {number}"),
        color: 0x33_66_99,
        is_stamping: false,
    });
    client.set_view(view);
    client.take_saved();
    let endpoints = if is_quic {
        Endpoints {
            web_transport: Some(ways.web_transport.clone()),
            ..Endpoints::default()
        }
    } else {
        Endpoints {
            web_socket: Some(ways.web_socket.clone()),
            ..Endpoints::default()
        }
    };
    Ok(native::adopt(client, endpoints, ways.trust.clone()))
}

/// People at a board.
#[derive(Debug)]
pub(crate) struct People {
    ways: Ways,
    link: BoardLink,
    clients: Vec<Arc<NativeClient>>,
    stop: watch::Sender<bool>,
    drawing: Vec<tokio::task::JoinHandle<Result<()>>>,
}

impl People {
    /// So many, who begin to connect: one by WebTransport, the next by WebSocket, and so on.
    pub(crate) fn come(count: u32, ways: &Ways, link: BoardLink) -> Result<Self> {
        let clients = (0..count)
            .map(|number| {
                let is_quic = number % 2 == 0;
                let client = person(number, ways, link, BoardRect::EVERYTHING, is_quic)?;
                Ok(Arc::new(client))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            ways: ways.clone(),
            link,
            clients,
            stop: watch::Sender::new(false),
            drawing: Vec::new(),
        })
    }

    /// Lets everybody draw, each about so many ops a second.
    pub(crate) fn draw(&mut self, rate: u32, dice: &mut Dice) {
        self.stop.send_replace(false);
        for client in &self.clients {
            let strokes = (rate / 2 * FRAME.as_millis() as u32).div_ceil(1000).max(1);
            let drawing = draw_on(
                client.clone(),
                strokes,
                Dice::new(dice.bits()),
                self.stop.subscribe(),
            );
            self.drawing.push(tokio::spawn(drawing));
        }
    }

    /// Everybody stops to draw.
    pub(crate) async fn rest(&mut self) -> Result<()> {
        self.stop.send_replace(true);
        for drawing in self.drawing.drain(..) {
            drawing.await.context("somebody who draws has failed")??;
        }
        Ok(())
    }

    /// Cuts everybody off: from here on nobody hears or says anything.
    pub(crate) async fn leave(&self) -> Result<()> {
        for client in &self.clients {
            client.set_online(false).await?;
        }
        Ok(())
    }

    /// Everybody connects again.
    pub(crate) async fn come_back(&self) -> Result<()> {
        for client in &self.clients {
            client.set_online(true).await?;
        }
        Ok(())
    }

    /// Everybody has the whole board, and everything of theirs is saved.
    pub(crate) async fn settle(&self) -> Result<()> {
        for client in &self.clients {
            let settled = client
                .wait_for(BACK_WAIT, |client| {
                    client.is_loaded() && client.save_state() == SaveState::Saved
                })
                .await;
            if let Err(error) = settled {
                let state = client
                    .with(|client, _| (client.is_loaded(), client.save_state()))
                    .await;
                let closed = client.closed().await;
                return Err(error).with_context(|| {
                    format!("somebody does not come back: loaded and saved {state:?}, closed for good {closed:?}")
                });
            }
        }
        Ok(())
    }

    /// Everybody holds the board with this digest.
    ///
    /// # Errors
    /// Somebody holds another, and in which strokes it differs from a newcomer's.
    pub(crate) async fn agree(&self, digest: &str) -> Result<()> {
        for (number, client) in (0..).zip(&self.clients) {
            let wanted = digest.to_owned();
            let agreed = client
                .wait_for(BACK_WAIT, move |client| {
                    client.digest().to_string() == wanted
                })
                .await;
            if agreed.is_err() {
                let held = client.with(|client, _| client.digest().to_string()).await?;
                let differences = self.compare(client).await?;
                bail!("person {number} holds board {held}, the room {digest}; {differences}");
            }
        }
        Ok(())
    }

    /// In which strokes somebody's board differs from that of a newcomer.
    async fn compare(&self, client: &NativeClient) -> Result<String> {
        let newcomer = person(99, &self.ways, self.link, BoardRect::EVERYTHING, true)?;
        newcomer.wait_for(BACK_WAIT, Client::is_loaded).await?;
        let strokes = |client: &mut Client, _| -> BTreeMap<StrokeId, Stroke> {
            let seen = client.board().strokes_in(BoardRect::EVERYTHING);
            seen.into_iter().map(|s| (s.id, s.clone())).collect()
        };
        let held = client.with(strokes).await?;
        let told = newcomer.with(strokes).await?;
        let me = client.with(|client, _| client.actor()).await?;
        let ids: BTreeSet<_> = held.keys().chain(told.keys()).collect();
        let different: Vec<_> = ids
            .into_iter()
            .filter(|id| held.get(id) != told.get(id))
            .collect();
        let shown = different.iter().take(DIFFERENCES_SHOWN_MAX).map(|id| {
            format!(
                "they have {:?}, a newcomer {:?}",
                held.get(id),
                told.get(id)
            )
        });
        Ok(format!(
            "they are actor {me:?} and see {} strokes, a newcomer {}, {} are different: {}",
            held.len(),
            told.len(),
            different.len(),
            shown.collect::<Vec<_>>().join("; ")
        ))
    }

    /// What everybody was shown as saved since this was asked last.
    pub(crate) async fn take_saved(&self) -> Result<Vec<(ActorId, SavedOp)>> {
        let mut saved = Vec::new();
        for client in &self.clients {
            let of_one = client
                .with(|client, _| (client.actor(), client.take_saved()))
                .await?;
            if let (Some(actor), ops) = of_one {
                saved.extend(ops.into_iter().map(|op| (actor, op)));
            }
        }
        Ok(saved)
    }

    /// Ops that were drawn and not shown as saved, of all.
    pub(crate) async fn pending(&self) -> Result<u32> {
        let mut pending = 0;
        for client in &self.clients {
            pending += client.with(|client, _| pending_of(client)).await?;
        }
        Ok(pending)
    }

    /// How far the first one's board has come.
    pub(crate) async fn position(&self) -> Result<Position> {
        let first = self.clients.first().context("nobody is there")?;
        Ok(first.with(|client, _| client.position()).await?)
    }
}

fn pending_of(client: &Client) -> u32 {
    match client.save_state() {
        SaveState::Saved => 0,
        SaveState::Sent { pending } | SaveState::Local { pending } => pending,
    }
}

/// Draws so many strokes a frame until told to stop, and now and then erases, undoes and redoes.
async fn draw_on(
    client: Arc<NativeClient>,
    strokes: u32,
    mut dice: Dice,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut recent: Vec<StrokeId> = Vec::new();
    loop {
        tokio::select! {
            _ = frames.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
        let seeds: Vec<u32> = (0..strokes).map(|_| dice.below(1 << 16) as u32).collect();
        let deed = dice.below(40);
        let chosen = recent
            .get(dice.below(recent.len() as u64) as usize)
            .copied();
        let drawn = client
            .with(move |client, _| {
                if pending_of(client) > PENDING_MAX {
                    return Vec::new();
                }
                match (deed, chosen) {
                    (0, _) => drop(client.undo()),
                    (1, _) => drop(client.undo() && client.redo()),
                    (2, Some(stroke)) => client.erase(&[stroke]),
                    _ => {}
                }
                let draw = |seed| {
                    let points = stroke_points(seed);
                    let stroke = client.begin_stroke(STYLE, &points[..8]);
                    client.finish_stroke(stroke);
                    stroke
                };
                seeds.into_iter().map(draw).collect()
            })
            .await?;
        recent.extend(drawn);
        let surplus = recent.len().saturating_sub(RECENT_MAX);
        recent.drain(..surplus);
        ensure!(
            client.closed().await?.is_none(),
            "somebody was thrown out for good"
        );
    }
}
