//! What the programs say (feature `log`): out of the ring of `aya-log` into the agent's log.

use std::{io, thread};

use aya_log::EbpfLogger;
use tokio::{io::unix::AsyncFd, runtime::Builder};

use super::DatapathError;

/// Reads what the programs of a loaded object say, in a thread of its own, for as long as the process
/// lives.
///
/// # Errors
/// The object has no log, or there is no thread.
pub(super) fn follow(object: &mut aya::Ebpf) -> Result<(), DatapathError> {
    let logger = EbpfLogger::init(object);
    let logger = logger.map_err(|why| DatapathError::Object(format!("its log: {why}")))?;
    let reader = thread::Builder::new().name("program log".to_owned());
    let spawned = reader.spawn(move || {
        let ended = read(logger);
        tracing::error!(?ended, "the log of the programs is read no more");
    });
    spawned.map(drop).map_err(|why| DatapathError::Load(why.to_string()))
}

fn read(logger: EbpfLogger<&'static dyn log::Log>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        // SAFETY: the logger owns its descriptor and gives out the same one for as long as it lives.
        let mut logger = unsafe { AsyncFd::register(logger) }?;
        loop {
            let mut ready = logger.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    })
}
