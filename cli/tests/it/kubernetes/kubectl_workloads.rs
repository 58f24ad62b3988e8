//! kubectl and workloads that controllers look after: rollouts, and Jobs that run to their end.

use super::kubectl::{Kubectl, tour};
use crate::cluster::wait_until;

fn deployment(image: &str, strategy: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 4\n  progressDeadlineSeconds: 4\n  \
         strategy: {strategy}\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    \
         metadata: {{labels: {{app: web}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      \
         containers: [{{name: c, image: {image}}}]\n"
    )
}

/// Names of the pods that run and are not about to go.
fn running(kubectl: &Kubectl) -> Vec<String> {
    let template = "jsonpath={range .items[?(@.status.phase==\"Running\")]}{.metadata.name}{\"\\n\"}{end}";
    kubectl.ok(&["get", "pods", "-l", "app=web", "-o", template]).lines().map(str::to_owned).collect()
}

fn wait_for(kubectl: &Kubectl, count: usize) {
    wait_until("right number of pods", || {
        let pods = running(kubectl);
        if pods.len() == count { Ok(()) } else { Err(format!("{pods:?}")) }
    });
}

#[test]
fn a_deployment_is_rolled_out_and_back() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let careful = "{type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}";
    kubectl.ok_with(&["apply", "-f", "-"], &deployment("dunlin.local/ticker", careful));
    let done = "successfully rolled out";
    assert!(kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]).contains(done));
    assert_eq!(running(&kubectl).len(), 4);
    // A pod that is deleted by hand is replaced.
    let first = running(&kubectl).remove(0);
    kubectl.ok(&["delete", "pod", &first]);
    wait_for(&kubectl, 4);

    kubectl.ok(&["set", "env", "deploy/web", "COLOUR=red"]);
    assert!(kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]).contains(done));
    let history = kubectl.ok(&["rollout", "history", "deploy/web"]);
    assert!(history.lines().any(|line| line.starts_with('2')), "{history}");

    // What cannot start takes nobody's place, and is given up at the deadline.
    kubectl.ok(&["set", "image", "deploy/web", "c=dunlin.local/nothing-of-this-name"]);
    let stuck = kubectl.run(&["rollout", "status", "deploy/web", "--timeout=60s"], "");
    assert!(stuck.code != 0 && stuck.stderr.contains("exceeded its progress deadline"), "{stuck:?}");
    assert_eq!(kubectl.ok(&["get", "deploy", "web", "-o", "jsonpath={.status.availableReplicas}"]), "4");
    kubectl.ok(&["rollout", "undo", "deploy/web"]);
    assert!(kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]).contains(done));
    let colour = "jsonpath={.spec.template.spec.containers[0].env[0].value}";
    assert_eq!(kubectl.ok(&["get", "deploy", "web", "-o", colour]), "red");

    kubectl.ok(&["scale", "deploy/web", "--replicas=1"]);
    wait_for(&kubectl, 1);
    kubectl.ok(&["delete", "deploy", "web"]);
    wait_for(&kubectl, 0);
    assert_eq!(kubectl.ok(&["get", "rs", "-o", "name"]), "");
}

#[test]
fn recreating_lets_the_old_pods_end_first() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let strategy = "{type: Recreate}";
    kubectl.ok_with(&["apply", "-f", "-"], &deployment("dunlin.local/ticker", strategy));
    kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]);
    let before = running(&kubectl);
    kubectl.ok(&["rollout", "restart", "deploy/web"]);
    kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]);
    let after = running(&kubectl);
    assert!(after.len() == 4 && after.iter().all(|pod| !before.contains(pod)), "{before:?} {after:?}");
    kubectl.ok(&["delete", "deploy", "web"]);
}

#[test]
fn a_job_runs_to_its_end() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec:\n  completions: 5\n  parallelism: 2\n  \
               completionMode: Indexed\n  template:\n    spec:\n      restartPolicy: Never\n      \
               containers: [{name: c, image: dunlin.local/toolbox, args: [env, JOB_COMPLETION_INDEX]}]\n";
    kubectl.ok_with(&["apply", "-f", "-"], job);
    kubectl.ok(&["wait", "--for=condition=Complete", "job/j", "--timeout=60s"]);
    let status = "jsonpath={.status.succeeded} {.status.completedIndexes} {.status.active}";
    assert_eq!(kubectl.ok(&["get", "job", "j", "-o", status]), "5 0-4 ");
    let logs = kubectl.ok(&["logs", "-l", "job-name=j", "--tail=-1"]);
    let mut indexes: Vec<&str> = logs.lines().collect();
    indexes.sort_unstable();
    assert_eq!(indexes, ["0", "1", "2", "3", "4"]);
    kubectl.ok(&["delete", "job", "j", "--cascade=foreground"]);
    assert_eq!(kubectl.ok(&["get", "pods", "-l", "job-name=j", "-o", "name"]), "");

    kubectl.ok_with(
        &["apply", "-f", "-"],
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: f}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      \
         restartPolicy: Never\n      containers: [{name: c, image: dunlin.local/toolbox, args: [exit, \"3\"]}]\n",
    );
    kubectl.ok(&["wait", "--for=condition=Failed", "job/f", "--timeout=60s"]);
    let reason = "jsonpath={.status.failed} {.status.conditions[?(@.type==\"Failed\")].reason}";
    assert_eq!(kubectl.ok(&["get", "job", "f", "-o", reason]), "1 BackoffLimitExceeded");
    kubectl.ok(&["delete", "job", "f"]);
}

#[test]
fn a_cron_job_fires() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let cron = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec:\n  schedule: \"@every 1s\"\n  \
                jobTemplate:\n    metadata: {labels: {from: c}}\n    spec:\n      template:\n        spec:\n          \
                restartPolicy: Never\n          containers: [{name: c, image: dunlin.local/toolbox, args: [echo, now]}]\n";
    kubectl.ok_with(&["apply", "-f", "-"], cron);
    let fired = || {
        let jobs = kubectl.ok(&["get", "jobs", "-l", "from=c", "-o", "name"]);
        jobs.lines().next().map(str::to_owned).ok_or_else(|| "no job".to_owned())
    };
    let job = wait_until("job", fired);
    kubectl.ok(&["patch", "cronjob", "c", "--type=merge", "-p", "{\"spec\": {\"suspend\": true}}"]);
    kubectl.ok(&["wait", "--for=condition=Complete", &job, "--timeout=60s"]);
    assert_eq!(kubectl.ok(&["logs", &job]), "now\n");
    kubectl.ok(&["wait", "--for=jsonpath={.status.lastSuccessfulTime}", "cronjob/c", "--timeout=30s"]);
    kubectl.ok(&["create", "job", "by-hand", "--from=cronjob/c"]);
    kubectl.ok(&["wait", "--for=condition=Complete", "job/by-hand", "--timeout=60s"]);
    assert!(kubectl.ok(&["describe", "cronjob", "c"]).contains("SuccessfulCreate"));
    kubectl.ok(&["delete", "cronjob", "c"]);
}
