//! How a running agent is told to reload: a socket named for the node. One request, one answer, a
//! line of JSON each.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    net::{UnixListener, UnixStream as AsyncUnixStream},
};

use crate::{
    dataplane::left_out::LeftOut,
    files::{self, Access, Existing},
};

/// The longest request that is read, bytes: a path and its wrapping.
const LONGEST: u64 = 16 * 1024;
/// How long who asks waits for the answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an agent, which does nothing else meanwhile, waits for who asks.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// What an agent can be told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Apply this file, or its own one again.
    Reload(Option<PathBuf>),
    /// Let frozen addresses of a segment move again, or only one of them.
    Thaw {
        /// The segment's name.
        segment: String,
        /// The address.
        mac: Option<String>,
    },
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Done, with so many changes to the tables.
    Done {
        /// Steps taken.
        changes: usize,
        /// What it is worth to know.
        notes: Vec<String>,
    },
    /// The file is wrong; nothing changed.
    BadInput(String),
    /// The file is right, but it could not be applied.
    Failed(String),
    /// All of the file was applied that can be.
    Partly {
        /// Steps taken.
        changes: usize,
        /// What it is worth to know.
        notes: Vec<String>,
        /// What was left out, and why.
        left_out: Vec<String>,
    },
}

/// The files of a node's agent.
#[derive(Clone, Debug)]
pub struct RunFiles {
    directory: PathBuf,
    node: String,
}

impl RunFiles {
    /// Of the agent of `node`, under `directory`.
    pub fn new(directory: impl Into<PathBuf>, node: impl Into<String>) -> Self {
        Self { directory: directory.into(), node: node.into() }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join(format!("{}.sock", self.node))
    }

    fn left_out_file(&self) -> PathBuf {
        self.directory.join(format!("{}.left-out.json", self.node))
    }

    /// Writes down what the node does not carry out of what is asked of it, for who looks at it
    /// without its agent.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_left_out(&self, left_out: &[LeftOut]) -> anyhow::Result<()> {
        let path = self.left_out_file();
        files::write(&path, &serde_json::to_vec(left_out)?, Access::Public, Existing::Replace)
            .map_err(|error| at(&path, &error))
    }

    /// What was written down; nothing, if nothing was.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn read_left_out(&self) -> anyhow::Result<Vec<LeftOut>> {
        let path = self.left_out_file();
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(at(&path, &error)),
        }
    }

    /// Forgets it.
    pub fn remove_left_out(&self) {
        // Nothing there is as good.
        let _ = fs::remove_file(self.left_out_file());
    }

    /// Listens for requests.
    ///
    /// # Errors
    /// The socket can't be made, or an agent of this name listens at it already.
    pub fn listen(&self) -> anyhow::Result<UnixListener> {
        fs::create_dir_all(&self.directory).map_err(|error| at(&self.directory, &error))?;
        let path = self.socket();
        if UnixStream::connect(&path).is_ok() {
            anyhow::bail!(
                "an agent of a node {} with another --bpffs listens at {}; give this one another \
                 --run-dir",
                self.node,
                path.display()
            );
        }
        // Nobody answers, so what is there was left behind.
        let _ = fs::remove_file(&path);
        UnixListener::bind(&path).map_err(|error| at(&path, &error))
    }

    /// Sends a request to the running agent and waits for its answer.
    ///
    /// # Errors
    /// No agent listens, or it does not answer in time.
    pub fn ask(&self, request: &Request) -> anyhow::Result<Answer> {
        let path = self.socket();
        let stream = UnixStream::connect(&path).map_err(|error| {
            anyhow::anyhow!(
                "no agent of node {} listens at {}: {error}\n  start it with `sillon agent \
                 --config FILE`",
                self.node,
                path.display()
            )
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        writeln!(&stream, "{}", serde_json::to_string(request)?)?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

fn at(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("{}: {error}", path.display())
}

/// Reads the one request of a connection.
///
/// # Errors
/// It is no request, is too long, or comes too late.
pub async fn read(stream: &mut AsyncUnixStream) -> anyhow::Result<Request> {
    let mut line = String::new();
    let mut reader = AsyncBufReader::new(stream.take(LONGEST));
    tokio::time::timeout(SHORT_PATIENCE, reader.read_line(&mut line)).await??;
    Ok(serde_json::from_str(&line)?)
}

/// Sends the answer.
///
/// # Errors
/// Who asked is gone.
pub async fn answer(stream: &mut AsyncUnixStream, answer: &Answer) -> anyhow::Result<()> {
    let line = serde_json::to_string(answer)? + "\n";
    tokio::time::timeout(SHORT_PATIENCE, stream.write_all(line.as_bytes())).await??;
    Ok(())
}
