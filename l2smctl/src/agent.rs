//! The agent of this node, through its unix socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use l2sm_api::socket::{Answer, Attach, Attached, Detach, Reply, Request, Status};

/// Where the agent listens unless it is told otherwise.
pub(crate) const SOCKET: &str = "/run/l2sm/agent.sock";

/// Asks for an attachment and waits until it is programmed.
///
/// # Errors
/// When the agent cannot be reached, does not answer in `timeout`, or refuses.
pub(crate) fn attach(socket: &Path, attach: Attach, timeout: Duration) -> Result<Attached> {
    let Answer::Attached(attached) = ask(socket, &Request::Attach(attach), timeout)? else {
        bail!(not_an_answer(socket));
    };
    Ok(attached)
}

/// Undoes an attachment; the names of the interfaces removed.
///
/// # Errors
/// As those of [`attach`].
pub(crate) fn detach(socket: &Path, detach: Detach, timeout: Duration) -> Result<Vec<String>> {
    let Answer::Detached(names) = ask(socket, &Request::Detach(detach), timeout)? else {
        bail!(not_an_answer(socket));
    };
    Ok(names)
}

/// The agent's own state.
///
/// # Errors
/// As those of [`attach`].
pub(crate) fn status(socket: &Path, timeout: Duration) -> Result<Status> {
    let Answer::Status(status) = ask(socket, &Request::Status, timeout)? else {
        bail!(not_an_answer(socket));
    };
    Ok(status)
}

fn ask(socket: &Path, request: &Request, timeout: Duration) -> Result<Answer> {
    let unreachable = || format!("cannot reach the agent at {}", socket.display());
    let stream = UnixStream::connect(socket).map_err(|error| anyhow!("{}", why(&error)));
    let mut stream = stream.with_context(unreachable)?;
    // A timeout of zero is an error of the call; the shortest stands for "at once".
    let timeout = timeout.max(Duration::from_millis(1));
    stream.set_read_timeout(Some(timeout)).with_context(unreachable)?;
    let mut line = serde_json::to_vec(request).context("cannot write the request")?;
    line.push(b'\n');
    stream.write_all(&line).with_context(unreachable)?;
    let reply = reply(&stream).with_context(|| {
        format!("no answer from the agent at {} in {timeout:?}", socket.display())
    })?;
    match reply {
        Reply::Ok(answer) => Ok(answer),
        Reply::Error(fault) => bail!(fault.message),
    }
}

/// Why no agent answers at all, and what to do about it.
fn why(error: &io::Error) -> String {
    let is = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
    if is(&[ErrorKind::NotFound, ErrorKind::ConnectionRefused]) {
        format!("{error}; is l2sm-agent running? --socket says where")
    } else if is(&[ErrorKind::PermissionDenied]) {
        format!("{error}; only root may speak to it")
    } else {
        error.to_string()
    }
}

fn reply(stream: &UnixStream) -> Result<Reply> {
    let mut line = String::new();
    let read = BufReader::new(stream).read_line(&mut line);
    match read {
        Ok(0) => bail!("it closed the connection"),
        Ok(_) => serde_json::from_str(&line).context("it speaks another protocol"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("timed out"),
        Err(error) => Err(error.into()),
    }
}

fn not_an_answer(socket: &Path) -> String {
    format!("the agent at {} answered something else: is it another version?", socket.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Serves one request with `reply`; what was asked is the thread's result.
    fn serve(listener: UnixListener, reply: &'static str) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            stream.write_all(reply.as_bytes()).unwrap();
            line
        })
    }

    fn asked(reply: &'static str) -> (Result<Vec<String>>, String) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let server = serve(UnixListener::bind(&socket).unwrap(), reply);
        let request = Detach { netns: "/run/netns/x".into(), ..Detach::default() };
        let answer = detach(&socket, request, Duration::from_secs(5));
        (answer, server.join().unwrap())
    }

    #[test]
    fn a_request_is_one_line_and_its_answer_is_read() {
        let (answer, line) = asked("{\"ok\":{\"detached\":[\"net1\"]}}\n");
        assert_eq!(answer.unwrap(), ["net1"]);
        assert!(line.starts_with("{\"verb\":\"detach\""), "{line}");
    }

    #[test]
    fn a_refusal_is_the_agents_own_words() {
        let (answer, _) = asked("{\"error\":{\"code\":7,\"message\":\"no network blue\"}}\n");
        assert_eq!(answer.unwrap_err().to_string(), "no network blue");
    }

    #[test]
    fn an_agent_that_hangs_up_or_answers_nonsense_is_an_error() {
        assert!(format!("{:#}", asked("").0.unwrap_err()).ends_with("it closed the connection"));
        assert!(format!("{:#}", asked("hello\n").0.unwrap_err()).contains("another protocol"));
        let other = asked(
            "{\"ok\":{\"attached\":{\"ifname\":\"a\",\"mac\":\"\",\"ips\":[],\"vni\":1,\"mtu\":1}}}\n",
        );
        assert!(other.0.unwrap_err().to_string().contains("something else"));
    }

    #[test]
    fn a_socket_that_is_not_there_is_named() {
        let error = status(Path::new("/nonexistent/agent.sock"), Duration::ZERO).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("cannot reach the agent at /nonexistent/agent.sock: "), "{text}");
    }
}
