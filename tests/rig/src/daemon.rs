//! A process that says `ready:` once it is, as all of Sillon's daemons do.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a daemon may take to be ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon that runs. It is gone when this is.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: Log,
}

impl Daemon {
    /// Starts it, and waits until it is ready. What it says goes behind what is in the log.
    ///
    /// # Errors
    /// It can't be started, or ends instead; the message has its log.
    pub fn start(name: &str, command: &mut Command, log: &Log) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn();
        let mut child = child.with_context(|| command.get_program().display().to_string())?;
        let (said, ready) = mpsc::channel();
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            // Both have it, so that it is disconnected only when all that was said is in the log.
            log.follow(out, said.clone());
            log.follow(err, said);
        }
        let daemon = Self { name: name.to_owned(), child, log: log.clone() };
        let end = Instant::now() + PATIENCE;
        loop {
            match ready.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("ready:") => return Ok(daemon),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("{name} ended: {}", log.text()),
                Err(RecvTimeoutError::Timeout) => bail!("{name} is not ready: {}", log.text()),
            }
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Ends it without a chance to tidy up.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// It does not end with success.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            bail!("{} ended with {status}: {}", self.name, self.log.text())
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines that daemons wrote.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// All of them.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads until the other end is closed; `also` hears each line, too.
    fn follow(&self, from: impl Read + Send + 'static, also: Sender<String>) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = log.0.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
                drop(text);
                // Nobody listens once the daemon is ready.
                let _ = also.send(line);
            }
        });
    }
}
