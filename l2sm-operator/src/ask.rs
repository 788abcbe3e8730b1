//! Requests to the API server: each ends, also when it does not answer.

use std::{io, time::Duration};

use tokio::time::timeout;

/// How long a request may take.
pub const REQUEST: Duration = Duration::from_secs(5);
/// How long a list may take: of thousands of objects.
pub const LIST: Duration = Duration::from_secs(30);
/// How long anything may take to be read, a watch among it: longer than watches are silent (290 s, the
/// watcher's own).
pub const READ: Duration = Duration::from_secs(330);

/// The answer to a request, or within [`REQUEST`] that there is none.
///
/// # Errors
/// The request's; [`kube::Error::Service`] when there was no answer.
pub async fn ask<T>(sent: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    ask_within(REQUEST, sent).await
}

/// The same with a time of its own.
///
/// # Errors
/// As those of [`ask`].
pub async fn ask_within<T>(
    time: Duration,
    sent: impl Future<Output = kube::Result<T>>,
) -> kube::Result<T> {
    timeout(time, sent).await.unwrap_or_else(|_late| {
        let why = format!("the API server did not answer within {} s", time.as_secs_f64());
        Err(kube::Error::Service(io::Error::new(io::ErrorKind::TimedOut, why).into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_without_answer_ends_with_words() {
        let never = std::future::pending::<kube::Result<()>>();
        let why = ask_within(Duration::from_millis(10), never).await.unwrap_err();
        assert_eq!(why.to_string(), "ServiceError: the API server did not answer within 0.01 s");
        assert_eq!(ask(async { Ok(7) }).await.unwrap(), 7);
    }
}
