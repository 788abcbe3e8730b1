//! The agent of the node, over its socket.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::DirBuilderExt, net::UnixStream},
    path::Path,
    time::Duration,
};

use l2sm_api::{
    cni::code,
    socket::{
        Answer, ContainerInterface, Detach, PodRecord, Reply, Request, pod_record, pods_directory,
        release_note, releases_directory,
    },
};

use crate::failure::Failure;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Nobody was asked.
    NoAgent(io::Error),
    /// Somebody was asked; what came of it is not known.
    Silent(io::Error),
    /// The agent refused.
    Refused(Failure),
}

impl Unanswered {
    /// The failure to report; `code` where there is no agent.
    pub(crate) fn into_failure(self, socket: &Path, code: u32) -> Failure {
        let socket = socket.display();
        match self {
            Self::NoAgent(why) => Failure::new(code, format!("no agent at {socket}: {why}")),
            Self::Silent(why) => {
                Failure::new(code, format!("the agent at {socket} does not answer: {why}"))
            }
            Self::Refused(failure) => failure,
        }
    }
}

/// Asks the agent; waits at most `patience` for each part of the answer.
///
/// # Errors
/// See [`Unanswered`].
pub(crate) fn ask(
    socket: &Path,
    request: &Request,
    patience: Duration,
) -> Result<Answer, Unanswered> {
    let mut stream = UnixStream::connect(socket).map_err(Unanswered::NoAgent)?;
    let line = converse(&mut stream, request, patience).map_err(|why| {
        let slow = matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        let waited = || io::Error::other(format!("waited {} s", patience.as_secs()));
        Unanswered::Silent(if slow { waited() } else { why })
    })?;
    match serde_json::from_str(&line) {
        Ok(Reply::Ok(answer)) => Ok(answer),
        Ok(Reply::Error(fault)) => Err(Unanswered::Refused(fault.into())),
        Err(why) => Err(Unanswered::Refused(unexpected(&why.to_string()))),
    }
}

/// The failure of an answer that is not one to the request: an agent of another version.
pub(crate) fn unexpected(what: &str) -> Failure {
    let message = format!("the agent's answer: {what}; is it of the same version as l2sm-cni?");
    Failure::new(code::TRY_AGAIN, message)
}

/// Leaves word that an attachment is to be released. Without a directory for the socket no agent has
/// run since the node started, and there is nothing to release.
///
/// # Errors
/// The note cannot be written.
pub(crate) fn leave_note(
    socket: &Path,
    of: &ContainerInterface,
    release: &Detach,
) -> Result<(), Failure> {
    if socket.parent().is_none_or(|directory| !directory.is_dir()) {
        return Ok(());
    }
    let note = release_note(socket, of);
    let written = write_note(socket, &note, release);
    written.map_err(|why| Failure::io(format!("{}: {why}", note.display())))
}

/// Writes a pod down, whole or not at all.
///
/// # Errors
/// The record cannot be written.
pub(crate) fn write_record(
    socket: &Path,
    container_id: &str,
    record: &PodRecord,
) -> io::Result<()> {
    let directory = pods_directory(socket);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let fresh = directory.join(format!(".{container_id}"));
    fs::write(&fresh, serde_json::to_vec(record)?)?;
    fs::rename(&fresh, pod_record(socket, container_id))
}

/// Removes the record of a pod; one that stays is removed by the agent once the pod's namespace is
/// gone.
pub(crate) fn remove_record(socket: &Path, container_id: &str) {
    drop(fs::remove_file(pod_record(socket, container_id)));
}

/// Whole or not at all: the agent may be looking.
fn write_note(socket: &Path, note: &Path, release: &Detach) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(releases_directory(socket))?;
    let fresh = note.with_extension("new");
    fs::write(&fresh, serde_json::to_vec(release)?)?;
    fs::rename(&fresh, note)
}

fn converse(stream: &mut UnixStream, request: &Request, patience: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut bytes = serde_json::to_vec(request)?;
    bytes.push(b'\n');
    stream.write_all(&bytes)?;
    let mut line = String::new();
    if BufReader::new(stream).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_what_the_agent_would_have_been_asked() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let of = ContainerInterface { container_id: "c1".into(), ifname: "net1".into() };
        let release = Detach { container_id: Some("c1".into()), ..Detach::default() };
        leave_note(&socket, &of, &release).unwrap();
        let note = fs::read(directory.path().join("releases/c1-net1.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Detach>(&note).unwrap(), release);
        assert_eq!(fs::read_dir(directory.path().join("releases")).unwrap().count(), 1);
    }

    #[test]
    fn where_no_agent_ever_ran_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("none/agent.sock");
        leave_note(&socket, &ContainerInterface::default(), &Detach::default()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn nobody_there_is_told_from_nobody_answering() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let asked = ask(&socket, &Request::Status, Duration::from_millis(10));
        assert!(matches!(asked, Err(Unanswered::NoAgent(_))), "{asked:?}");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let asked = ask(&socket, &Request::Status, Duration::from_millis(10));
        assert!(matches!(asked, Err(Unanswered::Silent(_))), "{asked:?}");
    }
}
