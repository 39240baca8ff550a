//! The stream of addresses, beside that of updates: again and again for as long as that lasts.

use std::{convert::Infallible, time::Duration};

use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::{debug, info};

use crate::protocol::{
    LONGEST_UPDATE,
    pb::{self, agents_client::AgentsClient},
};

/// After how long a stream that has ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// An event of the address stream.
#[derive(Debug)]
pub enum SyncEvent {
    /// It is open: what is published goes here.
    Connected(mpsc::Sender<pb::Here>),
    /// What other nodes have published.
    Published(pb::There),
    /// It has ended.
    Disconnected,
}

/// Keeps a stream of addresses to the controller open.
pub async fn run(channel: Channel, events: mpsc::Sender<SyncEvent>) -> Infallible {
    loop {
        let ended = once(channel.clone(), &events).await;
        debug!(why = ended.message(), "addresses are not shared");
        // Who waits for it has gone, and ends this.
        let _ = events.send(SyncEvent::Disconnected).await;
        sleep(PAUSE).await;
    }
}

async fn once(channel: Channel, events: &mpsc::Sender<SyncEvent>) -> tonic::Status {
    let mut client = AgentsClient::new(channel).max_decoding_message_size(LONGEST_UPDATE);
    let (say, said) = mpsc::channel(2);
    let mut stream = match client.share(ReceiverStream::new(said)).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return status,
    };
    info!("addresses are shared");
    let gone = || tonic::Status::cancelled("the agent ends");
    if events.send(SyncEvent::Connected(say)).await.is_err() {
        return gone();
    }
    loop {
        match stream.message().await {
            Ok(Some(there)) => {
                if events.send(SyncEvent::Published(there)).await.is_err() {
                    return gone();
                }
            }
            Ok(None) => return tonic::Status::unavailable("the controller has ended the stream"),
            Err(status) => return status,
        }
    }
}
