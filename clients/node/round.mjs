// The round of `clients/README.md` with the official JavaScript client.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

// The library lies where `cargo xtask packages` put it.
const k8s = createRequire(`${process.env.CLIENT_LIBRARY}/`)('@kubernetes/client-node');

const namespace = process.env.NAMESPACE;
const DEADLINE_MS = 60_000;

/** Repeats an attempt until it answers something true. */
async function until(what, attempt) {
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await sleep(100)) {
    const answer = await attempt();
    if (answer) return answer;
  }
  throw new Error(`no ${what} within ${DEADLINE_MS} ms`);
}

/** Creates, watches by an informer, patches, replaces and deletes. */
async function configMaps(config, core) {
  const seen = [];
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'round=node' });
  const informer = k8s.makeInformer(config, path, list, 'round=node');
  for (const event of ['add', 'update', 'delete']) informer.on(event, (object) => seen.push([event, object.metadata.name]));
  informer.on('error', (error) => seen.push(['error', String(error)]));
  await informer.start();
  const body = { metadata: { name: 'js', labels: { round: 'node' } }, data: { a: '1' } };
  await core.createNamespacedConfigMap({ namespace, body });
  await assert.rejects(core.createNamespacedConfigMap({ namespace, body }), (error) => error.code === 409);
  await until('event of the creation', () => seen.length >= 1);
  const patched = await core.patchNamespacedConfigMap(
    { namespace, name: 'js', body: [{ op: 'add', path: '/data/b', value: '2' }] },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch),
  );
  assert.deepEqual(patched.data, { a: '1', b: '2' });
  await until('event of the change', () => seen.length >= 2);
  await core.replaceNamespacedConfigMap({ namespace, name: 'js', body: { ...patched, data: { c: '3' } } });
  await assert.rejects(core.replaceNamespacedConfigMap({ namespace, name: 'js', body: patched }), (error) => error.code === 409);
  await until('event of the replacement', () => seen.length >= 3);
  await core.deleteNamespacedConfigMap({ namespace, name: 'js' });
  await until('event of the deletion', () => seen.length >= 4);
  await informer.stop();
  assert.deepEqual(seen.slice(0, 4), [['add', 'js'], ['update', 'js'], ['update', 'js'], ['delete', 'js']]);
}

/** Runs a command in the pod; answers its status, and what it says. */
async function run(config, command) {
  const [stdout, stderr, said] = [new PassThrough(), new PassThrough(), []];
  stdout.on('data', (part) => said.push(part));
  stderr.resume();
  const status = await new Promise((resolve, reject) => {
    new k8s.Exec(config).exec(namespace, 'js', 'c', command, stdout, stderr, null, false, resolve).catch(reject);
  });
  return { status, said };
}

/** Runs a pod, reads its log, runs a command in it. */
async function pods(config, core) {
  const containers = [{ name: 'c', image: 'dunlin.local/toolbox', args: ['listen'], stdin: true }];
  await core.createNamespacedPod({ namespace, body: { metadata: { name: 'js' }, spec: { containers } } });
  await until('running pod', async () => (await core.readNamespacedPod({ namespace, name: 'js' })).status.phase === 'Running');
  const failed = await run(config, ['toolbox', 'exit', '7']);
  assert.equal(failed.status.status, 'Failure');
  assert.deepEqual(failed.status.details.causes, [{ reason: 'ExitCode', message: '7' }]);
  const echoed = await run(config, ['toolbox', 'echo', 'from', 'node']);
  assert.equal(echoed.status.status, 'Success');
  await until('output of the command', () => Buffer.concat(echoed.said).toString() === 'from node\n');
  const log = await core.readNamespacedPodLog({ namespace, name: 'js' });
  assert.equal(typeof (log ?? ''), 'string');
  await core.deleteNamespacedPod({ namespace, name: 'js', gracePeriodSeconds: 0 });
}

/** Speaks with a web server in a pod. */
async function forwards(config, core) {
  const containers = [{ name: 'c', image: 'dunlin.local/http-hello', ports: [{ containerPort: 80 }] }];
  await core.createNamespacedPod({ namespace, body: { metadata: { name: 'js-web' }, spec: { containers } } });
  await until('ready pod', async () => {
    const { status } = await core.readNamespacedPod({ namespace, name: 'js-web' });
    return status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
  });
  const [output, err, input, said] = [new PassThrough(), new PassThrough(), new PassThrough(), []];
  output.on('data', (part) => said.push(part));
  err.resume();
  const socket = await new k8s.PortForward(config).portForward(namespace, 'js-web', [80], output, err, input);
  input.write('GET /at HTTP/1.1\r\nHost: js\r\nConnection: close\r\n\r\n');
  await until('page', () => /^HTTP\/1.1 200[^]*GET \/at/.test(Buffer.concat(said).toString()));
  await until('end of the connection', () => socket.readyState === socket.CLOSED);
  await core.deleteNamespacedPod({ namespace, name: 'js-web', gracePeriodSeconds: 0 });
}

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
assert.equal((await config.makeApiClient(k8s.VersionApi).getCode()).minor, '36');
await configMaps(config, core);
await pods(config, core);
await forwards(config, core);
console.log('done');
