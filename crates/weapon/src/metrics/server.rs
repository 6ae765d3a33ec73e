//! `GET /metrics`, and nothing else.

use std::net::{IpAddr, Ipv4Addr};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, HOST, HeaderValue},
    http::uri::Authority,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, oneshot},
};

use super::{
    listener::Question,
    page::{Format, written},
};
use crate::http::{self, Body, Deadline, response};

const PATH: &str = "/metrics";

/// Serves whoever comes over the loopback interface: as that may be a browser, only by names that
/// nobody elsewhere can give to this host.
pub(super) async fn serve_tcp(listener: TcpListener, questions: mpsc::Sender<Question>) {
    let respond = move |request, deadline| respond(request, questions.clone(), deadline, true);
    http::serve(listener, respond).await;
}

/// Serves whoever may open the socket.
pub(super) async fn serve_unix(listener: UnixListener, questions: mpsc::Sender<Question>) {
    let respond = move |request, deadline| respond(request, questions.clone(), deadline, false);
    http::serve(listener, respond).await;
}

async fn respond(
    request: Request<Incoming>,
    questions: mpsc::Sender<Question>,
    deadline: Deadline,
    checks_host: bool,
) -> Response<Body> {
    if let Err((status, text)) = check(&request, checks_host) {
        return refusal(status, text);
    }
    let headers = request.headers();
    let accept = headers.get(ACCEPT).and_then(|it| it.to_str().ok());
    let format = Format::wanted(accept.unwrap_or_default());
    // From here on it waits for us.
    deadline.lift();
    let (question, answer) = oneshot::channel();
    // Both fail only while the gateway stops.
    let _ = questions.send(question).await;
    let Ok(scrape) = answer.await else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping\n");
    };
    match written(scrape, format) {
        Ok(page) => response(StatusCode::OK, Some(format.content_type()), page.into()),
        Err(_) => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "they cannot be written\n",
        ),
    }
}

/// Whether it is to be answered, or what is said in place of that.
fn check<B>(request: &Request<B>, checks_host: bool) -> Result<(), (StatusCode, &'static str)> {
    if checks_host && !is_local(request) {
        let text = "ask by an address of the loopback interface, or by the name localhost\n";
        return Err((StatusCode::FORBIDDEN, text));
    }
    if request.uri().path() != PATH {
        return Err((
            StatusCode::NOT_FOUND,
            "there is /metrics, and nothing else\n",
        ));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "/metrics is asked with GET\n",
        ));
    }
    Ok(())
}

/// Whether the host that was asked for is this one by a name that no name server gives away: a page
/// of somebody else's, whose name is made to lead here, is told nothing.
fn is_local<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(host) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let name = host.host();
    let name = name.strip_prefix('[').unwrap_or(name);
    let name = name.strip_suffix(']').unwrap_or(name);
    let address = match name {
        "localhost" => Ok(IpAddr::from(Ipv4Addr::LOCALHOST)),
        _ => name.parse::<IpAddr>(),
    };
    address.is_ok_and(|address| address.is_loopback()) && !host.as_str().contains('@')
}

fn refusal(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = response(status, Some("text/plain; charset=utf-8"), text.into());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allow = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, path: &str, hosts: &[&str]) -> u16 {
        let mut request = Request::builder().method(method).uri(path);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let checked = check(&request.body(()).unwrap(), true);
        checked.map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn one_thing_is_answered() {
        assert_eq!(status("GET", "/metrics", &["127.0.0.1:9586"]), 200);
        assert_eq!(status("HEAD", "/metrics", &["127.0.0.1"]), 200);
        assert_eq!(status("GET", "/metrics?name[]=x", &["[::1]:9586"]), 200);
        assert_eq!(status("POST", "/metrics", &["127.0.0.1:9586"]), 405);
        assert_eq!(status("GET", "/", &["127.0.0.1:9586"]), 404);
        assert_eq!(status("GET", "/metrics/", &["127.0.0.1:9586"]), 404);
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for good in ["localhost", "localhost:9586", "127.9.9.9:1", "[::1]"] {
            assert_eq!(status("GET", "/metrics", &[good]), 200, "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:9586",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "10.0.0.1",
            "0.0.0.0:9586",
            "[::]",
            "127.0.0.1:9586/metrics",
        ] {
            assert_eq!(status("GET", "/metrics", &[bad]), 403, "{bad}");
        }
        assert_eq!(status("GET", "/metrics", &[]), 403);
        assert_eq!(
            status("GET", "/metrics", &["localhost", "evil.example"]),
            403
        );
        let whole = "http://evil.example/metrics";
        assert_eq!(status("GET", whole, &["evil.example"]), 403);
    }
}
