//! Keeps web pages of others from pressing Go: a browser tells where a request comes from and for whom it is meant, and
//! both must be this service. DNS rebinding changes neither header.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};

use crate::Api;
use crate::problem::Problem;

/// Refuses requests for another host, or from another origin.
pub(crate) async fn refuse_foreign_origins(State(api): State<Api>, request: Request, next: Next) -> Response {
    match check(request.headers(), &api.config.hosts) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(headers: &HeaderMap, hosts: &[String]) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    if !hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Err(Problem::foreign_origin(format!(
            "this is not {name:?}: use one of {}",
            hosts.join(", ")
        )));
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.split_once("://").map(|(_, rest)| rest) != Some(host) => {
            Err(Problem::foreign_origin("a page of another origin may not call this service"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pairs: &[(&'static str, &str)]) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned(), "[::1]".to_owned()];
        check(&headers, &hosts).err().map(|problem| problem.status)
    }

    #[test]
    fn only_this_host_and_its_own_pages_may_call() {
        assert_eq!(status(&[("host", "127.0.0.1:8080")]), None);
        assert_eq!(status(&[("host", "[::1]:8080")]), None);
        assert_eq!(status(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")]), None);
        assert_eq!(status(&[("host", "evil.test")]), Some(403));
        assert_eq!(status(&[("host", "localhost:8080"), ("origin", "http://evil.test")]), Some(403));
        assert_eq!(status(&[("host", "localhost:8080"), ("origin", "null")]), Some(403));
        assert_eq!(status(&[]), Some(403));
    }
}
