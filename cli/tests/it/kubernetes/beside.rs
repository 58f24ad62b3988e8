//! The command line beside kubectl: objects that both make of the same options, and what both say of the same objects.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::kubectl::{Kubectl, tour};
use crate::cluster::{Namespace, wait_until};

#[test]
fn options_make_the_same_objects() {
    let Some((namespace, kubectl)) = tour() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        std::fs::write(dir.path().join(name), content).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let (env, text, binary) =
        (file("env", b"x=1\n# c\n\ny=2 3\n"), file("t.txt", b"hello\n"), file("bin", b"\xff\0"));
    let from_files = format!("create configmap c --from-file={text} --from-file=k={binary}");
    let from_env = format!("create secret generic c --from-env-file={env}");
    for line in COMMANDS.lines().map(str::trim).chain([from_files.as_str(), from_env.as_str()]) {
        let (words, command) =
            line.split_once(" -- ").map_or((line, None), |(words, command)| (words, Some(command)));
        let mut args: Vec<&str> = words.split(' ').collect();
        args.extend(["--dry-run=client", "-o", "json"]);
        if let Some(command) = command {
            args.push("--");
            args.extend(command.split(' '));
        }
        let theirs = essence(&kubectl.ok(&args));
        let ours = essence(&namespace.ok(&args));
        assert_eq!(ours, theirs, "{line}");
    }
}

const COMMANDS: &str = "create deployment web --image=a/b:1 --image=reg.io/c:2 --replicas=3
    create deployment web --image=x --port=80 --replicas=0 -- sh -c run
    create job j --image=busybox -- date now
    create cronjob c --image=busybox --schedule=@hourly --restart=Never -- date
    create service clusterip s --tcp=80:8080 --tcp=443
    create service clusterip s --clusterip=None --tcp=80:http
    create service nodeport s --tcp=80 --node-port=30001
    create service loadbalancer s --tcp=80:81
    create service externalname s --external-name=a.example --tcp=80
    create namespace n
    create serviceaccount s
    create quota q --hard=cpu=1,pods=2 --scopes=BestEffort,NotTerminating
    create pdb p --selector=app=web --min-available=50%
    create pdb p --selector=!x,y --max-unavailable=1
    create priorityclass p --value=1000 --description=d --global-default --preemption-policy=Never
    create ingress i --rule=foo.com/bar*=svc1:http,tls=cert --rule=foo.com/=svc:80 --class=nginx --annotation=a=b --default-backend=d:80
    create configmap c --from-literal=a=b --from-literal=c=d=e
    create secret generic s --from-literal=a=b --type=x
    create secret docker-registry s --docker-username=u --docker-password=p --docker-email=e
    create role r --verb=get,list --resource=pods --resource=deployments.apps
    create clusterrolebinding b --clusterrole=view --user=joe --serviceaccount=n:s
    run p --image=x
    run p --image=x --port=80 --env=A=b --env=C= --labels=a=b,c=d --restart=Never --command -- sh -c x
    run p --image=x --privileged --annotations=a=b --image-pull-policy=Never --overrides={\"spec\":{\"nodeName\":\"n\"}}";

/// An object without what stands for nothing: nulls, empty maps, and the status of what was never stored.
fn essence(json: &str) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.values_mut().for_each(strip);
                map.retain(|_, value| {
                    !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty())
                });
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut object: Value = serde_json::from_str(json).unwrap();
    let fields = object.as_object_mut().unwrap();
    fields.remove("status");
    // kubectl names the namespace in a few of them.
    fields["metadata"].as_object_mut().unwrap().remove("namespace");
    strip(&mut object);
    // JSON inside: the order of its fields is nobody's.
    if let Some(login) = object["data"][".dockerconfigjson"].as_str() {
        let login: Value = serde_json::from_slice(&STANDARD.decode(login).unwrap()).unwrap();
        object["data"][".dockerconfigjson"] = login;
    }
    object
}

#[test]
fn both_say_the_same_of_workloads() {
    let Some((namespace, kubectl)) = tour() else { return };
    let warned = namespace.dunlin_with(&["apply", "-f", "-"], MANIFEST);
    assert_eq!(warned.code, 0, "{warned:?}");
    namespace.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]);
    namespace.ok(&["set", "env", "deploy/web", "A=b"]);
    namespace.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]);
    namespace.ok(&["wait", "--for=condition=Complete", "job/j", "--timeout=60s"]);
    wait_until("old pods gone", || {
        let shown = namespace.ok(&[
            "get",
            "deploy",
            "web",
            "-o",
            "jsonpath={.status.replicas}{.status.terminatingReplicas}",
        ]);
        if shown == "20" { Ok(()) } else { Err(shown) }
    });
    for object in DESCRIBED.split(' ') {
        let described = |text: String| before(&text, "Events:");
        let (ours, theirs) = (namespace.ok(&["describe", object]), kubectl.ok(&["describe", object]));
        assert_eq!(described(without_rollout(&ours)), described(theirs), "{object}");
    }
    for line in SAYINGS.lines().map(str::trim) {
        let args: Vec<&str> = line.split(' ').collect();
        assert_eq!(said_by_us(&namespace, &args), said_by(&kubectl, &args), "{line}");
    }
    namespace.ok(&["delete", "deploy/web", "job/j", "cronjob/c", "hpa/web", "pdb/web", "sts/db", "ds/agent"]);
}

const DESCRIBED: &str = "deploy/web job/j cronjob/c hpa/web pdb/web sts/db ds/agent svc/web quota/q limits/l role/r rolebinding/rb \
                         priorityclass/system-node-critical sa/default";

const SAYINGS: &str = "rollout history deploy/web
    rollout history deploy/web --revision=1
    rollout history deploy/web --revision=77
    rollout history deploy/web --revision=2 -o name
    rollout status deploy/web
    rollout status deploy/web --revision=5
    rollout status job/j
    rollout undo deploy/web --to-revision=77
    rollout undo deploy/web --dry-run=server
    rollout resume deploy/web
    rollout pause sts/db
    rollout restart job/j
    scale deploy/web --replicas=2 --current-replicas=9
    scale deploy/web --replicas=2 --dry-run=client
    scale deploy -l app=none --replicas=2
    set image deploy/web nope=x
    set image deploy/web c=dunlin.local/ticker
    set image deploy/web c=x --dry-run=server
    set env deploy/web --list
    set env deploy/web --list --resolve
    set env deploy/web Z=1 --dry-run=client
    set resources deploy/web -c nope --limits=cpu=1
    set resources deploy/web --limits=cpu=1 --dry-run=server
    set serviceaccount deploy/web other --dry-run=server
    taint node node-1 nothing-
    taint node node-1 a=b:Nonsense
    taint node nowhere a=b:NoSchedule
    expose deploy/web --port=80 --dry-run=client
    expose job/j --port=80";

/// What a command says, word by word; widths are another matter.
fn words(stdout: &str, stderr: &str) -> String {
    let own = |line: &&str| !line.starts_with("Warning: ") && !line.starts_with("See 'kubectl");
    let lines = stdout.lines().chain(stderr.lines()).filter(own);
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

fn said_by(kubectl: &Kubectl, args: &[&str]) -> String {
    let answer = kubectl.run(args, "");
    words(&answer.stdout, &answer.stderr)
}

fn said_by_us(namespace: &Namespace, args: &[&str]) -> String {
    let answer = namespace.dunlin(args);
    words(&answer.stdout, &answer.stderr)
}

/// A description before its events, whose ages change.
fn before(text: &str, title: &str) -> String {
    text.lines().take_while(|line| !line.starts_with(title)).map(|line| format!("{line}\n")).collect()
}

/// What kubectl leaves to `rollout status`.
fn without_rollout(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("Rollout:")).map(|line| format!("{line}\n")).collect()
}

const MANIFEST: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {note: x}}
    spec:
      serviceAccountName: default
      terminationGracePeriodSeconds: 1
      tolerations: [{key: a, operator: Exists, effect: NoSchedule}]
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      initContainers: [{name: i, image: dunlin.local/toolbox, args: [echo, hi]}]
      volumes: [{name: v, emptyDir: {}}]
      containers: [{name: c, image: dunlin.local/ticker, volumeMounts: [{name: v, mountPath: /v}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec:
  completions: 2
  completionMode: Indexed
  ttlSecondsAfterFinished: 1000
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: dunlin.local/toolbox, args: [echo, a]}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: c}
spec:
  schedule: '0 0 1 1 *'
  timeZone: Etc/UTC
  startingDeadlineSeconds: 60
  jobTemplate: {spec: {completions: 1, template: {spec: {restartPolicy: Never, containers: [{name: c, image: dunlin.local/toolbox}]}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: nothing}
  minReplicas: 1
  maxReplicas: 5
  behavior:
    scaleUp: {stabilizationWindowSeconds: 10, policies: [{type: Pods, value: 4, periodSeconds: 15}]}
    scaleDown: {selectPolicy: Disabled}
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 100Mi}}}
  - {type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: 1k}}}
  - type: Object
    object: {describedObject: {apiVersion: v1, kind: Service, name: s}, metric: {name: hits}, target: {type: Value, value: 2k}}
  - {type: External, external: {metric: {name: q}, target: {type: AverageValue, averageValue: '3'}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {tier: front}}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: 8081}]
  externalIPs: [192.0.2.4]
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: q}
spec: {hard: {services: '10', configmaps: '20'}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: l}
spec:
  limits:
  - {type: PersistentVolumeClaim, min: {storage: 1Mi}, max: {storage: 2Gi}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r}
rules:
- {apiGroups: [''], resources: [pods], verbs: [get]}
- {apiGroups: [''], resources: [pods], verbs: [list]}
- {apiGroups: [apps], resources: [deployments, deployments/scale], resourceNames: [a], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: rb, labels: {a: b}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects:
- {kind: User, apiGroup: rbac.authorization.k8s.io, name: joe}
- {kind: ServiceAccount, name: default, namespace: d}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 0
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: dunlin.local/ticker}]}}
  volumeClaimTemplates:
  - {metadata: {name: data, labels: {a: b}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {nodeSelector: {nowhere: here}, containers: [{name: c, image: dunlin.local/ticker}]}}
";
