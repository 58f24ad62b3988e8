//! The round of `clients/README.md` with kube-rs, an informer over a connection that breaks, and a controller.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Api, Client, Config, Resource as _, ResourceExt as _,
    api::{AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams},
    runtime::{
        Controller, WatchStreamExt as _,
        controller::Action,
        finalizer::{Event, finalizer},
        reflector,
        wait::{await_condition, conditions},
        watcher,
    },
};
use serde_json::json;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

#[tokio::main]
async fn main() -> Result<()> {
    let namespace = std::env::var("NAMESPACE").context("NAMESPACE is not set")?;
    let config = Config::infer().await?;
    let client = Client::try_from(config.clone())?;
    objects(client.clone(), &namespace).await.context("objects")?;
    pods(client.clone(), &namespace).await.context("pods")?;
    informer(config, &namespace).await.context("informer")?;
    controller(client, &namespace).await.context("controller")?;
    println!("done");
    Ok(())
}

/// Creates, applies, patches, lists in pages and deletes.
async fn objects(client: Client, namespace: &str) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    for position in 0..5 {
        let map = json!({"metadata": {"name": format!("rs-{position}"), "labels": {"round": "rs"}}, "data": {"a": "1"}});
        maps.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    }
    let apply = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rs-0"}, "data": {"b": value}});
    let ours = PatchParams::apply("ours");
    let applied = maps.patch("rs-0", &ours, &Patch::Apply(apply("1"))).await?;
    ensure!(applied.data.as_ref().is_some_and(|data| data.len() == 2), "{applied:?}");
    match maps.patch("rs-0", &PatchParams::apply("theirs"), &Patch::Apply(apply("2"))).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        other => bail!("a conflict was expected: {other:?}"),
    }
    let merged =
        maps.patch("rs-1", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": null}}))).await?;
    ensure!(merged.data.is_none(), "{merged:?}");
    let (mut seen, mut page) = (0, ListParams::default().labels("round=rs").limit(2));
    loop {
        let list = maps.list(&page).await?;
        seen += list.items.len();
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    ensure!(seen == 5, "{seen} objects in pages");
    maps.delete_collection(&DeleteParams::default(), &ListParams::default().labels("round=rs")).await?;
    ensure!(maps.list(&ListParams::default().labels("round=rs")).await?.items.is_empty());
    Ok(())
}

/// Runs a pod, reads its log, runs a command in it with something on stdin.
async fn pods(client: Client, namespace: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let pod = json!({"metadata": {"name": "rs"}, "spec": {"containers": [
        {"name": "c", "image": "dunlin.local/toolbox", "args": ["listen"], "stdin": true},
    ]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    timeout(DEADLINE, await_condition(pods.clone(), "rs", conditions::is_pod_running())).await??;
    let mut running =
        pods.exec("rs", ["toolbox", "cat"], &AttachParams::default().stdin(true).stderr(false)).await?;
    let mut stdin = running.stdin().context("no stdin")?;
    let mut stdout = running.stdout().context("no stdout")?;
    let ended = running.take_status().context("no status")?;
    let line = vec![b'x'; 100_000];
    let write = async {
        tokio::io::AsyncWriteExt::write_all(&mut stdin, &line).await?;
        tokio::io::AsyncWriteExt::shutdown(&mut stdin).await
    };
    let mut echoed = Vec::new();
    // Neither side keeps more than a little: what comes back is read while the rest is written.
    let (written, read) =
        timeout(DEADLINE, async { tokio::join!(write, stdout.read_to_end(&mut echoed)) }).await?;
    written.and(read)?;
    ensure!(echoed == line, "{} bytes came back", echoed.len());
    let status = timeout(DEADLINE, ended).await?.context("no status came")?;
    ensure!(status.status.as_deref() == Some("Success"), "{status:?}");
    pods.logs("rs", &LogParams::default()).await?;
    pods.delete("rs", &DeleteParams::default().grace_period(0)).await?;
    Ok(())
}

/// Follows objects through a proxy that cuts every connection once, and must miss nothing.
async fn informer(mut config: Config, namespace: &str) -> Result<()> {
    let writer: Api<ConfigMap> = Api::namespaced(Client::try_from(config.clone())?, namespace);
    let server = config.cluster_url.authority().context("no server")?.to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let mut line: JoinHandle<()> = tokio::spawn(carry(listener, server.clone()));
    config.tls_server_name.get_or_insert_with(|| "localhost".to_owned());
    config.cluster_url = format!("https://127.0.0.1:{port}/").parse()?;
    let maps: Api<ConfigMap> = Api::namespaced(Client::try_from(config)?, namespace);
    let (reader, store) = reflector::store();
    let objects = watcher(maps, watcher::Config::default().labels("round=informer"));
    let stream = objects.default_backoff().reflect(store).applied_objects();
    // Errors are what a broken line looks like; the stream goes on after each.
    let follow = tokio::spawn(stream.for_each(|_| async {}));
    reader.wait_until_ready().await?;
    for position in 0..30 {
        let map = json!({"metadata": {"name": format!("inf-{position}"), "labels": {"round": "informer"}}});
        writer.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
        if position % 10 == 5 {
            line.abort();
            let listener = loop {
                // The port is free once the old listener is gone.
                match TcpListener::bind(("127.0.0.1", port)).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            line = tokio::spawn(carry(listener, server.clone()));
        }
    }
    writer.delete("inf-0", &DeleteParams::default()).await?;
    until("all objects in the informer's store", async || reader.len() == 29).await?;
    follow.abort();
    line.abort();
    writer
        .delete_collection(&DeleteParams::default(), &ListParams::default().labels("round=informer"))
        .await?;
    Ok(())
}

/// Carries connections to the server until it is dropped, which cuts them all.
async fn carry(listener: TcpListener, server: String) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let server = server.clone();
        connections.spawn(async move {
            let Ok(mut far) = TcpStream::connect(&server).await else { return };
            // Either side may end; the other notices.
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

/// A controller that gives each ConfigMap of its label a Secret, owned by it, and cleans up by a finalizer.
async fn controller(client: Client, namespace: &str) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let context = Arc::new((maps.clone(), secrets.clone()));
    let running = Controller::new(maps.clone(), watcher::Config::default().labels("round=controller"))
        .owns(secrets.clone(), watcher::Config::default())
        .run(
            |map, context| async move { reconcile(map, context).await.map_err(Failure::from) },
            |_, _, _| Action::requeue(Duration::from_millis(200)),
            context,
        );
    let running = tokio::spawn(running.for_each(|_| async {}));
    let map = json!({"metadata": {"name": "owner", "labels": {"round": "controller"}}, "data": {"a": "1"}});
    maps.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    let made = async || secrets.get_opt("owner").await.ok().flatten().is_some();
    until("the controller's secret", made).await?;
    // What the controller owns comes back.
    let first = secrets.get("owner").await?.uid();
    secrets.delete("owner", &DeleteParams::default()).await?;
    until("the secret again", async || {
        secrets.get_opt("owner").await.ok().flatten().is_some_and(|secret| secret.uid() != first)
    })
    .await?;
    maps.delete("owner", &DeleteParams::default()).await?;
    until("the end of the owner", async || matches!(maps.get_opt("owner").await, Ok(None))).await?;
    until("the end of what it owned", async || matches!(secrets.get_opt("owner").await, Ok(None))).await?;
    let mark = secrets.get("cleaned-owner").await.context("the finalizer did not run")?;
    secrets.delete(&mark.name_any(), &DeleteParams::default()).await?;
    running.abort();
    Ok(())
}

async fn reconcile(map: Arc<ConfigMap>, context: Arc<(Api<ConfigMap>, Api<Secret>)>) -> Result<Action> {
    let (maps, secrets) = &*context;
    let done = finalizer(maps, "round.dunlin.dev/clean", map, |event| async move {
        match event {
            Event::Apply(map) => {
                let mut secret = Secret {
                    string_data: Some(BTreeMap::from([("made".into(), "yes".into())])),
                    ..Secret::default()
                };
                secret.metadata.name = Some(map.name_any());
                secret.metadata.owner_references = map.controller_owner_ref(&()).map(|owner| vec![owner]);
                secrets.patch(&map.name_any(), &PatchParams::apply("round"), &Patch::Apply(&secret)).await?;
                Ok::<_, kube::Error>(Action::await_change())
            }
            Event::Cleanup(map) => {
                let mut mark = Secret::default();
                mark.metadata.name = Some(format!("cleaned-{}", map.name_any()));
                secrets.create(&PostParams::default(), &mark).await?;
                Ok(Action::await_change())
            }
        }
    });
    Ok(done.await?)
}

/// What a reconciliation failed with; it is tried again.
#[derive(Debug)]
struct Failure(anyhow::Error);

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

async fn until(what: &str, mut attempt: impl AsyncFnMut() -> bool) -> Result<()> {
    let attempts = async {
        while !attempt().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, attempts).await.with_context(|| format!("no {what} within {DEADLINE:?}"))
}

const DEADLINE: Duration = Duration::from_secs(60);
