//! Whether the coordinator is well: `/livez` for whoever would start it again, `/readyz` for whoever sends requests, `/healthz` as
//! before these two. Paths, queries and words are those of Kubernetes.

use dunlin_api::Status;
use dunlin_link::with_causes;
use futures_util::future::BoxFuture;

use super::Call;
use crate::service::{
    ApiService,
    query::Query,
    response::{Response, TEXT},
};

/// One thing that can be wrong.
#[derive(Clone, Copy)]
struct Check {
    name: &'static str,
    run: for<'a> fn(&'a ApiService) -> BoxFuture<'a, Result<(), String>>,
}

/// Answers a path of health. `call` names one check, or none for all.
///
/// # Errors
/// Never: what is wrong is told in the answer.
pub(super) async fn serve(service: &ApiService, call: Call<'_>) -> Result<Response, Status> {
    let mut segments = call.path.split('/').skip(1);
    let (endpoint, one) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    let checks: &[Check] = match endpoint {
        "livez" => &LIVE,
        "healthz" => &HEALTHY,
        _ => &READY,
    };
    if one.is_empty() {
        return Ok(all(service, endpoint, checks, call.query).await);
    }
    let Some(check) = checks.iter().find(|check| check.name == one) else {
        return Ok(Response::no_such_path());
    };
    Ok(match (check.run)(service).await {
        Ok(()) => Response::bytes(200, TEXT, "ok"),
        Err(why) => Response::bytes(500, TEXT, format!("internal server error: {why}\n")),
    })
}

async fn all(service: &ApiService, endpoint: &str, checks: &[Check], query: &Query) -> Response {
    let mut excluded: Vec<&str> = query.values("exclude").collect();
    excluded.sort_unstable();
    excluded.dedup();
    let mut told = String::new();
    let mut is_well = true;
    for Check { name, run } in checks {
        if let Some(place) = excluded.iter().position(|excluded| excluded == name) {
            excluded.remove(place);
            told.push_str(&format!("[+]{name} excluded: ok\n"));
            continue;
        }
        match run(service).await {
            Ok(()) => told.push_str(&format!("[+]{name} ok\n")),
            Err(why) => {
                // Everybody may ask; the reason is for whoever reads the log.
                tracing::warn!(check = name, why, "a health check failed");
                told.push_str(&format!("[-]{name} failed: reason withheld\n"));
                is_well = false;
            }
        }
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(",");
        told.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
    }
    let response = if !is_well {
        Response::bytes(500, TEXT, format!("{told}{endpoint} check failed\n"))
    } else if query.value("verbose").is_some() {
        Response::bytes(200, TEXT, format!("{told}{endpoint} check passed\n"))
    } else {
        Response::bytes(200, TEXT, "ok")
    };
    response.with_header("x-content-type-options", "nosniff")
}

/// Requests are answered at all.
const PING: Check = Check { name: "ping", run: |_| Box::pin(async { Ok(()) }) };

/// The store can be read.
const STORE: Check = Check {
    name: "store",
    run: |service| {
        Box::pin(async {
            let found = service.store().get("/").await;
            found.map(|_| ()).map_err(|error| with_causes(&error))
        })
    },
};

/// The coordinator is not about to stop.
const SHUTDOWN: Check = Check {
    name: "shutdown",
    run: |service| {
        Box::pin(async {
            if service.inner.draining.is_cancelled() {
                Err("the coordinator is stopping".to_owned())
            } else {
                Ok(())
            }
        })
    },
};

const LIVE: [Check; 2] = [PING, STORE];
const HEALTHY: [Check; 2] = LIVE;
const READY: [Check; 3] = [PING, STORE, SHUTDOWN];
