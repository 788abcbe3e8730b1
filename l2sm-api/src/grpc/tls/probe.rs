//! Whether a server that was spoken to in plain text wants TLS.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::{Duration, Instant},
};

/// A kernel takes a connection within this, whatever its programs do.
const CONNECT: Duration = Duration::from_secs(1);
/// Whoever listens says something within this, also on a machine that is busy; all addresses share it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Preface of HTTP/2 and empty SETTINGS (RFC 9113 section 3.4): a server of it answers with its own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// Content type of a TLS record with an alert (RFC 8446 section 5.1).
const ALERT: u8 = 21;

/// Whether the server of an `http://` URL answers HTTP/2 with a TLS alert. Blocks, for at most ten seconds:
/// for whoever has to explain a failure.
pub fn wants_tls(url: &str) -> bool {
    let Some(authority) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = authority.split('/').next().unwrap_or_default();
    let addresses = authority.to_socket_addrs().into_iter().flatten();
    let deadline = Instant::now() + PATIENCE;
    addresses.take(4).any(|address| {
        let stream = TcpStream::connect_timeout(&address, CONNECT);
        stream.is_ok_and(|stream| first_byte(stream, deadline) == Some(ALERT))
    })
}

/// The first byte of the answer; `None`: there is none.
fn first_byte(mut stream: TcpStream, deadline: Instant) -> Option<u8> {
    let left = deadline.saturating_duration_since(Instant::now());
    let patience = left.max(Duration::from_millis(1));
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.set_write_timeout(Some(patience)).ok()?;
    stream.write_all(PREFACE).ok()?;
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    Some(byte[0])
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Asks a server that answers every preface with these bytes.
    fn ask(answer: &'static [u8]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut preface = vec![0; PREFACE.len()];
            stream.read_exact(&mut preface).unwrap();
            stream.write_all(answer).unwrap();
        });
        let wants = wants_tls(&url);
        server.join().unwrap();
        wants
    }

    #[test]
    fn a_tls_alert_is_told_from_settings_and_from_silence() {
        assert!(ask(&[21, 3, 3, 0, 2, 2, 50]));
        assert!(!ask(&[0, 0, 0, 4, 0, 0, 0, 0, 0]));
        assert!(!ask(&[]));
        assert!(!wants_tls("https://127.0.0.1:1"), "that is how it is asked for");
        assert!(!wants_tls("http://127.0.0.1:1"), "nobody is there");
    }
}
