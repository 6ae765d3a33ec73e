//! The description of the local API, made of the types themselves: OpenAPI.

use utoipa::{
    OpenApi,
    openapi::{RefOr, schema::Schema},
};

use super::{Reload, Reloaded, problem::Problem};
use crate::{
    capture::{Capture, CaptureEnd},
    drops::DropsReport,
    flows::FlowsReport,
    report::Report,
    system::SystemReport,
    why::WhyReport,
};

/// What the API is, for programs.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "weapon: the local API of a gateway",
        description = "HTTP with JSON over the unix socket /run/weapon/NAME.sock, which only the \
            user that started the gateway may open. Fields may be added; what is there stays.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "http://localhost", description = "the unix socket; the name is not looked at")),
    paths(status, system, flows, why, drops, down, reload, confirm, capture, end_capture, openapi),
)]
struct Document;

/// The types of which parts may be left out, because we are told them.
const ASKED: [&str; 2] = ["Reload", "Capture"];

/// The description.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let schemas = document.components.iter_mut();
    for (name, schema) in schemas.flat_map(|components| &mut components.schemas) {
        if let RefOr::T(Schema::Object(object)) = schema
            && !ASKED.contains(&name.as_str())
        {
            // What we write is whole: null is written, not left out.
            object.required = object.properties.keys().cloned().collect();
        }
    }
    document
}

/// The state of everything.
#[utoipa::path(get, path = "/v1/status", responses(
    (status = 200, description = "What `weapon status NAME --json` prints", body = Report),
    (status = 503, description = "The gateway is stopping", body = Problem,
        content_type = "application/problem+json"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn status() {}

/// What is set on the system for the gateway, and whether it is there.
#[utoipa::path(get, path = "/v1/system", responses(
    (status = 200, description = "What `weapon status NAME --system --json` prints",
        body = SystemReport),
    (status = 500, description = "The system does not say", body = Problem,
        content_type = "application/problem+json"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn system() {}

/// What passes through the gateway at this moment, and what its rules have decided.
#[utoipa::path(get, path = "/v1/flows", params(
    ("peer" = Option<String>, Query, description = "Only of this peer"),
    ("address" = Option<String>, Query, description = "Only with an end in this prefix"),
    ("port" = Option<u16>, Query, description = "Only with this port at one end"),
    ("protocol" = Option<String>, Query, description = "Only of this: tcp, udp, icmp, a number"),
    ("state" = Option<String>, Query, description = "Only those that have come so far"),
    ("rule" = Option<String>, Query, description = "Only those that this rule lets pass"),
    ("direction" = Option<String>, Query, description = "inbound or outbound"),
    ("limit" = Option<usize>, Query, description = "How many, 1 to 10000, or 15 more; 1000 if it \
        is left out"),
    ("cursor" = Option<usize>, Query, description = "Where to go on: `next` of the answer before"),
), responses(
    (status = 200, description = "A part of the flow table", body = FlowsReport),
    (status = 400, description = "A parameter is not what is asked for", body = Problem,
        content_type = "application/problem+json"),
    (status = 409, description = "The gateway has no filter and watches no flows", body = Problem,
        content_type = "application/problem+json"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn flows() {}

/// What would become of a packet in the gateway, and who decides.
///
/// Nothing is sent, and nothing changes. It is the gateway's own part of the way: `weapon why` asks
/// the host's routes and rules too.
#[utoipa::path(get, path = "/v1/why", params(
    ("source" = String, Query, description = "The address that it is from"),
    ("source_port" = Option<u16>, Query, description = "Its source port; 49152 if it is left out"),
    ("destination" = String, Query, description = "The address that it goes to"),
    ("port" = Option<u16>, Query, description = "Its destination port"),
    ("protocol" = Option<String>, Query, description = "tcp, udp, icmp and so on; if it is left \
        out, tcp if there is a port, else icmp"),
    ("size" = Option<usize>, Query, description = "Its bytes, with the IP header"),
    ("from" = Option<String>, Query, description = "The peer that it comes from; if it is left \
        out, it goes to a peer"),
), responses(
    (status = 200, description = "The steps of the packet", body = WhyReport),
    (status = 400, description = "A parameter is not what is asked for", body = Problem,
        content_type = "application/problem+json"),
    (status = 422, description = "There is no such peer", body = Problem,
        content_type = "application/problem+json"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn why() {}

/// The latest packets that died, and why.
#[utoipa::path(get, path = "/v1/drops", responses(
    (status = 200, description = "The newest first", body = DropsReport),
    (status = 503, description = "The gateway is stopping", body = Problem,
        content_type = "application/problem+json"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn drops() {}

/// Stops the gateway, and undoes all that it has done.
///
/// Answered at once. The connection stays open until nothing of the gateway is left: who wants to
/// wait for that reads on, to the connection's end.
#[utoipa::path(post, path = "/v1/down", responses(
    (status = 202, description = "It stops"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn down() {}

/// Makes the gateway what a file says; peers that stay keep their sessions.
///
/// A file with which something is wrong changes nothing.
#[utoipa::path(post, path = "/v1/reload", request_body = Reload, responses(
    (status = 200, description = "The gateway is what the file says", body = Reloaded),
    (status = 400, description = "The body is not what is asked for", body = Problem,
        content_type = "application/problem+json"),
    (status = 415, description = "The body is not application/json", body = Problem,
        content_type = "application/problem+json"),
    (status = 422, description = "The file cannot be used; nothing has changed", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "The gateway is stopping", body = Problem,
        content_type = "application/problem+json"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn reload() {}

/// Keeps what would go back.
#[utoipa::path(post, path = "/v1/confirm", responses(
    (status = 204, description = "It is kept"),
    (status = 409, description = "There is nothing to confirm", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "The gateway is stopping", body = Problem,
        content_type = "application/problem+json"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn confirm() {}

/// Packets as they pass, decrypted, until a limit is reached, the client goes or says that it is to
/// end.
///
/// The answer is a file in the format pcapng, bit by bit. A client that takes it slowly misses
/// packets, and the statistics at the end of the file say how many.
#[utoipa::path(post, path = "/v1/capture", request_body = Capture, responses(
    (status = 200, description = "The file; the header weapon-capture is the capture's number",
        body = Vec<u8>, content_type = "application/x-pcapng"),
    (status = 400, description = "The body is not what is asked for", body = Problem,
        content_type = "application/problem+json"),
    (status = 415, description = "The body is not application/json", body = Problem,
        content_type = "application/problem+json"),
    (status = 422, description = "There is no such peer, or too many captures run", body = Problem,
        content_type = "application/problem+json"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn capture() {}

/// Ends a capture: its file is completed.
#[utoipa::path(post, path = "/v1/capture/end", request_body = CaptureEnd, responses(
    (status = 204, description = "It ends"),
    (status = 400, description = "The body is not what is asked for", body = Problem,
        content_type = "application/problem+json"),
    (status = 409, description = "There is no such capture", body = Problem,
        content_type = "application/problem+json"),
    (status = 415, description = "The body is not application/json", body = Problem,
        content_type = "application/problem+json"),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn end_capture() {}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", responses(
    (status = 200, description = "An OpenAPI document", body = serde_json::Value),
))]
#[expect(
    dead_code,
    reason = "the attribute describes the path; routes.rs serves it"
)]
fn openapi() {}

#[cfg(test)]
mod tests;
