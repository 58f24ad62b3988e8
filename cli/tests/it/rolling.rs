//! Workloads by command: made, scaled, rolled out, changed, taken back.

use std::collections::BTreeSet;

use crate::cluster::{Namespace, wait_until};

/// What a command answers, wherever it says it.
fn check(namespace: &Namespace, line: &str, code: i32, expected: &str) {
    let answer = namespace.dunlin(&line.split(' ').collect::<Vec<_>>());
    let text = [answer.stdout.as_str(), answer.stderr.as_str()].concat();
    // The coordinator's warnings of what it does not act on yet are not about the command.
    let text: String =
        text.lines().filter(|line| !line.starts_with("Warning: ")).map(|line| format!("{line}\n")).collect();
    assert_eq!((answer.code, text.as_str()), (code, expected), "{line}");
}

fn field(namespace: &Namespace, object: &str, path: &str) -> String {
    namespace.ok(&["get", object, "-o", &format!("jsonpath={path}")])
}

#[test]
fn a_deployment_is_made_and_scaled() {
    let namespace = Namespace::new();
    check(
        &namespace,
        "create deployment web --image=dunlin.local/ticker --replicas=2",
        0,
        "deployment.apps/web created\n",
    );
    let status = ["rollout", "status", "deploy/web", "--timeout=60s"];
    let told = namespace.ok(&status);
    assert!(told.ends_with("deployment \"web\" successfully rolled out\n"), "{told}");

    check(
        &namespace,
        "scale deploy/web --replicas=3 --current-replicas=9",
        1,
        "error: Expected replicas to be 9, was 2\n",
    );
    check(
        &namespace,
        "scale deploy/web --replicas=3 --current-replicas=2 --timeout=30s",
        0,
        "deployment.apps/web scaled\n",
    );
    assert_eq!(field(&namespace, "deploy/web", "{.spec.replicas}"), "3");
    check(
        &namespace,
        "scale deploy --all --replicas=1 --dry-run=server",
        0,
        "deployment.apps/web scaled (server dry run)\n",
    );
    check(
        &namespace,
        "scale deploy --replicas=1",
        64,
        "error: resource(s) were provided, but no name was specified\n",
    );
    let logs = || {
        let logs = namespace.dunlin(&["logs", "deploy/web", "--all-pods", "--tail=1"]).stdout;
        let pods: BTreeSet<&str> =
            logs.lines().filter_map(|line| line.strip_prefix("[pod/web-")?.split('/').next()).collect();
        if pods.len() == 3 { Ok(()) } else { Err(logs) }
    };
    wait_until("words of three pods", logs);
    let both = namespace.dunlin(&["scale", "deploy/nope", "deploy/web", "--replicas=2"]);
    assert_eq!((both.code, both.stdout.as_str()), (1, "deployment.apps/web scaled\n"));
    namespace.ok(&["delete", "deploy", "web"]);
}

#[test]
fn a_deployment_is_rolled_out_and_back() {
    let namespace = Namespace::new();
    namespace.ok(&["create", "deployment", "web", "--image=dunlin.local/ticker", "--replicas=2"]);
    let status = ["rollout", "status", "deploy/web", "--timeout=60s"];
    namespace.ok(&status);
    check(&namespace, "set env deploy/web COLOUR=red", 0, "deployment.apps/web env updated\n");
    check(&namespace, "set env deploy/web COLOUR=red", 0, "");
    assert!(namespace.ok(&status).ends_with("successfully rolled out\n"));
    check(
        &namespace,
        "rollout history deploy/web",
        0,
        "deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n\n",
    );
    let template = namespace.ok(&["rollout", "history", "deploy/web", "--revision=2"]);
    assert!(
        template.starts_with("deployment.apps/web with revision #2\nPod Template:\n  Labels:"),
        "{template}"
    );
    assert!(template.contains("COLOUR:"), "{template}");
    check(
        &namespace,
        "rollout undo deploy/web --to-revision=9",
        1,
        "error: unable to find specified revision 9 in history\n",
    );
    check(&namespace, "rollout undo deploy/web", 0, "deployment.apps/web rolled back\n");
    assert_eq!(field(&namespace, "deploy/web", "{.spec.template.spec.containers[0].env}"), "");
    check(
        &namespace,
        "rollout undo deploy/web --to-revision=3",
        0,
        "deployment.apps/web skipped rollback (current template already matches revision 3)\n",
    );

    check(&namespace, "rollout pause deploy/web", 0, "deployment.apps/web paused\n");
    check(&namespace, "rollout pause deploy/web", 1, "error: deployments.apps \"web\" is already paused\n");
    check(
        &namespace,
        "rollout restart deploy/web",
        1,
        "error: deployments.apps \"web\" can't restart paused deployment (run rollout resume first)\n",
    );
    check(&namespace, "rollout resume deploy/web", 0, "deployment.apps/web resumed\n");
    check(&namespace, "rollout restart deploy/web", 0, "deployment.apps/web restarted\n");
    assert!(namespace.ok(&status).ends_with("successfully rolled out\n"));
    namespace.ok(&["delete", "deploy", "web"]);
}

#[test]
fn a_rollout_that_fails_says_why() {
    let namespace = Namespace::new();
    namespace.ok(&["create", "deployment", "web", "--image=dunlin.local/nothing-of-this-name"]);
    let late = namespace.dunlin(&["rollout", "status", "deploy/web", "--timeout=2s"]);
    assert_eq!(late.code, 1, "{late:?}");
    assert!(late.stdout.contains("0 of 1 updated replicas are available"), "{late:?}");
    assert!(late.stderr.starts_with("error: timed out waiting for the condition\n"), "{late:?}");
    namespace.ok(&["patch", "deploy", "web", "--type=merge", "-p", "{spec: {progressDeadlineSeconds: 1}}"]);
    namespace.ok(&["rollout", "restart", "deploy/web"]);
    wait_until("word of the deadline", || {
        let stuck = namespace.dunlin(&["rollout", "status", "deploy/web", "--timeout=30s"]);
        let told = stuck.stderr.starts_with("error: deployment \"web\" exceeded its progress deadline\n  ");
        if stuck.code == 1 && told && stuck.stderr.contains("nothing-of-this-name") {
            Ok(())
        } else {
            Err(format!("{stuck:?}"))
        }
    });
    let described = namespace.ok(&["describe", "deploy", "web"]);
    assert!(
        described.contains("Rollout:") && described.contains("exceeded its progress deadline"),
        "{described}"
    );
    namespace.ok(&["delete", "deploy", "web"]);
}

#[test]
fn fields_of_pods_are_set() {
    let namespace = Namespace::new();
    namespace.ok(&["create", "deployment", "web", "--image=dunlin.local/ticker", "--replicas=0"]);
    namespace.ok(&["create", "configmap", "cfg", "--from-literal=A_B=1", "--from-literal=c.d=2"]);
    check(
        &namespace,
        "set image deploy/web ticker=dunlin.local/ticker:latest",
        0,
        "deployment.apps/web image updated\n",
    );
    check(&namespace, "set image deploy/web nope=x", 1, "error: unable to find container named \"nope\"\n");
    check(
        &namespace,
        "set image deploy/web *=dunlin.local/ticker --dry-run=client",
        0,
        "deployment.apps/web image updated (dry run)\n",
    );
    assert_eq!(
        field(&namespace, "deploy/web", "{.spec.template.spec.containers[0].image}"),
        "dunlin.local/ticker:latest"
    );
    check(
        &namespace,
        "set resources deploy/web --limits=cpu=0.2,memory=64Mi",
        0,
        "deployment.apps/web resource requirements updated\n",
    );
    check(&namespace, "set resources deploy/web --limits=cpu=200m", 0, "");
    check(&namespace, "set env deploy/web B=2 --from=configmap/cfg", 0, "deployment.apps/web env updated\n");
    let list = "# Deployment web, container ticker\nB=2\n# A_B from configmap cfg, key A_B\n# C_D from configmap cfg, key c.d\n";
    check(&namespace, "set env deploy/web --list", 0, list);
    let resolved = "# Deployment web, container ticker\nB=2\nA_B=1\nC_D=2\n";
    check(&namespace, "set env deploy/web --list --resolve", 0, resolved);
    check(&namespace, "set env deploy/web A_B=9 B-", 0, "deployment.apps/web env updated\n");
    let env = "[{\"name\":\"A_B\",\"value\":\"9\"},{\"name\":\"C_D\",\"valueFrom\":{\"configMapKeyRef\":{\"key\":\"c.d\",\"name\":\"cfg\"}}}]";
    assert_eq!(field(&namespace, "deploy/web", "{.spec.template.spec.containers[0].env}"), env);
    check(
        &namespace,
        "set env deploy/web A_B=1 --overwrite=false",
        1,
        "error: deployments/web 'A_B' already has a value (9), and --overwrite is false\n",
    );
    check(
        &namespace,
        "set serviceaccount deploy/web builder",
        0,
        "deployment.apps/web serviceaccount updated\n",
    );
    assert_eq!(field(&namespace, "deploy/web", "{.spec.template.spec.serviceAccountName}"), "builder");
    namespace.ok(&["create", "service", "clusterip", "web", "--tcp=80"]);
    check(&namespace, "set selector svc/web a=b,c=d", 0, "service/web selector updated\n");
    assert_eq!(field(&namespace, "svc/web", "{.spec.selector}"), "{\"a\":\"b\",\"c\":\"d\"}");
}

#[test]
fn pods_are_run_and_workloads_exposed() {
    let namespace = Namespace::new();
    check(
        &namespace,
        "run front --image=dunlin.local/http-hello --port=8080 --expose",
        0,
        "service/front created\npod/front created\n",
    );
    namespace.wait_for_status("front", "Running");
    check(
        &namespace,
        "expose pod front --name=again --port=80 --target-port=8080",
        0,
        "service/again exposed\n",
    );
    assert_eq!(
        field(&namespace, "svc/again", "{.spec.selector.run} {.spec.ports[0].targetPort}"),
        "front 8080"
    );
    check(
        &namespace,
        "autoscale pod front --max=3",
        1,
        "error: cannot autoscale a Pod: the pod/front has no scale\n",
    );
    let once =
        ["run", "once", "--image=dunlin.local/toolbox", "--restart=Never", "--attach", "--rm", "--quiet"];
    let answer = namespace.dunlin(&[&once[..], &["--", "exit", "3"]].concat());
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(
        answer.stderr.contains("pod test-") && answer.stderr.contains("/once terminated ("),
        "{answer:?}"
    );
    let gone = namespace.dunlin(&["get", "pod", "once"]);
    assert!(gone.stderr.contains("NotFound"), "{gone:?}");
    let answer = namespace.dunlin(&[&once[..], &["--", "echo", "hello"]].concat());
    assert_eq!(answer.code, 0, "{answer:?}");
    namespace.ok(&["delete", "pod", "front"]);
}

#[test]
fn a_stateful_set_is_rolled_out_and_back() {
    let namespace = Namespace::new();
    namespace.apply(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  replicas: 2\n  serviceName: db\n  \
         podManagementPolicy: Parallel\n  selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    \
         spec:\n      terminationGracePeriodSeconds: 1\n      containers: [{name: c, image: dunlin.local/ticker}]\n",
    );
    let status = ["rollout", "status", "sts/db", "--timeout=60s"];
    let done = "partitioned roll out complete: 2 new pods have been updated...\n";
    assert!(namespace.ok(&status).ends_with(done));
    check(&namespace, "set env sts/db COLOUR=red", 0, "statefulset.apps/db env updated\n");
    assert!(namespace.ok(&status).ends_with(done));
    let history = "statefulset.apps/db \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n\n";
    check(&namespace, "rollout history sts/db", 0, history);
    let first = namespace.ok(&["rollout", "history", "sts/db", "--revision=1"]);
    assert!(first.contains("dunlin.local/ticker") && !first.contains("COLOUR"), "{first}");
    check(&namespace, "rollout undo sts/db", 0, "statefulset.apps/db rolled back\n");
    assert!(namespace.ok(&status).ends_with(done));
    assert_eq!(field(&namespace, "sts/db", "{.spec.template.spec.containers[0].env}"), "");
    check(&namespace, "scale sts/db --replicas=1 --timeout=30s", 0, "statefulset.apps/db scaled\n");
    namespace.ok(&["delete", "sts", "db"]);
}
