//! Ways into a running server for native clients: single links, and clients that stay connected.

use anyhow::{Context as _, Result};
use chalkboard_client::bridge::TransportKind;
use chalkboard_client::client::ClientOptions;
use chalkboard_client::native::{self, Endpoints, Link, LinkError, NativeClient, Trust};
use chalkboard_shared::{BoardId, BoardRect, Secret};
use data_encoding::BASE64;

use super::ServerProcess;
use crate::waiting::within;

/// Where a server's sessions are, and what is known of its certificate.
#[derive(Debug, Clone)]
pub struct Doors {
    /// WebTransport's address.
    pub web_transport: String,
    /// The WebSocket's address.
    pub web_socket: String,
    /// The server's own certificate.
    pub trust: Trust,
}

impl Doors {
    /// Those of a server at a port of this machine, as it has told them.
    ///
    /// # Errors
    /// The hashes are none.
    pub fn of(port: u16, (web_transport, hashes): &(String, Vec<String>)) -> Result<Self> {
        let hashes = hashes
            .iter()
            .map(|hash| BASE64.decode(hash.as_bytes()).ok()?.try_into().ok())
            .collect::<Option<Vec<[u8; 32]>>>()
            .context("hashes of certificates")?;
        Ok(Self {
            web_transport: web_transport.clone(),
            web_socket: format!("ws://127.0.0.1:{port}/api/v1/session"),
            trust: Trust::Hashes(hashes),
        })
    }

    /// One link.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn link(&self, kind: TransportKind, origin: Option<&str>) -> Result<Link, LinkError> {
        let linking = async {
            match kind {
                TransportKind::WebTransport => {
                    Link::web_transport(&self.web_transport, origin, &self.trust).await
                }
                TransportKind::WebSocket => {
                    Link::web_socket(&self.web_socket, origin, &self.trust).await
                }
            }
        };
        within("a link", linking).await
    }

    /// A client that connects by itself, by this transport alone, and sees this part of the board.
    pub fn client(
        &self,
        kind: TransportKind,
        board: BoardId,
        secret: Secret,
        view: BoardRect,
        number: u8,
    ) -> NativeClient {
        let mut client = chalkboard_client::Client::new(ClientOptions {
            board,
            secret,
            key: [number; 16],
            name: format!("person {number}"),
            color: u32::from(number) * 0x01_0203,
            is_stamping: false,
        });
        client.set_view(view);
        self.adopt(kind, client)
    }

    /// A client that exists already connects by itself from now on, by this transport alone.
    pub fn adopt(&self, kind: TransportKind, client: chalkboard_client::Client) -> NativeClient {
        let endpoints = match kind {
            TransportKind::WebTransport => Endpoints {
                web_transport: Some(self.web_transport.clone()),
                ..Endpoints::default()
            },
            TransportKind::WebSocket => Endpoints {
                web_socket: Some(self.web_socket.clone()),
                ..Endpoints::default()
            },
        };
        native::adopt(client, endpoints, self.trust.clone())
    }
}

impl ServerProcess {
    /// The ways in.
    ///
    /// # Errors
    /// The server does not tell them.
    pub async fn doors(&self) -> Result<Doors> {
        Doors::of(self.port, &self.addresses().await?)
    }
}
