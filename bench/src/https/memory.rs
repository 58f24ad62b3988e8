//! Memory of a coordinator that keeps many pods.

use anyhow::Result;
use tokio::task::JoinSet;

use super::{
    client::{Connector, JSON},
    pod,
};
use crate::{
    cluster::Cluster,
    report::{Figure, mebibytes},
};

/// Creates pods from one number up to another, and looks at the memory once nothing happens any more.
pub(super) async fn fill(
    cluster: &Cluster,
    access: &Connector,
    from: usize,
    to: usize,
) -> Result<Vec<Figure>> {
    let mut work = JoinSet::new();
    for client in 0..CLIENTS {
        let mut connection = access.connect().await?;
        work.spawn(async move {
            for position in (from + client..to).step_by(CLIENTS) {
                let body = pod(&format!("pod-{position:06}")).to_string();
                connection.send("POST", "/api/v1/namespaces/default/pods", JSON, body.into()).await?;
            }
            anyhow::Ok(())
        });
    }
    for finished in work.join_all().await {
        finished?;
    }
    tokio::time::sleep(SETTLE).await;
    let usage = cluster.usage(&["coordinator"])?;
    let memory = Figure::new(format!("memory with {to} pods (PSS)"), mebibytes(usage.pss_bytes), "MiB");
    Ok(vec![if to <= THEIR_PODS {
        let because = "a tenth of kube-apiserver's 2.1 GB with 10,000 pods and 1,000 nodes";
        memory.expect_at_most(THEIR_MIB / 10.0, because)
    } else {
        memory
    }])
}

const CLIENTS: usize = 64;
/// The scheduler looks at each new pod once.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(10);
const THEIR_PODS: usize = 10_000;
const THEIR_MIB: f64 = 2100.0;
