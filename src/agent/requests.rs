//! What people ask of an agent over its socket.

use std::path::PathBuf;

use tokio::{net::UnixStream, task::spawn_blocking};
use tracing::{instrument, warn};

use super::{
    Agent,
    control::{self, Answer, Request},
    upstream::Upstream,
};
use crate::model;

impl Agent {
    /// Does what who connected asks for, and answers.
    pub(super) async fn serve(&mut self, mut stream: UnixStream) {
        let answer = match control::read(&mut stream).await {
            Ok(Request::Reload(path)) => self.reload(path).await,
            Ok(Request::Thaw { segment, mac }) => self.thaw(&segment, mac.as_deref()),
            Err(error) => Answer::BadInput(format!("no request: {error}")),
        };
        if let Err(error) = control::answer(&mut stream, &answer).await {
            warn!(%error, "who asked is gone");
        }
    }

    fn thaw(&mut self, segment: &str, mac: Option<&str>) -> Answer {
        let mac = match mac.map(str::parse).transpose() {
            Ok(mac) => mac,
            Err(invalid) => return Answer::BadInput(format!("{invalid}")),
        };
        match self.reconciler.thaw(segment, mac) {
            Ok(count) => Answer::Done {
                changes: usize::try_from(count).unwrap_or(usize::MAX),
                notes: Vec::new(),
            },
            Err(error) => Answer::Failed(crate::causes::said(error.as_ref())),
        }
    }

    /// Goes by its file, or another one, as it is now.
    #[instrument(skip_all, fields(node = %self.reconciler.config().node.name))]
    pub(super) async fn reload(&mut self, path: Option<PathBuf>) -> Answer {
        let Upstream::File(old) = &self.upstream else {
            return Answer::BadInput("this agent follows a controller, and no file".to_owned());
        };
        let path = path.unwrap_or_else(|| old.clone());
        // The two take about as long as each other.
        let file = path.clone();
        let loading = spawn_blocking(move || model::load(&file));
        let tables = self.reconciler.tables();
        let (config, warnings) = match loading.await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(errors)) => return Answer::BadInput(errors.to_string()),
            Err(error) => {
                return Answer::Failed(format!("{} could not be read: {error}", path.display()));
            }
        };
        let applied = match tables {
            Ok(tables) => self.apply_over(tables, config).await,
            Err(error) => Err(error.into()),
        };
        match applied {
            Ok(changes) => {
                self.upstream = Upstream::File(path);
                let notes = warnings.iter().map(ToString::to_string).collect();
                let left_out =
                    self.reconciler.left_out().iter().map(ToString::to_string).collect::<Vec<_>>();
                if left_out.is_empty() {
                    Answer::Done { changes, notes }
                } else {
                    Answer::Partly { changes, notes, left_out }
                }
            }
            Err(error) if error.is_wrong_input() => Answer::BadInput(error.to_string()),
            Err(error) => {
                // It is this file that is tried again.
                self.upstream = Upstream::File(path);
                Answer::Failed(error.to_string())
            }
        }
    }
}
