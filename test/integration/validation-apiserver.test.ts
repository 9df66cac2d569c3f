// Defaults and validation against a real kube-apiserver: thousands of Pods with one field set to something odd, each sent
// as a dry run. Whatever it refuses must be refused here in the same words, and what it accepts must become the same Pod (S-099 to S-211).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { decodeManifest } from '../../src/api/decode.ts';
import { defaultPod } from '../../src/api/defaults.ts';
import { type FieldType, fieldTypes } from '../../src/api/field-types.ts';
import type { Status } from '../../src/api/gen/kubernetes.ts';
import { annotationKeys, type Pod } from '../../src/api/pod.ts';
import { validatePod } from '../../src/api/validate.ts';
import { type Envtest, envtestMissing, startEnvtest } from '../support/envtest.ts';

type Tree = Readonly<Record<string, unknown>>;
interface Sent {
  readonly metadata?: Tree;
  readonly spec: Tree;
}

/** By type; each is valid somewhere and wrong elsewhere. */
const scalars: Readonly<Record<string, readonly unknown[]>> = {
  string: ['', 'a', 'UPPER_x', 'a.b', 'a_', '_a', 'x/y', '/abs', '../up', ' pad', 'a'.repeat(64), 'x'.repeat(254), '10.0.0.1', '1'],
  boolean: [true, false],
  int32: [-1, 0, 1, 70_000, 2_147_483_647],
  int64: [-1, 0, 1, 2_147_483_648],
  quantity: ['-1', '0', '1', '1.5', '100m', '1Gi'],
  intOrString: [0, 1, 70_000, 'http', 'UPPER', ''],
  time: ['2026-01-01T00:00:00Z'],
  bytes: ['YQ=='],
};
/** Words that only some fields know, by the field's name. */
const words: Readonly<Record<string, readonly string[]>> = {
  restartPolicy: ['Always', 'OnFailure', 'Never'],
  imagePullPolicy: ['Never'],
  protocol: ['TCP', 'SCTP'],
  operator: ['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt', 'Equal'],
  effect: ['NoSchedule', 'NoExecute'],
  type: ['Localhost', 'RuntimeDefault', 'Unconfined', 'Directory'],
  scheme: ['HTTPS'],
  whenUnsatisfiable: ['DoNotSchedule', 'ScheduleAnyway'],
  mountPropagation: ['Bidirectional', 'HostToContainer'],
  recursiveReadOnly: ['Enabled', 'Disabled'],
  resource: ['limits.cpu', 'requests.memory', 'limits.hugepages-2Mi'],
  resourceName: ['cpu', 'memory'],
  fieldPath: ['metadata.name', 'status.podIP', 'metadata.labels', "metadata.labels['a']"],
  dnsPolicy: ['None', 'Default'],
  preemptionPolicy: ['Never'],
  procMount: ['Unmasked', 'Default'],
  action: ['Restart', 'RestartAllContainers'],
  name: ['c', 'v'],
};
const resourceNames = ['cpu', 'memory', 'hugepages-2Mi', 'ephemeral-storage', 'example.com/gpu', 'storage', 'UPPER', 'kubernetes.io/x'];
const keys = ['UPPER_x', 'a/b/c', '', 'x'.repeat(64), `example.com/${'k'.repeat(64)}`];

/** Values of a type with one thing set in each, down to `depth` fields below it. */
function* values(type: FieldType, name: string, depth: number): Iterable<unknown> {
  switch (type.kind) {
    case 'scalar':
      yield* scalars[type.name] ?? [];
      if (type.name === 'string') yield* words[name] ?? [];
      return;
    case 'list':
      yield [];
      for (const value of values(type.item, name, depth)) yield [value];
      return;
    case 'map':
      yield {};
      if (type.item.kind === 'scalar' && type.item.name === 'quantity')
        for (const resource of resourceNames) for (const amount of ['1', '-1', '1.5', '3Mi']) yield { [resource]: amount };
      else for (const key of keys) yield { [key]: 'v' };
      for (const value of values(type.item, name, depth)) yield { k: value };
      return;
    case 'object':
      yield {};
      if (depth === 0) return;
      for (const [field, { type: fieldType }] of fieldTypes.get(type.name) ?? [])
        for (const value of values(fieldType, field, depth - 1)) yield { [field]: value };
  }
}

const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `over` laid over `base`, members of lists by their place. */
function merge(base: unknown, over: unknown): unknown {
  if (isTree(base) && isTree(over)) {
    return {
      ...base,
      ...Object.fromEntries(Object.entries(over).map(([key, value]) => [key, key in base ? merge(base[key], value) : value])),
    };
  }
  if (Array.isArray(base) && Array.isArray(over)) return over.map((value, i) => (i in base ? merge(base[i], value) : value));
  return over;
}

/** What a field's values are laid over, so that more than the missing names is wrong. */
const bases: Tree = {
  containers: [{ name: 'c', image: 'i' }],
  initContainers: [{ name: 'init', image: 'i' }],
  volumes: [{ name: 'v' }],
};

function* variants(field: string, type: FieldType): Iterable<Sent> {
  for (const value of values(type, field, 6)) {
    const laid = field in bases ? merge(bases[field], value) : value;
    yield { spec: { containers: bases['containers'], [field]: laid } };
  }
}

// Not the generation: the server sets it before it looks.
const metadataFields = ['labels', 'annotations', 'finalizers', 'ownerReferences', 'generateName'];

function* metadataVariants(): Iterable<Sent> {
  for (const field of metadataFields) {
    const type = fieldTypes.get('ObjectMeta')?.get(field)?.type;
    assert.ok(type !== undefined);
    for (const value of values(type, field, 3)) yield { metadata: { [field]: value }, spec: { containers: bases['containers'] } };
  }
}

/** Several odd fields at once: what fields say of each other. The same ones each time. */
function* combinations(count: number): Iterable<Sent> {
  const specs = [...(fieldTypes.get('PodSpec') ?? [])]
    .filter(([field]) => field !== 'ephemeralContainers')
    .map(([field, { type }]) => [...variants(field, type)].map(({ spec }) => spec));
  let state = 1;
  const pick = <T>(list: readonly T[]): T => {
    state = Math.imul(state, 1_103_515_245) + 12_345;
    const item = list[((state >>> 8) & 0xff_ff_ff) % list.length];
    assert.ok(item !== undefined);
    return item;
  };
  for (let i = 0; i < count; i++) {
    const parts = Array.from({ length: 2 + (i % 4) }, () => pick(pick(specs)));
    yield { spec: parts.reduce((whole, part) => merge(whole, part) as Tree) };
  }
}

/** Fields of gates that are off: the server drops them, a kubelet keeps and checks them (S-041). */
const droppedFields = /"(stopSignal|podCertificate|clusterTrustBundle|schedulingGroup)"/;
/** Words of the server that are not expected here. */
const expectedDifferences: readonly RegExp[] = [
  /disallowed by cluster policy/, // S-131: the agent allows it
  /^spec\.volumes\[0\]\.image\.reference: Required value/, // S-132: the server's rule only
  /\.(ephemeral|csi)\./, // refused on static Pods as a whole (S-214)
  /\.(cephFS|downwarAPI): Forbidden: may not specify more than 1/, // paths that no manifest has
  /windowsOptions|hostProcess/i, // not of this system
  /localhostProfile: Invalid value: \{|^spec\.resourceClaims\[0\]: Invalid value: \{/, // values with the field names of Go
];

const toManifest = ({ metadata, spec }: Sent): unknown => {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'default', ...metadata }, spec };
};

function check(pod: Sent): { readonly problems: readonly string[]; readonly spec: unknown } {
  const manifest = toManifest(pod);
  const [document] = decodeManifest(Buffer.from(JSON.stringify(manifest)));
  assert.ok(document?.pod !== undefined && document.problems.length === 0, `${JSON.stringify(pod)}: ${JSON.stringify(document?.problems)}`);
  const defaulted = defaultPod(document.pod);
  const annotations = { [annotationKeys.configHash]: 'u', ...defaulted.metadata.annotations };
  const metadata = { ...defaulted.metadata, name: 'p', namespace: 'default', uid: 'u', annotations };
  const problems = validatePod({ ...defaulted, metadata } as Pod).map(({ field, message }) => `${field}: ${message}`);
  return { problems, spec: defaulted.spec };
}

/** Without what has no meaning: the server leaves out false, zero, empty texts and empty maps as it likes. */
function meaning(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(meaning);
  if (!isTree(value)) return value;
  // `serviceAccount` is the old name, which the server fills in beside the new one (S-123).
  const known = Object.entries(value).filter(([key]) => key !== 'serviceAccount');
  const entries = known.map(([key, item]) => [key, meaning(item)] as const);
  const isEmpty = (item: unknown): boolean =>
    item === null || item === '' || item === false || item === 0 || (typeof item === 'object' && Object.keys(item).length === 0);
  return Object.fromEntries(entries.filter(([, item]) => !isEmpty(item)));
}

describe('defaults and validation beside a real kube-apiserver', { skip: envtestMissing() }, () => {
  let server: Envtest;
  let agent: https.Agent;
  let url: URL;

  before(async () => {
    const admissionOff = ['ServiceAccount', 'Priority', 'RuntimeClass', 'DefaultTolerationSeconds', 'PodTopologyLabels'];
    server = await startEnvtest({ admissionOff });
    const file = await server.kubeconfig({ commonName: 'tester', organization: 'system:masters' });
    const { clusters, users } = parse(readFileSync(file, 'utf8')) as {
      readonly clusters: readonly [{ readonly cluster: { readonly server: string; readonly 'certificate-authority-data': string } }];
      readonly users: readonly [{ readonly user: { readonly 'client-certificate-data': string; readonly 'client-key-data': string } }];
    };
    const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
    const { user } = users[0];
    const ca = bytes(clusters[0].cluster['certificate-authority-data']);
    agent = new https.Agent({
      keepAlive: true,
      maxSockets: 8,
      ca,
      cert: bytes(user['client-certificate-data']),
      key: bytes(user['client-key-data']),
    });
    url = new URL('/api/v1/namespaces/default/pods?dryRun=All&fieldValidation=Strict', clusters[0].cluster.server);
  });
  after(async () => {
    agent.destroy();
    await server.close();
  });

  function post(pod: Sent): Promise<{ readonly code: number; readonly body: unknown }> {
    return new Promise((resolve, reject) => {
      const call = https.request(url, { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () => resolve({ code: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(parts).toString()) }));
      });
      call.on('error', reject);
      call.end(JSON.stringify(toManifest(pod)));
    });
  }

  /** What differs, in words; undefined: nothing that is not expected. */
  async function difference(pod: Sent): Promise<unknown> {
    const sent = JSON.stringify(pod);
    if (droppedFields.test(sent)) return undefined;
    const { code, body } = await post(pod);
    const ours = check(pod);
    if (code === 201) {
      if (ours.problems.length > 0) return { sent, why: 'only the server accepts it', ours: ours.problems };
      const theirs = meaning((body as Sent).spec);
      return isDeepStrictEqual(theirs, meaning(ours.spec)) ? undefined : { sent, why: 'defaults', theirs, ours: meaning(ours.spec) };
    }
    if (code !== 422) return { sent, why: `HTTP ${code}`, body };
    const theirs = ((body as Status).details?.causes ?? []).map(({ field, message }) => `${field}: ${message}`);
    const missing = theirs.filter((text) => !ours.problems.includes(text) && !expectedDifferences.some((pattern) => pattern.test(text)));
    return missing.length === 0 ? undefined : { sent, why: 'not said here', missing, ours: ours.problems };
  }

  async function compare(sent: Iterable<Sent>): Promise<void> {
    const pods = sent[Symbol.iterator]();
    const differences: unknown[] = [];
    const work = async (): Promise<void> => {
      for (let next = pods.next(); next.done !== true; next = pods.next()) {
        const found = await difference(next.value);
        if (found !== undefined) differences.push(found);
      }
    };
    await Promise.all(Array.from({ length: 8 }, work));
    assert.deepEqual(differences, []);
  }

  for (const [field, { type }] of fieldTypes.get('PodSpec') ?? []) {
    if (field === 'ephemeralContainers') continue; // no static Pod has any (S-194)
    test(`spec.${field}`, () => compare(variants(field, type)));
  }
  test('metadata', () => compare(metadataVariants()));
  test('several odd fields at once', () => compare(combinations(Number(process.env['COMBINATIONS'] ?? 3000))));
});
